"""Opens a model of any kind: checkpoint, frozen or memory-mapped graph, TFLite, OpenVINO IR.

What is opened says what it is (geometry, alphabet, metadata) and gives its weights, without the library that runs it.
Runners are made of it where such a library may be imported: `speech.nn.runners.runtimes.open_runner` (TensorFlow and
TensorFlow Lite) and `speech.ir.runner.IrRunner` (OpenVINO).
"""

import enum
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from speech.alphabet import Alphabet
from speech.artifacts import Checkpoint, ExportedModel, IntermediateRepresentation
from speech.errors import InputError
from speech.geometry import Geometry
from speech.storage.checked_files import check_files, listed_files

# The containers are imported where they are opened: `--help` needs no protobuf.


class Kind(enum.Enum):
    """The kinds of models, as reports call them; in the order in which a folder is searched for them."""

    FROZEN = "frozen graph"
    MAPPED = "memory-mapped graph"
    TFLITE = "TFLite"
    IR = "OpenVINO IR"
    CHECKPOINT = "checkpoint"


WITH_WEIGHTS = (Kind.FROZEN, Kind.MAPPED, Kind.TFLITE, Kind.CHECKPOINT)
FILE_NAMES = {
    Kind.FROZEN: ExportedModel.FROZEN,
    Kind.MAPPED: ExportedModel.MAPPED,
    Kind.TFLITE: ExportedModel.TFLITE,
    Kind.IR: IntermediateRepresentation.XML,
}
SUFFIXES = {Kind.FROZEN: ".pb", Kind.MAPPED: ".pbmm", Kind.TFLITE: ".tflite", Kind.IR: ".xml"}


@dataclass(frozen=True)
class Model:
    """An opened model. Its arrays lie over its files, which must stay as they are while it is in use."""

    path: Path  # the file; of a checkpoint the prefix of its bundle
    kind: Kind
    geometry: Geometry
    container: Any  # what the file holds, for who runs it or looks into it: Bundle, FrozenGraph, TfliteFile, IrFile
    read_weights: Callable[[], Mapping[str, np.ndarray]] = field(repr=False)
    n_steps: int = 0  # frames a call; 0: any number
    inside: Alphabet | None = None  # the alphabet that the file itself carries
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what else it says: beam_width, language, settings, ...
    sidecar: Mapping[str, Any] = field(default_factory=dict)  # the record beside it; empty where there is none of ours
    named: Alphabet | None = None  # the alphabet that whoever opened it asked for

    @cached_property
    def recorded(self) -> Alphabet | None:
        """The alphabet that the file carries, else the one beside it; None if there is none."""
        from speech.model_files import alphabets

        if self.inside is not None:
            return self.inside
        search = alphabets.of_checkpoint if self.kind is Kind.CHECKPOINT else alphabets.beside
        return search(self.path, self.geometry)

    @cached_property
    def alphabet(self) -> Alphabet:
        """The one that was asked for, the recorded one, or what releases write that carry none (a line says so).

        Raises InputError if there is none, or if it is not of the model's size.
        """
        from speech.model_files import alphabets

        alphabet = self.recorded if self.named is None else self.named
        if alphabet is None and self.kind is Kind.CHECKPOINT:
            alphabet = alphabets.assumed(self.geometry)
            if alphabet is not None:
                note = f"note: {self.path} carries no alphabet: {alphabets.describe_assumed(alphabet)}"
                print(note, file=sys.stderr, flush=True)
        if alphabet is None:
            raise alphabets.missing(self.path, self.geometry)
        return alphabets.check_size(alphabet, self.geometry, self.path)

    @cached_property
    def weights(self) -> Mapping[str, np.ndarray]:
        """float32 by DeepSpeech's variable names, read when they are first asked for.

        Raises NoFloatWeights for a file that they cannot be taken from.
        """
        from speech.model_files.variables import check_weights

        weights = self.read_weights()
        check_weights(weights, self.geometry, str(self.path))
        return weights

    def check_finite(self) -> None:
        """Raise InputError for weights that a diverged training left."""
        for name, value in self.weights.items():
            if not np.isfinite(value).all():
                raise InputError(f"{self.path}: {name} holds values that are not finite: the training diverged")


