"""A corpus for the benchmarks of training: short sentences of few words, spoken by espeak-ng in a noisy room.

Made by train_accuracy.py, recipes.py and transfer.py. Speakers of dev and test do not
occur in train, and neither do their sentences. Loudness, noise, reverberation and speed differ from clip to clip, drawn
from the clip's number.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from speech.alphabet import Alphabet  # noqa: E402
from speech.clips.audio import resample, to_int16, wav_header  # noqa: E402
from speech.clips.manifest import Clip, write_manifest  # noqa: E402
from speech.storage.files import write_bytes  # noqa: E402

RATE = 16_000
SETS = ("train", "dev", "test")
ENGLISH = (
    "about after again all also apple ask away back before begin below between big black blue book bread bring "
    "brown call clean close cold come cook could dance dark day door down draw drink drive early eat eight every "
    "eye fall far fast find fire first five flower fly food four friend from full funny garden give gold good "
    "grass great green grow hand happy hear heart help here high hold home horse hot house how hurt jump just "
    "keep kind kitchen know large late laugh left letter light like little live long look love"
)
RUSSIAN = (
    "вода огонь земля небо дом дверь окно сад лес река море город улица стол хлеб молоко чай рука голова сердце "
    "утро вечер ночь день зима лето снег дождь ветер солнце луна звезда книга слово песня друг мать отец брат "
    "сестра один два три четыре пять шесть семь восемь девять десять белый чёрный красный синий новый старый "
    "большой малый иди стой смотри"
)
SPANISH = (
    "agua fuego tierra cielo casa puerta ventana campo bosque mar ciudad calle mesa pan leche mano cabeza noche verano "
    "nieve lluvia viento sol luna estrella libro palabra amigo madre padre hermano uno dos tres cuatro cinco seis "
    "siete ocho nueve diez blanco negro rojo azul nuevo viejo grande chico abre cierra mira vuelve camina "
    "sube baja espera izquierda derecha ahora luego"
)
# Words of an English that ENGLISH lacks; the same 26 letters.
OTHER_ENGLISH = (
    "machine number quick yellow extra zero question window travel morning evening summer winter river bridge village "
    "market doctor teacher student paper pencil music dinner lunch sugar pepper butter orange lemon cherry jacket "
    "button pocket mirror candle blanket pillow engine wheel tractor station ticket airport journey holiday mountain "
    "valley island harbour sailor captain soldier weapon victory silver copper metal plastic crystal"
)
VARIANTS = ("m1", "f1", "m2", "f2", "m3", "f3", "m4", "f4", "m5", "f5", "m6", "m7", "m8", "belinda", "boris", "steph")


@dataclass(frozen=True)
class Language:
    """What is said, and by which voices of espeak-ng."""

    words: str
    voices: Sequence[str]
    sentence_words: tuple[int, int] = (2, 5)
    noise_db: tuple[float, float] = (15, 35)  # below the peak
    reverb_s: tuple[float, float] = (0, 0)  # time in which an echo falls by 60 dB


LANGUAGES = {
    "en": Language(ENGLISH, ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbcwmd")),
    "ru": Language(RUSSIAN, ("ru", "ru-lv")),
    "es": Language(SPANISH, ("es", "es-419"), (1, 4), (10, 30), (0.1, 0.5)),
    "en-room": Language(OTHER_ENGLISH, ("en-us-nyc", "en-gb-x-gbclan"), (1, 4), (10, 30), (0.1, 0.5)),
}


@dataclass(frozen=True)
class Utterance:
    """One clip to be: everything about it follows from the corpus and its number."""

    name: str
    text: str
    voice: str
    pitch: int
    words_per_minute: int
    peak: float  # of full scale
    noise_db: float  # below the peak
    reverb_s: float
    seed: int


def make_corpus(folder: Path, language: str, clips: int, held_out: tuple[int, int] | None = None) -> Path:
    """train.csv, dev.csv, test.csv, their WAV files, alphabet.txt; made once.

    Of the clips, 10 % each are in dev and test, or as many as `held_out` says.
    """
    if (folder / "train.csv").is_file():
        return folder
    if shutil.which("espeak-ng") is None:
        raise SystemExit("espeak-ng is missing: apt-get install espeak-ng")
    spoken = LANGUAGES[language]
    n_dev, n_test = held_out or (clips // 10, clips // 10)
    sizes = dict(zip(SETS, (clips - n_dev - n_test, n_dev, n_test), strict=True))
    plan = {name: _plan(spoken, name, count) for name, count in sizes.items()}
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        for name in reversed(SETS):  # train.csv, by which a finished corpus is known, last
            rows = list(pool.map(lambda utterance: _record(utterance, folder), plan[name]))
            write_manifest(folder / f"{name}.csv", rows)
            if name == "dev":
                texts = (utterance.text for utterances in plan.values() for utterance in utterances)
                Alphabet.collect(texts).save(folder / "alphabet.txt")
    return folder


def _plan(language: Language, name: str, count: int) -> list[Utterance]:
    """Sentences and speakers of a set; each set has its own of both."""
    number = SETS.index(name)
    generator = np.random.default_rng([7, number, count])
    vocabulary = language.words.split()
    # Two of four variants of each voice speak in train, one each in dev and test.
    speakers = [
        (voice, variant, int(generator.integers(20, 80)))
        for voice in language.voices
        for position, variant in enumerate(VARIANTS)
        if (position % 4 in (0, 1), position % 4 == 2, position % 4 == 3)[number]
    ]
    utterances, seen = [], set()
    while len(utterances) < count:
        fewest, most = language.sentence_words
        words = generator.choice(vocabulary, generator.integers(fewest, most + 1))
        text = " ".join(words)
        # The sum of the words' positions decides in which set a sentence may be.
        remainder = sum(vocabulary.index(word) for word in words) % 10
        if text in seen or (remainder == 8) != (name == "dev") or (remainder == 9) != (name == "test"):
            continue
        seen.add(text)
        voice, variant, pitch = speakers[int(generator.integers(len(speakers)))]
        utterances.append(
            Utterance(
                f"{name}-{len(utterances):05d}",
                text,
                f"{voice}+{variant}",
                pitch,
                int(generator.integers(130, 190)),
                float(generator.uniform(0.1, 0.8)),
                float(generator.uniform(*language.noise_db)),
                float(generator.uniform(*language.reverb_s)) if any(language.reverb_s) else 0.0,
                int(generator.integers(1 << 31)),
            )
        )
    return utterances


def _record(utterance: Utterance, folder: Path) -> Clip:
    name = f"clips/{utterance.name}.wav"
    path = folder / name
    if not path.is_file():
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            speed, pitch = str(utterance.words_per_minute), str(utterance.pitch)
            options = ["-v", utterance.voice, "-s", speed, "-p", pitch, "-w", file.name]
            subprocess.run(["espeak-ng", "-z", *options, utterance.text], check=True, stderr=subprocess.DEVNULL)
            samples, rate = soundfile.read(file.name, dtype="int16")
        speech = resample(samples, rate, RATE).astype(np.float32)
        generator = np.random.default_rng(utterance.seed)
        quiet = np.zeros(RATE // 10, np.float32)
        speech = _in_room(speech, utterance.reverb_s, generator) if utterance.reverb_s else speech
        signal = np.concatenate([quiet, speech / max(1.0, float(np.abs(speech).max())) * utterance.peak, quiet])
        noise = generator.normal(0, utterance.peak * 10 ** (-utterance.noise_db / 20), len(signal))
        final = to_int16(np.clip(signal + noise, -1, 1))
        write_bytes(path, wav_header(len(final), RATE) + final.tobytes())
    size = path.stat().st_size
    return Clip(name, size, utterance.text, (size - 44) / 2 / RATE)


def _in_room(speech: np.ndarray, reverb_s: float, generator: np.random.Generator) -> np.ndarray:
    """Speech `[N]` with the decaying echo of a room behind it, `[N + M]`: noise that falls by 60 dB in `reverb_s`."""
    time_s = np.arange(round(reverb_s * RATE)) / RATE
    echo = generator.normal(0, 1, len(time_s)) * 10 ** (-3 * time_s / reverb_s)
    echo *= 0.5 / np.sqrt(np.square(echo).sum())
    echo[0] += 1.0
    size = len(speech) + len(echo) - 1
    return np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(echo, size), size).astype(np.float32)
