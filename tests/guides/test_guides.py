"""The guides that users come with, taken at their word: their commands, in order, in a fresh folder.

The commands are those of `commands.json`, which `extract.py` reads from the guides' texts. They are run by the
stand-ins that users may have as well. What is changed about them is in SHORTER, what a command is replaced by in
COUNTERPARTS, with the reason; any other command that nothing here stands in for fails the test.
"""

import hashlib
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from components.convert_openvino.__main__ import OpenVinoCommand
from components.export.memmapped import main as memmapped
from components.import_cv.__main__ import Command as ImportCommand
from components.train.__main__ import ALIASES, REFUSED, RETIRED, TrainCommand
from components.train.peers import afterwards, stand_ins
from speech.artifacts import Evaluation, ExportedModel
from speech.ir.runner import core
from speech.nn import snapshots
from tests.fixtures.release_checkpoint import copy_release, make_release
from tests.fixtures.tones import texts, write_csv
from tests.guides.extract import RECORDED, REPOSITORY, extract

N_HIDDEN = 16
COQUI, DEEPSPEECH, OPENVINO = GUIDES = list(json.loads(RECORDED.read_text(encoding="utf-8")))
LEFT_OUT = REPOSITORY / "components" / "train" / "peers" / "README.md"

# What makes the commands fit for a test: the width of the fixture's release, few and short epochs, a width for the
# trainings from scratch (which the checkpoints must not contradict), and no folder at the root of this machine.
SHORTER = {r"\b2048\b": str(N_HIDDEN), r"(?<![\w.])/path/to/": "path/to/"}
SHORT_TRAINING = ("--train_batch_size", "4", "--skip_batch_test", "--limit_test", "2", "--show_progressbar", "false")
ONE_EPOCH = ("--epochs", "1")


def released(folder: Path, release: Path) -> None:
    """The archives that the guide fetches: DeepSpeech's code and its checkpoint."""
    stand_ins.write(folder / "DeepSpeech-0.8.2")
    copy_release(release, folder / "deepspeech-0.8.2-checkpoint")


def cloned(folder: Path, _release: Path) -> None:
    stand_ins.write(folder / "DeepSpeech")


