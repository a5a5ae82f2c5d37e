"""The test sets: clips, what is known about their speakers, and their audio."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.evaluate.models import Subject
from components.evaluate.settings import EvaluateSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Corpus
from speech.audio import WAV_HEADER_BYTES, ClipReader
from speech.errors import InputError
from speech.manifest import Clip, Manifest
from speech.sources import is_csv, read_source

# What a group is called -> the columns that may hold it, of Common Voice releases of all years.
TRAITS = {"gender": ("gender",), "accent": ("accents", "accent"), "age": ("age",)}


@dataclass(frozen=True)
class ClipSet:
    """The chosen clips of one CSV, and the traits of each one's speaker."""

    name: str
    manifest: Manifest
    traits: Sequence[dict[str, str]]


@dataclass(frozen=True)
class Item:
    """One clip of the evaluation."""

    set_name: str
    clip: Clip
    traits: dict[str, str]
    reader: ClipReader

    @property
    def name(self) -> str:
        """What errors call the clip."""
        return f"{self.reader.manifest.path}: {self.clip.wav_filename}"

    @property
    def about_samples(self) -> int:
        """Its length by the CSV, before it is read."""
        return max(0, self.clip.wav_filesize - WAV_HEADER_BYTES) // 2

    def samples(self) -> np.ndarray:
        """The int16 samples `[N]`; raises InputError if they are not at the model's rate."""
        samples, rate = self.reader.read(self.clip)
        if rate != self.reader.sample_rate:
            raise InputError(
                f"{self.name}: {rate} Hz, but the model was trained on {self.reader.sample_rate} Hz: "
                "import the corpus at that rate"
            )
        return samples


def open_sets(settings: EvaluateSettings, csvs: Sequence[Path], subject: Subject) -> list[ClipSet]:
    """Read the CSVs (or the test sets of corpus folders) and check that the model can be measured on them."""
    if not csvs:
        raise InputError("no test set: give --test_files")
    paths = [Corpus.open(path).csv("test") if path.is_dir() else path for path in csvs]
    sets = [_open(settings, path, name) for path, name in zip(paths, _names(paths), strict=True)]
    for test_set in sets:
        _check_alphabet(test_set, subject)
    return sets


def items(sets: Sequence[ClipSet], subject: Subject) -> list[Item]:
    """The clips of all sets; raises InputError if the first of a set has not the model's sample rate."""
    made = []
    for test_set in sets:
        reader = ClipReader(test_set.manifest, subject.geometry.audio_sample_rate)
        pairs = zip(test_set.manifest, test_set.traits, strict=True)
        of_set = [Item(test_set.name, clip, traits, reader) for clip, traits in pairs]
        of_set[0].samples()
        made += of_set
    return made


def _open(settings: EvaluateSettings, path: Path, name: str) -> ClipSet:
    manifest = read_source(path)
    if not len(manifest):
        raise InputError(f"{path}: no clips: expected a test set with at least one")
    order = list(range(len(manifest)))
    order = (order[::-1] if settings.reverse_test else order)[: settings.limit_test or None]
    traits = _traits(path) if is_csv(path) else [{}] * len(manifest)
    return ClipSet(name, Manifest(path, [manifest.clips[i] for i in order]), [traits[i] for i in order])


def _names(paths: Sequence[Path]) -> list[str]:
    stems = [path.stem for path in paths]
    return [
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        for path, stem in zip(paths, stems, strict=True)
    ]


def _traits(path: Path) -> list[dict[str, str]]:
    """The columns behind DeepSpeech's that say something about the speaker, of each row."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = (row for row in csv.reader(file) if row)
        header = next(rows)
        columns = {
            trait: header.index(name) for trait, names in TRAITS.items() for name in reversed(names) if name in header
        }
        return [{trait: row[column].strip() for trait, column in columns.items()} for row in rows]


def _check_alphabet(test_set: ClipSet, subject: Subject) -> None:
    """A corpus in letters that the model cannot write is the wrong one."""
    path = test_set.manifest.path.parent / ALPHABET
    if not path.is_file() or subject.alphabet.bytes_mode:
        return
    corpus = Alphabet.load(path)
    missing = [symbol for symbol in corpus.symbols if symbol not in subject.alphabet.labels]
    if missing:
        raise InputError(
            f"{path}: the corpus is written in {len(corpus)} symbols, the model in {len(subject.alphabet)} and without "
            f"{' '.join(map(repr, missing[:8]))}: evaluate it on a corpus that was imported with its alphabet"
        )
