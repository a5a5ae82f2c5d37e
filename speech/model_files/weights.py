"""The weights of a DeepSpeech model and what describes them, taken out of whatever file holds them. No TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, ExportedModel
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files import checkpoints, memmapped_file, tflite_weights
from speech.model_files.graph_facts import read_facts, read_weights
from speech.model_files.graphdef import is_memmapped, map_file
from speech.model_files.variables import weight_shapes

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SourceModel:
    """A model as it came: float32 weights by DeepSpeech's variable names, geometry and alphabet."""

    weights: Mapping[str, Array]
    geometry: Geometry
    alphabet: Alphabet
    origin: str  # what it was read from


def load(path: Path, alphabet_path: str = "") -> SourceModel:
    """Read the model in a file, or in the folder of an exported model or a checkpoint.

    `alphabet_path` replaces the alphabet that the model carries. Raises InputError in one line for anything that is
    not a DeepSpeech acoustic model with float weights.
    """
    given = Alphabet.load(alphabet_path) if alphabet_path else None
    path = _locate(path)
    if path.is_dir():
        return _from_checkpoint(path, checkpoints.find(path), given)
    if path.suffix == ".index" or (not path.exists() and path.with_name(f"{path.name}.index").is_file()):
        return _from_checkpoint(path, [str(path).removesuffix(".index")], given)
    if tflite_weights.is_tflite(map_file(path)):
        model = tflite_weights.read(path)
        return check(SourceModel(model.weights, model.geometry, given or model.alphabet, path.name), path)
    _check_name(path)
    graph = memmapped_file.open_graph(path)
    facts = read_facts(graph)
    return check(SourceModel(read_weights(graph), facts.geometry, given or facts.alphabet, path.name), path)


def _locate(path: Path) -> Path:
    """The graph in an exported model's folder; any other path as it is."""
    graphs = (ExportedModel.FROZEN, ExportedModel.MAPPED, ExportedModel.TFLITE)
    return next((path / name for name in graphs if (path / name).is_file()), path)


def _check_name(path: Path) -> None:
    """A graph whose name says the other kind is refused: native clients go by the name and would not load it."""
    mapped = is_memmapped(map_file(path))
    if mapped and path.suffix == ".pb":
        raise InputError(f"{path}: a memory-mapped graph under a plain graph's name: call it .pbmm")
    if not mapped and path.suffix == ".pbmm":
        raise InputError(f"{path}: not memory-mapped, or cut short: a plain frozen graph is called .pb")


def _from_checkpoint(path: Path, prefixes: list[str], given: Alphabet | None) -> SourceModel:
    bundle, problems = checkpoints.open_first(prefixes)
    for problem in problems:
        print(f"note: {problem}; converting {bundle.prefix}", flush=True)
    geometry, weights = checkpoints.read_weights(bundle)
    alphabet = given or checkpoints.find_alphabet(bundle.prefix, geometry)
    if alphabet is None:
        raise InputError(f"{bundle.prefix}: no {ALPHABET} beside the checkpoint: give --alphabet_config_path")
    return check(SourceModel(weights, geometry, alphabet, Path(bundle.prefix).name), path)


def check(model: SourceModel, where: Path) -> SourceModel:
    """The same model; raises InputError if a weight is missing, misshapen or not finite, or the alphabet another's."""
    for name, shape in weight_shapes(model.geometry).items():
        found = model.weights.get(name)
        if found is None:
            raise InputError(f"{where}: no float32 constant {name}: expected a DeepSpeech acoustic model")
        if found.shape != shape or found.dtype != np.float32:
            described = f"{found.dtype} {list(found.shape)}"
            raise InputError(f"{where}: {name} is {described}, expected float32 {list(shape)}")
        if not np.isfinite(found).all():
            raise InputError(f"{where}: {name} holds values that are not finite: the training diverged")
    if len(model.alphabet) != model.geometry.n_labels:
        raise InputError(
            f"{where}: the alphabet has {len(model.alphabet)} symbols, but the model has {model.geometry.n_labels} "
            "labels and the blank: give the alphabet that it was trained with as --alphabet_config_path"
        )
    return model
