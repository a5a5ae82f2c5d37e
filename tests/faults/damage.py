"""Artifacts damaged between steps: bits flipped, files cut short, emptied or gone; what their readers do."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.import_cv.plan.split import split
from components.publish.contents import gather
from components.train.outcome import keep_best
from speech import model_files
from speech.artifacts import Clips, Corpus
from speech.clips.manifest import read_manifest
from speech.errors import InputError
from tests.faults.faulty_store import flipped
from tests.faults.ledger import IDENTICAL, LOST, REFUSED, Ledger, is_clear
from tests.faults.warm import Ended
from tests.faults.work import Work, Workshop, difference_of

PROGRESS = 250  # after so many the table is printed
DAMAGES = ("bit flipped", "bit flipped", "bits flipped", "cut short", "zeros", "emptied", "missing", "exchanged")


@dataclass(frozen=True)
class Reader:
    """A step that reads an artifact; `arguments` have `{in}` for the damaged copy of it and `{out}` for its result."""

    artifact: str
    work: Work

    def of(self, copy: Path) -> Work:
        """The step on a copy of the artifact."""
        arguments = tuple(argument.replace("{in}", str(copy)) for argument in self.work.arguments)
        return replace(self.work, arguments=arguments)


def damage(path: Path, kind: str, other: Path, numbers: np.random.Generator) -> str:
    """Damage a file; `other` is another file of the artifact. Returns what was done."""
    data = path.read_bytes()
    place = float(numbers.random())
    if kind == "missing":
        path.unlink()
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "cut short":
        path.write_bytes(data[: int(len(data) * place)])
    elif kind == "zeros":
        at = int(len(data) * place)
        path.write_bytes(data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :])
    elif kind == "exchanged":
        path.write_bytes(other.read_bytes())
    else:
        for _ in range(1 if kind == "bit flipped" else 8):
            data = flipped(data, float(numbers.random()))
        path.write_bytes(data)
    return f"{path.name}: {kind} at {place}"


def readers(workshop: Workshop) -> list[Reader]:
    """The steps of the DAG by the artifacts that they read."""
    of, works = workshop.of, workshop.works()

    def reading(name: str, artifact: str) -> Reader:
        one = works[name]
        arguments = tuple(argument.replace(str(of(artifact)), "{in}") for argument in one.arguments)
        assert arguments != one.arguments
        return Reader(artifact, Work(name, one.module, arguments, one.result))

    return [
        reading("train", "import"),
        reading("evaluate", "import"),
        reading("freeze", "train"),
        reading("openvino", "freeze"),
        reading("evaluate", "freeze"),
        reading("publish", "freeze"),
        reading("publish", "openvino"),
        reading("publish", "evaluate"),
        reading("publish", "train"),
    ]


def disturb(
    workshop: Workshop, count: int, numbers: np.random.Generator, ledger: Ledger, only: tuple[str, ...] = ()
) -> None:
    """Damage one file of an artifact after the other, `count` times, and have a step read it each time."""
    found = [reader for reader in readers(workshop) if not only or reader.work.name in only]
    with tempfile.TemporaryDirectory(dir=workshop.folder) as folder:
        for reader in found:
            _check_undamaged(workshop, reader, Path(folder))
        for number in range(count):
            reader = found[number % len(found)]
            source, copy, out = workshop.of(reader.artifact), Path(folder, "in"), Path(folder, "out")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(source, copy)
            files = sorted(path for path in copy.rglob("*") if path.is_file())
            path, other = (files[int(numbers.integers(len(files)))] for _ in range(2))
            kind = DAMAGES[int(numbers.integers(len(DAMAGES)))]
            before = path.read_bytes()
            done = damage(path, kind, other, numbers)
            one = reader.of(copy)
            ended = one.run(workshop.steps, out)
            harmless = path.is_file() and path.read_bytes() == before
            outcome, what = ending(one, ended, out, workshop.references[one.name])
            name = f"damaged {reader.artifact}, read by {reader.work.name}"
            ledger.add(name, IDENTICAL if harmless else outcome, f"{done}: {what}")
            if number % PROGRESS == PROGRESS - 1:
                print(f"{number + 1} damaged files\n{ledger}", flush=True)


def doors(workshop: Workshop, folder: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """The artifacts as the pipeline hands them on, each with how its readers open it; what comes of it is compared."""
    of = workshop.of
    corpus, checkpoint = (Path(shutil.copytree(of(name), folder / name)) for name in ("import", "train"))
    keep_best(checkpoint)
    whole = {"model": of("freeze"), "ir": of("openvino"), "evaluation": of("evaluate"), "checkpoint": checkpoint}
    clips = {name: folder / f"clips-{name}" for name in ("train", "dev", "test")}

    def digest(**changed: Path) -> str:
        return gather({**whole, **changed}).digest

    def open_corpus(path: Path) -> object:
        opened = Corpus.open(path)
        opened.check()
        return [list(opened.manifest(name)) for name in ("train", "dev", "test")], opened.alphabet

    def open_checkpoint(path: Path) -> object:
        model = model_files.open(path)
        weights = {name: value.tobytes() for name, value in model.weights.items()}
        digest(checkpoint=path)  # a version may have the other state file, if one is gone: both name the same bundle
        return weights, model.alphabet, model.geometry

    def open_clips(path: Path) -> object:
        opened = Clips.open(path)
        return [list(read_manifest(opened.csv(name))) for name in opened.sets], opened.alphabet

    found: dict[str, tuple[Path, Callable[[Path], object]]] = {
        "corpus": (of("import"), open_corpus),
        "checkpoint": (checkpoint, open_checkpoint),
        "exported model": (of("freeze"), lambda path: digest(model=path)),
        "IR": (of("openvino"), lambda path: digest(ir=path)),
        "evaluation": (of("evaluate"), lambda path: digest(evaluation=path)),
    }
    split(Corpus(corpus), clips, {name: str(path) for name, path in clips.items()})
    return found | {f"clips of {name}": (path, open_clips) for name, path in clips.items()}


def disturb_doors(workshop: Workshop, count: int, numbers: np.random.Generator, ledger: Ledger) -> None:
    """Damage one file of an artifact after the other, and open it each time as its readers do, in this process."""
    with tempfile.TemporaryDirectory(dir=workshop.folder) as folder:
        found = doors(workshop, Path(folder, "whole"))
        references = {name: use(path) for name, (path, use) in found.items()}
        for number in range(count):
            name = list(found)[number % len(found)]
            source, use = found[name]
            copy = Path(folder, f"in-{number}")
            shutil.copytree(source, copy)
            files = sorted(path for path in copy.rglob("*") if path.is_file())
            path, other = (files[int(numbers.integers(len(files)))] for _ in range(2))
            before = path.read_bytes()
            done = damage(path, DAMAGES[int(numbers.integers(len(DAMAGES)))], other, numbers)
            outcome, what = IDENTICAL, ""
            try:
                if use(copy) != references[name] and not _says_the_same(path, before):
                    outcome, what = LOST, "nobody noticed"
            except InputError:
                outcome = REFUSED
            except Exception as error:
                outcome, what = LOST, repr(error)
            ledger.add(f"damaged {name}", outcome, f"number {number}: {done}: {what}")
            shutil.rmtree(copy)


def _says_the_same(path: Path, before: bytes) -> bool:
    """Whether a table of JSON lost no more than the line end behind it."""
    return path.suffix == ".json" and path.is_file() and path.read_bytes().strip() == before.strip()


def _check_undamaged(workshop: Workshop, reader: Reader, folder: Path) -> None:
    """A whole copy has to give the same result, or the comparison says nothing."""
    copy, out = folder / "whole", folder / "of-whole"
    shutil.copytree(workshop.of(reader.artifact), copy)
    one = reader.of(copy)
    ended = one.run(workshop.steps, out)
    outcome, what = ending(one, ended, out, workshop.references[one.name])
    assert outcome == IDENTICAL, f"an undamaged {reader.artifact}, read by {one.name}: {what} {ended.errors[-800:]}"
    shutil.rmtree(copy)
    shutil.rmtree(out)


def ending(one: Work, ended: Ended, out: Path, reference: Any) -> tuple[str, str]:
    """How a step ended with a damaged input, and what is wrong with that."""
    if ended.code == 0:
        difference = difference_of(one, out, reference)
        return (LOST, f"another result: {difference[:600]}") if difference else (IDENTICAL, "")
    if not is_clear(ended.code, ended.errors):
        return LOST, f"exit code {ended.code}: {ended.errors[-1200:]}"
    return REFUSED, ""
