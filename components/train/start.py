"""Where a run starts: where a killed one stopped, from a checkpoint (fine-tuning, transfer), or from scratch."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.train.report import PAGE
from components.train.settings import TrainSettings
from components.train.store import CheckpointStore
from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.nn import checkpoints
from speech.nn.checkpoints import Snapshot
from speech.variables import LAYERS, initial_weights, layer_of


@dataclass(frozen=True)
class Start:
    """The state that training begins with, and a line that says what it is."""

    bundle: Snapshot
    alphabet: Alphabet
    explanation: str
    resumed: bool = False


def choose(
    settings: TrainSettings,
    load_dir: Path | None,
    store: CheckpointStore,
    alphabet: Alphabet | None,
    run_key: str,
    collect_alphabet: Callable[[], Alphabet],
) -> Start:
    """Decide where to start.

    An unfinished run of the same settings and data (`run_key`) in the store goes on, and one that was stopped between
    its last checkpoint and its report writes that; in a store with a mirror any finished one does. Otherwise `load_dir`
    is loaded as `--load_train` says; otherwise the weights are fresh. `alphabet` is the new data's; None means the
    checkpoint's, and without a checkpoint the one that `collect_alphabet` gives.
    """
    last, problems = store.load_last()
    for problem in problems:
        print(f"note: {problem}; trying the checkpoint before it", file=sys.stderr, flush=True)
    same = last is not None and last.training_state.get("run_key") == run_key
    reported = (store.folder / PAGE).is_file() and not store.mirror
    if last is not None and same and not (reported and last.training_state.get("finished")):
        return Start(last, _resumed_alphabet(last, alphabet), f"resuming at step {last.global_step}", resumed=True)
    if settings.load_train == "init" or load_dir is None or not _has_checkpoint(load_dir):
        if settings.load_train in ("best", "last"):
            raise InputError(f"--load_train {settings.load_train}: {load_dir} holds no checkpoint to load")
        return _fresh(settings, alphabet or collect_alphabet())
    bundle, problems = checkpoints.load_first(checkpoints.find(load_dir, settings.load_train))
    for problem in problems:
        print(f"note: {problem}; falling back to {bundle.prefix}", file=sys.stderr, flush=True)
    return _from_checkpoint(settings, bundle, alphabet)


def is_finished(store: CheckpointStore, run_key: str) -> bool:
    """Whether the store's newest checkpoint is the end of the run with this key."""
    last, _ = store.load_last()
    return last is not None and last.training_state.get("run_key") == run_key and bool(last.training_state["finished"])


def _resumed_alphabet(bundle: Snapshot, alphabet: Alphabet | None) -> Alphabet:
    found = alphabet or checkpoints.find_alphabet(bundle.prefix, bundle.geometry)
    if found is None:
        raise InputError(f"{bundle.prefix}: no alphabet.txt beside the checkpoint: give --alphabet_config_path")
    return found


