#!/usr/bin/env python3
"""Regenerate the example corpus: a small, made-up Common Voice release spoken by espeak-ng.

    python examples/make_corpus.py [--output examples/cv-corpus-demo]

Needs the programs espeak-ng and lame (Debian: apt-get install espeak-ng lame) and numpy. The corpus is a pure function
of this file and of the versions of the two programs (1.51 and 3.100 made the one in the repository): nothing is drawn
at random, every choice that looks random is a hash of what it is about.

The layout is that of a release since 17.0 (2024): `en/{train,dev,test,validated,invalidated,other}.tsv`
without quoting, `en/clips/common_voice_en_N.mp3`, clip durations, and the files about sentences. The speakers of dev
and test and their sentences do not occur in train. A few clips are broken on purpose: see DAMAGED and ODD_SENTENCES.
"""

import argparse
import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LOCALE = "en"
ESPEAK_RATE_HZ = 22050
MP3_BITRATE_KBPS = 32  # the lowest that MPEG-1 layer III has, and only MPEG-1 has 32 and 48 kHz
SILENCE_S = 0.04  # before and after the words, as a speaker leaves it
NOISE_PEAK = 12  # of 32767: a quiet room, so that silence is not digital zero
FIRST_CLIP_NUMBER = 41_000_000

CLIP_COLUMNS = (
    "client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes",
    "age", "gender", "accents", "variant", "locale", "segment",
)  # fmt: skip


class CorpusError(Exception):
    """One line for whoever runs the script: what is wrong and what to do."""


@dataclass(frozen=True)
class Speaker:
    """One made-up contributor: an espeak-ng voice with its habits, and what the release tells about the person."""

    name: str
    voice: str  # espeak-ng voice and variant
    pitch: int  # 0...99
    words_per_minute: int
    amplitude: int  # 0...200
    sample_rate_hz: int  # of the MP3
    age: str
    gender: str
    accents: str

    @property
    def client_id(self) -> str:
        """128 hexadecimal digits, as in the releases."""
        return hashlib.sha512(f"speechmill demo speaker {self.name}".encode()).hexdigest()


US, ENGLAND = "United States English", "England English"
MALE, FEMALE = "male_masculine", "female_feminine"

SPEAKERS = {
    "train": (
        Speaker("t1", "en-us+m3", 45, 203, 80, 32000, "thirties", MALE, US),
        Speaker("t2", "en-us+f2", 50, 208, 90, 48000, "twenties", FEMALE, US),
        Speaker("t3", "en-gb+m7", 50, 213, 80, 32000, "fifties", MALE, ENGLAND),
        Speaker("t4", "en-gb+f5", 55, 208, 95, 48000, "fourties", FEMALE, ENGLAND),
        Speaker("t5", "en-us+m1", 60, 223, 55, 32000, "teens", MALE, US),
        Speaker("t6", "en-us+f3", 40, 198, 85, 32000, "sixties", FEMALE, US),
        Speaker("t7", "en-gb+m3", 35, 218, 70, 48000, "", "", ENGLAND),
        Speaker("t8", "en-gb+f2", 65, 223, 90, 32000, "twenties", FEMALE, ENGLAND),
        Speaker("t9", "en-us+m7", 40, 208, 60, 48000, "thirties", MALE, US),
        Speaker("t10", "en-us+f5", 60, 218, 80, 32000, "", "", ""),
    ),
    "dev": (
        Speaker("d1", "en-us+m3", 52, 213, 75, 48000, "twenties", MALE, US),
        Speaker("d2", "en-gb+f2", 58, 208, 85, 32000, "thirties", FEMALE, ENGLAND),
        Speaker("d3", "en-us+f5", 54, 208, 85, 32000, "fifties", FEMALE, US),
    ),
    "test": (
        Speaker("e1", "en-us+m3", 40, 218, 70, 32000, "fourties", MALE, US),
        Speaker("e2", "en-us+f2", 56, 218, 80, 48000, "twenties", FEMALE, US),
        Speaker("e3", "en-gb+m7", 44, 203, 85, 48000, "sixties", MALE, ENGLAND),
        Speaker("e4", "en-gb+f5", 60, 218, 90, 32000, "thirties", FEMALE, ENGLAND),
    ),
    "extra": (
        Speaker("x1", "en-us+m1", 50, 208, 60, 48000, "thirties", MALE, US),
        Speaker("x2", "en-gb+f3", 45, 213, 85, 32000, "", "", ""),
    ),
}

