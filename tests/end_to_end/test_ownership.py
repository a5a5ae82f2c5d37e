"""Whatever steps work in a user's folders, in whatever order, and however they end: what others put there stays.

Trainings (fresh, in place, transferred, killed, resumed), exports, conversions and imports, drawn at random, in folders
that hold a release's checkpoint and files of the user, among them some with the names of our outputs.
"""

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from components.convert_openvino.__main__ import main as convert_openvino
from components.export.__main__ import main as export
from components.import_cv.__main__ import DESCRIPTION, Command
from components.import_cv.__main__ import run as import_cv
from components.import_cv.write.corpus_folder import CorpusFolder
from components.train import loop
from components.train.saving.record import RunRecord
from components.train.saving.store import OWN_FILES
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, Corpus, ExportedModel, IntermediateRepresentation
from speech.errors import InputError
from speech.nn import snapshots
from speech.settings import parse
from tests.components.import_cv.conftest import Entry, mp3, write_release
from tests.components.train.test_ownership import GENTLE, Killed, files, killed_after, snapshot, train
from tests.fixtures.release_checkpoint import ENGLISH, copy_release, make_release

QUICK = replace(GENTLE, epochs=1, max_to_keep=1)
MOMENTS = (
    (snapshots, "save"),
    (snapshots, "write_state"),
    (snapshots, "remove"),
    (RunRecord, "save"),
    (loop.TrainingRun, "train_batch"),
)
AFTER_IMPORT = ("publish_audio", "publish_tables", "publish_staged")
TAKEN = {  # names that a user's file may have, by folder
    "model": ("output_graph.pb", "output_graph.xml", "author_model_0.0.1.md", ALPHABET, "openvino.json", "model.json"),
    "corpus": (
        "train.csv",
        "dev.csv",
        "import_index.csv",
        "import_report.json",
        "shards/clips-dev-00000.tar",
        ALPHABET,
    ),
    "cv/clips": ("test.csv", "import_report.html", "clip-1.wav", ALPHABET),
}
CHECKPOINT = "checkpoint"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training goes on here from a model that has learned little."""
    return make_release(tmp_path_factory.mktemp("made") / "release", n_hidden=16, epochs=2)


@pytest.fixture(scope="module")
def english(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones with the release's alphabet beside the CSVs."""
    folder = tmp_path_factory.mktemp("english") / "tones"
    shutil.copytree(tones, folder)
    ENGLISH.save(folder / ALPHABET)
    return folder


