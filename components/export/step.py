"""Freeze a checkpoint into the graph that native clients run, and convert it to the memory-mapped format."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.export.settings import ExportSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, ExportedModel, describe_files, write_sidecar
from speech.errors import InputError
from speech.storage import write_bytes


def freeze(settings: ExportSettings, checkpoint: Path, model: Path) -> ExportedModel:
    """Checkpoint folder (ours, DeepSpeech's or Coqui STT's) -> ExportedModel with `output_graph.pb`, read back and run.

    Raises InputError for an unusable checkpoint or alphabet.
    """
    from components.export.selfcheck import check_frozen
    from speech.nn import checkpoints
    from speech.nn.graph import Metadata, streaming_graph

    bundle, problems = checkpoints.load_first(checkpoints.find(checkpoint, settings.load_evaluate))
    for problem in problems:
        print(f"note: {problem}; exporting {bundle.prefix}", flush=True)
    alphabet = _alphabet(settings, bundle.prefix, checkpoints.find_alphabet(bundle.prefix, bundle.geometry))
    metadata = Metadata(settings.export_beam_width, settings.export_language)
    graph = streaming_graph(bundle.weights, bundle.geometry, alphabet, settings.n_steps, metadata)
    model.mkdir(parents=True, exist_ok=True)
    path = model / ExportedModel.FROZEN
    write_bytes(path, graph.SerializeToString(deterministic=True))
    difference = check_frozen(path, bundle.weights, bundle.geometry)
    print(f"{path.name}: {path.stat().st_size:,} bytes, logits within {difference:.1e} of the checkpoint's", flush=True)
    alphabet.save(model / ALPHABET)
    description = {
        "geometry": bundle.geometry.to_dict(),
        "n_steps": settings.n_steps,
        "beam_width": settings.export_beam_width,
        "language": settings.export_language,
        "checkpoint": Path(bundle.prefix).name,
        "global_step": bundle.global_step,
        "selfcheck_max_difference": difference,
        "settings": asdict(settings),
    }
    return _complete(model, description, [ExportedModel.FROZEN])


def convert_mmap(model: Path, mapped: Path) -> ExportedModel:
    """ExportedModel with a frozen graph -> ExportedModel with `output_graph.pbmm`, every constant compared."""
    from components.export.selfcheck import check_mapped
    from speech import memmapped

    source = ExportedModel.open(model)
    frozen = source.file(ExportedModel.FROZEN)
    mapped.mkdir(parents=True, exist_ok=True)
    path = mapped / ExportedModel.MAPPED
    conversion = memmapped.convert(frozen, path)
    constants = check_mapped(frozen, path)
    for warning in conversion.warnings:
        print(f"warning: {warning}", flush=True)
    size = f"{path.stat().st_size:,} bytes"
    print(f"{path.name}: {size}, converted {conversion.nodes} nodes, {constants} constants identical", flush=True)
    source.alphabet.save(mapped / ALPHABET)
    return _complete(mapped, {**source.sidecar, "converted_nodes": conversion.nodes}, [ExportedModel.MAPPED])


def _alphabet(settings: ExportSettings, prefix: str, found: Alphabet | None) -> Alphabet:
    if settings.bytes_output_mode:
        return Alphabet.bytes_output_mode()
    if settings.alphabet_config_path:
        return Alphabet.load(settings.alphabet_config_path)
    if found is None:
        raise InputError(f"{prefix}: no alphabet.txt beside the checkpoint: give --alphabet_config_path")
    return found


def _complete(folder: Path, description: dict[str, Any], made: list[str]) -> ExportedModel:
    """Write the sidecar of all formats that the folder holds of this export."""
    others = [name for name in description.get("files", {}) if (folder / name).is_file()]
    files = describe_files(folder, list(dict.fromkeys([*others, *made, ALPHABET])))
    write_sidecar(folder, ExportedModel.MODEL, {**description, "files": files})
    return ExportedModel.open(folder)
