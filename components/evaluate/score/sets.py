"""The test sets: clips, what is known about their speakers, and their audio."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from components.evaluate.model.models import Subject
from components.evaluate.settings import EvaluateSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET
from speech.clips.audio import ClipReader, resample
from speech.clips.manifest import Clip, Manifest
from speech.clips.selection import readable, samples_of
from speech.clips.sources import is_csv, read_source
from speech.clips.tally import OTHER_RATE, UNREADABLE, Allowance, Tally
from speech.errors import InputError

# What a group is called -> the columns that may hold it, of Common Voice releases of all years.
TRAITS = {"gender": ("gender",), "accent": ("accents", "accent"), "age": ("age",)}


@dataclass(frozen=True)
class EvaluationSet:
    """The chosen clips of one CSV, and the traits of each one's speaker."""

    name: str
    manifest: Manifest
    traits: Sequence[dict[str, str]]
    tally: Tally


@dataclass(frozen=True)
class EvaluationClip:
    """One clip of the evaluation."""

    set_name: str
    clip: Clip
    traits: dict[str, str]
    reader: ClipReader
    row: int  # in its set
    about_samples: int  # at the model's rate, by the file's header
    tally: Tally = field(repr=False)
    resampling: bool = True

    @property
    def name(self) -> str:
        """What errors call the clip."""
        return f"{self.reader.manifest.path}: {self.clip.wav_filename}"

    def samples(self) -> np.ndarray:
        """The int16 samples `[N]` at the model's rate; raises InputError if they cannot be had."""
        return self.reader.samples(self.clip)

    def heard(self) -> np.ndarray | None:
        """The same; None, and a note in the tally, for a clip that cannot be used."""
        try:
            samples, rate = self.reader.read(self.clip)
        except InputError:
            self.tally.add(UNREADABLE, self.row, self.clip.wav_filename)
            return None
        if rate == self.reader.sample_rate:
            return samples
        if not self.resampling:
            self.tally.add(OTHER_RATE, self.row, self.clip.wav_filename)
            return None
        return resample(samples, rate, self.reader.sample_rate)


def open_sets(settings: EvaluateSettings, csvs: Sequence[Path], subject: Subject) -> list[EvaluationSet]:
    """Read the CSVs (or the test sets of corpus folders) and check that the model can be measured on them."""
    if not csvs:
        raise InputError("no test set: give --test_files")
    manifests = [read_source(path, "test") for path in csvs]
    names = _names([manifest.path for manifest in manifests])
    sets = [_open(settings, manifest, name) for manifest, name in zip(manifests, names, strict=True)]
    for test_set in sets:
        _check_alphabet(test_set, subject)
    return sets


def items(settings: EvaluateSettings, sets: Sequence[EvaluationSet], subject: Subject) -> list[EvaluationClip]:
    """The clips of all sets that can be used, by their files' headers; the others are in the sets' tallies.

    Raises InputError if these are too many, or if the model cannot write too many of the transcripts.
    """
    clips, rate, resampling = [], subject.geometry.audio_sample_rate, settings.normalize_sample_rate
    allowance = Allowance(settings.allow_skipped)
    for test_set in sets:
        reader = ClipReader(test_set.manifest, rate)
        kept = readable(test_set.manifest, rate, test_set.tally, resampling=resampling)
        test_set.tally.check(allowance)
        _check_transcripts(test_set, subject, allowance)
        lengths = samples_of(test_set.manifest, rate)
        clips += [
            EvaluationClip(
                test_set.name,
                test_set.manifest.clips[row],
                test_set.traits[row],
                reader,
                row,
                int(lengths[row]),
                test_set.tally,
                resampling,
            )
            for row in kept.tolist()
        ]
    return clips


def _check_transcripts(test_set: EvaluationSet, subject: Subject, allowance: Allowance) -> None:
    """A few references that the model cannot write count as errors of it; many are those of another language."""
    foreign = [clip for clip in test_set.manifest if subject.alphabet.missing(clip.transcript)]
    if len(foreign) > (allowed := allowance.clips(len(test_set.manifest))):
        symbols = dict.fromkeys(symbol for clip in foreign for symbol in subject.alphabet.missing(clip.transcript))
        raise InputError(
            f"{test_set.manifest.path}: the model cannot write {len(foreign)} of {len(test_set.manifest)} transcripts "
            f"({foreign[0].wav_filename}, ...): its alphabet lacks {' '.join(map(repr, list(symbols)[:8]))}; "
            f"--allow_skipped {allowance.text} allows {allowed}: evaluate it on transcripts in its alphabet"
        )


def _open(settings: EvaluateSettings, manifest: Manifest, name: str) -> EvaluationSet:
    path = manifest.path
    if not len(manifest):
        raise InputError(f"{path}: no clips: expected a test set with at least one")
    order = list(range(len(manifest)))
    order = (order[::-1] if settings.reverse_test else order)[: settings.limit_test or None]
    traits = _traits(path) if is_csv(path) else [{}] * len(manifest)
    chosen = Manifest(path, [manifest.clips[i] for i in order])
    return EvaluationSet(name, chosen, [traits[i] for i in order], Tally(str(path)))


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


def _check_alphabet(test_set: EvaluationSet, subject: Subject) -> None:
    """A corpus in letters that the model cannot write is the wrong one."""
    path = test_set.manifest.path.parent / ALPHABET
    if not path.is_file() or subject.alphabet.bytes_mode:
        return
    corpus = Alphabet.load(path)
    if corpus.bytes_mode:  # it says nothing of the letters
        return
    missing = [symbol for symbol in corpus.symbols if symbol not in subject.alphabet.labels]
    if missing:
        raise InputError(
            f"{path}: the corpus is written in {len(corpus)} symbols, the model in {len(subject.alphabet)} and without "
            f"{' '.join(map(repr, missing[:8]))}: evaluate it on a corpus that was imported with its alphabet"
        )