@pytest.fixture(scope="module")
def common_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a few clips."""
    entries = [Entry(f"clip-{number}.mp3", "A door.", mp3(1.0, seed=number)) for number in range(4)]
    sets = {"train": entries[:2], "dev": entries[2:3], "test": entries[3:]}
    return write_release(tmp_path_factory.mktemp("cv") / "cv", **sets)


class Desk:
    """Folders with files of others, and what can be done in them."""

    def __init__(self, root: Path, corpus: Path, generator: random.Random) -> None:
        self.root, self.corpus, self.generator = root, corpus, generator
        self.checkpoint, self.model = root / CHECKPOINT, root / "model"
        self.foreign: dict[str, bytes] = {}
        self.newest: TrainSettings | None = None
        self.done: list[str] = []

    # Trainings.

    def settings(self) -> TrainSettings:
        """Those of a run that is none of the runs before."""
        from_scratch = not any(self.checkpoint.rglob("*.index"))
        return replace(QUICK, random_seed=self.generator.randrange(10**9), n_hidden=8 if from_scratch else 0)

    def begin(self, settings: TrainSettings) -> None:
        self.newest = settings
        train(self.corpus, self.checkpoint, settings)

    def train_fresh(self) -> None:
        self.begin(replace(self.settings(), load_train="init", n_hidden=8))

    def train_in_place(self) -> None:
        self.begin(self.settings())

    def train_transferred(self) -> None:
        self.begin(replace(self.settings(), drop_source_layers="1"))

    def train_killed(self) -> None:
        owner, name = self.generator.choice(MOMENTS)
        with self.killed_at(owner, name, 3):
            self.train_in_place()

    def train_resumed(self) -> None:
        self.begin(self.newest or self.settings())

    def train_elsewhere(self) -> None:
        with pytest.MonkeyPatch.context() as patch:  # what is loaded from is not written to
            patch.setattr(loop.TrainingRun, "train_epoch", killed_after(1, loop.TrainingRun.train_epoch))
            before = files(self.checkpoint)
            with contextlib.suppress(Killed, InputError):  # there may be nothing to load yet
                train(self.corpus, self.root / "elsewhere", self.settings(), load=self.checkpoint)
            assert files(self.checkpoint) == before
        shutil.rmtree(self.root / "elsewhere", ignore_errors=True)

    # Other steps, from the shell.

    def export(self, *flags: str) -> None:
        given = ["--checkpoint_dir", str(self.checkpoint), "--export_dir", str(self.model)]
        few = [] if self.generator.random() < 0.3 else ["--export_tflite", "false"]
        with self.may_be_refused("model", nothing_to_load=not any(self.checkpoint.rglob("*.index"))):
            call(export, *given, *few, *flags)

    def export_into_the_checkpoint(self) -> None:
        if any(self.checkpoint.glob("*.index")):
            before = files(self.checkpoint)
            with pytest.raises(InputError):
                call(export, "--checkpoint_dir", str(self.checkpoint), "--export_dir", str(self.checkpoint))
            assert files(self.checkpoint) == before

    def export_killed(self) -> None:
        with self.killed_at(Path, "replace", 6):
            self.export("--remove_export")

    def convert(self) -> None:
        source = self.model if (self.model / ExportedModel.MODEL).is_file() else self.checkpoint
        with self.may_be_refused("model", nothing_to_load=not any(self.checkpoint.rglob("*.index"))):
            call(convert_openvino, "--input_model", str(source), "--output_dir", str(self.model))

    def convert_killed(self) -> None:
        with self.killed_at(Path, "replace", 4):
            self.convert()

    def import_(self) -> None:
        layout, sets = self.generator.choice(("shards", "clips")), self.generator.choice(("train", "train,dev"))
        with self.may_be_refused("corpus"):
            self.imported("--corpus_dir", str(self.root / "corpus"), "--layout", layout, "--sets", sets)

    def import_killed(self) -> None:
        with self.killed_at(CorpusFolder, self.generator.choice(AFTER_IMPORT), 1):
            self.import_()

    def import_as_the_peers(self) -> None:
        with self.may_be_refused("cv/clips"):
            self.imported()

    def imported(self, *flags: str) -> None:
        arguments = [str(self.root / "cv"), "--workers", "1", *flags]
        import_cv(parse(Command, arguments, prog="import_cv", description=DESCRIPTION))

    # What happens around them.

    @contextlib.contextmanager
    def killed_at(self, owner: object, name: str, calls: int) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(owner, name, killed_after(self.generator.randint(1, calls), getattr(owner, name)))
            yield

    @contextlib.contextmanager
    def may_be_refused(self, folder: str, nothing_to_load: bool = False) -> Iterator[None]:
        """A step refuses what it would have to replace, and nothing else."""
        there = (name.removeprefix(f"{folder}/") for name in self.foreign if name.startswith(f"{folder}/"))
        blocked = nothing_to_load or not TAKEN[folder] or set(there) & set(TAKEN[folder])
        try:
            yield
        except InputError:
            assert blocked, self.done

    def left_in_the_checkpoint(self) -> None:
        """Somebody puts files down, under names that a run might take next."""
        inside = self.generator.choice([self.checkpoint, *Checkpoint.runs(self.checkpoint)])
        names = ["best_dev-{}.wer.txt", ".x-{}.tmp"]
        if (inside / Checkpoint.LAST).is_file():  # else they would be the checkpoint
            names += ["train-{}.index", "train-{}.data-00000-of-00001"]
        for name in names:
            self.put(inside / name.format(self.generator.randint(10, 40)))

    def left_elsewhere(self) -> None:
        """The same with the names of outputs; in unfinished work they would be taken for its own."""
        folder, names = self.generator.choice(list(TAKEN.items()))
        self.put(self.root / folder / "notes.txt")
        if not any((self.root / folder).glob(".*")):
            self.put(self.root / folder / self.generator.choice(names))

    def put(self, path: Path) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"theirs {path}")
            self.foreign[path.relative_to(self.root).as_posix()] = path.read_bytes()

    def check(self) -> None:
        """What is others' is as it was; everything else is known as a run's or an artifact's."""
        found = files(self.root)
        assert {name: found.get(name) for name in self.foreign} == self.foreign, self.done
        for name in found.keys() - self.foreign.keys():
            path = self.root / name
            if name.startswith(f"{CHECKPOINT}/"):
                record = RunRecord.load(path.parent)
                known = path.name in OWN_FILES or (record and path.name.split(".")[0] in record.bundles)
                assert known or path.name.endswith(".tmp"), (name, self.done)
        if (self.model / ExportedModel.MODEL).is_file() and f"model/{ExportedModel.MODEL}" not in self.foreign:
            ExportedModel.open(self.model)
        sidecar = f"model/{IntermediateRepresentation.MODEL}"
        if sidecar in found and sidecar not in self.foreign:
            IntermediateRepresentation.open(self.model)
        report = f"corpus/{Corpus.REPORT}"
        if report in found and report not in self.foreign:
            assert Corpus.open(self.root / "corpus").manifest("train").clips


