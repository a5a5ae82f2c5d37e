"""Which clips make a batch, what a batch holds, and which clips are left out."""

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.clips.audio import wav_header
from speech.clips.manifest import Clip, Manifest
from speech.clips.tally import Allowance
from speech.errors import InputError
from speech.geometry import Geometry
from speech.nn.batches import ClipSet, stream
from speech.nn.features import batch_features
from speech.nn.plans import BatchSize, plan_sorted

GEOMETRY = Geometry(8, 3)
ALPHABET = Alphabet((" ", "a", "b"))


def write_clip(folder, name: str, n_samples: int, transcript: str) -> Clip:
    samples = np.random.default_rng(n_samples).normal(0, 1000, n_samples).astype(np.int16)
    (folder / name).write_bytes(wav_header(n_samples, 16_000) + samples.tobytes())
    return Clip(name, 44 + 2 * n_samples, transcript)


def test_batches_hold_features_and_labels(tmp_path) -> None:
    clips = [write_clip(tmp_path, "x.wav", 8000, "ab a"), write_clip(tmp_path, "y.wav", 4000, "b")]
    clip_set = ClipSet([Manifest(tmp_path / "train.csv", clips)], ALPHABET, GEOMETRY)
    (batch,) = stream(clip_set, plan_sorted(clip_set.n_frames, BatchSize(2)))
    assert batch.clips.tolist() == [1, 0]
    assert batch.n_frames.numpy().tolist() == [GEOMETRY.n_frames(4000), GEOMETRY.n_frames(8000)] == [11, 24]
    assert batch.labels.numpy().tolist() == [[2, 0, 0, 0], [1, 2, 0, 1]]
    assert batch.n_labels.numpy().tolist() == [1, 4]
    assert not batch.features.numpy()[0, 11:].any()
    samples = np.frombuffer((tmp_path / "y.wav").read_bytes()[44:], np.int16)
    alone, _ = batch_features(samples[np.newaxis], np.array([4000], np.int32), GEOMETRY)
    np.testing.assert_allclose(batch.features[0, :11], alone[0], rtol=1e-5, atol=1e-5)


def test_unusable_clips_are_named(tmp_path) -> None:
    (tmp_path / "x.tar").write_bytes(bytes(16_044))
    damaged = Clip("damaged.wav", 16_044, "ab", 0.5, "", "x.tar", 0)  # which shows when it is read
    clips = [
        write_clip(tmp_path, "good.wav", 8000, "ab"),
        write_clip(tmp_path, "empty.wav", 8000, ""),
        write_clip(tmp_path, "foreign.wav", 8000, "aç"),
        write_clip(tmp_path, "crowded.wav", 1600, "a" * 20),
        Clip("missing.wav", 20_000, "ab"),
        damaged,
    ]
    clip_set = ClipSet([Manifest(tmp_path / "train.csv", clips)], ALPHABET, GEOMETRY, allowance=Allowance("5"))
    batches = list(stream(clip_set, [np.array([1]), np.array([0, 1])]))
    assert [(batch.index, batch.clips.tolist()) for batch in batches] == [(1, [0])]
    assert (clip_set.tally.listed, clip_set.tally.used) == (6, 1)
    assert clip_set.tally.examples == {
        "empty transcript": ["empty.wav"],
        "characters outside the alphabet": ["foreign.wav"],
        "transcript longer than the audio": ["crowded.wav"],
        "missing file": ["missing.wav"],
        "unreadable audio": ["damaged.wav"],
    }
    assert clip_set.tally.skipped == 5


def test_nothing_usable_is_an_error(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no usable clip \(1 characters outside the alphabet \(a\.wav\)\)"):
        ClipSet([Manifest(tmp_path / "x.csv", [Clip("a.wav", 8000, "xyz")])], ALPHABET, GEOMETRY)
    with pytest.raises(InputError, match="it has no rows"):
        ClipSet([Manifest(tmp_path / "x.csv", [])], ALPHABET, GEOMETRY)