def open(
    path: str | Path, *, kinds: Collection[Kind] = tuple(Kind), load: str = "auto", alphabet: Alphabet | None = None
) -> Model:
    """Open a model: a file, a bundle's prefix, a state file, or the folder of an artifact or a checkpoint.

    In a folder, the first of `kinds` that lies there is taken; of a checkpoint folder the bundle that `load` names
    (`best`, `last` or `auto`), or the next one that is whole, and a line says so. `alphabet` takes the place of the
    model's own. Raises InputError in one line for anything that is not a DeepSpeech acoustic model of these kinds.
    """
    from speech.model_files import alphabets

    path = Path(path)
    model = _open_folder(path, kinds, load) if path.is_dir() else _open_file(path)
    if model.kind not in kinds:
        raise InputError(f"{path}: {model.kind.value}: expected {_what_is_expected(kinds)}")
    if alphabet is None:
        return model
    return replace(model, named=alphabets.check_size(alphabet, model.geometry, model.path))


def _what_is_expected(kinds: Collection[Kind]) -> str:
    makers = {Kind.CHECKPOINT: Checkpoint.MAKER, Kind.IR: IntermediateRepresentation.MAKER}
    folders = dict.fromkeys(f"`{makers.get(kind, ExportedModel.MAKER)}`" for kind in kinds)
    suffixes = [SUFFIXES[kind] for kind in kinds if kind in SUFFIXES]
    files = f", or a file: {', '.join(suffixes)}" if suffixes else ""
    return f"a folder of {' or '.join(folders)}{files}"


def _open_folder(folder: Path, kinds: Collection[Kind], load: str) -> Model:
    for kind, name in FILE_NAMES.items():
        if kind not in kinds:
            continue
        if kind is Kind.IR and IntermediateRepresentation.sidecar_in(folder) is not None:
            return _open_file(IntermediateRepresentation.open(folder).xml)
        if (folder / name).is_file():
            if kind is not Kind.IR and (folder / ExportedModel.MODEL).is_file():
                ExportedModel.open(folder)  # compares the files with the sidecar
            return _open_file(folder / name)
    if Kind.CHECKPOINT in kinds and (len(kinds) == 1 or Checkpoint.is_in(folder)):
        from speech.model_files import checkpoints

        return _checkpoint(checkpoints.find(folder, load))
    names = [name for kind, name in FILE_NAMES.items() if kind in kinds]
    names += ["a checkpoint (*.index and its data)"] if Kind.CHECKPOINT in kinds else []
    raise InputError(f"{folder}: no model in it: expected {' or '.join(names)}")