def call(main: Callable[..., None], *arguments: str) -> None:
    """A command; InputError instead of its exit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["command", *arguments])
        try:
            main()
        except SystemExit as end:
            if end.code != 2:
                raise
            raise InputError("refused") from end


OPERATIONS = tuple(name for name in vars(Desk) if name.startswith(("train_", "export", "convert", "import_", "left_")))


def play(generator: random.Random, operations: list[str], desk: Desk, release: Path, common_voice: Path) -> None:
    kind = generator.choice(("release", "no state files", "an alphabet", "nothing"))
    desk.checkpoint.mkdir(parents=True)
    shutil.copytree(common_voice, desk.root / "cv")
    if kind in ("release", "no state files"):
        desk.checkpoint.rmdir()
        copy_release(release, desk.checkpoint)
    if kind == "no state files":
        for name in (Checkpoint.LAST, Checkpoint.BEST):
            (desk.checkpoint / name).unlink()
    if kind == "an alphabet":
        Alphabet((" ", "z")).save(desk.checkpoint / ALPHABET)
    (desk.checkpoint / "notes.txt").write_text("theirs")
    desk.foreign = files(desk.root)
    desk.done.append(kind)
    for operation in operations:
        desk.done.append(operation)
        getattr(desk, operation)()
        desk.check()
    if desk.done[-1] in ("train_fresh", "train_in_place", "train_transferred", "train_resumed"):
        assert snapshot(desk.checkpoint, "auto").training_state["run_key"]


@pytest.mark.parametrize("seed", range(2))
def test_everything_in_any_order(seed: int, release: Path, english: Path, common_voice: Path, tmp_path: Path) -> None:
    """Each operation once."""
    generator = random.Random(seed)
    operations = generator.sample(OPERATIONS, len(OPERATIONS))
    play(generator, operations, Desk(tmp_path, english, generator), release, common_voice)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_anything_in_any_order(seed: int, release: Path, english: Path, common_voice: Path, tmp_path: Path) -> None:
    generator = random.Random(seed)
    operations = generator.choices(OPERATIONS, k=24)
    play(generator, operations, Desk(tmp_path, english, generator), release, common_voice)
