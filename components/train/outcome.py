"""What the pipeline keeps and shows of a training; without TensorFlow."""

import json
from dataclasses import replace
from pathlib import Path

from components.train.report import PAGE
from components.train.saving.record import RunRecord
from speech.artifacts import Checkpoint
from speech.model_files.checkpoints import find, read_state, remove, state_text
from speech.storage.files import write_text


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
    numbers = {"epochs": len(history["epochs"])}
    numbers |= {name: history.get(name) for name in ("best_dev_loss", "best_dev_wer", "best_dev_cer", "best_epoch")}
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