def _open_file(path: Path) -> Model:
    if path.suffix == ".index" or (not path.exists() and path.with_name(f"{path.name}.index").is_file()):
        return _checkpoint([str(path).removesuffix(".index")])
    if path.suffix == SUFFIXES[Kind.IR]:
        return _ir(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder: expected {_what_is_expected(tuple(Kind))}")
    return _by_content(path)


def _by_content(path: Path) -> Model:
    from speech.model_files import checkpoints
    from speech.model_files.graphdef import is_memmapped, map_file
    from speech.model_files.tflite_reader import is_tflite

    data = map_file(path)
    if bytes(data[: len(checkpoints.STATE_BEGINS)]) == checkpoints.STATE_BEGINS:
        return _checkpoint(checkpoints.read_state(path.parent, path.name))
    if is_tflite(data) or path.suffix == SUFFIXES[Kind.TFLITE]:
        return _tflite(path)
    kind = Kind.MAPPED if is_memmapped(data) else Kind.FROZEN
    # Native clients go by the name, and would not load a graph under the other kind's.
    if kind is Kind.MAPPED and path.suffix == SUFFIXES[Kind.FROZEN]:
        raise InputError(f"{path}: a memory-mapped graph under a plain graph's name: call it .pbmm")
    if kind is Kind.FROZEN and path.suffix == SUFFIXES[Kind.MAPPED]:
        raise InputError(f"{path}: not memory-mapped, or cut short: a plain frozen graph is called .pb")
    try:
        return _graph(path, kind)
    except InputError as error:
        if path.suffix in SUFFIXES.values():
            raise
        raise InputError(f"{path}: unknown model format: expected {', '.join(SUFFIXES.values())}: {error}") from error


def _checkpoint(prefixes: list[str]) -> Model:
    from speech.model_files import checkpoints
    from speech.model_files.bundle import Bundle

    def read(prefix: str) -> Model:
        bundle = Bundle.open(prefix)
        geometry = checkpoints.geometry_of(bundle.prefix, bundle.shapes)
        weights = checkpoints.read_weights(bundle, geometry)  # now, because the next bundle is taken if this is damaged
        facts = {"global_step": int(bundle.tensor("global_step"))} if "global_step" in bundle.shapes else {}
        sidecar = checkpoints.sidecar(Path(prefix).parent / Checkpoint.MODEL)
        return Model(
            Path(bundle.prefix), Kind.CHECKPOINT, geometry, bundle, lambda: weights, metadata=facts, sidecar=sidecar
        )

    model, problems = checkpoints.first_whole(prefixes, read)
    for problem in problems:
        print(f"note: {problem}; taking {model.path}", file=sys.stderr, flush=True)
    return model


def _graph(path: Path, kind: Kind) -> Model:
    from speech.model_files import graph_facts, memmapped_file

    sidecar = _sidecar_of_export(path)  # first, because it tells a damaged file
    graph = memmapped_file.open_graph(path)
    facts = graph_facts.read_facts(graph)
    return Model(
        path,
        kind,
        facts.geometry,
        graph,
        lambda: graph_facts.read_weights(graph),
        facts.n_steps,
        facts.alphabet,
        facts.metadata,
        sidecar,
    )


def _tflite(path: Path) -> Model:
    from speech.model_files.tflite_reader import TfliteFile

    sidecar, file = _sidecar_of_export(path), TfliteFile(path)
    return Model(
        path,
        Kind.TFLITE,
        file.geometry,
        file,
        file.weights,
        file.n_steps,
        file.alphabet,
        file.metadata,
        sidecar,
    )


def _ir(path: Path) -> Model:
    from speech.ir.ir_file import IrFile
    from speech.model_files.variables import NoFloatWeights

    def no_weights() -> Mapping[str, np.ndarray]:
        raise NoFloatWeights(f"{path}: an IR's weights have no names: give the frozen graph that it was made of")

    sidecar, file = _sidecar_of_ir(path), IrFile.open(path)
    geometry = file.geometry
    if "geometry" in sidecar and "geometry" not in file.facts:  # of versions that kept it there alone
        geometry = Geometry.from_dict(sidecar["geometry"], str(path.with_name(IntermediateRepresentation.MODEL)))
    settings = file.facts.get("settings", {})
    return Model(path, Kind.IR, geometry, file, no_weights, file.n_steps, file.alphabet, settings, sidecar)


def _sidecar_of_ir(path: Path) -> Mapping[str, Any]:
    """The record beside an IR, if it is of that IR, whose files then are those that it names."""
    if IntermediateRepresentation.sidecar_in(path.parent) is None:
        return {}
    sidecar = IntermediateRepresentation.open(path.parent).sidecar
    return sidecar if path.name in sidecar.get("files", {}) else {}


def _sidecar_of_export(path: Path) -> Mapping[str, Any]:
    """The record beside an exported file, if it is of that file, which then is the one that it names."""
    if not (path.parent / ExportedModel.MODEL).is_file():
        return {}
    sidecar, record = ExportedModel(path.parent).sidecar, path.parent / ExportedModel.MODEL
    if path.name not in listed_files(record, sidecar):
        return {}
    check_files(record, sidecar, only=(path.name,))
    return sidecar
