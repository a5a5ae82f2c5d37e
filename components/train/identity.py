"""What tells one training from another: digests of its settings and of its data. Without TensorFlow.

Within a folder a run is known by `run_key`, in a pipeline's object store by the prefix of its checkpoints, which names
the TrainJob as well (`cluster/jobs.py`).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from components.train.data import TrainingClips
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.clips.manifest import Manifest
from speech.storage.objects import is_remote

SUMMARIES = "summaries"
# Settings that change nothing about the weights that a run ends with.
NOT_IN_RUN_KEY: dict[str, Any] = {
    "checkpoint_secs": 0,
    "upload_secs": 0,
    "upload_patience_secs": 0,
    "max_to_keep": 1,
    "alphabet_config_path": "",
    "skip_batch_test": False,
    "summary_dir": "",
    "tracking_uri": "",
    "tracking_experiment": "",
    "tracking_run": "",
    "allow_skipped": TrainSettings.allow_skipped,
    "show_progressbar": True,
    "feature_cache": "",
    "cache_for_epochs": 0,
    "lstm": "auto",
    "devices": "auto",
    "worker_timeout": 0,
    "log_placement": False,
}


def run_key(
    settings: TrainSettings, train: Sequence[Manifest], dev: Sequence[Manifest], alphabet: Alphabet | None
) -> str:
    """What must be equal for a rerun to go on where a killed run stopped: the settings and the data."""
    facts = [json.dumps(_that_count(settings), sort_keys=True), repr(alphabet.symbols if alphabet else None)]
    return of_clips("".join(facts), (*train, *dev))


def of_clips(facts: str, manifests: Sequence[Manifest]) -> str:
    """A digest of `facts` and of every clip's name, size and transcript."""
    digest = hashlib.sha256(facts.encode())
    for manifest in manifests:
        for clip in manifest:
            digest.update(f"{clip.wav_filename}\t{clip.wav_filesize}\t{clip.transcript}\n".encode())
        digest.update(b"\0")
    return digest.hexdigest()


def checkpoints_at(checkpoint_uri: str, settings: TrainSettings, clips: TrainingClips, base_uri: str) -> str:
    """The prefix of a training's checkpoints below `checkpoint_uri`.

    It is named by all that the training depends on, so that others may share `checkpoint_uri`.
    """
    digest = hashlib.sha256(json.dumps([_that_count(settings), base_uri], sort_keys=True).encode())
    _add_clips(digest, clips)
    return f"{checkpoint_uri.rstrip('/')}/{digest.hexdigest()[:16]}"


def with_summaries(checkpoint_uri: str, settings: TrainSettings, clips: TrainingClips, base_uri: str) -> TrainSettings:
    """The settings with curves in a folder of the training's own under `checkpoint_uri`/summaries, unless one is named.

    A TensorBoard that is pointed at `checkpoint_uri`/summaries shows all trainings that share it.
    """
    if settings.summary_dir or not is_remote(checkpoint_uri):
        return settings
    name = checkpoints_at("", settings, clips, base_uri).strip("/")
    return replace(settings, summary_dir=f"{checkpoint_uri.rstrip('/')}/{SUMMARIES}/{name}")


def clips_copy_at(checkpoint_uri: str, clips: TrainingClips) -> str:
    """The prefix below `checkpoint_uri` for a copy of the clips, where their own place cannot be read."""
    digest = hashlib.sha256()
    _add_clips(digest, clips)
    return f"{checkpoint_uri.rstrip('/')}/corpus-{digest.hexdigest()[:16]}"


def _that_count(settings: TrainSettings) -> dict[str, Any]:
    return asdict(replace(settings, **NOT_IN_RUN_KEY))


def _add_clips(digest: Any, clips: TrainingClips) -> None:
    for text in clips.identity():
        digest.update(text + b"\0")
