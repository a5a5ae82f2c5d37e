"""Checkpoint folders without TensorFlow: which bundle to take, its geometry, its weights, its alphabet.

Reads ours, DeepSpeech's and Coqui STT's, release checkpoints (trained with cuDNN, without state files) included.
"""

import glob
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speech.alphabet import BYTES_MODE_LABELS, Alphabet
from speech.artifacts import ALPHABET, Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.bundle import Bundle
from speech.model_files.variables import KERNEL, weight_shapes

ENGLISH = tuple(" abcdefghijklmnopqrstuvwxyz'")
_PATH_LINE = re.compile(r'^(model_checkpoint_path|all_model_checkpoint_paths): "((?:[^"\\]|\\.)*)"', re.MULTILINE)


def find(folder: str | Path, load: str = "auto") -> list[str]:
    """Bundle prefixes to try, best candidate first.

    `load` is `last`, `best` or `auto` (best, then last), as `--load_evaluate` has it. A folder without state files
    (a release archive may lack them) gives its bundles, the highest step first. Where our runs wrote into folders of
    their own inside it, the newest run's are meant, and a line says so. Raises InputError if there is none.
    """
    given, folder = Path(folder), Checkpoint.open(folder).folder
    if folder != given:
        print(f"note: {given}: taking its newest run's checkpoint, {folder}", file=sys.stderr, flush=True)
    files = {"best": (Checkpoint.BEST,), "last": (Checkpoint.LAST,), "auto": (Checkpoint.BEST, Checkpoint.LAST)}[load]
    prefixes = [prefix for name in files for prefix in read_state(folder, name)]
    if not prefixes and load != "best":
        bundles = (path.with_suffix("") for path in folder.glob("*.index"))
        prefixes = [str(path) for path in sorted(bundles, key=_step_of, reverse=True)]
    if not prefixes:
        raise InputError(
            f"{folder}: no {files[0]} state file: expected a checkpoint folder with a best dev checkpoint (a training "
            "without dev sets has none: its newest is taken by `last` and `auto`)"
        )
    return list(dict.fromkeys(prefixes))


def read_state(folder: Path, state_file: str) -> list[str]:
    """The bundle prefixes that a state file names, the current one first; empty if there is no such file."""
    path = folder / state_file
    if not path.is_file():
        return []
    found = _PATH_LINE.findall(path.read_text(encoding="utf-8", errors="replace"))
    current = [name for key, name in found if key == "model_checkpoint_path"]
    others = [name for key, name in found if key == "all_model_checkpoint_paths" and name not in current]
    return [_locate(folder, name) for name in (*current, *reversed(others))]


def state_text(names: Sequence[str]) -> str:
    """The state file that names bundles in its folder, oldest first; the last one is the current one."""
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    return "\n".join(lines) + "\n"


def bundle_files(folder: Path, name: str) -> list[Path]:
    """A bundle's files, those of an interrupted write included, the index first; nothing else that begins like it."""
    of_bundle = re.compile(re.escape(name) + r"\.(index|data-\d{5}-of-\d{5})(\.tempstate\d+)?")
    found = (path for path in folder.glob(f"{glob.escape(name)}.*") if of_bundle.fullmatch(path.name))
    return sorted(found, key=lambda path: (not path.name.endswith(".index"), path.name))


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


def open_first(prefixes: Sequence[str]) -> tuple[Bundle, list[str]]:
    """The first bundle of `prefixes` that opens, and a line for each one before it that did not."""
    problems: list[str] = []
    for prefix in prefixes:
        try:
            return Bundle.open(prefix), problems
        except InputError as error:
            problems.append(str(error))
    raise InputError("; ".join(problems))


def read_weights(bundle: Bundle) -> tuple[Geometry, dict[str, np.ndarray]]:
    """The model in a bundle; raises InputError if it is another network's."""
    geometry = geometry_of(bundle.prefix, bundle.shapes)
    return geometry, {name: bundle.tensor(name) for name in weight_shapes(geometry)}


def geometry_of(prefix: str, shapes: Mapping[str, Sequence[int]]) -> Geometry:
    """The geometry by the shapes of the variables; rates and windows by the sidecar or flags.txt beside the bundle."""
    if "layer_1/bias" not in shapes or "layer_6/bias" not in shapes or KERNEL not in shapes:
        known = ", ".join(sorted(shapes)[:4])
        raise InputError(
            f"{prefix}: not a DeepSpeech checkpoint: expected layer_1/bias ... {KERNEL}, found {known} ..."
        )
    folder = Path(prefix).parent
    recorded = {**sidecar(folder / Checkpoint.FLAGS), **sidecar(folder / Checkpoint.MODEL).get("geometry", {})}
    names = ("audio_sample_rate", "feature_win_len", "feature_win_step", "relu_clip")
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
        **{name: recorded[name] for name in names if recorded.get(name) is not None},
    )


def find_alphabet(prefix: str, geometry: Geometry) -> Alphabet | None:
    """The alphabet beside a bundle, else that of the releases with as many labels, and a line says so."""
    found = recorded_alphabet(prefix, geometry)
    if found is None and (found := assumed_alphabet(geometry)) is not None:
        print(f"note: {prefix} carries no alphabet: {describe_assumed(found)}", file=sys.stderr, flush=True)
    return found


def recorded_alphabet(prefix: str, geometry: Geometry) -> Alphabet | None:
    """The alphabet beside a bundle; None if there is none (release checkpoints carry none)."""
    folder = Path(prefix).parent
    recorded = sidecar(folder / Checkpoint.MODEL) or sidecar(folder / Checkpoint.FLAGS)
    if geometry.n_labels == BYTES_MODE_LABELS and recorded.get("bytes_output_mode"):
        return Alphabet.bytes_output_mode()
    path = folder / ALPHABET
    return Alphabet.load(path) if path.is_file() else None


def assumed_alphabet(geometry: Geometry) -> Alphabet | None:
    """What a checkpoint without an alphabet writes: English or bytes, by the number of its labels.

    DeepSpeech's trainer takes English where no alphabet is named; its Mandarin release writes bytes.
    """
    if geometry.n_labels == BYTES_MODE_LABELS:
        return Alphabet.bytes_output_mode()
    return Alphabet(ENGLISH) if geometry.n_labels == len(ENGLISH) else None


def describe_assumed(alphabet: Alphabet) -> str:
    """The words for an alphabet that `assumed_alphabet` gave."""
    which = "the bytes of UTF-8" if alphabet.bytes_mode else "the releases' English (space, a to z, apostrophe)"
    return f"its {len(alphabet)} labels are taken for {which}; --alphabet_config_path says otherwise"


def sidecar(path: Path) -> dict[str, Any]:
    """A JSON object, or nothing: DeepSpeech's flags.txt is no JSON and holds nothing that the bundle does not."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
