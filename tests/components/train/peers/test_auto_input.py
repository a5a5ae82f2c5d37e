"""--auto_input_dataset: sizes, reproducibility, and what is used as it is."""

from pathlib import Path

import pytest

from components.train.peers.auto_input import held_out, split_dataset
from speech.alphabet import Alphabet
from speech.clips.manifest import read_manifest
from speech.errors import InputError


def write(path: Path, count: int) -> Path:
    rows = [f'{number}.wav,{number},"say ""{number}"", please",x{number}' for number in range(count)]
    path.write_text("\n".join(["wav_filename,wav_filesize,transcript,client_id", *rows]) + "\n")
    return path


@pytest.mark.parametrize(("clips", "size"), [(3, 1), (10, 3), (1_000, 331), (10_000, 3_097), (100_000, 13_548)])
def test_sizes_are_those_of_the_peer(clips: int, size: int) -> None:
    """Coqui STT 1.4.0's own numbers (it gives none of 3 clips, and takes one then)."""
    answer = held_out(clips)
    assert answer == size
    assert 2 * answer < clips


def test_every_clip_is_in_one_set(tmp_path: Path) -> None:
    made = split_dataset(write(tmp_path / "all.csv", 50), "", 1)
    manifests = [read_manifest(path) for path in (made.train, made.dev, made.test)]
    names = [clip.wav_filename for manifest in manifests for clip in manifest]
    assert sorted(names) == sorted(f"{number}.wav" for number in range(50))
    assert all(clip.transcript == f'say "{clip.wav_filename[:-4]}", please' for m in manifests for clip in m)
    assert all(clip.client_id == f"x{clip.wav_filename[:-4]}" for m in manifests for clip in m)
    assert Alphabet.load(made.alphabet).symbols == tuple(sorted(set('say "0123456789", please')))
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert split_dataset(tmp_path / "all.csv", "", 2) == made
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


def test_a_folder_and_a_seed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "all.csv", 30)
    sets = [split_dataset(tmp_path / name, "", seed).dev.read_text() for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert sets[0] == sets[1] != sets[2]


def test_what_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 clips are too few"):
        split_dataset(write(tmp_path / "all.csv", 2), "", 1)
    write(tmp_path / "all.csv", 20)
    write(tmp_path / "more.csv", 20)
    with pytest.raises(InputError, match=r"expected one CSV in the folder, found all\.csv, more\.csv"):
        split_dataset(tmp_path, "", 1)
    write(tmp_path / "dev.csv", 20)
    with pytest.raises(InputError, match=r"dev\.csv is there, the others of .* are not"):
        split_dataset(tmp_path / "all.csv", "", 1)
    (tmp_path / "dev.csv").unlink()
    (tmp_path / "letters.txt").write_text(" \na\n")
    with pytest.raises(InputError, match=r"letters\.txt: lacks .* of the transcripts"):
        split_dataset(tmp_path / "all.csv", str(tmp_path / "letters.txt"), 1)
    with pytest.raises(InputError, match="no such CSV"):
        split_dataset(tmp_path / "none.csv", "", 1)
