"""What a step may replace in a folder: what its record lists, and nothing of anybody else."""

import json
from pathlib import Path

import pytest

from speech.errors import InputError
from speech.ownership import Place, listed

NAMES = ["a.bin", "sub/b.bin", "record.json"]


def place(folder: Path) -> Place:
    return Place(folder, {"record.json": listed}, "--output_dir")


def write(folder: Path, text: str = "ours") -> None:
    """A run of the step."""
    with place(folder).writing(NAMES):
        (folder / "sub").mkdir(exist_ok=True)
        for name in NAMES[:2]:
            (folder / name).write_text(text)
        (folder / "record.json").write_text(json.dumps({"files": {"a.bin": {}}, "also": ["sub/b.bin"]}))


def test_a_rerun_replaces_its_own_and_leaves_the_rest(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, "again")
    assert (tmp_path / "a.bin").read_text() == "again"
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {*NAMES, "notes.txt"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_somebody_else_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=f"{name} would be replaced, .* give another --output_dir, or move the file"):
        write(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_a_broken_link_is_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "a.bin").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"a.bin would be replaced"):
        write(tmp_path)


def test_after_a_kill_its_own_unfinished_files_are_known(tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_text("mine")
    with pytest.raises(KeyboardInterrupt), place(tmp_path).writing(NAMES):
        (tmp_path / "a.bin").write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(InputError, match=r"other.bin would be replaced"):  # it was there before
        place(tmp_path).check(["other.bin"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").touch()
    with pytest.raises(InputError, match="elsewhere/x would be replaced"):  # where the killed run had no business
        place(tmp_path).check(["elsewhere/x"])
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "elsewhere", "other.bin", "record.json", "sub"]


def test_an_error_of_the_input_leaves_no_claim(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no"), place(tmp_path).writing(NAMES):
        raise InputError("no")
    assert list(tmp_path.iterdir()) == []


def test_what_was_found_is_not_owned(tmp_path: Path) -> None:
    record = {"files": {"a.bin": {"found": True}, "b.bin": {"bytes": 1}, "../c": {}, "/d": {}, "e/./f": {}}}
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert place(tmp_path).own == {"b.bin", "record.json"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', '{"files": ["a.bin"]}', "\0", "[" * 100_000])
def test_a_record_of_somebody_else_owns_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    assert place(tmp_path).own == set()


def test_only_what_is_owned_is_removed(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "mine").touch()
    place(tmp_path).remove(["a.bin", "mine", "missing"])
    assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "mine").exists()


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(InputError, match="--output_dir .*/x: it is a file, expected a folder"):
        place(tmp_path / "x").check([])
