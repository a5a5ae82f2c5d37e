"""Listen to what training hears, or save it: python -m components.train.peers.play train.csv --augment volume[p=0.5]

The peers' bin/play.py, with its flags. Sound goes to whichever player the machine has; `--output` and `--pipe` save it.
"""

import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.train.peers.heard import Ear, Recording, open_sources
from speech.clips.audio import wav_header
from speech.errors import InputError
from speech.settings import command, setting, setting_error
from speech.storage.files import write_bytes

PLAYERS = (
    ("aplay", "-q"),
    ("paplay",),
    ("pw-play",),
    ("afplay",),
    ("play", "-q"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
)
INSTEAD = "--output FOLDER saves the clips, --pipe writes one to standard output"


@dataclass(frozen=True)
class PlayCommand:
    """What to play, and how."""

    files: tuple[str, ...] = setting(
        (),
        "CSV, .sdb or .tar file, corpus folder, or audio file",
        positional=True,
        metavar="SOURCE",
        group="Input and output",
    )
    source: str = setting("", "the same, as Coqui STT has it", metavar="FILE")
    start: int = setting(0, "first clip, from 0; below 0: from the end")
    number: int = setting(-1, "how many clips; -1: on and on, with --output and --pipe to the last one")
    random: bool = setting(False, "draw the clips")
    augment: tuple[str, ...] = setting(
        (), "augmentations as for the training; repeated, they add up", adds_up=True, metavar="SPEC"
    )
    clock: float = setting(0.5, "moment of the training, for ranges such as 1:5: 0.0 the beginning, 1.0 the end")
    output: str = setting("", "folder that takes the clips as WAV files instead", metavar="FOLDER")
    pipe: bool = setting(False, "write the first clip to standard output as a WAV file instead")
    quiet: bool = setting(False, "do not say what is played")
    audio_sample_rate: int = setting(16_000, "sample rate of the model; other audio is resampled", unit="Hz")
    random_seed: int = setting(4568, "seed of --random and of the augmentations")

    def __post_init__(self) -> None:
        if not 0 <= self.clock <= 1:
            raise setting_error("clock", self.clock, "from 0.0 to 1.0")
        if self.number < -1:
            raise setting_error("number", self.number, "-1 (no end) or more")
        if self.audio_sample_rate < 1000:
            raise setting_error("audio_sample_rate", self.audio_sample_rate, "at least 1000 Hz")


def run(flags: PlayCommand) -> None:
    """Play or save clips until there are enough, or Ctrl-C says so."""
    try:
        _run(flags)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


def _run(flags: PlayCommand) -> None:
    sources = [*flags.files, *([flags.source] if flags.source else [])]
    if len(sources) != 1:
        raise InputError(f"expected one SOURCE (a CSV, .sdb, .tar or audio file), found {len(sources)}")
    ear = Ear(flags.augment, flags.audio_sample_rate, flags.clock, flags.random_seed)
    if ear.unheard:
        print(f"note: what acts on the spectrogram is not heard: {', '.join(ear.unheard)}", file=sys.stderr)
    saves = bool(flags.output) or flags.pipe
    player = [] if saves else _find_player()
    with tempfile.TemporaryDirectory() as scratch:
        recordings = open_sources(sources, flags.audio_sample_rate, Path(scratch), labeled=False)
        for time, position in enumerate(_positions(flags, len(recordings), endless=not saves)):
            recording = recordings[position]
            if not flags.quiet:
                print(f"{position}: {recording.name}", *_transcript(recording), sep="\n", file=sys.stderr, flush=True)
            samples = ear.hear(recording, time)
            wav = wav_header(len(samples), flags.audio_sample_rate) + samples.tobytes()
            if flags.pipe:
                sys.stdout.buffer.write(wav)
                return
            if flags.output:
                _save(Path(flags.output), f"{time:04d}-{Path(recording.clip.wav_filename).stem}.wav", wav)
            else:
                _play(player, wav, Path(scratch))


def _transcript(recording: Recording) -> list[str]:
    return [f'  "{recording.clip.transcript}"'] if recording.clip.transcript else []


def _positions(flags: PlayCommand, count: int, *, endless: bool) -> Iterator[int]:
    """Which clips, in order: as many as asked for, or (unless `endless`) up to the last one."""
    start = flags.start + (count if flags.start < 0 else 0)
    if not 0 <= start < count:
        raise setting_error("start", flags.start, f"from {-count} to {count - 1}: there are {count} clips")
    number = flags.number if flags.number >= 0 or endless else count - start
    generator = random.Random(flags.random_seed)
    played = 0
    while number < 0 or played < number:
        yield generator.randrange(count) if flags.random else (start + played) % count
        played += 1


def _save(folder: Path, name: str, wav: bytes) -> None:
    if (folder / name).exists():
        raise InputError(f"--output {folder}: {name} is there already: give another folder")
    write_bytes(folder / name, wav)


def _find_player() -> Sequence[str]:
    player = next((player for player in PLAYERS if shutil.which(player[0])), None)
    if player is None:
        names = ", ".join(player[0] for player in PLAYERS)
        raise InputError(f"this machine has no program that plays sound ({names}): {INSTEAD}")
    return player


def _play(player: Sequence[str], wav: bytes, scratch: Path) -> None:
    path = scratch / "now.wav"
    path.write_bytes(wav)
    done = subprocess.run(
        [*player, str(path)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise InputError(f"{player[0]} ended with {done.returncode}: {reason[0]}: {INSTEAD}")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    command(
        PlayCommand,
        run,
        prog="python -m components.train.peers.play",
        description="Play clips, or save them, as training hears them: resampled and with --augment.",
        argv=argv,
    )


if __name__ == "__main__":
    main()