# Commands that get the machine ready: what is done instead (None: nothing in a test), and why.
COUNTERPARTS: dict[str, tuple[Callable[[Path, Path], None] | None, str]] = {
    r"git clone \S+/mozilla/DeepSpeech": (cloned, "`python -m components.train.peers --folder DeepSpeech`"),
    r"wget .*deepspeech-0\.8\.2-checkpoint.*": (released, "a checkpoint of the same form, made here"),
    r"python3 -m venv \S+|virtualenv .*|source \S+/bin/activate": (None, "`make setup` makes the environment"),
    r"pip3 install -e \.|pip3 (un)?install '?tensorflow\S*": (None, "`make setup`, or a lock of requirements/"),
    r"sudo apt-get install python3-dev": (None, "no package is compiled when the environment is made"),
    r"pip3 install \$\(python3 util/taskcluster.py --decoder\)": (None, "the decoder is part of the project"),
    r"python3 util/taskcluster.py --source tensorflow .*": (None, "the converter is part of the project"),
    r"\./bin/run-ldc93s1\.sh": (
        None,
        "`make demo` is the first example; this one fetches a recording that is not free",
    ),
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the form of a release, without an alphabet, in English."""
    return make_release(tmp_path_factory.mktemp("released") / "release", n_hidden=N_HIDDEN, epochs=2)


class Shell:
    """Runs a guide's commands: steps that load TensorFlow in this process, the others as the programs they are."""

    def __init__(self, folder: Path, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release, self.ran, self._patch = release, [], monkeypatch
        programs = folder / "programs"
        stand_ins.write(programs)
        monkeypatch.setenv("HOME", str(folder / "home"))
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setattr(afterwards, "run_step", lambda command: in_this_process(command[1], command[2:]))
        (folder / "desk").mkdir()
        monkeypatch.chdir(folder / "desk")

    def run(self, command: str) -> None:
        """Run a command of a guide, or what stands for it; fails the test where there is neither."""
        self.ran.append(command)
        for pattern, (action, _) in COUNTERPARTS.items():
            if re.fullmatch(pattern, command):
                return action(Path.cwd(), self.release) if action else None
        for pattern, text in SHORTER.items():
            command = re.sub(pattern, text, command)
        words = [os.path.expandvars(word) for word in shlex.split(command)]
        if words[0] == "cd":
            return self._patch.chdir(words[1])
        if words[0] == "mkdir":
            return Path(words[1]).mkdir()
        return self._program(words)

    def _program(self, words: Sequence[str]) -> None:
        if words[0] in ("python", "python3"):
            words = words[2:] if words[1] == "-m" else [f"./{words[1]}", *words[2:]]
        name, *arguments = words
        module = stand_ins.MODULES.get(name) or stand_ins.PROGRAMS.get(name.removeprefix("./"))
        if module is None:
            pytest.fail(f"no counterpart for: {' '.join(words)}")
        assert name in stand_ins.MODULES or shutil.which(name), f"{name} is not in the folder of the stand-ins"
        if module == "components.train":
            trains = "--train_files" in arguments
            short = [*SHORT_TRAINING, *([] if "--epochs" in arguments else ONE_EPOCH)] if trains else []
            width = (
                [] if "--checkpoint_dir" in arguments or name in stand_ins.MODULES else ["--n_hidden", str(N_HIDDEN)]
            )
            in_this_process(module, [*arguments, *short, *width] if trains else arguments)
        else:
            subprocess.run([name, *arguments], check=True)


def in_this_process(module: str, arguments: Sequence[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [module, *arguments])
        code = None
        try:
            importlib.import_module(f"{module}.__main__").main()
        except SystemExit as ended:
            code = ended.code
        assert not code, f"{module} {' '.join(arguments)} ended with {code}"


def contents(folder: Path, pattern: str = "*") -> dict[str, str]:
    """The files of a folder and what is in them."""
    files = (path for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def guide(name: str) -> dict[str, list]:
    return json.loads(RECORDED.read_text(encoding="utf-8"))[name]


@pytest.mark.skipif(not extract(), reason="the guides' texts (shared/seeds) are not beside this checkout")
def test_the_recorded_commands_are_those_of_the_texts() -> None:
    assert extract() == json.loads(RECORDED.read_text(encoding="utf-8")), "run `python -m tests.guides.extract`"


def test_bootstrapping_from_a_model(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path, release, monkeypatch)
    base, source = (Path(f"path/to/{name}/folder") for name in ("checkpoint", "input-checkpoint"))
    copy_release(release, base)
    copy_release(release, source)
    for name in ("my-train", "my-dev", "my_test"):
        write_csv(Path(), name, texts(4, 1))
    for name in ("train", "dev", "test"):
        write_csv(Path(), f"my-new-language-{name}", ["ab", "ba", "aab"])
    Path("my-alphabet.txt").write_text(" \na\nb\n", encoding="utf-8")
    fine_tuning, transfer = guide(COQUI)["blocks"]

    shell.run(*fine_tuning)
    check_fine_tuned(release, base)

    shell.run(*transfer)
    assert contents(source) == contents(release)
    made = newest(Path("path/to/output-checkpoint/folder"))
    assert made.geometry.n_labels == 3
    assert Evaluation.open("path/to/output-checkpoint/folder/evaluation").scores


def check_fine_tuned(release: Path, folder: Path) -> None:
    """A newer checkpoint is there, tested; the release's own files are what they were."""
    assert contents(release).items() <= contents(folder).items()
    made = newest(folder)
    assert made.global_step > newest(release).global_step
    assert made.geometry == newest(release).geometry
    assert Evaluation.open(folder / "evaluation").scores


def newest(folder: Path) -> snapshots.Snapshot:
    return snapshots.load(snapshots.find(folder, "last")[0])


def test_training_your_own_model(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path, release, monkeypatch)
    checkout = Path.cwd() / "DeepSpeech"
    for block in guide(DEEPSPEECH)["blocks"]:
        for command in block:
            if command.startswith("bin/import_cv2.py"):
                unpack_common_voice(checkout)
            elif "./train.csv" in command:
                for name in ("train", "dev", "test"):
                    write_csv(Path(), name, texts(4, 1))
            elif command.startswith("convert_graphdef"):
                # "specifying the same checkpoint_dir that you used for training, as well as passing ..."
                same = "$HOME/.local/share/speechmill/checkpoints"
                shell.run(f"./DeepSpeech.py --checkpoint_dir {same} --export_tflite --export_dir /path/to/destination")
                shell.run("cd path/to/destination")
            elif command == "mkdir fine_tuning_checkpoints":
                shell.run(f"cd {checkout}")
                copy_release(release, Path("path/to/checkpoint/folder"))
                for name in ("my-train", "my-dev", "my_dev"):
                    write_csv(Path(), name, texts(4, 1))
            capfd.readouterr()
            shell.run(command)
            output = capfd.readouterr()
            if command.startswith("bin/import_cv2.py"):
                assert {"train.csv", "dev.csv", "test.csv"} <= {
                    path.name for path in Path("../data/CV/en/clips").iterdir()
                }
            elif "--helpfull" in command:
                assert "--drop_source_layers" in output.out
            elif command.startswith("convert_graphdef"):
                assert re.search(r"[1-9]\d* nodes", output.out + output.err)
                assert {"output_graph.pb", "output_graph.tflite"} <= set(ExportedModel.open(".").sidecar["files"])
    assert Path("path/to/destination/output_graph.pbmm").is_file()
    check_fine_tuned(release, Path("path/to/checkpoint/folder"))
    assert newest(Path(os.environ["HOME"], ".local/share/speechmill/checkpoints")).geometry.n_hidden == N_HIDDEN


def unpack_common_voice(checkout: Path) -> None:
    """Some clips of the example corpus where the guide has Common Voice's English, under both of its paths."""
    corpus, example = checkout.parent / "data/CV/en", REPOSITORY / "examples/cv-corpus-demo/en"
    (corpus / "clips").mkdir(parents=True)
    for name, rows in (("train", 8), ("dev", 2), ("test", 2)):
        lines = (example / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[: rows + 1]
        (corpus / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for clip in (example / "clips" / line.split("\t")[1] for line in lines[1:]):
            if clip.is_file():  # the example has its faults, on purpose
                shutil.copy(clip, corpus / "clips")
    (checkout / "path/to/extracted/language").mkdir(parents=True)
    (checkout / "path/to/extracted/language/archive").symlink_to(corpus)
    (checkout / "path/to/some").mkdir()
    shutil.copy(checkout / stand_ins.DEFAULT_ALPHABET_PATH, checkout / "path/to/some/alphabet.txt")


def test_converting_a_model_for_openvino(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path, release, monkeypatch)
    for block in guide(OPENVINO)["blocks"]:
        for command in block:
            if command.startswith("mo "):
                assert Path("../output_graph.pb").is_file()
                shell.run("cd ..")  # "in the directory deepspeech created at the beginning"
            shell.run(command)
    assert contents(Path("deepspeech-0.8.2-checkpoint")) == contents(release)
    network = core().read_model("output_graph.xml")
    assert str(network.input("input_node").get_partial_shape()) == "[1,16,19,26]"
    shapes = [str(output.get_partial_shape()) for output in network.outputs]
    assert shapes == [f"[1,{N_HIDDEN}]", f"[1,{N_HIDDEN}]", "[16,1,29]"]
    assert ExportedModel.open(".").file("output_graph.pb").is_file(), "the export is still one"


def flags_of(settings: type, *more: str) -> set[str]:
    names = {*settings.__dataclass_fields__, *more}
    return names | {f"no{name}" for name in names}


@pytest.mark.parametrize("name", GUIDES)
def test_every_flag_of_a_guide_is_taken_or_left_out_for_a_reason(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        memmapped(["--help"])
    taken = flags_of(TrainCommand, *RETIRED, *ALIASES, "helpfull") | flags_of(ImportCommand) | flags_of(OpenVinoCommand)
    taken |= set(re.findall(r"--(\w+)", capsys.readouterr().out))
    left_out = set(
        re.findall(r"`--(\w+)", LEFT_OUT.read_text(encoding="utf-8").split("## What is deliberately not")[1])
    )
    assert set(guide(name)["flags"]) <= taken | left_out


def test_flags_that_are_refused_or_do_nothing_are_in_the_table() -> None:
    table = LEFT_OUT.read_text(encoding="utf-8").split("## What is deliberately not taken over")[1]
    assert {*REFUSED, *RETIRED, "mean_values", "saved_model_dir", "include"} <= set(re.findall(r"`--(\w+)", table))
