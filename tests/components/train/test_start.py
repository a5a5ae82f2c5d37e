"""What a run starts with: nothing is dropped, ignored or made anew that nobody asked for."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.train import start
from components.train.saving.store import CheckpointStore
from components.train.settings import TrainSettings
from components.train.start import DataAlphabet, Start, describe_difference
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.variables import initial_weights
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from speech.storage.files import write_json

OWN = Alphabet((" ", "a", "b", "c"))
GEOMETRY = Geometry(8, len(OWN))


def checkpoint(folder: Path, geometry: Geometry = GEOMETRY, alphabet: Alphabet | None = OWN) -> Path:
    """A checkpoint of another trainer; `alphabet` None: one that carries none, as releases do."""
    bundle = Snapshot(geometry, initial_weights(geometry, 1), {}, 720, 0.002, 0.9, 0.999)
    snapshots.save(folder, "best_dev-720", bundle)
    snapshots.write_state(folder, Checkpoint.BEST, ["best_dev-720"])
    if alphabet is not None:
        alphabet.save(folder / ALPHABET)
    return folder


def choose(load: Path | None, save: Path, data: DataAlphabet | None = None, **settings: object) -> Start:
    store = CheckpointStore(save, 1, run_key="key")
    return start.choose(TrainSettings(**settings), load, store, data, lambda: Alphabet((" ", "x")))


def beside(*symbols: str) -> DataAlphabet:
    return DataAlphabet(Alphabet(symbols), "data/alphabet.txt")


def test_an_alphabet_beside_the_data_drops_no_layer(tmp_path: Path) -> None:
    """Seen: fine-tuning became transfer learning, because import_cv writes an alphabet beside its CSVs."""
    folder = checkpoint(tmp_path / "base")
    with pytest.raises(InputError) as refused:
        choose(folder, tmp_path / "new", beside(" ", "a", "d"))
    for part in (
        str(folder / ALPHABET),
        "data/alphabet.txt",
        "adds 'd', lacks 'b' 'c'",
        "--drop_source_layers 1, or auto",
        f"--alphabet_config_path {folder / ALPHABET}",
    ):
        assert part in str(refused.value)
    # The two ways on.
    kept = choose(folder, tmp_path / "new", DataAlphabet(OWN, str(folder / ALPHABET), asked_for=True))
    assert (kept.alphabet, kept.dropped, kept.base) == (OWN, (), "best_dev-720")
    for drop in ("1", "auto"):
        moved = choose(folder, tmp_path / "new", beside(" ", "a", "d"), drop_source_layers=drop)
        assert (moved.alphabet.symbols, moved.dropped, moved.base) == ((" ", "a", "d"), ("layer_6",), "")
    assert "--drop_source_layers auto: another alphabet (4 -> 3 symbols)" in moved.explanation


def test_symbols_in_another_order_are_another_alphabet(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "base")
    with pytest.raises(InputError, match=r"in another order, from label 1 on \('a' in the first, 'b' in the second\)"):
        choose(folder, tmp_path / "new", beside(" ", "b", "a", "c"))
    assert choose(folder, tmp_path / "new", beside(*OWN.symbols)).dropped == ()
    assert choose(folder, tmp_path / "new").alphabet == OWN  # not the transcripts' characters


def test_a_long_difference_is_cut(tmp_path: Path) -> None:
    many = Alphabet((" ", *map(chr, range(0x4E00, 0x4E00 + 500))))
    assert describe_difference(OWN, many).endswith("and 490 more, lacks 'a' 'b' 'c'")
    assert describe_difference(OWN, Alphabet.bytes_output_mode()) == "the second writes the bytes of UTF-8"


def test_a_release_carries_no_alphabet(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "english", Geometry(8, 28), alphabet=None)
    english = choose(folder, tmp_path / "new")
    assert english.alphabet.symbols == tuple(" abcdefghijklmnopqrstuvwxyz'")
    assert "its 28 labels are taken for the releases' English" in english.explanation
    given = replace(beside(*map(chr, range(32, 32 + 28))), asked_for=True)
    as_many = choose(folder, tmp_path / "new", given)
    assert (as_many.alphabet, as_many.dropped) == (given.alphabet, ())
    assert "carries no alphabet, and data/alphabet.txt has as many symbols" in as_many.explanation
    same = choose(folder, tmp_path / "new", beside(*english.alphabet.symbols))
    assert "carries no alphabet, and data/alphabet.txt is that of the releases" in same.explanation
    with pytest.raises(InputError, match=r"writes 28 symbols and carries no alphabet, data/alphabet.txt has 3: .*auto"):
        choose(folder, tmp_path / "new", beside(" ", "a", "b"))
    mandarin = checkpoint(tmp_path / "mandarin", Geometry(8, 255), alphabet=None)
    assert choose(mandarin, tmp_path / "new").alphabet.bytes_mode
    other = checkpoint(tmp_path / "other", alphabet=None)
    with pytest.raises(InputError, match=r"no alphabet: .* lies beside it: give .* as --alphabet_config_path"):
        choose(other, tmp_path / "new")


def test_as_many_symbols_are_not_the_same_symbols(tmp_path: Path) -> None:
    """An alphabet that merely lies beside the data would give the releases' outputs other letters, silently."""
    folder = checkpoint(tmp_path / "english", Geometry(8, 28), alphabet=None)
    sorted_otherwise = beside(*" 'abcdefghijklmnopqrstuvwxyz")
    with pytest.raises(
        InputError, match=r"is not that of the releases: .* from label 1 on \('a' .*--alphabet_config_path data/"
    ):
        choose(folder, tmp_path / "new", sorted_otherwise)
    assert choose(folder, tmp_path / "new", sorted_otherwise, drop_source_layers="auto").dropped == ("layer_6",)
    named = choose(folder, tmp_path / "new", replace(sorted_otherwise, asked_for=True))
    assert (named.alphabet, named.dropped) == (sorted_otherwise.alphabet, ())


