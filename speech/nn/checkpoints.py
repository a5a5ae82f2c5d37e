"""Checkpoints: TensorFlow V2 bundles with DeepSpeech's variable names, loadable by its trainer and by Coqui STT's.

A bundle is `NAME-STEP.index` and `NAME-STEP.data-00000-of-00001`. The state files `checkpoint` and
`best_dev_checkpoint` name the newest and the best bundle; they are replaced only once the bundle is on disk.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from speech.alphabet import BYTES_MODE_LABELS, Alphabet
from speech.artifacts import ALPHABET, Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.nn.model import KERNEL, weight_shapes
from speech.storage import fsync_folder, write_text

TRAINING_STATE = "speechmill/training_state"  # our own scalar string; the peers' trainers ignore it
MOMENTS = ("Adam", "Adam_1")
_PATH_LINE = re.compile(r'^(model_checkpoint_path|all_model_checkpoint_paths): "((?:[^"\\]|\\.)*)"', re.MULTILINE)


@dataclass
class Bundle:
    """The content of one checkpoint, and where it came from."""

    geometry: Geometry
    weights: dict[str, np.ndarray]
    moments: dict[str, np.ndarray] = field(default_factory=dict)  # `VARIABLE/Adam` and `VARIABLE/Adam_1`
    global_step: int = 0
    learning_rate: float | None = None
    beta1_power: float | None = None
    beta2_power: float | None = None
    training_state: dict[str, Any] = field(default_factory=dict)
    prefix: str = ""

    @property
    def missing_moments(self) -> list[str]:
        """Adam moments that the bundle lacks: those of the LSTM if it was trained with cuDNN."""
        return [
            f"{name}/{moment}" for name in self.weights for moment in MOMENTS if f"{name}/{moment}" not in self.moments
        ]


def read_state(folder: Path, state_file: str) -> list[str]:
    """The bundle prefixes that a state file names, the current one first; empty if there is no such file."""
    path = folder / state_file
    if not path.is_file():
        return []
    found = _PATH_LINE.findall(path.read_text(encoding="utf-8", errors="replace"))
    current = [name for key, name in found if key == "model_checkpoint_path"]
    others = [name for key, name in found if key == "all_model_checkpoint_paths" and name not in current]
    return [_locate(folder, name) for name in (*current, *reversed(others))]


def _locate(folder: Path, name: str) -> str:
    """A state file may name its bundle by a path of the machine that wrote it: look beside the state file as well."""
    beside = folder / Path(name).name
    if Path(f"{beside}.index").is_file() or not Path(name).is_absolute():
        return str(folder / name if not Path(f"{beside}.index").is_file() else beside)
    return name


def find(folder: str | Path, load: str = "auto") -> list[str]:
    """Bundle prefixes to try, best candidate first.

    `load` is `last`, `best` or `auto` (best, then last), as `--load_evaluate` has it. A folder without state files
    (a release archive may lack them) gives its bundles, the highest step first. Raises InputError if there is none.
    """
    folder = Checkpoint.open(folder).folder
    files = {"best": (Checkpoint.BEST,), "last": (Checkpoint.LAST,), "auto": (Checkpoint.BEST, Checkpoint.LAST)}[load]
    prefixes = [prefix for name in files for prefix in read_state(folder, name)]
    if not prefixes and load != "best":
        bundles = (path.with_suffix("") for path in folder.glob("*.index"))
        prefixes = [str(path) for path in sorted(bundles, key=_step_of, reverse=True)]
    if not prefixes:
        raise InputError(f"{folder}: no {files[0]} state file: expected a checkpoint folder with a best dev checkpoint")
    return list(dict.fromkeys(prefixes))


def _step_of(prefix: Path) -> int:
    number = re.search(r"-(\d+)$", prefix.name)
    return int(number.group(1)) if number else -1


def load_first(prefixes: Sequence[str]) -> tuple[Bundle, list[str]]:
    """The first bundle of `prefixes` that loads, and a line for each one before it that did not."""
    problems: list[str] = []
    for prefix in prefixes:
        try:
            return load(prefix), problems
        except InputError as error:
            problems.append(str(error))
    raise InputError("; ".join(problems))


def load(prefix: str) -> Bundle:
    """Read a bundle of ours, of DeepSpeech or of Coqui STT, cuDNN-trained ones included.

    Raises InputError when it is missing, corrupt, or another network's.
    """
    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes = reader.get_variable_to_shape_map()
        geometry = _geometry(prefix, shapes)
        wanted = weight_shapes(geometry)
        _check_shapes(prefix, shapes, wanted)
        weights = {name: reader.get_tensor(name) for name in wanted}
        moments = {
            f"{name}/{moment}": reader.get_tensor(f"{name}/{moment}")
            for name in wanted
            for moment in MOMENTS
            if f"{name}/{moment}" in shapes
        }
        scalars = {
            name: reader.get_tensor(name).item()
            for name in ("global_step", "learning_rate", "beta1_power", "beta2_power")
            if name in shapes
        }
        state = json.loads(reader.get_tensor(TRAINING_STATE)) if TRAINING_STATE in shapes else {}
    except (tf.errors.OpError, ValueError, RuntimeError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{prefix}: the checkpoint cannot be read: {reason}") from error
    return Bundle(geometry, weights, moments, training_state=state, prefix=prefix, **scalars)


def _geometry(prefix: str, shapes: Mapping[str, list[int]]) -> Geometry:
    """The geometry by the shapes of the variables; rates and windows by the sidecar or flags.txt beside the bundle."""
    if "layer_1/bias" not in shapes or "layer_6/bias" not in shapes or KERNEL not in shapes:
        known = ", ".join(sorted(shapes)[:4])
        raise InputError(
            f"{prefix}: not a DeepSpeech checkpoint: expected layer_1/bias ... {KERNEL}, found {known} ..."
        )
    values: dict[str, Any] = {
        "n_hidden": shapes["layer_1/bias"][0],
        "n_labels": shapes["layer_6/bias"][0] - 1,
        "layer_norm": "layer_1/LayerNorm/beta" in shapes,
    }
    defaults = Geometry(**values)
    folder = Path(prefix).parent
    for name in ("audio_sample_rate", "feature_win_len", "feature_win_step", "relu_clip"):
        recorded = _sidecar(folder / Checkpoint.MODEL).get("geometry", {}).get(name)
        flag = _sidecar(folder / Checkpoint.FLAGS).get(name)
        values[name] = next(value for value in (recorded, flag, getattr(defaults, name)) if value is not None)
    rows = shapes["layer_1/weights"][0]
    frames, rest = divmod(rows, defaults.n_input)
    if rest or frames % 2 == 0:
        raise InputError(
            f"{prefix}: layer_1/weights has {rows} rows: expected a multiple of {defaults.n_input} features"
        )
    return Geometry(**values, n_context=(frames - 1) // 2)


def _sidecar(path: Path) -> dict[str, Any]:
    """A JSON object, or nothing: DeepSpeech's flags.txt is no JSON and holds nothing that the bundle does not."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _check_shapes(prefix: str, shapes: Mapping[str, list[int]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in wanted.items():
        if name not in shapes:
            raise InputError(f"{prefix}: the checkpoint lacks {name}")
        if tuple(shapes[name]) != shape:
            raise InputError(f"{prefix}: {name} has the shape {shapes[name]}, expected {list(shape)}")