# Every sentence is one choice from each slot; "" leaves a slot out. 24 words in all.
THE, ADVERB = ("the", "my"), ("", "now", "please", "again")
COLOUR, ROOM, SWITCH = ("red", "green", "yellow"), ("kitchen", "garden"), ("on", "off")
MOVE, LAMP, PANE, NUMBER = ("open", "shut"), ("light", "radio"), ("door", "window"), ("two", "seven")
PATTERNS: tuple[tuple[Sequence[str], ...], ...] = (
    (("turn",), THE, (*COLOUR, *ROOM), LAMP, SWITCH, ADVERB),
    (("turn",), SWITCH, THE, (*COLOUR, *ROOM), LAMP, ADVERB),
    (MOVE, THE, (*COLOUR, *ROOM), PANE, ADVERB),
    (MOVE, PANE, NUMBER, ADVERB),
    (("turn",), LAMP, NUMBER, SWITCH, ADVERB),
    (("please",), MOVE, THE, PANE, ("in",), ("the", "my"), ROOM),
    (("stop",), THE, ("radio",), ("in",), THE, ROOM),
    (MOVE, THE, PANE, ("and",), PANE, ("", "now")),
    (("please",), ("stop",), THE, ("", *COLOUR), ("radio",)),
)
CLIPS = {"train": 322, "dev": 40, "test": 60}
VALIDATED_ONLY, OTHER, INVALIDATED = 8, 6, 4


@dataclass(frozen=True)
class SpokenClip:
    """One row of a release and how its file is made."""

    split: str  # train, dev, test, validated (and in no split), other, invalidated
    speaker: Speaker
    words: str  # what is said
    sentence: str  # what the release claims is said
    damage: str = ""  # a key of DAMAGE, "missing", "long", or nothing

    @property
    def key(self) -> str:
        return f"{self.split} {self.speaker.name} {self.words} {self.sentence}"


