"""`--auto_input_dataset`: one CSV becomes a training, a dev and a test set, and an alphabet, in the CSV's folder."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET
from speech.clips.manifest import read_manifest
from speech.errors import InputError
from speech.storage.files import atomic_path

SETS = ("train", "dev", "test")
# Clips that tell an error rate to 1 % with 99 % confidence, of a population without end: z^2 / 4 / margin^2.
CLIPS_OF_A_SURE_RATE = 2.58**2 * 0.25 / 0.01**2


@dataclass(frozen=True)
class SplitDataset:
    """The three CSVs and the alphabet."""

    train: Path
    dev: Path
    test: Path
    alphabet: Path


def split_dataset(path: Path, alphabet: str, seed: int) -> SplitDataset:
    """Split the CSV (or the only CSV of a folder) at random by `seed`; sets and alphabet that exist are used as such.

    Raises InputError when some of the sets exist and some do not, when there are fewer than three clips, or when the
    alphabet lacks characters of the transcripts.
    """
    folder = path if path.is_dir() else path.parent
    paths = [folder / f"{name}.csv" for name in SETS]
    existing = [path.name for path in paths if path.is_file()]
    if existing and len(existing) < len(SETS):
        raise InputError(
            f"--auto_input_dataset {path}: {', '.join(existing)} is there, the others of train.csv, dev.csv, test.csv "
            "are not: remove what is there, or give --train_files, --dev_files and --test_files"
        )
    source = _only_csv(path) if path.is_dir() and not existing else path
    characters = Alphabet.collect(
        clip.transcript for path in (paths if existing else [source]) for clip in read_manifest(path)
    )
    alphabet_file = Path(alphabet) if alphabet else folder / ALPHABET
    if alphabet or alphabet_file.is_file():
        missing = Alphabet.load(alphabet_file).missing("".join(characters.symbols))
        if missing:
            raise InputError(
                f"{alphabet_file}: lacks {' '.join(map(repr, missing))} of the transcripts: add them, or remove it"
            )
    if not existing:
        _write_sets(source, paths, seed)
    if not alphabet_file.is_file():
        characters.save(alphabet_file)
    train, dev, test = paths
    return SplitDataset(train, dev, test, alphabet_file)


def held_out(clips: int) -> int:
    """Clips of the dev set, and of the test set: as many as make a sure rate, by the size of the training set."""
    for train in range(clips, 0, -1):
        size = int(CLIPS_OF_A_SURE_RATE / (1 + CLIPS_OF_A_SURE_RATE / train))
        if 2 * size + train <= clips:
            return max(1, size)
    return 1


def _only_csv(folder: Path) -> Path:
    csvs = sorted(folder.glob("*.csv"))
    if len(csvs) != 1:
        names = ", ".join(path.name for path in csvs) or "none"
        raise InputError(f"--auto_input_dataset {folder}: expected one CSV in the folder, found {names}: give the CSV")
    return csvs[0]


def _write_sets(source: Path, paths: list[Path], seed: int) -> None:
    with source.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = [row for row in csv.reader(file) if row]
    if len(rows) < len(SETS):
        raise InputError(f"{source}: {len(rows)} clips are too few to be split in three: give more")
    size = held_out(len(rows))
    order = np.random.default_rng(seed).permutation(len(rows))
    parts = (order[: -2 * size], order[-2 * size : -size], order[-size:])
    for path, part in reversed(list(zip(paths, parts, strict=True))):  # train.csv, by which a set is chosen, last
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as target:
            writer = csv.writer(target, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows[position] for position in sorted(part))
    sizes = ", ".join(f"{len(part)} clips {path.name}" for path, part in zip(paths, parts, strict=True))
    print(f"split {source}: {sizes}", flush=True)
