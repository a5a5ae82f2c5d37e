"""What augmentation costs: milliseconds of processor time a clip, for each augmentation and for the guides' example.

    python benchmarks/training/augmentation.py [--seconds 3] [--repeats 20] [--threads 2]

Every augmentation is applied to every clip (p = 1). The example at the end is the one of Coqui STT's guide, with its
probabilities and with p = 1; its clips per second are wall-clock, with one thread and with `--threads`.
"""

import argparse
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from speech.augmentation import Augmenter, LegacyFlags  # noqa: E402
from speech.clips.audio import wav_header  # noqa: E402

SAMPLE_RATE, WINDOW, STEP = 16_000, 512, 320
LEGACY = LegacyFlags(
    data_aug_features_additive=0.1,
    data_aug_features_multiplicative=0.1,
    augmentation_spec_dropout_keeprate=0.9,
    augmentation_freq_and_time_masking=True,
    augmentation_speed_up_std=0.1,
    augmentation_pitch_and_tempo_scaling=True,
)


def single(source: Path) -> list[str]:
    """Every augmentation, in each of its domains."""
    domains = ("signal", "spectrogram", "features")
    return [
        f"overlay[source={source},snr=20~10]",
        *("codec[bitrate=6000]", "codec[bitrate=48000:16000]"),
        *("reverb", "resample[rate=8000]", "resample[rate=12000:8000~4000]", "volume[dbfs=-10]", "gaps"),
        *("pitch", "tempo", "warp", "warp[nt=4,nf=1,wt=0.5:1.0,wf=0.1:0.2]", "frequency_mask"),
        *(f"{name}[domain={domain}]" for name in ("time_mask", "dropout", "add", "multiply") for domain in domains),
    ]


def guide(source: Path) -> list[str]:
    """The example of Coqui STT's guide that has all augmentations."""
    return [
        f"overlay[p=0.5,source={source},layers=1,snr=50:20~10]",
        "reverb[p=0.1,delay=50.0~30.0,decay=10.0:2.0~1.0]",
        "resample[p=0.1,rate=12000:8000~4000]",
        "codec[p=0.1,bitrate=48000:16000]",
        "volume[p=0.1,dbfs=-10:-40]",
        "pitch[p=0.1,pitch=1~0.2]",
        "tempo[p=0.1,factor=1~0.5]",
        "warp[p=0.1,nt=4,nf=1,wt=0.5:1.0,wf=0.1:0.2]",
        "frequency_mask[p=0.1,n=1:3,size=1:5]",
        "time_mask[p=0.1,domain=signal,n=3:10~2,size=50:100~40]",
        "dropout[p=0.1,rate=0.05]",
        "add[p=0.1,domain=signal,stddev=0~0.5]",
        "multiply[p=0.1,domain=features,stddev=0~0.5]",
    ]


class SyntheticClip:
    """Noise with the envelope of speech, its spectrogram and some features."""

    def __init__(self, seconds: float) -> None:
        generator = np.random.default_rng(1)
        time_s = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        noise = generator.standard_normal(len(time_s)) * (1 + np.sin(2 * np.pi * 4 * time_s))
        self.samples = (noise * 2000).astype(np.int16)
        windows = np.lib.stride_tricks.sliding_window_view(self.samples / 32768, WINDOW)[::STEP]
        self.spectrogram = (np.abs(np.fft.rfft(windows * np.hanning(WINDOW), axis=1)) ** 2).astype(np.float32)
        self.features = generator.standard_normal((len(windows), 26), np.float32)

    def augment(self, augmenter: Augmenter, number: int, of: int) -> None:
        """One pass through all domains, the clock at `number` of `of`."""
        draw = augmenter.draw(0, str(number), number / of)
        augmenter.apply_signal(self.samples, draw)
        augmenter.apply_spectrogram(self.spectrogram, draw)
        augmenter.apply_features(self.features, draw)


def cpu_ms(augmenter: Augmenter, clip: SyntheticClip, repeats: int) -> float:
    """Mean processor time of a clip."""
    clip.augment(augmenter, 0, 1)
    began = time.thread_time()
    for number in range(repeats):
        clip.augment(augmenter, number, repeats)
    return (time.thread_time() - began) / repeats * 1000


def clips_per_s(augmenter: Augmenter, clip: SyntheticClip, clips: int, threads: int) -> float:
    """Wall-clock throughput."""
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda number: clip.augment(augmenter, number, clips), range(clips)))
        return clips / (time.perf_counter() - began)


def write_noise(folder: Path) -> None:
    """A few recordings to overlay."""
    for number in range(4):
        samples = (np.random.default_rng(number).standard_normal(5 * SAMPLE_RATE) * 3000).astype(np.int16)
        (folder / f"{number}.wav").write_bytes(wav_header(len(samples), SAMPLE_RATE) + samples.tobytes())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    clip = SyntheticClip(arguments.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch)
        write_noise(source)
        print(f"| augmentation | ms a clip of {arguments.seconds:g} s |\n|---|---|")
        nothing = cpu_ms(Augmenter(), clip, arguments.repeats)
        for specification in single(source):
            spent = cpu_ms(Augmenter([specification]), clip, arguments.repeats) - nothing
            print(f"| `{specification.replace(str(source), 'noise')}` | {spent:.2f} |", flush=True)
        older = {"DeepSpeech 0.6 flags": LEGACY, "sparse warp": LegacyFlags(augmentation_sparse_warp=True)}
        for name, flags in older.items():
            print(f"| {name} | {cpu_ms(Augmenter(legacy=flags), clip, arguments.repeats) - nothing:.2f} |")
        always = [re.sub(r"p=0\.\d", "p=1", specification) for specification in guide(source)]
        without_codec = [specification for specification in always if not specification.startswith("codec")]
        rows = {
            "the guide's 13": guide(source),
            "the guide's 13, p = 1": always,
            "the guide's 13, p = 1, without codec": without_codec,
        }
        print(f"\n| all at once | ms a clip | clips/s, 1 thread | clips/s, {arguments.threads} threads |")
        print("|---|---|---|---|")
        for name, specifications in rows.items():
            augmenter, clips = Augmenter(specifications), 5 * arguments.repeats
            spent = cpu_ms(augmenter, clip, clips)
            rates = [clips_per_s(augmenter, clip, clips, threads) for threads in (1, arguments.threads)]
            print(f"| {name} | {spent:.2f} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
