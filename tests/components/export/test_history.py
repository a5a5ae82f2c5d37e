"""The training's history goes along with the exported model."""

import shutil
from pathlib import Path

from components.export import step
from components.export.settings import ExportSettings
from speech.artifacts import Checkpoint, ExportedModel


def test_the_history_of_the_checkpoint_and_no_other(checkpoint: Path, tmp_path: Path) -> None:
    given = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    (given / Checkpoint.HISTORY).write_text('{"best_dev_loss": 2.5, "epochs": [{"epoch": 1}]}')
    made = step.freeze(ExportSettings(), given, tmp_path / "model")
    assert (made.folder / Checkpoint.HISTORY).read_bytes() == (given / Checkpoint.HISTORY).read_bytes()
    assert Checkpoint.HISTORY not in ExportedModel.open(made.folder).sidecar["files"]
    (given / Checkpoint.HISTORY).unlink()  # as DeepSpeech and Coqui STT leave a checkpoint
    step.freeze(ExportSettings(), given, tmp_path / "model")
    assert not (tmp_path / "model" / Checkpoint.HISTORY).exists()