def test_an_alphabet_of_another_size_beside_the_checkpoint_is_not_its_own(tmp_path: Path) -> None:
    """A release, unpacked into the folder of a corpus."""
    folder = checkpoint(tmp_path, Geometry(8, 28), OWN)
    with pytest.raises(InputError, match="writes 28 symbols and carries no alphabet"):
        choose(folder, folder, DataAlphabet(OWN, str(folder / ALPHABET)))


@pytest.mark.parametrize(
    ("flag", "default", "other"),
    [
        ("n_hidden", 2048, 8),
        ("layer_norm", False, True),
        ("relu_clip", 20.0, 6.0),
        ("audio_sample_rate", 16_000, 8000),
        ("feature_win_len", 32, 40),
        ("feature_win_step", 20, 10),
    ],
)
def test_a_peer_s_default_that_is_given_counts(flag: str, default: object, other: object, tmp_path: Path) -> None:
    """Seen: --n_hidden 2048 on a narrow checkpoint was taken for a flag that nobody gave."""
    geometry = replace(GEOMETRY, **{flag: other})
    folder = checkpoint(tmp_path / "base", geometry)
    write_json(folder / Checkpoint.MODEL, {"geometry": {flag: other}})
    with pytest.raises(InputError, match=f"--{flag} {default} contradicts the checkpoint .*, which has {other}"):
        choose(folder, tmp_path / "new", **{flag: default})
    assert choose(folder, tmp_path / "new").snapshot.geometry == geometry
    assert choose(folder, tmp_path / "new", **{flag: other}).snapshot.geometry == geometry
    assert getattr(choose(None, tmp_path / "new").snapshot.geometry, flag) == default


def test_a_checkpoint_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    """Seen: a mistyped --load_checkpoint_dir trained from scratch."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    save = tmp_path / "new"
    for name, message in (("mistyped", "no such folder"), ("empty", "no checkpoint in it"), ("file", "a file")):
        with pytest.raises(InputError, match=f"{name}: {message}"):
            choose(tmp_path / name, save)
    assert choose(tmp_path / "mistyped", save, load_train="init").explanation.startswith("from scratch")
    assert choose(save, save).explanation.startswith("from scratch")  # --checkpoint_dir alone
    assert choose(tmp_path / "empty", tmp_path / "empty").explanation.startswith("from scratch")
    with pytest.raises(InputError, match=r"--load_train last: .*new holds no checkpoint"):
        choose(save, save, load_train="last")


def test_a_folder_that_almost_holds_a_checkpoint_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "release" / "deepspeech-0.9.3-checkpoint")
    with pytest.raises(InputError, match="no checkpoint in it, but one in .*deepspeech-0.9.3-checkpoint: give that"):
        choose(tmp_path / "release", tmp_path / "release")
    shutil.copytree(folder, tmp_path / "cut")
    (tmp_path / "cut" / "best_dev-720.index").unlink()
    with pytest.raises(InputError, match=r"but no \*.index file: the checkpoint is not complete"):
        choose(tmp_path / "cut", tmp_path / "cut")
    assert choose(tmp_path / "cut", tmp_path / "cut", load_train="init").explanation.startswith("from scratch")


def test_dropped_layers_start_fresh_and_the_others_are_the_checkpoint_s(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "base")
    found = choose(folder, tmp_path / "new", drop_source_layers="2", random_seed=9)
    before = snapshots.load(str(folder / "best_dev-720")).weights
    changed = {name for name, value in found.snapshot.weights.items() if not np.array_equal(value, before[name])}
    assert (changed, found.dropped) == ({"layer_5/weights", "layer_6/weights"}, ("layer_5", "layer_6"))
    assert found.alphabet == OWN