def digest(text: str) -> int:
    """A number in [0, 2^64) that depends on the text alone: the source of everything that looks random."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def vocabulary_sentences() -> list[str]:
    """Every sentence of three to six words that the patterns make, each once, in an order that looks random."""
    combinations = itertools.chain.from_iterable(itertools.product(*pattern) for pattern in PATTERNS)
    sentences = {" ".join(word for word in choice if word) for choice in combinations}
    return sorted((s for s in sentences if 3 <= len(s.split()) <= 6), key=digest)


def written(words: str) -> str:
    """The sentence as a release prints it: a capital letter and, mostly, a mark at the end."""
    mark = (".", ".", ".", "!", "")[digest("mark " + words) % 5]
    if words.endswith(" please") and digest("comma " + words) % 2:
        words = words.removesuffix(" please") + ", please"
    return words[0].upper() + words[1:] + mark


ODD_SENTENCES = (  # split, words said, sentence claimed
    ("train", "open the garden door now", '"Open the garden door now.'),
    ("train", "shut the red window", "Shut the café window."),
    ("train", "turn light seven off", "Turn light 7 off."),
    ("dev", "turn my green radio on", ""),
    ("test", "stop my radio now", '"Stop my radio", now.'),
    ("test", "open window two", " ".join(["Open the window in the kitchen and the door in the garden"] * 3) + "."),
)
DAMAGED = (  # split, words said, damage
    ("train", "turn the light off again", "empty"),
    ("train", "open the window again please", "truncated"),
    ("train", "shut the door again please", "long"),
    ("dev", "turn the radio off again", "garbage"),
    ("dev", "shut my window again please", "missing"),
    ("test", "turn my radio on again", "truncated"),
    ("test", "open my door again please", "empty"),
)


def truncate(mp3: bytes) -> bytes:
    """The first 55 %: the header in front still promises all frames, and the last one breaks off in its middle."""
    return mp3[: len(mp3) * 55 // 100]


def garbage(mp3: bytes) -> bytes:
    """As many bytes with no MP3 frame in them (no byte has the eight set bits that a frame begins with)."""
    return b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(len(mp3) // 32)).replace(b"\xff", b"\x00")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {"empty": lambda _: b"", "truncated": truncate, "garbage": garbage}


def plan() -> list[SpokenClip]:
    """Every clip of the corpus, in the order of its number."""
    clips: list[SpokenClip] = []
    taken = {words for _, words, _ in (*ODD_SENTENCES, *DAMAGED)}
    pool = (sentence for sentence in vocabulary_sentences() if sentence not in taken)
    for split, count in CLIPS.items():
        for index, words in enumerate(itertools.islice(pool, count)):
            speakers = SPEAKERS[split]
            clips.append(SpokenClip(split, speakers[index % len(speakers)], words, written(words)))
    repeated = [clip.words for clip in clips if clip.split == "train"]
    for split, count in (("validated", VALIDATED_ONLY), ("other", OTHER), ("invalidated", INVALIDATED)):
        for index in range(count):
            spoken = repeated[index * 7]
            # what makes a clip invalid: the speaker read another sentence
            claimed = repeated[index * 7 + 3] if split == "invalidated" else spoken
            clips.append(SpokenClip(split, SPEAKERS["extra"][index % 2], spoken, written(claimed)))
        repeated = repeated[1:]
    for index, (split, words, sentence) in enumerate(ODD_SENTENCES):
        clips.append(SpokenClip(split, SPEAKERS[split][index % 3], words, sentence))
    for index, (split, words, damage) in enumerate(DAMAGED):
        clips.append(SpokenClip(split, SPEAKERS[split][index % 3], words, written(words), damage))
    return sorted(clips, key=lambda clip: digest(clip.key))


def speak(clip: SpokenClip, wav: Path) -> float:
    """Let espeak-ng say the clip's words into a WAV file with a quiet room around them; the duration in seconds."""
    speed = clip.speaker.words_per_minute + digest("speed " + clip.key) % 25 - 12
    pitch = clip.speaker.pitch + digest("pitch " + clip.key) % 7 - 3
    command = ["espeak-ng", "-z", "-v", clip.speaker.voice, "-s", str(speed), "-p", str(pitch)]
    run([*command, "-a", str(clip.speaker.amplitude), "-w", str(wav), clip.words])
    with wave.open(str(wav)) as spoken:
        if spoken.getframerate() != ESPEAK_RATE_HZ:
            raise CorpusError(f"espeak-ng wrote {spoken.getframerate()} Hz, expected {ESPEAK_RATE_HZ}")
        voice = np.frombuffer(spoken.readframes(spoken.getnframes()), "<i2").astype(np.int32)
    before = round(SILENCE_S * ESPEAK_RATE_HZ)
    after = round(10.4 * ESPEAK_RATE_HZ) - before - len(voice) if clip.damage == "long" else before
    samples = np.pad(voice, (before, after))
    noise = np.random.Generator(np.random.PCG64(digest(clip.key))).integers(-NOISE_PEAK, NOISE_PEAK + 1, len(samples))
    with wave.open(str(wav), "wb") as room:
        room.setparams((1, 2, ESPEAK_RATE_HZ, len(samples), "NONE", "not compressed"))
        room.writeframes(np.clip(samples + noise, -32768, 32767).astype("<i2").tobytes())
    return len(samples) / ESPEAK_RATE_HZ


def record(clip: SpokenClip, number: int, clips_dir: Path) -> tuple[str, int]:
    """Make the MP3 file of a clip, unless it is one that is missing; its name and the duration it was recorded with."""
    name = f"common_voice_{LOCALE}_{number}.mp3"
    with tempfile.TemporaryDirectory() as scratch:
        wav, mp3 = Path(scratch, "clip.wav"), Path(scratch, "clip.mp3")
        duration_s = speak(clip, wav)
        rate_khz = f"{clip.speaker.sample_rate_hz / 1000:g}"
        # a fixed rate in lame's averaging mode: plain -b leaves out the header with the frame count at so few bits
        bitrate = [word for flag in ("--abr", "-b", "-B") for word in (flag, str(MP3_BITRATE_KBPS))]
        run(["lame", "--quiet", "-m", "m", *bitrate, "--resample", rate_khz, str(wav), str(mp3)])
        data = mp3.read_bytes()
    if clip.damage != "missing":
        (clips_dir / name).write_bytes(DAMAGE.get(clip.damage, lambda intact: intact)(data))
    return name, round(duration_s * 1000)