def save(folder: Path, name: str, bundle: Bundle) -> str:
    """Write `bundle` as `folder/name` (e.g. `train-1234`), durable when this returns; returns the prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray] = {
        **bundle.weights,
        **bundle.moments,
        "global_step": np.array(bundle.global_step, np.int64),
        "learning_rate": np.array(bundle.learning_rate, np.float32),
        "beta1_power": np.array(bundle.beta1_power, np.float32),
        "beta2_power": np.array(bundle.beta2_power, np.float32),
    }
    names = sorted(tensors)
    values: list[Any] = [tf.constant(tensors[tensor]) for tensor in names]
    names.append(TRAINING_STATE)
    values.append(tf.constant(json.dumps(bundle.training_state)))
    prefix = str(folder / name)
    try:
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    except tf.errors.OpError as error:
        raise OSError(f"{prefix}: the checkpoint cannot be written: {str(error).splitlines()[0]}") from error
    for path in folder.glob(f"{name}.*"):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    fsync_folder(folder)
    return prefix


def write_state(folder: Path, state_file: str, names: Sequence[str]) -> None:
    """Point a state file at bundles in its folder, oldest first; the last one is the current one."""
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    write_text(folder / state_file, "\n".join(lines) + "\n")


def remove(folder: Path, name: str) -> None:
    """Delete a bundle's files, the index first, so that half of it is never taken for a checkpoint."""
    for path in sorted(folder.glob(f"{name}.*"), key=lambda path: not path.name.endswith(".index")):
        path.unlink(missing_ok=True)


def find_alphabet(prefix: str, geometry: Geometry) -> Alphabet | None:
    """The alphabet beside a bundle; None if there is none (release checkpoints carry none)."""
    sidecar = _sidecar(Path(prefix).parent / Checkpoint.MODEL) or _sidecar(Path(prefix).parent / Checkpoint.FLAGS)
    if geometry.n_labels == BYTES_MODE_LABELS and sidecar.get("bytes_output_mode"):
        return Alphabet.bytes_output_mode()
    path = Path(prefix).parent / ALPHABET
    return Alphabet.load(path) if path.is_file() else None
