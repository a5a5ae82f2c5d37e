"""Freeze a checkpoint into the graph that native clients run, and convert that to the other formats."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.export.settings import ExportSettings
from speech import model_files
from speech.alphabet import Alphabet
from speech.artifacts import (
    ALPHABET,
    Checkpoint,
    ExportedModel,
    describe_files,
    names_of_export,
    serving_alphabet,
    write_sidecar,
)
from speech.errors import InputError
from speech.extras import require
from speech.geometry import Geometry
from speech.model_files import Kind, Model, checkpoints
from speech.ownership import Place, place_at
from speech.storage.files import write_bytes

OVERRIDES = ("audio_sample_rate", "feature_win_len", "feature_win_step", "relu_clip")
TRAINING_FACTS = (
    "start",
    "dropped_layers",
    "train_clips",
    "dev_clips",
    "train_hours",
    "settings",
)  # of a checkpoint's sidecar


def freeze(settings: ExportSettings, checkpoint: Path, model: Path) -> ExportedModel:
    """Checkpoint folder (ours, DeepSpeech's or Coqui STT's) -> ExportedModel with `output_graph.pb`, read back and run.

    What `model` holds of an earlier export is removed, and nothing else. Raises InputError for an unusable checkpoint
    or alphabet, and for a folder in which other files have the names of an export's.
    """
    from components.export.selfcheck import check_frozen
    from speech.nn.graph import Metadata, streaming_graph

    source = model_files.open(checkpoint, kinds=(Kind.CHECKPOINT,), load=settings.load_evaluate)
    weights = source.weights
    overrides = {name: value for name in OVERRIDES if (value := getattr(settings, name))}
    geometry = replace(source.geometry, **overrides)
    alphabet = _named_alphabet(settings) or source.alphabet
    metadata = Metadata(settings.export_beam_width, settings.export_language)
    graph = streaming_graph(weights, geometry, alphabet, settings.n_steps, metadata)
    history = source.path.parent / Checkpoint.HISTORY
    output = _Output(model, alphabet, [ExportedModel.FROZEN], [Checkpoint.HISTORY] if history.is_file() else [])
    with output.writing(anew=True):
        with _kept_if_it_passes(model / ExportedModel.FROZEN) as path:
            write_bytes(path, graph.SerializeToString(deterministic=True))
            difference = check_frozen(path, weights, geometry)
        _report(path, f"probabilities {difference:.1e} away from the checkpoint's")
        if history.is_file():  # the evaluation's report shows the losses; other trainers leave none
            write_bytes(model / Checkpoint.HISTORY, history.read_bytes())
        return output.complete(_describe(settings, source, geometry, difference))


def _describe(settings: ExportSettings, source: Model, geometry: Geometry, difference: float) -> dict[str, Any]:
    return {
        "geometry": geometry.to_dict(),
        "n_steps": settings.n_steps,
        "beam_width": settings.export_beam_width,
        "language": settings.export_language,
        "checkpoint": source.path.name,
        "global_step": source.metadata.get("global_step", 0),
        "selfcheck_max_difference": difference,
        "settings": asdict(settings),
        "training": _training(source),
    }


def convert_mmap(model: Path, mapped: Path) -> ExportedModel:
    """ExportedModel with a frozen graph -> ExportedModel with `output_graph.pbmm`, every constant compared."""
    from components.export.selfcheck import check_mapped
    from speech.model_files import memmapped_file

    source = ExportedModel.open(model)
    frozen = source.file(ExportedModel.FROZEN)
    output = _Output(mapped, source.alphabet, [ExportedModel.MAPPED])
    with output.writing():
        with _kept_if_it_passes(mapped / ExportedModel.MAPPED) as path:
            conversion = memmapped_file.convert(frozen, path)
            constants = check_mapped(frozen, path)
        for warning in conversion.warnings:
            print(f"warning: {warning}", flush=True)
        _report(path, f"converted {conversion.nodes} nodes, {constants} constants identical")
        return output.complete({**source.sidecar, "converted_nodes": conversion.nodes})


def convert_tflite(model: Path, converted: Path, quantize: bool = True) -> ExportedModel:
    """ExportedModel with a frozen graph -> ExportedModel with `output_graph.tflite`, read back and run."""
    from components.export import tflite
    from components.export.selfcheck import check_tflite

    source = ExportedModel.open(model)
    frozen = model_files.open(source.file(ExportedModel.FROZEN))
    graph, geometry, weights = frozen.container, frozen.geometry, frozen.weights
    metadata = {name: graph.constant(name) for name in graph.nodes if name.startswith("metadata_")}
    output = _Output(converted, source.alphabet, [ExportedModel.TFLITE])
    with output.writing():
        with _kept_if_it_passes(converted / ExportedModel.TFLITE) as path:
            tflite.write(path, weights, geometry, metadata, frozen.n_steps, quantize)
            difference = check_tflite(path, weights, geometry, source.alphabet, quantize)
        kind = "int8" if quantize else "float32"
        distance = f"log probabilities {difference:.1%} of their spread"
        distance = distance if quantize else f"probabilities {difference:.1e}"
        _report(path, f"{kind} weights, {distance} away from the checkpoint's")
        return output.complete({**source.sidecar, "tflite_weights": kind, "tflite_difference": difference})


def convert_onnx(model: Path, converted: Path) -> ExportedModel:
    """ExportedModel with a frozen graph -> ExportedModel with `output_graph.onnx`, read back and run."""
    require("onnx")  # written with one package, and run in the other before it is called done
    from components.export import onnx
    from components.export.selfcheck import check_onnx

    source = ExportedModel.open(model)
    frozen = model_files.open(source.file(ExportedModel.FROZEN))
    geometry, weights = frozen.geometry, frozen.weights
    names = ("audio_sample_rate", "feature_win_len", "feature_win_step")
    facts = {name: str(getattr(geometry, name)) for name in names}
    facts |= {name: str(source.sidecar[name]) for name in ("beam_width", "language")}
    output = _Output(converted, source.alphabet, [ExportedModel.ONNX])
    with output.writing():
        with _kept_if_it_passes(converted / ExportedModel.ONNX) as path:
            onnx.write(path, weights, geometry, {"alphabet": source.alphabet.to_text(), **facts})
            difference = check_onnx(path, weights, geometry, frozen.n_steps)
        _report(path, f"probabilities {difference:.1e} away from the checkpoint's")
        return output.complete({**source.sidecar, "onnx_difference": difference})


def add_files(model: ExportedModel, names: list[str]) -> ExportedModel:
    """Record further files of the model's folder in its sidecar."""
    return _Output(model.folder, model.alphabet, names).complete(model.sidecar)


