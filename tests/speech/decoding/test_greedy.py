"""Best path: the likeliest label of each frame, collapsed."""

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.decoding.greedy import best_path, best_path_labels

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