def run(command: list[str]) -> None:
    """Run a program; its own words are the error where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CorpusError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip() or command}")


def votes(clip: SpokenClip) -> tuple[int, int]:
    """Up and down votes that put a clip where it is: two for or against decide."""
    chance = digest("votes " + clip.key)
    if clip.split == "invalidated":
        return chance % 2, 2
    if clip.split == "other":
        return chance % 2, 0
    return 2 + chance % 3, int(chance // 3 % 8 == 0)


def sentence_id(sentence: str) -> str:
    """64 hexadecimal digits, as in the releases."""
    return hashlib.sha256(sentence.encode()).hexdigest()


def clip_row(clip: SpokenClip, name: str) -> tuple[str, ...]:
    """The clip's row under CLIP_COLUMNS."""
    up, down = votes(clip)
    who = clip.speaker
    about = (who.client_id, name, sentence_id(clip.sentence), clip.sentence, "general", str(up), str(down))
    return (*about, who.age, who.gender, who.accents, "", LOCALE, "")


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Tab-separated and without quoting, as Common Voice writes it: a quote is a character like any other."""
    lines = ["\t".join(row) for row in (columns, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def write_tables(release: Path, clips: list[SpokenClip], recorded: list[tuple[str, int]]) -> None:
    """All TSV files of the release; clips stand together by speaker, as in a real one."""
    rows = sorted((clip_row(clip, name), clip.split) for clip, (name, _) in zip(clips, recorded, strict=True))
    for table in ("train", "dev", "test", "validated", "other", "invalidated"):
        holds = {"validated", *CLIPS} if table == "validated" else {table}
        write_tsv(release / f"{table}.tsv", CLIP_COLUMNS, (row for row, split in rows if split in holds))
    durations = sorted((name, str(duration_ms)) for name, duration_ms in recorded)
    write_tsv(release / "clip_durations.tsv", ("clip", "duration[ms]"), durations)

    count: dict[str, int] = {}
    for clip in clips:
        count[clip.sentence] = count.get(clip.sentence, 0) + 1
    sentence_columns = ("sentence_id", "sentence", "sentence_domain", "source")
    sentences = sorted((sentence_id(s), s, "general", "speechmill", "1", str(n)) for s, n in count.items())
    write_tsv(release / "validated_sentences.tsv", (*sentence_columns, "is_used", "clips_count"), sentences)
    write_tsv(release / "unvalidated_sentences.tsv", sentence_columns, ())
    reported = sorted((sentence_id(s), s, LOCALE, "grammar-or-spelling") for _, _, s in ODD_SENTENCES if '"' in s)
    write_tsv(release / "reported.tsv", ("sentence_id", "sentence", "locale", "reason"), reported)


def make_corpus(output: Path) -> None:
    """Make the release beside `output` and put it there when it is complete."""
    missing = [program for program in ("espeak-ng", "lame") if shutil.which(program) is None]
    if missing:
        raise CorpusError(f"{' and '.join(missing)} not found; on Debian: apt-get install -y {' '.join(missing)}")
    if output.exists() and not (output / LOCALE / "validated.tsv").exists():
        raise CorpusError(f"{output} exists and is no corpus: name another folder with --output, or remove it")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as unfinished:
        release = Path(unfinished, "new", LOCALE)
        clips_dir = release / "clips"
        clips_dir.mkdir(parents=True)
        clips = plan()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            numbers = range(FIRST_CLIP_NUMBER, FIRST_CLIP_NUMBER + len(clips))
            recorded = list(pool.map(record, clips, numbers, itertools.repeat(clips_dir)))
        write_tables(release, clips, recorded)
        if output.exists():
            output.rename(Path(unfinished, "old"))
        release.parent.rename(output)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    hours = sum(duration_ms for _, duration_ms in recorded) / 3_600_000
    print(f"{output}: {len(clips)} clips, {hours * 60:.1f} minutes, {size / 1e6:.2f} MB")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Regenerate the example corpus with espeak-ng and lame.")
    default = Path(__file__).resolve().parent / "cv-corpus-demo"
    parser.add_argument("--output", type=Path, default=default, help="folder to make or replace (%(default)s)")
    try:
        make_corpus(parser.parse_args(arguments).output)
    except CorpusError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
