"""What names a training in the pipeline, and what the pipeline shows of it; without TensorFlow."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.train.report import PAGE
from components.train.settings import TrainSettings
from speech.artifacts import ALPHABET, Checkpoint

# Settings that change nothing about the weights that a run ends with.
NOT_IN_RUN_KEY: dict[str, Any] = {
    "checkpoint_secs": 0,
    "max_to_keep": 1,
    "alphabet_config_path": "",
    "skip_batch_test": False,
    "summary_dir": "",
    "allow_skipped": TrainSettings.allow_skipped,
    "show_progressbar": True,
    "feature_cache": "",
    "cache_for_epochs": 0,
    "devices": "auto",
    "log_placement": False,
}


def checkpoints_at(checkpoint_uri: str, settings: TrainSettings, corpus: Path, base_uri: str) -> str:
    """The prefix of a training's checkpoints below `checkpoint_uri`.

    It is named by all that the training depends on, so that others may share `checkpoint_uri`.
    """
    values = asdict(replace(settings, **NOT_IN_RUN_KEY))
    digest = hashlib.sha256(json.dumps([values, base_uri], sort_keys=True).encode())
    _add_corpus(digest, corpus)
    return f"{checkpoint_uri.rstrip('/')}/{digest.hexdigest()[:16]}"


def corpus_copy_at(checkpoint_uri: str, corpus: Path) -> str:
    """The prefix below `checkpoint_uri` for a copy of the corpus, where its own place cannot be read."""
    digest = hashlib.sha256()
    _add_corpus(digest, corpus)
    return f"{checkpoint_uri.rstrip('/')}/corpus-{digest.hexdigest()[:16]}"


def _add_corpus(digest: Any, corpus: Path) -> None:
    for path in (corpus / "train.csv", corpus / "dev.csv", corpus / ALPHABET):
        digest.update(path.read_bytes() + b"\0" if path.is_file() else b"\0")


def headline(checkpoint: Checkpoint) -> dict[str, float]:
    """The numbers of a run that Kubeflow shows."""
    history = json.loads((checkpoint.folder / Checkpoint.HISTORY).read_text(encoding="utf-8"))
    numbers = {"epochs": len(history["epochs"]), "best_dev_loss": history["best_dev_loss"]}
    numbers["train_clips_used"] = history["clips"]["train"]["used"]
    numbers["train_clips_left_out"] = history["clips"]["train"]["skipped"]
    if history["epochs"]:
        numbers["train_loss"] = history["epochs"][-1]["train_loss"]
    return {name: value for name, value in numbers.items() if value is not None}


def read_report(checkpoint: Checkpoint) -> str:
    """The HTML page with the loss curves."""
    return (checkpoint.folder / PAGE).read_text(encoding="utf-8")
