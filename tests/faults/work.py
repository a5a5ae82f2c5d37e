"""The work that faults disturb: a tiny release, the steps on it, and what two results of a step must have in common."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech.artifacts import Checkpoint, Evaluation
from speech.model_files.bundle import Bundle
from speech.storage.files import sha256
from tests.faults.warm import ROOT, Ended, Running, Steps

EXAMPLE = ROOT / "examples" / "cv-corpus-demo" / "en"
ROWS = {"train.tsv": 24, "dev.tsv": 6, "test.tsv": 6}
EPOCHS = 3
STRING = 7  # TensorFlow's number of the type; the only string is where the run stands, with its times
TIMES = ("seconds", "created", "trained", "minutes")  # keys of what is never the same twice


def make_release(folder: Path, rows: dict[str, int] | None = None) -> Path:
    """The first rows of the example corpus, as a release of its own."""
    (folder / "clips").mkdir(parents=True)
    for name, count in (rows or ROWS).items():
        lines = (EXAMPLE / name).read_bytes().split(b"\n")[: count + 1]
        (folder / name).write_bytes(b"\n".join(lines) + b"\n")
        column = lines[0].split(b"\t").index(b"path")
        for clip in (Path("clips", line.split(b"\t")[column].decode()) for line in lines[1:]):
            if (EXAMPLE / clip).is_file():  # there are rows without a file on purpose
                shutil.copyfile(EXAMPLE / clip, folder / clip)
    return folder


def files_of(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def without_times(value: Any) -> Any:
    """A JSON value without what a clock said."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def corpus_in(folder: Path) -> dict[str, Any]:
    """What an import left: the bytes of every file."""
    return dict(files_of(folder))


def checkpoint_in(folder: Path) -> dict[str, Any]:
    """What a training left: the tensors of its newest and best bundles, its history, and which files there are.

    A bundle that was begun twice may have another name, and an interruption leaves one more; state files name them all.
    """
    found: dict[str, Any] = {}
    unnamed = {path.stem for path in folder.glob("*.index")} | {path.stem for path in folder.glob("*.data-*")}
    for state in (Checkpoint.LAST, Checkpoint.BEST):
        text = (folder / state).read_text(encoding="utf-8")
        name = text.split('"')[1]
        unnamed -= set(text.split('"'))
        bundle = Bundle.open(folder / name)
        found[state] = {
            tensor: hashlib.sha256(bundle.tensor(tensor).tobytes()).hexdigest()
            for tensor, entry in sorted(bundle.entries.items())
            if entry.dtype != STRING
        }
    found["unnamed"] = sorted(unnamed)
    history = json.loads((folder / Checkpoint.HISTORY).read_text(encoding="utf-8"))
    found["history"] = without_times({name: value for name, value in history.items() if name != "clips"})  # paths
    parts = (".index", ".data-00000-of-00001")
    found["files"] = sorted(path.name for path in folder.iterdir() if not path.name.endswith(parts))
    for name in ("alphabet.txt", Checkpoint.FLAGS):
        found[name] = sha256(folder / name)
    return found


def scores_in(folder: Path) -> dict[str, Any]:
    """What an evaluation left: the scores, and what was heard in each clip."""
    scores = json.loads((folder / Evaluation.SCORES).read_text(encoding="utf-8"))
    samples = json.loads((folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))
    heard = [(sample["src"], sample["res"], sample["loss"]) for sample in samples]
    return {"heard": heard, **{name: scores[name] for name in ("wer", "cer", "loss", "words", "word_edits")}}


def models_in(folder: Path) -> dict[str, Any]:
    """What an export or a conversion left: the bytes of models and alphabet, and no temporary file.

    The history and the card that is made of it are for people: a checkpoint of others has none.
    """
    files = files_of(folder)
    models = {name: digest for name, digest in files.items() if name.startswith(("output_graph.", "alphabet"))}
    return {**models, "left": sorted(name for name in files if name.startswith("."))}


def versions_in(folder: Path) -> dict[str, Any]:
    """What is published: the files of the versions by their digests, wherever the names have a date."""
    versions = [path for path in folder.iterdir() if (path / "version.json").is_file()]
    left = sorted(path.name for path in folder.rglob(".*"))
    return {"versions": sorted(sha256(path / "SHA256SUMS") for path in versions), "left": left}


@dataclass(frozen=True)
class Work:
    """A step as a command, and how its result is read from the folder that it writes."""

    name: str
    module: str
    arguments: tuple[str, ...]  # `{out}` stands for the folder
    result: Any

    def start(self, steps: Steps, out: Path | str, **more: Any) -> Running:
        """Begin it."""
        return steps.start(self.module, *(argument.replace("{out}", str(out)) for argument in self.arguments), **more)

    def run(self, steps: Steps, out: Path | str, **more: Any) -> Ended:
        """Do it."""
        return self.start(steps, out, **more).wait()


def work(name: str, module: str, result: Any, *arguments: object) -> Work:
    """A work of a step of the project."""
    return Work(name, f"components.{module}", tuple(map(str, arguments)), result)


class Workshop:
    """The undisturbed artifacts of a release, one made of the other, in one folder."""

    def __init__(self, folder: Path, steps: Steps) -> None:
        self.folder, self.steps = folder, steps
        self.release = make_release(folder / "release")
        self.references: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}

    def of(self, name: str) -> Path:
        """Where an artifact is."""
        return self.folder / name

    def works(self) -> dict[str, Work]:
        """Every step's work, in the order of the DAG."""
        of = self.of
        model, test = of("freeze"), of("import") / "test.csv"
        made: Sequence[Work] = (
            work("import", "import_cv", corpus_in, self.release, "--corpus_dir", "{out}", "--workers", 2),
            work(
                "train", "train", checkpoint_in, "--corpus", of("import"), "--checkpoint_dir", "{out}",
                "--n_hidden", 16, "--epochs", EPOCHS, "--train_batch_size", 4, "--recipe", "peers",
                "--checkpoint_secs", 1,
            ),
            work("freeze", "export", models_in, "--checkpoint_dir", of("train"), "--export_dir", "{out}"),
            work("openvino", "convert_openvino", models_in, "--input_model", model, "--output_dir", "{out}"),
            work(
                "evaluate", "evaluate", scores_in, "--model", model, "--test_files", test, "--evaluation", "{out}",
                "--beam_width", 8,
            ),
            work(
                "publish", "publish", versions_in, "--model", model, "--ir", of("openvino"), "--evaluation",
                of("evaluate"), "--checkpoint", of("train"), "--publish_uri", "{out}", "--min_test_clips", 1,
            ),
        )  # fmt: skip
        return {one.name: one for one in made}

    def make(self, *names: str) -> None:
        """Do the works, undisturbed, and remember how they ended."""
        for name in names:
            if name not in self.references:
                one = self.works()[name]
                ended = one.run(self.steps, self.of(name))
                assert ended.code == 0, f"{name} undisturbed: {ended.code}: {ended.errors}"
                self.references[name] = one.result(self.of(name))
                self.seconds[name] = ended.seconds


def difference_of(one: Work, out: Path, reference: Any) -> str:
    """In what a result is not the undisturbed one; empty if in nothing."""
    try:
        found = one.result(out)
    except Exception as error:  # whatever is missing or torn
        return f"unreadable: {error!r}"
    names = sorted({*found, *reference}, key=str)
    return "; ".join(
        f"{name}: {str(found.get(name))[:300]} instead of {str(reference.get(name))[:300]}"
        for name in names
        if found.get(name) != reference.get(name)
    )
