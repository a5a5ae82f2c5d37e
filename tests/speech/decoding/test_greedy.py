"""Best path: the likeliest label of each frame, collapsed."""

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.decoding.greedy import best_path, best_path_labels, labels_of_batch

ALPHABET = Alphabet((" ", "a", "b"))


def emissions(frames: str) -> np.ndarray:
    """One character a frame, `-` the blank."""
    labels = [3 if character == "-" else ALPHABET.labels[character] for character in frames]
    return np.eye(4, dtype=np.float32)[labels] * 0.9 + 0.025


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ("aab-b", "abb"),
        ("--a--a--", "aa"),
        ("aaaa", "a"),
        ("----", ""),
        ("", ""),
        ("a- -b", "a b"),
        ("ab ab", "ab ab"),
    ],
)
def test_collapses_repeats_and_drops_blanks(frames: str, text: str) -> None:
    probabilities = emissions(frames).reshape(-1, 4)
    assert best_path(probabilities, ALPHABET) == text
    assert best_path(np.log(probabilities), ALPHABET) == text  # logits do as well


def test_bytes_mode_joins_the_bytes_of_a_character() -> None:
    alphabet = Alphabet.bytes_output_mode()
    labels = [byte - 1 for byte in "é".encode()]
    probabilities = np.eye(256, dtype=np.float32)[[labels[0], 255, labels[1], labels[1]]]
    assert best_path(probabilities, alphabet) == "é"
    assert best_path_labels(probabilities).tolist() == labels


@pytest.mark.parametrize("clips", [1, 5])
def test_a_batch_gives_what_its_clips_give(clips: int) -> None:
    generator = np.random.default_rng(clips)
    likeliest = generator.integers(0, 3, (clips, 40)).astype(np.int32)  # few classes: many repeats
    n_frames = generator.integers(0, 41, clips)
    found = labels_of_batch(likeliest, n_frames, blank=2)
    expected = [best_path_labels(np.eye(3)[row[:frames]]) for row, frames in zip(likeliest, n_frames, strict=True)]
    assert [labels.tolist() for labels in found] == [labels.tolist() for labels in expected]
