"""What a training in the pipeline reads: the clips of the training set and of the dev set, as the import makes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speech.artifacts import ALPHABET, Clips

TRAIN, DEV = "train", "dev"


@dataclass(frozen=True)
class TrainingClips:
    """The two artifacts: where they are on this machine, and where Kubeflow keeps them."""

    train: Path
    dev: Path
    train_uri: str = ""
    dev_uri: str = ""

    @property
    def train_csv(self) -> Path:
        """The CSV of the training set; raises InputError for an artifact that is not complete."""
        return Clips.open(self.train).csv(TRAIN)

    @property
    def dev_csvs(self) -> list[Path]:
        """The CSV of the dev set, if the corpus has one."""
        opened = Clips.open(self.dev)
        return [opened.csv(DEV)] if DEV in opened.sets else []

    def identity(self) -> Iterator[bytes]:
        """Texts that two artifacts with the same clips have in common, wherever they lie."""
        for path in (self.train / f"{TRAIN}.csv", self.dev / f"{DEV}.csv", self.train / ALPHABET):
            yield path.read_bytes() if path.is_file() else b""
