"""One set of clips out of several: python -m components.train.peers.data_set_tool a.csv b.sdb TARGET.sdb

The peers' bin/data_set_tool.py, with its flags. A target is a CSV with a folder of WAV files beside it or a sample
database (.sdb), which both peers' trainers read, or a WebDataset of WAV files (.tar), which Coqui STT's reads.
"""

import os
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.train.peers import targets
from components.train.peers.heard import Ear, Recording, in_order, open_sources
from speech.errors import InputError
from speech.progress import Progress
from speech.settings import command, setting, setting_error

MAX_SKIPPED = 0.1  # share of the clips; more than that is a mistake in the sources


@dataclass(frozen=True)
class DataSetCommand:
    """Where from, where to, and what is done on the way."""

    files: tuple[str, ...] = setting(
        (),
        "the sources (CSVs, .sdb and .tar files, corpus folders) and, last, the .csv, .sdb or .tar file to make",
        positional=True,
        metavar="FILE",
        group="Input and output",
    )
    sources: tuple[str, ...] = setting((), "the sources, as Coqui STT has it", metavar="FILE")
    target: str = setting("", "the file to make, as Coqui STT has it", metavar="FILE")
    audio_type: str = setting(
        "opus", "how an .sdb file keeps the clips", choices=tuple(targets.AUDIO_TYPES), group="How clips are kept"
    )
    bitrate: int = setting(16_000, "of Opus; 6000 to 256000", unit="bit/s")
    unlabeled: bool = setting(False, "leave the transcripts out, for overlays; folders of audio files serve, too")
    absolute_paths: bool = setting(False, "name the WAV files of a CSV by absolute paths")
    augment: tuple[str, ...] = setting(
        (),
        "augmentations as for the training; repeated, they add up",
        adds_up=True,
        group="Which clips, and how they sound",
        metavar="SPEC",
    )
    clock: float = setting(0.0, "moment of the training, for ranges such as 1:5: 0.0 the beginning, 1.0 the end")
    shuffle: bool = setting(False, "in random order; otherwise from the shortest clip to the longest")
    workers: int = setting(0, "threads; 0: one a core")
    audio_sample_rate: int = setting(16_000, "sample rate of the clips; other audio is resampled", unit="Hz")
    random_seed: int = setting(4568, "seed of --shuffle and of the augmentations")

    def __post_init__(self) -> None:
        if not 0 <= self.clock <= 1:
            raise setting_error("clock", self.clock, "from 0.0 to 1.0")
        if self.workers < 0:
            raise setting_error("workers", self.workers, "0 (one a core) or more")
        if not 1000 <= self.audio_sample_rate <= 192_000:
            raise setting_error("audio_sample_rate", self.audio_sample_rate, "1000 to 192000 Hz")
        if not targets.LOWEST_BITRATE <= self.bitrate <= targets.HIGHEST_BITRATE:
            allowed = f"{targets.LOWEST_BITRATE} to {targets.HIGHEST_BITRATE} bit/s"
            raise setting_error("bitrate", self.bitrate, allowed)

    @property
    def paths(self) -> tuple[tuple[str, ...], Path]:
        """Sources and target, by whichever flags they were given."""
        files = (*self.sources, *self.files) if self.target else (*self.sources, *self.files[:-1])
        target = self.target or (self.files[-1] if self.files else "")
        if not files or not target:
            raise InputError("expected SOURCE ... TARGET: at least one source, and the file to make")
        return files, Path(target)


def run(flags: DataSetCommand) -> None:
    """Build the set, and say what is in it and what was left out."""
    sources, target = flags.paths
    kind = targets.AUDIO_TYPES[flags.audio_type]
    form = targets.ClipFormat(not flags.unlabeled, kind, flags.bitrate, flags.audio_sample_rate, flags.absolute_paths)
    targets.check(target)
    ear = Ear(flags.augment, flags.audio_sample_rate, flags.clock, flags.random_seed)
    if ear.unheard:
        print(f"note: what acts on the spectrogram is not applied: {', '.join(ear.unheard)}", flush=True)
    workers = flags.workers or os.cpu_count() or 1
    skipped: Counter[str] = Counter()
    seconds = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        recordings = open_sources(sources, flags.audio_sample_rate, Path(scratch), labeled=not flags.unlabeled)
        recordings = _ordered(recordings, flags.random_seed if flags.shuffle else None)
        with targets.write(target, form) as add, Progress(target.name, len(recordings), "clips") as bar:
            for recording, heard in in_order(ear, recordings, workers):
                if isinstance(heard, InputError):
                    skipped[str(heard)] += 1
                else:
                    add(heard, recording.clip.transcript)
                    seconds += len(heard) / flags.audio_sample_rate
                bar.update()
            _check(skipped, len(recordings))
    print(f"{target}: {len(recordings) - skipped.total()} clips, {seconds / 3600:.2f} h", flush=True)
    if skipped:
        print(f"left out: {skipped.total()} of {len(recordings)} clips, such as {next(iter(skipped))}", flush=True)


def _ordered(recordings: list[Recording], seed: int | None) -> list[Recording]:
    """From short to long, as trainers take the clips of an .sdb file in its order; with a seed at random."""
    if seed is None:
        return sorted(recordings, key=lambda recording: recording.seconds)
    shuffled = list(recordings)
    random.Random(seed).shuffle(shuffled)
    return shuffled


def _check(skipped: Counter[str], count: int) -> None:
    if skipped.total() > MAX_SKIPPED * count:
        raise InputError(
            f"{skipped.total()} of {count} clips cannot be read, such as {next(iter(skipped))}: nothing is written"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    command(
        DataSetCommand,
        run,
        prog="python -m components.train.peers.data_set_tool",
        usage="SOURCE ... TARGET",
        refused={"include": "a .tar file is a source of training and holds clips only"},
        description="Make one set of clips (.csv, .sdb or .tar) of several, with --augment and --shuffle if wanted.",
        argv=argv,
    )


if __name__ == "__main__":
    main()
