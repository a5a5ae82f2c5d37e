"""What a training in the pipeline reads: the clips of the training set and of the dev set, as the import makes them."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from speech.artifacts import ALPHABET, Clips, Corpus, lists_clips
from speech.storage.objects import local_folder, of_artifact_store

TRAIN, DEV = "train", "dev"


def dev_csvs(corpus: Path) -> list[Path]:
    """The CSV of a corpus' dev set; none, and a word about it, if it is missing or empty."""
    path = corpus / f"{DEV}.csv"
    if lists_clips(path):
        return [path]
    print(
        "note: the corpus has no dev set, so the newest checkpoint counts as the best, and --early_stop and "
        "--reduce_lr_on_plateau have nothing to go by; an import with --splits auto makes one",
        file=sys.stderr,
        flush=True,
    )
    return []


@dataclass(frozen=True)
class TrainingClips:
    """The two artifacts: where they are on this machine, and where Kubeflow keeps them.

    In a pipeline whose training reads its clips itself, only the tables of the corpus are on this machine.
    """

    train: Path
    dev: Path
    train_uri: str = ""
    dev_uri: str = ""
    tables_only: bool = False

    @classmethod
    def of_pipeline(cls, train: Path, train_uri: str, dev: Path, dev_uri: str) -> "TrainingClips":
        """What a pipeline handed over; raises InputError for artifacts that are not complete."""
        if (train / Corpus.PLACES).is_file():
            corpus = Corpus.open(train)
            corpus.check()
            places = corpus.places
            return cls(train, train, places[TRAIN], places[DEV], tables_only=True)
        return cls(Clips.open(train).folder, Clips.open(dev).folder, train_uri, dev_uri)

    @property
    def train_csv(self) -> Path:
        """The CSV of the training set."""
        return self.train / f"{TRAIN}.csv"

    @property
    def dev_csvs(self) -> list[Path]:
        """The CSV of the dev set, if the corpus has one."""
        return dev_csvs(self.dev)

    def fetched(self, scratch: Path) -> "TrainingClips":
        """The same with the clips on this machine, below `scratch` unless they are here already."""
        if not self.tables_only:
            return self
        train, dev = (
            local_folder(of_artifact_store(uri), scratch / name)
            for name, uri in ((TRAIN, self.train_uri), (DEV, self.dev_uri))
        )
        return replace(self, train=Clips.open(train).folder, dev=Clips.open(dev).folder, tables_only=False)

    def identity(self) -> Iterator[bytes]:
        """Texts that two artifacts with the same clips have in common, wherever they lie."""
        for path in (self.train_csv, self.dev / f"{DEV}.csv", self.train / ALPHABET):
            yield path.read_bytes() if path.is_file() else b""
