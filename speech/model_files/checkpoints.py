"""Checkpoint folders without TensorFlow: which bundle to take, its geometry, its weights.

Reads ours, DeepSpeech's and Coqui STT's, release checkpoints (trained with cuDNN, without state files) included.
"""

import glob
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from speech.artifacts import ALPHABET, Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.bundle import Bundle
from speech.model_files.variables import KERNEL, weight_shapes
from speech.storage.checked_files import check_files, unsealed

T = TypeVar("T")

STATE_BEGINS = b"model_checkpoint_path:"
_PATH_LINE = re.compile(r'^(model_checkpoint_path|all_model_checkpoint_paths): "((?:[^"\\]|\\.)*)"', re.MULTILINE)


def find(folder: str | Path, load: str = "auto") -> list[str]:
    """Bundle prefixes to try, best candidate first.

    `load` is `last`, `best` or `auto` (best, then last), as `--load_evaluate` has it. A folder without state files
    (a release archive may lack them) gives its bundles, the highest step first. Where our runs wrote into folders of
    their own inside it, the newest run's are meant, and a line says so. Raises InputError if there is none.
    """
    place = Checkpoint.open(folder).folder
    if place != Path(folder):
        print(f"note: {folder}: taking its newest run's checkpoint, {place}", file=sys.stderr, flush=True)
    files = {"best": (Checkpoint.BEST,), "last": (Checkpoint.LAST,), "auto": (Checkpoint.BEST, Checkpoint.LAST)}[load]
    prefixes = [prefix for name in files for prefix in read_state(place, name)]
    if not prefixes and load != "best":
        bundles = (path.with_suffix("") for path in place.glob("*.index"))
        prefixes = [str(path) for path in sorted(bundles, key=_step_of, reverse=True)]
    if not prefixes:
        raise InputError(
            f"{place}: no {files[0]} state file: expected a checkpoint folder with a best dev checkpoint (a training "
            "without dev sets has none: its newest is taken by `last` and `auto`)"
        )
    return list(dict.fromkeys(prefixes))


def read_state(folder: Path, state_file: str) -> list[str]:
    """The bundle prefixes that a state file names, the current one first; empty if there is no such file."""
    path = folder / state_file
    if not path.is_file():
        return []
    entries = _PATH_LINE.findall(path.read_text(encoding="utf-8", errors="replace"))
    current = [name for key, name in entries if key == "model_checkpoint_path"]
    older = [name for key, name in entries if key == "all_model_checkpoint_paths" and name not in current]
    return [_locate(folder, name) for name in (*current, *reversed(older))]


def state_text(names: Sequence[str]) -> str:
    """The state file that names bundles in its folder, oldest first; the last one is the current one."""
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    return "\n".join(lines) + "\n"


def bundle_files(folder: Path, name: str) -> list[Path]:
    """A bundle's files, those of an interrupted write included, the index first; nothing else that begins like it."""
    of_bundle = re.compile(re.escape(name) + r"\.(index|data-\d{5}-of-\d{5})(\.tempstate\d+)?")
    paths = (path for path in folder.glob(f"{glob.escape(name)}.*") if of_bundle.fullmatch(path.name))
    return sorted(paths, key=lambda path: (not path.name.endswith(".index"), path.name))


def remove(folder: Path, name: str) -> None:
    """Delete a bundle's files, the index first, so that half of it is never taken for a checkpoint."""
    for path in bundle_files(folder, name):
        path.unlink(missing_ok=True)


def _locate(folder: Path, name: str) -> str:
    """A state file may name its bundle by a path of the machine that wrote it: look beside the state file as well."""
    beside = folder / Path(name).name
    return str(beside if Path(f"{beside}.index").is_file() else folder / name)


def _step_of(prefix: Path) -> int:
    number = re.search(r"-(\d+)$", prefix.name)
    return int(number.group(1)) if number else -1


def first_whole(prefixes: Sequence[str], read: Callable[[str], T]) -> tuple[T, list[str]]:
    """What `read` makes of the first bundle that it can read, and a line for each one before it that it could not."""
    problems: list[str] = []
    for prefix in prefixes:
        try:
            return read(prefix), problems
        except InputError as error:
            problems.append(str(error))
    raise InputError("; ".join(problems))


def read_weights(bundle: Bundle, geometry: Geometry) -> dict[str, np.ndarray]:
    """The model's weights, over the files. Raises InputError for a variable that is missing, damaged or misshapen."""
    for name, shape in weight_shapes(geometry).items():
        if name in bundle.shapes and tuple(bundle.shapes[name]) != shape:
            raise InputError(f"{bundle.prefix}: {name} has the shape {bundle.shapes[name]}, expected {list(shape)}")
    return {name: bundle.tensor(name) for name in weight_shapes(geometry)}


def geometry_of(prefix: str, shapes: Mapping[str, Sequence[int]]) -> Geometry:
    """The geometry by the shapes of the variables; rates and windows by the sidecar or flags.txt beside the bundle."""
    if "layer_1/bias" not in shapes or "layer_6/bias" not in shapes or KERNEL not in shapes:
        known = ", ".join(sorted(shapes)[:4])
        raise InputError(
            f"{prefix}: not a DeepSpeech checkpoint: expected layer_1/bias ... {KERNEL}, found {known} ..."
        )
    folder = Path(prefix).parent
    facts = {**sidecar(folder / Checkpoint.FLAGS), **sidecar(folder / Checkpoint.MODEL).get("geometry", {})}
    not_in_shapes = ("audio_sample_rate", "feature_win_len", "feature_win_step", "relu_clip")
    rows = shapes["layer_1/weights"][0] if "layer_1/weights" in shapes else 0
    frames, rest = divmod(rows, Geometry.n_input)
    if rest or frames % 2 == 0:
        raise InputError(
            f"{prefix}: layer_1/weights has {rows} rows: expected an odd multiple of {Geometry.n_input} features"
        )
    return Geometry(
        n_hidden=shapes["layer_1/bias"][0],
        n_labels=shapes["layer_6/bias"][0] - 1,
        layer_norm="layer_1/LayerNorm/beta" in shapes,
        n_context=(frames - 1) // 2,
        **{name: facts[name] for name in not_in_shapes if facts.get(name) is not None},
    )


def sidecar(path: Path) -> dict[str, Any]:
    """A JSON object, or nothing: DeepSpeech's flags.txt is no JSON and holds nothing that the bundle does not.

    Raises InputError where a training of ours left a `model.json` that is damaged or gone, or another alphabet.
    """
    is_record = path.name == Checkpoint.MODEL
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if is_record and (path.parent / Checkpoint.RECORD).is_file():
            raise InputError(f"{path}: damaged or missing ({str(error)[:80]}): fetch the checkpoint again") from error
        return {}
    if not is_record or not isinstance(value, dict):
        return value if isinstance(value, dict) else {}
    description = unsealed(path, value)
    if "geometry" not in description and (path.parent / Checkpoint.RECORD).is_file():
        raise InputError(f"{path}: damaged: it says no geometry: fetch the checkpoint again")
    check_files(path, description, (ALPHABET,))
    return description
