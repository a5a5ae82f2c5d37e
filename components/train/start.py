"""Where a run starts: where a killed one stopped, from a checkpoint (fine-tuning, transfer), or from scratch."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.train.saving.store import CheckpointStore, check_empty_of_checkpoints
from components.train.settings import GEOMETRY_FLAGS, TrainSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files import alphabets
from speech.model_files.variables import LAYERS, initial_weights, layer_of
from speech.nn import snapshots
from speech.nn.input_scaling import INNER
from speech.nn.snapshots import Snapshot

SHOWN_SYMBOLS = 10  # of a difference between two alphabets


@dataclass(frozen=True)
class DataAlphabet:
    """The alphabet for the data, the file (or flag) that it comes from, and whether a flag names it."""

    alphabet: Alphabet
    where: str
    asked_for: bool = False  # else it merely lies beside the data


@dataclass(frozen=True)
class Start:
    """The state that training begins with, and a line that says what it is."""

    snapshot: Snapshot
    alphabet: Alphabet
    explanation: str
    resumed: bool = False
    dropped: tuple[str, ...] = ()  # layers of a checkpoint that start fresh
    base: str = ""  # the checkpoint that is trained on, whole: its dev loss is what the epochs have to beat


def choose(
    settings: TrainSettings,
    load_dir: Path | None,
    store: CheckpointStore,
    data: DataAlphabet | None,
    collect_alphabet: Callable[[], Alphabet],
) -> Start:
    """Decide where to start.

    An unfinished run that the store goes on with comes first. Otherwise `load_dir` is loaded as `--load_train` says;
    it may only be empty if it is the folder that is saved to. Without it the weights are fresh. `data` is None where no
    alphabet is named or lies beside the data; without a checkpoint `collect_alphabet` gives it then.
    Raises InputError for a checkpoint that is not there, or that contradicts a flag or the data's alphabet.
    """
    last, problems = store.load_last()
    for problem in problems:
        print(f"note: {problem}; trying the checkpoint before it", file=sys.stderr, flush=True)
    if last is not None:
        alphabet = alphabets.of_checkpoint(last.prefix, last.geometry) or (data.alphabet if data else None)
        if alphabet is None:
            raise alphabets.missing(last.prefix, last.geometry)
        return Start(last, alphabet, f"resuming at step {last.global_step}", resumed=True)
    if settings.load_train == "init" or not _is_to_load(settings, load_dir, store):
        return _fresh(settings, data.alphabet if data else collect_alphabet())
    assert load_dir is not None
    snapshot, problems = snapshots.load_first(snapshots.find(load_dir, settings.load_train))
    for problem in problems:
        print(f"note: {problem}; falling back to {snapshot.prefix}", file=sys.stderr, flush=True)
    return _from_checkpoint(settings, snapshot, data, collect_alphabet)


def is_finished(store: CheckpointStore) -> bool:
    """Whether the run that the store goes on with is at its end."""
    last, _ = store.load_last()
    return last is not None and bool(last.training_state["finished"])


def _is_to_load(settings: TrainSettings, load_dir: Path | None, store: CheckpointStore) -> bool:
    """Whether `load_dir` holds a checkpoint; raises InputError where it was meant to and does not."""
    holds = load_dir is not None and Checkpoint.is_in(load_dir)
    if not holds and settings.load_train in ("best", "last"):
        raise InputError(f"--load_train {settings.load_train}: {load_dir or store.root} holds no checkpoint to load")
    if not holds and load_dir is not None:
        if load_dir != store.root:
            Checkpoint.open(load_dir)  # raises, and says what is there instead
        check_empty_of_checkpoints(load_dir)
    return holds


def _fresh(settings: TrainSettings, alphabet: Alphabet) -> Start:
    geometry = settings.fresh_geometry(len(alphabet))
    snapshot = Snapshot(geometry, initial_weights(geometry, settings.random_seed))
    return Start(snapshot, alphabet, f"from scratch: n_hidden {geometry.n_hidden}, {len(alphabet)} symbols")


def _from_checkpoint(
    settings: TrainSettings, snapshot: Snapshot, data: DataAlphabet | None, collect: Callable[[], Alphabet]
) -> Start:
    _check_flags(settings, snapshot)
    alphabet, drop, reason = _alphabet_and_layers(settings, snapshot, data, collect)
    moments = {name: value for name, value in snapshot.moments.items() if not name.startswith(INNER)}
    snapshot = replace(snapshot, training_state={}, moments=moments)
    name = Path(snapshot.prefix).name
    if not drop:
        explanation = f"fine-tuning {name} (n_hidden {snapshot.geometry.n_hidden}): {reason}"
        return Start(snapshot, alphabet, explanation, base=name)
    dropped = LAYERS[-drop:]
    snapshot = reinitialise(snapshot, replace(snapshot.geometry, n_labels=len(alphabet)), dropped, settings.random_seed)
    explanation = f"transfer learning from {name}, new {', '.join(dropped)}: {reason}"
    return Start(snapshot, alphabet, explanation, dropped=dropped)


def _check_flags(settings: TrainSettings, snapshot: Snapshot) -> None:
    """A flag that contradicts the checkpoint is an error; one that was not given contradicts nothing."""
    for flag in GEOMETRY_FLAGS:
        asked, recorded = getattr(settings, flag), getattr(snapshot.geometry, flag)
        if asked != recorded and asked != getattr(TrainSettings, flag):
            raise InputError(
                f"--{flag} {asked} contradicts the checkpoint {snapshot.prefix}, which has {recorded}: leave it out"
            )


def _alphabet_and_layers(
    settings: TrainSettings, snapshot: Snapshot, data: DataAlphabet | None, collect: Callable[[], Alphabet]
) -> tuple[Alphabet, int, str]:
    """The alphabet to train with, how many layers start fresh for it, and why.

    The checkpoint's alphabet wins, unless layers are to be dropped; raises InputError where the data's is another one.
    """
    source, n_labels = alphabets.of_checkpoint(snapshot.prefix, snapshot.geometry), snapshot.geometry.n_labels
    if source is not None and len(source) != n_labels:
        source = None  # another model's: the folder is shared with a corpus, say
    drop = settings.drop_source_layers
    if drop not in ("auto", "0"):
        return (data.alphabet if data else source or collect()), int(drop), f"--drop_source_layers {drop}"
    by = "--drop_source_layers auto: " if drop == "auto" else ""
    if data is None:
        alphabet = source or alphabets.assumed(snapshot.geometry)
        if alphabet is None:
            raise alphabets.missing(snapshot.prefix, snapshot.geometry)
        return alphabet, 0, by + ("the checkpoint's alphabet" if source else alphabets.describe_assumed(alphabet))
    if source == data.alphabet:
        return data.alphabet, 0, f"{by}same alphabet"
    assumed = alphabets.assumed(snapshot.geometry)
    if source is None and len(data.alphabet) == n_labels and (data.asked_for or assumed in (None, data.alphabet)):
        what = "has as many symbols" if assumed != data.alphabet else "is that of the releases"
        return data.alphabet, 0, f"{by}the checkpoint carries no alphabet, and {data.where} {what}"
    if drop == "auto":
        return data.alphabet, 1, f"{by}another alphabet ({n_labels} -> {len(data.alphabet)} symbols)"
    raise InputError(_disagreement(snapshot, source, data))


def _disagreement(snapshot: Snapshot, source: Alphabet | None, data: DataAlphabet) -> str:
    """The two alphabets, how they differ, and the two ways on."""
    transfer = "a new output layer (transfer learning) is learned with --drop_source_layers 1, or auto"
    assumed = alphabets.assumed(snapshot.geometry)
    if source is None and assumed is not None and len(assumed) == len(data.alphabet):
        return (
            f"{snapshot.prefix} carries no alphabet, and {data.where} is not that of the releases: "
            f"{describe_difference(assumed, data.alphabet)}: --alphabet_config_path {data.where} says that the "
            f"checkpoint writes it nevertheless; {transfer}"
        )
    if source is None:
        return (
            f"{snapshot.prefix} writes {snapshot.geometry.n_labels} symbols and carries no alphabet, {data.where} has "
            f"{len(data.alphabet)}: {transfer}; --alphabet_config_path names the alphabet that the checkpoint was "
            "trained with, to keep its output layer"
        )
    there = Path(snapshot.prefix).parent / ALPHABET
    return (
        f"the checkpoint's alphabet {there} and {data.where} differ: {describe_difference(source, data.alphabet)}: "
        f"{transfer}; --alphabet_config_path {there} keeps the checkpoint's"
    )


def describe_difference(source: Alphabet, other: Alphabet) -> str:
    """What `other` adds to `source`, lacks of it, or has in another place."""
    if source.bytes_mode != other.bytes_mode:
        return f"the {'first' if source.bytes_mode else 'second'} writes the bytes of UTF-8"
    parts = []
    for word, whole, lacking in (("adds", other, source), ("lacks", source, other)):
        if symbols := [symbol for symbol in whole.symbols if symbol not in lacking.labels]:
            more = f" and {len(symbols) - SHOWN_SYMBOLS} more" if len(symbols) > SHOWN_SYMBOLS else ""
            parts.append(f"{word} {' '.join(map(repr, symbols[:SHOWN_SYMBOLS]))}{more}")
    if parts:
        return f"the second {', '.join(parts)}"
    pairs = enumerate(zip(source.symbols, other.symbols, strict=True))
    label, (here, there) = next((label, pair) for label, pair in pairs if pair[0] != pair[1])
    return f"the same symbols in another order, from label {label} on ({here!r} in the first, {there!r} in the second)"


def with_learning_rate(snapshot: Snapshot, settings: TrainSettings) -> Snapshot:
    """The checkpoint's own learning rate, unless it has none or the (completed) settings have another to be taken."""
    if snapshot.learning_rate is None or settings.force_initialize_learning_rate:
        return replace(snapshot, learning_rate=settings.learning_rate)
    return snapshot


