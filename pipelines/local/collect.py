"""Put the artifacts of a local run where a person looks for them: one folder with plain names.

The files are hard links to the run's own artifacts, so this costs neither time nor space.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.local.step_cache import Outputs
from speech.artifacts import Clips, Corpus, ExportedModel, ExternalScorer, write_sidecar
from speech.storage.files import replace_folder

CORPUS, CHECKPOINT, MODEL, OPENVINO, PUBLISHED = "corpus", "checkpoint", "model", "openvino", "published"
SCORER = "scorer"
CORPUS_OUTPUTS = ("corpus", "train_clips", "dev_clips", "test_clips")
REPORT = "report.html"
SUMMARY = "summary.json"
RUNS = ".runs"  # kfp's folders and the cache


def collect(outputs: Mapping[str, Outputs], folder: Path) -> None:
    """Bring corpus, checkpoint, model, IR, published version and report of a run's steps into `folder`."""
    _place_corpus([_path(outputs, "import_cv", name) for name in CORPUS_OUTPUTS], folder / CORPUS)
    _place(_path(outputs, "train", "checkpoint"), folder / CHECKPOINT)
    formats = (("convert_tflite", "tflite"), ("convert_mmap", "mapped"), ("freeze", "model"))
    _place_model([_path(outputs, *output) for output in formats], folder / MODEL)
    _place(_path(outputs, "convert_openvino", "ir"), folder / OPENVINO)
    scorer = _path(outputs, "evaluate", "tuned_scorer")
    if ExternalScorer.find(scorer) is not None:
        _place(scorer, folder / SCORER)
    elif (folder / SCORER).is_dir():  # of an earlier run
        shutil.rmtree(folder / SCORER)
    published = _path(outputs, "publish", "published")
    for version in published.iterdir():
        if version.is_dir():  # without publish_uri the artifact holds the version itself
            _place(version, folder / PUBLISHED / version.name)
    _link(_path(outputs, "evaluate", "report"), folder / REPORT)


def _path(outputs: Mapping[str, Outputs], step: str, name: str) -> Path:
    return Path(outputs[step][name].path)


def files(folder: Path) -> Iterator[Path]:
    """The files below a folder, in order."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _place(source: Path, target: Path) -> None:
    with _staged(target) as staging:
        _link_tree(source, staging)
        replace_folder(staging, target)


def _place_corpus(parts: Sequence[Path], target: Path) -> None:
    """One corpus of its tables and of the clips, which are artifacts of their own."""
    with _staged(target) as staging:
        for part in parts:
            _link_tree(part, staging)
        for name in (Corpus.PLACES, Clips.SETS):
            (staging / name).unlink(missing_ok=True)
        replace_folder(staging, target)


def _place_model(formats: Sequence[Path], target: Path) -> None:
    """One exported model of several: all formats, and the last one's sidecar, which describes all of them."""
    with _staged(target) as staging:
        for folder in formats:
            _link_tree(folder, staging)
        (staging / ExportedModel.MODEL).unlink()
        sidecars = [ExportedModel.open(folder).sidecar for folder in formats]
        merged = {name: recorded for sidecar in sidecars for name, recorded in sidecar["files"].items()}
        write_sidecar(staging, ExportedModel.MODEL, {**sidecars[-1], "files": merged})
        replace_folder(staging, target)


class _staged(tempfile.TemporaryDirectory[str]):
    """A temporary folder beside `target`; whatever of it was not moved away is removed."""

    def __init__(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(prefix=f".{target.name}.", dir=target.parent)

    def __enter__(self) -> Path:  # type: ignore[override]
        folder = Path(super().__enter__(), "new")
        folder.mkdir()
        return folder


def _link_tree(source: Path, target: Path) -> None:
    for path in files(source):
        _link(path, target / path.relative_to(source))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