def _has_checkpoint(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.index"))


def _fresh(settings: TrainSettings, alphabet: Alphabet) -> Start:
    geometry = Geometry(
        n_hidden=settings.n_hidden,
        n_labels=len(alphabet),
        layer_norm=settings.layer_norm,
        relu_clip=settings.relu_clip,
        audio_sample_rate=settings.audio_sample_rate,
        feature_win_len=settings.feature_win_len,
        feature_win_step=settings.feature_win_step,
    )
    bundle = Snapshot(geometry, initial_weights(geometry, settings.random_seed))
    return Start(bundle, alphabet, f"from scratch: n_hidden {geometry.n_hidden}, {len(alphabet)} symbols")


def _from_checkpoint(settings: TrainSettings, bundle: Snapshot, alphabet: Alphabet | None) -> Start:
    _check_flags(settings, bundle)
    source = checkpoints.find_alphabet(bundle.prefix, bundle.geometry)
    if alphabet is None:
        if source is None:
            raise InputError(f"{bundle.prefix}: no alphabet.txt beside the checkpoint: give --alphabet_config_path")
        alphabet = source
    drop, reason = _layers_to_drop(settings, bundle, source, alphabet)
    bundle = replace(bundle, training_state={}, learning_rate=_learning_rate(settings, bundle))
    name = Path(bundle.prefix).name
    if not drop:
        return Start(bundle, alphabet, f"fine-tuning {name} (n_hidden {bundle.geometry.n_hidden}): {reason}")
    dropped = LAYERS[-drop:]
    bundle = reinitialise(bundle, replace(bundle.geometry, n_labels=len(alphabet)), dropped, settings.random_seed)
    return Start(bundle, alphabet, f"transfer learning from {name}, new {', '.join(dropped)}: {reason}")


def _check_flags(settings: TrainSettings, bundle: Snapshot) -> None:
    """A flag that contradicts the checkpoint is an error; a flag left at its default contradicts nothing."""
    for flag in ("n_hidden", "layer_norm", "relu_clip", "audio_sample_rate", "feature_win_len", "feature_win_step"):
        given, found = getattr(settings, flag), getattr(bundle.geometry, flag)
        if given != found and given != getattr(TrainSettings, flag):
            raise InputError(
                f"--{flag} {given} contradicts the checkpoint {bundle.prefix}, which has {found}: leave it out"
            )


def _layers_to_drop(
    settings: TrainSettings, bundle: Snapshot, source: Alphabet | None, alphabet: Alphabet
) -> tuple[int, str]:
    same_size = len(alphabet) == bundle.geometry.n_labels
    if settings.drop_source_layers != "auto":
        drop = int(settings.drop_source_layers)
        if drop == 0 and not same_size:
            raise InputError(
                f"the alphabet has {len(alphabet)} symbols, the checkpoint {bundle.prefix} {bundle.geometry.n_labels}: "
                "give --drop_source_layers 1 (or more, or auto) to learn a new output layer"
            )
        return drop, f"--drop_source_layers {drop}"
    if source is not None and source.symbols == alphabet.symbols:
        return 0, "same alphabet"
    if source is None and same_size:
        return 0, "alphabet of the same size (the checkpoint carries none to compare)"
    return 1, f"another alphabet ({bundle.geometry.n_labels} -> {len(alphabet)} symbols)"


def _learning_rate(settings: TrainSettings, bundle: Snapshot) -> float:
    given = settings.force_initialize_learning_rate or settings.learning_rate != TrainSettings.learning_rate
    if bundle.learning_rate is None or given:
        return settings.learning_rate
    return bundle.learning_rate


def reinitialise(bundle: Snapshot, geometry: Geometry, layers: tuple[str, ...], seed: int) -> Snapshot:
    """Fresh weights and no moments for the variables of `layers`, sized for `geometry`; everything else is kept."""
    fresh = initial_weights(geometry, seed)
    weights: dict[str, np.ndarray] = {}
    for name, value in bundle.weights.items():
        weights[name] = fresh[name] if layer_of(name) in layers else value
    moments = {name: value for name, value in bundle.moments.items() if layer_of(name) not in layers}
    return replace(bundle, geometry=geometry, weights=weights, moments=moments)


def describe(start: Start, settings: TrainSettings, run: dict[str, Any]) -> dict[str, Any]:
    """The sidecar that travels with the checkpoints."""
    return {
        "geometry": start.bundle.geometry.to_dict(),
        "bytes_output_mode": start.alphabet.bytes_mode,
        "start": start.explanation,
        **run,
        "settings": {name: getattr(settings, name) for name in settings.__dataclass_fields__},
    }


def flags_of_peer(start: Start, settings: TrainSettings) -> dict[str, Any]:
    """What Coqui STT reads from flags.txt beside a checkpoint."""
    geometry = start.bundle.geometry
    shared = ("n_hidden", "layer_norm", "relu_clip", "audio_sample_rate", "feature_win_len", "feature_win_step")
    return {
        **{name: getattr(geometry, name) for name in shared},
        "bytes_output_mode": start.alphabet.bytes_mode,
        "epochs": settings.epochs,
        "train_batch_size": settings.train_batch_size,
        "learning_rate": settings.learning_rate,
    }
