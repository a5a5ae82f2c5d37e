"""What names a training in the pipeline, and what the pipeline shows of it; without TensorFlow."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.train.data import TrainingClips
from components.train.report import PAGE
from components.train.saving.record import RunRecord
from components.train.settings import TrainSettings
from speech.artifacts import Checkpoint
from speech.model_files.checkpoints import find, read_state, remove, state_text
from speech.storage.files import write_text

# Settings that change nothing about the weights that a run ends with.
NOT_IN_RUN_KEY: dict[str, Any] = {
    "checkpoint_secs": 0,
    "upload_secs": 0,
    "upload_patience_secs": 0,
    "max_to_keep": 1,
    "alphabet_config_path": "",
    "skip_batch_test": False,
    "summary_dir": "",
    "allow_skipped": TrainSettings.allow_skipped,
    "show_progressbar": True,
    "feature_cache": "",
    "cache_for_epochs": 0,
    "lstm": "auto",
    "devices": "auto",
    "worker_timeout": 0,
    "log_placement": False,
}


def checkpoints_at(checkpoint_uri: str, settings: TrainSettings, clips: TrainingClips, base_uri: str) -> str:
    """The prefix of a training's checkpoints below `checkpoint_uri`.

    It is named by all that the training depends on, so that others may share `checkpoint_uri`.
    """
    values = asdict(replace(settings, **NOT_IN_RUN_KEY))
    digest = hashlib.sha256(json.dumps([values, base_uri], sort_keys=True).encode())
    _add_clips(digest, clips)
    return f"{checkpoint_uri.rstrip('/')}/{digest.hexdigest()[:16]}"


def clips_copy_at(checkpoint_uri: str, clips: TrainingClips) -> str:
    """The prefix below `checkpoint_uri` for a copy of the clips, where their own place cannot be read."""
    digest = hashlib.sha256()
    _add_clips(digest, clips)
    return f"{checkpoint_uri.rstrip('/')}/corpus-{digest.hexdigest()[:16]}"


def _add_clips(digest: Any, clips: TrainingClips) -> None:
    for text in clips.identity():
        digest.update(text + b"\0")


def keep_best(folder: Path) -> Checkpoint:
    """Leave of a finished run's bundles the best one (without a dev set the newest), named by both state files.

    It is what the steps behind the training read; with five more of them they would fetch six times as much.
    """
    best = Path(find(folder)[0]).name
    known = {Path(prefix).name for name in (Checkpoint.LAST, Checkpoint.BEST) for prefix in read_state(folder, name)}
    for name in (Checkpoint.LAST, Checkpoint.BEST):
        if (folder / name).is_file():
            write_text(folder / name, state_text([best]))
    outdated = known - {best}
    for name in outdated:
        remove(folder, name)
    record = RunRecord.load(folder)
    if record is not None:
        replace(record, bundles=[name for name in record.bundles if name not in outdated]).save(folder)
    return Checkpoint.open(folder)


def headline(checkpoint: Checkpoint) -> dict[str, float]:
    """The numbers of a run that Kubeflow shows."""
    history = json.loads((checkpoint.folder / Checkpoint.HISTORY).read_text(encoding="utf-8"))
    numbers = {"epochs": len(history["epochs"]), "best_dev_loss": history["best_dev_loss"]}
    numbers["dev_loss_before_training"] = history.get("base", {}).get("dev_loss")
    model = json.loads((checkpoint.folder / Checkpoint.MODEL).read_text(encoding="utf-8"))
    numbers["dropped_layers"] = len(model.get("dropped_layers", ()))
    numbers["train_clips_used"] = history["clips"]["train"]["used"]
    numbers["train_clips_left_out"] = history["clips"]["train"]["skipped"]
    if history["epochs"]:
        numbers["train_loss"] = history["epochs"][-1]["train_loss"]
    return {name: value for name, value in numbers.items() if value is not None}


def read_report(checkpoint: Checkpoint) -> str:
    """The HTML page with the loss curves."""
    return (checkpoint.folder / PAGE).read_text(encoding="utf-8")
