"""The alphabet of a model: what lies beside it, what the releases write without saying so, or that there is none."""

from pathlib import Path

from speech.alphabet import BYTES_MODE_LABELS, Alphabet
from speech.artifacts import ALPHABET, Checkpoint, read_alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.checkpoints import sidecar

ENGLISH = tuple(" abcdefghijklmnopqrstuvwxyz'")


def of_checkpoint(prefix: str | Path, geometry: Geometry) -> Alphabet | None:
    """The alphabet beside a bundle; None if there is none (release checkpoints carry none)."""
    folder = Path(prefix).parent
    facts = sidecar(folder / Checkpoint.MODEL) or sidecar(folder / Checkpoint.FLAGS)
    if geometry.n_labels == BYTES_MODE_LABELS and facts.get("bytes_output_mode"):
        return Alphabet.bytes_output_mode()
    path = folder / ALPHABET
    return Alphabet.load(path) if path.is_file() else None


def beside(path: Path, geometry: Geometry) -> Alphabet | None:
    """The alphabet in the folder of a model file. Raises InputError if it is of another size."""
    return read_alphabet(path.parent, geometry) if (path.parent / ALPHABET).is_file() else None


def assumed(geometry: Geometry) -> Alphabet | None:
    """What a checkpoint without an alphabet writes: English or bytes, by the number of its labels.

    DeepSpeech's trainer takes English where no alphabet is named; its Mandarin release writes bytes.
    """
    if geometry.n_labels == BYTES_MODE_LABELS:
        return Alphabet.bytes_output_mode()
    return Alphabet(ENGLISH) if geometry.n_labels == len(ENGLISH) else None


def describe_assumed(alphabet: Alphabet) -> str:
    """The words for an alphabet that `assumed` gave."""
    which = "the bytes of UTF-8" if alphabet.bytes_mode else "the releases' English (space, a to z, apostrophe)"
    return f"its {len(alphabet)} labels are taken for {which}; --alphabet_config_path says otherwise"


def missing(where: str | Path, geometry: Geometry) -> InputError:
    """The error of a model whose alphabet is to be found nowhere."""
    other = " (or --bytes_output_mode, if it writes bytes)" if geometry.n_labels == BYTES_MODE_LABELS else ""
    return InputError(
        f"no alphabet: {where} has {geometry.n_labels} labels and carries none, and no {ALPHABET} lies beside it: "
        f"give the file that it was trained with as --alphabet_config_path{other}"
    )


def check_size(alphabet: Alphabet, geometry: Geometry, where: str | Path) -> Alphabet:
    """The same alphabet; raises InputError if it is not of the model's size."""
    if len(alphabet) != geometry.n_labels:
        raise InputError(
            f"{where}: the alphabet has {len(alphabet)} symbols, but the model has {geometry.n_labels} labels and the "
            "blank: give the alphabet that it was trained with as --alphabet_config_path"
        )
    return alphabet