def place(where: str | Path) -> Place:
    """A folder or `s3://` prefix that takes an export, beside whatever else it holds."""
    return place_at(where, {ExportedModel.MODEL: names_of_export}, "--export_dir")


class _Output:
    """Files of an export on their way into a folder: `names` with their sizes in its record, `also` without."""

    def __init__(self, folder: Path, alphabet: Alphabet, names: list[str], also: Sequence[str] = ()) -> None:
        self.folder, self.alphabet, self.place = folder, alphabet, place(folder)
        self.there = [ALPHABET] if serving_alphabet(self.place, alphabet) else []
        self.names, self.also = list(dict.fromkeys([*names, ALPHABET])), list(also)

    @contextlib.contextmanager
    def writing(self, anew: bool = False) -> Iterator[None]:
        """Write the files inside. `anew`: an earlier export goes, as its other formats would be of another model."""
        if any(self.folder.glob("*.index")):
            raise InputError(f"{self.folder} holds a checkpoint, whose alphabet and sidecar an export would replace")
        names = [*self.names, *self.also, ExportedModel.MODEL]
        with self.place.writing([name for name in names if name not in self.there]):
            if anew:
                self.place.remove([ExportedModel.MODEL, *sorted(self.place.own - {ExportedModel.MODEL})])
            yield

    def complete(self, description: dict[str, Any]) -> ExportedModel:
        """Write the sidecar of all formats that the folder holds of this export."""
        if not self.there:
            self.alphabet.save(self.folder / ALPHABET)
        before = description.get("files", {})
        earlier = [name for name in before if (self.folder / name).is_file()]
        files = describe_files(self.folder, list(dict.fromkeys([*earlier, *self.names])), self.there)
        also = [*self.also, *(name for name in description.get("also", ()) if name in self.place.own)]
        kept = {name: value for name, value in description.items() if name not in ("files", "also")}
        sidecar = {**kept, **({"also": also} if also else {}), "files": files}
        write_sidecar(self.folder, ExportedModel.MODEL, sidecar)
        return ExportedModel.open(self.folder)


@contextlib.contextmanager
def _kept_if_it_passes(path: Path) -> Iterator[Path]:
    """A file that does not get through its check does not stay."""
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _named_alphabet(settings: ExportSettings) -> Alphabet | None:
    if settings.bytes_output_mode:
        return Alphabet.bytes_output_mode()
    return Alphabet.load(settings.alphabet_config_path) if settings.alphabet_config_path else None


def _training(source: Model) -> dict[str, Any]:
    """What our own checkpoints say about how they came about."""
    history = checkpoints.sidecar(source.path.parent / Checkpoint.HISTORY)
    facts = {name: source.sidecar[name] for name in TRAINING_FACTS if name in source.sidecar}
    if history:
        facts |= {"epochs": len(history.get("epochs", ())), "best_dev_loss": history.get("best_dev_loss")}
        facts |= {name: history[name] for name in ("best_dev_wer", "best_dev_cer", "average") if name in history}
        facts |= {"base": history["base"]} if "base" in history else {}
        facts |= {"clips": history["clips"]} if "clips" in history else {}
    return facts


def _report(path: Path, what: str) -> None:
    print(f"{path.name}: {path.stat().st_size:,} bytes, {what}", flush=True)
