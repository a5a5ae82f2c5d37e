"""What is measured: a model file of any format, with its geometry, its alphabet, and the ways to run it."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from components.evaluate.settings import EvaluateSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, ExportedModel, IntermediateRepresentation, read_alphabet
from speech.errors import InputError
from speech.extras import require
from speech.geometry import Geometry
from speech.model_files.variables import weight_shapes
from speech.storage.files import sha256

# In this order if a folder holds several: what native clients load first.
FORMATS = (
    ExportedModel.FROZEN,
    ExportedModel.MAPPED,
    ExportedModel.TFLITE,
    IntermediateRepresentation.XML,
)

USUAL_BEAM_WIDTH = 500  # of the clients, and of the peers' evaluation


class Runtime(Protocol):
    """Something that turns clips into emissions."""

    def emissions(self, clips: list[np.ndarray]) -> list[np.ndarray]:
        """int16 samples `[N]` of each clip -> probabilities `[T, n_classes]` of each, blank last."""
        ...


@dataclass(frozen=True)
class Subject:
    """A model file under measurement."""

    path: Path
    kind: str
    geometry: Geometry
    alphabet: Alphabet
    sha256: str
    runtime: Callable[[], Runtime]  # the file itself, in its own runtime
    beam_width: int = USUAL_BEAM_WIDTH  # of the clients' search
    # Its weights, float32 by DeepSpeech's variable names, where they say all about it; to be run in batches.
    weights: Callable[[], Mapping[str, np.ndarray] | None] | None = None


class OneByOne:
    """A runtime that takes one clip at a time."""

    def __init__(self, emissions: Callable[[np.ndarray], np.ndarray]) -> None:
        self._emissions = emissions

    def emissions(self, clips: list[np.ndarray]) -> list[np.ndarray]:
        """See `Runtime`."""
        return [self._emissions(clip) for clip in clips]


def open_subject(settings: EvaluateSettings, model: Path) -> Subject:
    """Open a model file, or the first known one of a folder; raises InputError if it is incomplete or unknown."""
    if not model.exists():
        raise InputError(
            f"{model}: no such model: expected a folder of `{ExportedModel.MAKER}`, `{Checkpoint.MAKER}` or "
            f"`{IntermediateRepresentation.MAKER}`, or a file: {', '.join(OPENERS)}"
        )
    if model.is_dir():
        return _open_folder(settings, model)
    if model.suffix not in OPENERS:
        raise InputError(f"{model}: unknown model format: expected {', '.join(OPENERS)}")
    if model.suffix != ".xml":
        require("evaluate", modules=("tensorflow",))
    return OPENERS[model.suffix](settings, model)


def _open_folder(settings: EvaluateSettings, folder: Path) -> Subject:
    names = [name for name in FORMATS if (folder / name).is_file()]
    if not names and Checkpoint.is_in(folder):
        return _checkpoint(settings, folder)
    if not names:
        raise InputError(f"{folder}: no model in it: expected one of {', '.join(FORMATS)}, or a checkpoint")
    if names[0] != IntermediateRepresentation.XML and (folder / ExportedModel.MODEL).is_file():
        ExportedModel.open(folder)  # compares the sizes of the files with the sidecar; that of an IR is looked at below
    return open_subject(settings, folder / names[0])


def _frozen(settings: EvaluateSettings, path: Path) -> Subject:
    from speech.model_files.graph_facts import read_facts, read_weights
    from speech.model_files.memmapped_file import open_graph

    graph = open_graph(path)
    facts = read_facts(graph)
    _check_alphabets(settings, path, facts.geometry, facts.alphabet)

    def runtime() -> Runtime:
        from speech.nn.runners.frozen import FrozenModel

        return OneByOne(FrozenModel(graph).emissions)

    def weights() -> Mapping[str, np.ndarray] | None:
        found = read_weights(graph)
        return found if all(name in found for name in weight_shapes(facts.geometry)) else None

    kind = "frozen graph" if path.suffix == ".pb" else "memory-mapped graph"
    beam_width = USUAL_BEAM_WIDTH
    if "metadata_beam_width" in graph.nodes:
        beam_width = int(graph.constant("metadata_beam_width").item())
    return Subject(path, kind, facts.geometry, facts.alphabet, sha256(path), runtime, beam_width, weights)


def _tflite(settings: EvaluateSettings, path: Path) -> Subject:
    from speech.nn.runners.tflite_model import TFLiteModel

    model = TFLiteModel(path)
    _check_alphabets(settings, path, model.geometry, model.alphabet)
    digest, beam_width = sha256(path), _sidecar_beam_width(path)
    return Subject(path, "TFLite", model.geometry, model.alphabet, digest, lambda: model, beam_width, model.weights)


def _openvino(settings: EvaluateSettings, path: Path) -> Subject:
    require("evaluate", modules=("openvino",))
    from components.evaluate.model.openvino_runtime import OpenVinoModel, sizes

    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise InputError(f"{weights}: no such file: expected the weights beside {path.name}")
    if IntermediateRepresentation.sidecar_in(path.parent) is not None:
        geometry = IntermediateRepresentation.open(path.parent).geometry
    else:
        n_hidden, n_classes, window_frames, n_input = sizes(path)
        geometry = Geometry(n_hidden, n_classes - 1, n_context=window_frames // 2, n_input=n_input)
    alphabet = _given_alphabet(settings, path, geometry)
    digest = hashlib.sha256(f"{sha256(path)}{sha256(weights)}".encode("ascii")).hexdigest()
    beam_width = _sidecar_beam_width(path)
    return Subject(path, "OpenVINO IR", geometry, alphabet, digest, lambda: OpenVinoModel(path, geometry), beam_width)


def _sidecar_beam_width(path: Path) -> int:
    """What the sidecar beside a model records, if there is one."""
    if not (path.parent / ExportedModel.MODEL).is_file():
        return USUAL_BEAM_WIDTH
    return int(ExportedModel(path.parent).sidecar.get("beam_width", USUAL_BEAM_WIDTH))


def _checkpoint(settings: EvaluateSettings, folder: Path) -> Subject:
    require("evaluate", modules=("tensorflow",))
    from speech.nn import snapshots

    bundle, problems = snapshots.load_first(snapshots.find(folder, settings.load_evaluate))
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    path = Path(f"{bundle.prefix}.data-00000-of-00001")
    alphabet = None
    if not settings.alphabet_config_path and not settings.bytes_output_mode:
        alphabet = snapshots.find_alphabet(bundle.prefix, bundle.geometry)
    alphabet = alphabet or _given_alphabet(settings, path, bundle.geometry)

    def runtime() -> Runtime:
        from speech.nn.runners.checkpoint_model import BatchedModel

        return BatchedModel(bundle.geometry, bundle.weights)

    return Subject(path, "checkpoint", bundle.geometry, alphabet, sha256(path), runtime)


OPENERS: dict[str, Callable[[EvaluateSettings, Path], Subject]] = {
    ".pb": _frozen,
    ".pbmm": _frozen,
    ".tflite": _tflite,
    ".xml": _openvino,
}


def _given_alphabet(settings: EvaluateSettings, path: Path, geometry: Geometry) -> Alphabet:
    """The alphabet of a model that carries none: the one of the flags, or the file beside it."""
    if settings.bytes_output_mode:
        alphabet = Alphabet.bytes_output_mode()
    elif settings.alphabet_config_path:
        alphabet = Alphabet.load(settings.alphabet_config_path)
    elif (path.parent / ALPHABET).is_file():
        return read_alphabet(path.parent, geometry)
    else:
        raise InputError(f"{path}: no {ALPHABET} beside it: give --alphabet_config_path or --bytes_output_mode")
    if len(alphabet) != geometry.n_labels:
        where = settings.alphabet_config_path or "--bytes_output_mode"
        raise InputError(f"{where}: {len(alphabet)} symbols, but {path} has {geometry.n_labels} labels and the blank")
    return alphabet


def _check_alphabets(settings: EvaluateSettings, path: Path, geometry: Geometry, alphabet: Alphabet) -> None:
    """The alphabet of the flags and the one beside a model must say what the model itself says."""
    if settings.alphabet_config_path and _given_alphabet(settings, path, geometry) != alphabet:
        raise InputError(
            f"{settings.alphabet_config_path}: its symbols differ from those inside {path}: leave the flag out, the "
            "model carries its alphabet"
        )
    beside = path.parent / ALPHABET
    if beside.is_file() and read_alphabet(path.parent, geometry) != alphabet:
        raise InputError(f"{beside}: its symbols differ from those inside {path.name}: export the model again")
