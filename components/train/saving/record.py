"""Which run wrote a checkpoint folder, and which bundles in it are its own; without TensorFlow."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from speech.artifacts import Checkpoint
from speech.storage.files import write_json


@dataclass
class RunRecord:
    """What says that files are a run's own: the names of its state files and tables, and these bundles."""

    run_key: str
    bundles: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path) -> "RunRecord | None":
        """The record in a folder; None if there is none that can be read."""
        try:
            values = json.loads((folder / Checkpoint.RECORD).read_text(encoding="utf-8"))
            return cls(str(values["run_key"]), [str(name) for name in values["bundles"]])
        except (OSError, ValueError, TypeError, LookupError):
            return None

    def save(self, folder: Path) -> None:
        """Write it, atomically."""
        write_json(folder / Checkpoint.RECORD, asdict(self))