def reinitialise(snapshot: Snapshot, geometry: Geometry, layers: tuple[str, ...], seed: int) -> Snapshot:
    """Fresh weights and no moments for the variables of `layers`, sized for `geometry`; everything else is kept."""
    fresh = initial_weights(geometry, seed)
    weights: dict[str, np.ndarray] = {}
    for name, value in snapshot.weights.items():
        weights[name] = fresh[name] if layer_of(name) in layers else value
    moments = {name: value for name, value in snapshot.moments.items() if layer_of(name) not in layers}
    return replace(snapshot, geometry=geometry, weights=weights, moments=moments)


def describe(start: Start, origin: dict[str, Any], settings: TrainSettings, run: dict[str, Any]) -> dict[str, Any]:
    """The sidecar that travels with the checkpoints; `origin` is where the run started when nothing had stopped it."""
    return {
        "geometry": start.snapshot.geometry.to_dict(),
        "bytes_output_mode": start.alphabet.bytes_mode,
        **origin,
        **run,
        "settings": {**asdict(settings), **{name: getattr(start.snapshot.geometry, name) for name in GEOMETRY_FLAGS}},
    }


def flags_of_peer(start: Start, settings: TrainSettings) -> dict[str, Any]:
    """What Coqui STT reads from flags.txt beside a checkpoint."""
    geometry = start.snapshot.geometry
    return {
        **{name: getattr(geometry, name) for name in GEOMETRY_FLAGS},
        "bytes_output_mode": start.alphabet.bytes_mode,
        "epochs": settings.epochs,
        "train_batch_size": settings.train_batch_size,
        "learning_rate": settings.learning_rate,
    }
