"""What a published version consists of: which file of which artifact goes where."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.publish.evidence import check_measured, check_samples, check_scores, headline
from speech.artifacts import (
    ALPHABET,
    Checkpoint,
    Evaluation,
    ExportedModel,
    ExternalScorer,
    IntermediateRepresentation,
)
from speech.errors import InputError
from speech.model_files.bundle import Bundle
from speech.model_files.checkpoints import find, geometry_of, sidecar, state_text
from speech.storage.checked_files import check_files, sealed
from speech.storage.files import sha256

OPENVINO = "openvino"  # the IR's folder inside a version: its file names collide with the exported model's
MODEL_SUFFIXES = (".pb", ".pbmm", ".tflite", ".onnx")
CHECKPOINT = "checkpoint"  # the folder of the best checkpoint, which the next training starts from


@dataclass(frozen=True)
class File:
    """One file of a version: where it comes from, and what it must hold."""

    source: Path
    sha256: str
    size_bytes: int


@dataclass
class Contents:
    """The files of a version by their name in it, and the facts for `version.json`."""

    files: dict[str, File] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)  # the merged sidecar: the version is an ExportedModel, too
    scores: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # files that are made here

    @property
    def sidecar(self) -> str:
        """The text of the version's own `model.json`."""
        return to_json(sealed(self.model))

    @property
    def sums(self) -> str:
        """The text of SHA256SUMS: every file but itself and `version.json`."""
        digests = {name: file.sha256 for name, file in self.files.items()}
        for name, text in {**self.texts, ExportedModel.MODEL: self.sidecar}.items():
            digests[name] = hashlib.sha256(text.encode("utf-8")).hexdigest()
        return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))

    @property
    def digest(self) -> str:
        """The SHA-256 that identifies the version: the same files have the same one."""
        return hashlib.sha256(self.sums.encode("utf-8")).hexdigest()


def to_json(value: dict[str, Any]) -> str:
    """The text of a JSON file of a version."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def gather(artifacts: Mapping[str, Path]) -> Contents:
    """Collect and check the files of a version from the steps' artifact folders.

    `artifacts` maps `model` (needed) and `mapped`, `tflite`, `ir`, `card`, `evaluation`, `scorer`, `checkpoint` (each
    optional) to folders. Raises InputError if a file differs from what its sidecar records, or if the artifacts are not
    of one model.
    """
    contents = Contents()
    model = ExportedModel.open(artifacts["model"])
    if not any(Path(name).suffix in MODEL_SUFFIXES for name in model.sidecar.get("files", {})):
        raise InputError(f"{model.folder}: no model in it ({', '.join(MODEL_SUFFIXES)}): export it again")
    contents.model = {name: value for name, value in model.sidecar.items() if name != "also"} | {"files": {}}
    _add_exported(contents, model, artifacts["model"])
    for name in ("mapped", "tflite"):
        if name in artifacts:
            other = ExportedModel.open(artifacts[name])
            _check_same_model(model, other)
            _add_exported(contents, other, artifacts[name])
    for path in sorted(artifacts["card"].iterdir()) if "card" in artifacts else ():
        _add(contents, path.name, path)
    if "ir" in artifacts:
        representation = IntermediateRepresentation.open(artifacts["ir"])
        _check_same_model(model, representation)
        for name, recorded in representation.sidecar.get("files", {}).items():
            _add(contents, f"{OPENVINO}/{name}", representation.folder / name, recorded["sha256"])
        _add(contents, f"{OPENVINO}/{ALPHABET}", representation.folder / ALPHABET)
        _add(contents, f"{OPENVINO}/{IntermediateRepresentation.MODEL}", representation.sidecar_path)
    if "evaluation" in artifacts:
        evaluation = Evaluation.open(artifacts["evaluation"])
        contents.scores = evaluation.scores
        rate = headline(evaluation.scores, str(evaluation.folder / Evaluation.SCORES))
        rows = check_samples(_read_json(evaluation.folder / Evaluation.SAMPLES), str(evaluation.folder), rate)
        check_scores(evaluation.scores, rows, str(evaluation.folder))
        for name in (Evaluation.SCORES, Evaluation.SAMPLES, Evaluation.HTML_REPORT):
            _add(contents, name, evaluation.folder / name)
    if "scorer" in artifacts and (scorer := ExternalScorer.find(artifacts["scorer"])) is not None:
        recorded = scorer.description["files"][ExternalScorer.SCORER]["sha256"]
        _add(contents, ExternalScorer.SCORER, scorer.path, recorded)
        _add(contents, ExternalScorer.MODEL, scorer.folder / ExternalScorer.MODEL)
    if "checkpoint" in artifacts:
        _add_checkpoint(contents, model, artifacts["checkpoint"])
    if "evaluation" in artifacts:
        digests = {name: file.sha256 for name, file in contents.files.items()}
        check_measured(contents.scores, digests, str(artifacts["evaluation"] / Evaluation.SCORES))
    return contents


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}: evaluate the model again") from error


def _add_checkpoint(contents: Contents, model: ExportedModel, folder: Path) -> None:
    """The best bundle alone (the newest if none is the best), with the state file and the sidecars that go with it.

    Raises InputError if it is damaged, or of another model: the next training would start from it.
    """
    checkpoint = Checkpoint.open(folder)
    bundle = Path(find(checkpoint.folder)[0])
    opened = Bundle.open(bundle)
    opened.check()
    if (geometry := geometry_of(opened.prefix, opened.shapes)) != model.geometry:
        raise InputError(
            f"{bundle} is not the checkpoint of the model in {model.folder}: its geometry is {geometry}, the model's "
            f"{model.geometry}"
        )
    record = checkpoint.folder / Checkpoint.MODEL
    check_files(record, sidecar(record))
    for path in sorted(bundle.parent.glob(f"{bundle.name}.*")):
        _add(contents, f"{CHECKPOINT}/{path.name}", path)
    best = checkpoint.folder / Checkpoint.BEST
    contents.texts[f"{CHECKPOINT}/{Checkpoint.BEST if best.is_file() else Checkpoint.LAST}"] = state_text([bundle.name])
    for name in (ALPHABET, Checkpoint.MODEL, Checkpoint.FLAGS):
        _add(contents, f"{CHECKPOINT}/{name}", checkpoint.folder / name)


def _add_exported(contents: Contents, model: ExportedModel, folder: Path) -> None:
    for name, recorded in model.sidecar["files"].items():
        _add(contents, name, folder / name, recorded["sha256"])
        contents.model["files"][name] = {key: value for key, value in recorded.items() if key != "found"}
    _add(contents, ALPHABET, folder / ALPHABET)


def _add(contents: Contents, name: str, path: Path, recorded: str = "") -> None:
    if not path.is_file():
        return
    digest = sha256(path)
    if recorded and digest != recorded:
        raise InputError(f"{path} is damaged: its sidecar records another sha256; make the artifact again")
    contents.files[name] = File(path, digest, path.stat().st_size)


def _check_same_model(model: ExportedModel, other: ExportedModel | IntermediateRepresentation) -> None:
    if other.geometry != model.geometry or other.alphabet != model.alphabet:
        raise InputError(
            f"{other.folder} and {model.folder} are not of one model (their geometries or alphabets differ): "
            "convert this model again before publishing it"
        )
