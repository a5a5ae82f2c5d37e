"""The CTC loss against the sum over all paths, and against TensorFlow's operator."""

import itertools

import numpy as np
import pytest

from speech.decoding.ctc import CLIPS_AT_ONCE, ctc_losses, frames_needed


def emissions(generator: np.random.Generator, frames: int, classes: int) -> np.ndarray:
    logits = np.exp(generator.normal(0.0, 2.0, (frames, classes)))
    return (logits / logits.sum(axis=1, keepdims=True)).astype(np.float32)


def over_all_paths(probabilities: np.ndarray, labels: list[int]) -> float:
    frames, classes = probabilities.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=frames):
        collapsed = [label for label, _ in itertools.groupby(path) if label != classes - 1]
        if collapsed == labels:
            total += float(np.prod([probabilities[frame, label] for frame, label in enumerate(path)], dtype=np.float64))
    return -np.log(total) if total else np.inf


@pytest.mark.parametrize("labels", [[], [0], [1, 0], [1, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0, 0]])
def test_is_the_sum_over_all_paths(labels: list[int]) -> None:
    generator = np.random.default_rng(len(labels))
    clips = [emissions(generator, frames, 3) for frames in (1, 2, 4, 6)]
    found = ctc_losses(clips, [np.array(labels, int)] * len(clips))
    assert found == pytest.approx([over_all_paths(clip, labels) for clip in clips], rel=1e-6)


def test_clips_of_all_lengths_in_several_batches_do_not_disturb_each_other() -> None:
    generator = np.random.default_rng(0)
    count = CLIPS_AT_ONCE + 9
    clips = [emissions(generator, int(frames), 7) for frames in generator.integers(1, 60, count)]
    labels = [generator.integers(0, 6, int(generator.integers(0, 1 + len(clip) // 3))) for clip in clips]
    alone = [ctc_losses([clip], [text])[0] for clip, text in zip(clips, labels, strict=True)]
    assert ctc_losses(clips, labels) == pytest.approx(alone, rel=1e-9)


def test_no_frames_and_no_labels() -> None:
    nothing = np.zeros((0, 3), np.float32)
    found = ctc_losses([nothing, nothing], [np.zeros(0, int), np.array([1])])
    assert found.tolist() == [0.0, np.inf]
    assert ctc_losses([], []).tolist() == []


def test_certain_and_impossible_outputs_stay_finite() -> None:
    certain = np.eye(3, dtype=np.float32)[[0, 2, 1]]  # label 0, blank, label 1 with probability 1
    right, wrong = ctc_losses([certain, certain], [np.array([0, 1]), np.array([1, 0])])
    assert right == pytest.approx(0.0, abs=1e-6)
    assert 80 < wrong < 1000


def test_agrees_with_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    generator = np.random.default_rng(1)
    clips = [emissions(generator, int(frames), 29) for frames in generator.integers(20, 120, 20)]
    labels = [generator.integers(0, 28, int(generator.integers(1, len(clip) // 4))) for clip in clips]
    expected = [
        float(
            tf.nn.ctc_loss(
                labels=text[np.newaxis].astype(np.int32),
                logits=np.log(clip)[:, np.newaxis],
                label_length=[len(text)],
                logit_length=[len(clip)],
                blank_index=28,
            )[0]
        )
        for clip, text in zip(clips, labels, strict=True)
    ]
    assert ctc_losses(clips, labels) == pytest.approx(expected, rel=1e-4)


def test_frames_needed_counts_blanks_between_repeats() -> None:
    assert [frames_needed(np.array(labels)) for labels in ([], [1], [1, 2], [1, 1], [1, 1, 1, 2])] == [0, 1, 2, 3, 6]
