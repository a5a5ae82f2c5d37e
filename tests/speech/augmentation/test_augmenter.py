"""The augmenter: order, probability, independence, reproducibility."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from speech.augmentation import Augmenter, LegacyFlags
from speech.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
IMPULSE = np.array([0.5, 0, 0, 0], np.float32)
RAMP = np.arange(257, dtype=np.float32)[np.newaxis]


def levels(augmenter: Augmenter, count: int, clock: float = 0.0, epoch: int = 0) -> np.ndarray:
    """The peak level in dBFS that each of some clips comes out with."""
    peaks = [augmenter.apply_signal(IMPULSE, augmenter.draw(epoch, f"clip {n}", clock)).max() for n in range(count)]
    return 20 * np.log10(peaks) + 3.0103


UNCHANGED_DBFS = 20 * np.log10(0.5) + 3.0103


def test_nothing_to_do():
    augmenter = Augmenter()
    draw = augmenter.draw(0, "a", 0.5)
    assert augmenter.empty
    assert np.array_equal(augmenter.apply_signal(IMPULSE, draw), IMPULSE)
    assert augmenter.apply_spectrogram(RAMP, draw) is RAMP
    assert augmenter.apply_features(RAMP, draw) is RAMP


def test_int16_samples_become_full_scale_floats():
    augmenter = Augmenter()
    result = augmenter.apply_signal(np.array([-32768, 0, 16384], np.int16), augmenter.draw(0, "a", 0.0))
    assert result.dtype == np.float32
    assert list(result) == [-1.0, 0.0, 0.5]


def test_which_domains_there_is_something_to_do_in():
    augmenter = Augmenter(["volume", "pitch"])
    assert not augmenter.empty
    assert augmenter.acts_on("sample", "signal")
    assert augmenter.acts_on("spectrogram")
    assert not augmenter.acts_on("signal", "features")


def test_domains_and_command_line_decide_the_order():
    ones = np.ones(16_000, np.float32)

    def result(*specifications: str) -> np.ndarray:
        augmenter = Augmenter(specifications)
        return augmenter.apply_signal(ones, augmenter.draw(0, "a", 0.0))

    # volume levels the sample domain, before the signal domain's masks, wherever it is written
    assert result("dropout[domain=signal,rate=1]", "volume[dbfs=3.0103]").max() == 0
    assert result("volume[dbfs=-20]", "volume[dbfs=-10]").max() == pytest.approx(10 ** (-13.0103 / 20), rel=1e-4)
    assert result("volume[dbfs=-10]", "volume[dbfs=-20]").max() == pytest.approx(10 ** (-23.0103 / 20), rel=1e-4)
    masked_then_noisy = result("dropout[domain=signal,rate=1]", "add[domain=signal,stddev=1]")
    assert masked_then_noisy.std() > 0.9
    assert result("add[domain=signal,stddev=1]", "dropout[domain=signal,rate=1]").std() == 0


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 1.0])
def test_values_have_their_whole_range_whatever_the_probability(p):
    drawn = levels(Augmenter([f"volume[p={p},dbfs=-20~10]"], seed=1), int(800 / p))
    applied = drawn[np.abs(drawn - UNCHANGED_DBFS) > 1e-3]
    assert len(applied) == pytest.approx(800, abs=4 * np.sqrt(800 * (1 - p)) + 1)
    assert -30 - 1e-3 <= applied.min() < -29.5
    assert -10.5 < applied.max() <= -10 + 1e-3
    assert applied.mean() == pytest.approx(-20, abs=0.9)  # over four standard errors


@pytest.mark.parametrize(("clock", "expected"), [(0.0, -10), (0.25, -17.5), (1.0, -40)])
def test_the_clock_moves_the_values(clock, expected):
    assert levels(Augmenter(["volume[dbfs=-10:-40]"]), 3, clock) == pytest.approx([expected] * 3, abs=1e-3)


def test_augmentations_are_independent_of_each_other():
    augmenter = Augmenter(["volume[p=0.5,dbfs=-20~10]", "pitch[p=0.5,pitch=1.5~0.4]", "dropout[p=0.5,domain=features]"])
    rows = []
    for number in range(2000):
        draw = augmenter.draw(0, str(number), 0.0)
        level = augmenter.apply_signal(IMPULSE, draw).max()
        pitch = augmenter.apply_spectrogram(RAMP, draw)[0, 100]  # 100 / pitch
        dropped = (augmenter.apply_features(np.ones((20, 26), np.float32), draw) == 0).any()
        rows.append((level != 0.5, pitch != 100, dropped, level, pitch))
    table = np.array(rows, float)
    applied = table[:, :3]
    assert applied.mean(axis=0) == pytest.approx([0.5] * 3, abs=0.05)
    assert np.abs(np.corrcoef(applied.T) - np.eye(3)).max() < 0.09  # four standard errors
    both = table[(table[:, 0] == 1) & (table[:, 1] == 1)]
    assert abs(np.corrcoef(both[:, 3], both[:, 4])[0, 1]) < 0.18


def test_two_of_a_kind_are_independent():
    augmenter = Augmenter(["dropout[p=0.5,rate=0.5]", "dropout[p=0.5,rate=0.5]"])
    kept = [
        (augmenter.apply_spectrogram(np.ones((50, 257), np.float32), augmenter.draw(0, str(n), 0.0)) != 0).mean()
        for n in range(400)
    ]
    shares = np.unique(np.round(kept, 1), return_counts=True)
    assert dict(zip(*shares, strict=True)) == pytest.approx({0.2: 50, 0.3: 50, 0.5: 200, 1.0: 100}, abs=60)


def test_other_augmentations_do_not_change_the_draws_of_one():
    alone = levels(Augmenter(["volume[p=0.5,dbfs=-20~10]"], seed=3), 50)
    among = levels(Augmenter(["time_mask[n=0]", "gaps[n=0]", "volume[p=0.5,dbfs=-20~10]", "pitch"], seed=3), 50)
    assert np.array_equal(alone, among)


def test_probability_does_not_change_the_values():
    often, seldom = (levels(Augmenter([f"volume[p={p},dbfs=-20~10]"]), 100) for p in (1.0, 0.3))
    applied = np.abs(seldom - UNCHANGED_DBFS) > 1e-3
    assert 10 < applied.sum() < 60
    assert np.array_equal(often[applied], seldom[applied])


def test_seed_epoch_repetition_and_clip_all_matter():
    def value(seed: int = 0, epoch: int = 0, clip: str = "a", repetition: int = 0) -> float:
        augmenter = Augmenter(["volume[dbfs=-20~10]"], seed=seed)
        return float(augmenter.apply_signal(IMPULSE, augmenter.draw(epoch, clip, 0.0, repetition)).max())

    assert value() == value()
    others = [value(seed=1), value(epoch=1), value(clip="b"), value(repetition=1), value(clip="\udcff"), value()]
    assert len(set(others)) == 6


SPECIFICATIONS = [
    *("reverb[p=0.9,delay=50~30]", "resample[rate=12000:8000~3000]", "volume[dbfs=-20~10]", "gaps[n=2~2]"),
    *("time_mask[domain=signal]", "add[domain=signal,stddev=0~0.01]", "pitch", "tempo[factor=1.2~0.2]"),
    *("warp[nt=4,nf=2,wt=0.5,wf=0.1]", "frequency_mask[size=4~3]", "dropout", "multiply[stddev=0.1]", "add[stddev=1]"),
]
LEGACY = LegacyFlags(
    augmentation_sparse_warp=True, augmentation_speed_up_std=0.1, augmentation_freq_and_time_masking=True
)


def fingerprint(clip: str) -> str:
    """What comes out of all domains for one clip."""
    augmenter = Augmenter(SPECIFICATIONS, legacy=LEGACY, seed=11)
    generator = np.random.default_rng(5)
    draw = augmenter.draw(3, clip, 0.4)
    results = (
        augmenter.apply_signal((generator.standard_normal(8000) * 3000).astype(np.int16), draw),
        augmenter.apply_spectrogram(generator.random((40, 257), np.float32), draw, 10),
        augmenter.apply_features(generator.random((40, 26), np.float32), draw),
    )
    return hashlib.sha256(b"".join(np.ascontiguousarray(result).tobytes() for result in results)).hexdigest()


def test_results_are_the_same_in_another_process():
    script = (
        "import importlib.util, sys; spec = importlib.util.spec_from_file_location('t', sys.argv[1]);"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module);"
        "print(module.fingerprint('clip ä'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", script, __file__], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint("clip ä")


def test_results_are_the_same_in_threads():
    clips = [str(number) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fingerprint, clips)) == [fingerprint(clip) for clip in clips]


def test_overlays_open_their_source_at_once(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        Augmenter([f"overlay[source={tmp_path / 'none.csv'}]"])


def test_overlays_of_one_source_share_it():
    opened = []

    class Silence:
        def stretch(self, length: int, generator: np.random.Generator) -> np.ndarray:
            return np.zeros(length, np.float32)

    def open_source(source: str, sample_rate: int) -> Silence:
        opened.append((source, sample_rate))
        return Silence()

    augmenter = Augmenter(["overlay[source=a]", "overlay[source=a]"], sample_rate=8000, open_source=open_source)
    assert opened == [("a", 8000)]
    assert np.array_equal(augmenter.apply_signal(IMPULSE, augmenter.draw(0, "a", 0.0)), IMPULSE)


def test_empty_clips_pass():
    augmenter = Augmenter(SPECIFICATIONS, legacy=LEGACY)
    draw = augmenter.draw(0, "a", 0.0)
    assert augmenter.apply_signal(np.zeros(0, np.int16), draw).shape == (0,)
    assert augmenter.apply_spectrogram(np.zeros((0, 257), np.float32), draw).shape == (0, 257)
    assert augmenter.apply_features(np.zeros((0, 26), np.float32), draw).shape == (0, 26)
