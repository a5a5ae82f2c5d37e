"""What a step may replace in a folder: what its record lists, and nothing of anybody else."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from speech.errors import InputError
from speech.ownership import Place, listed, place_at
from speech.storage.objects import list_keys, read_object, split_uri, write_object

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


# Under a prefix of an object store the same holds.


def remote(uri: str) -> Place:
    return place_at(uri, {"record.json": listed}, "--export_dir")


def upload(uri: str, text: str = "ours", names: Sequence[str] = NAMES) -> None:
    with remote(uri).writing(names):
        remote(uri).remove(["record.json"])
        for name in names[:-1]:
            write_object(f"{uri}/{name}", text.encode())
        files = {name: {} for name in names[:-1]}
        write_object(f"{uri}/record.json", json.dumps({"files": files}).encode())


def objects(uri: str) -> dict[str, str]:
    start = len(split_uri(uri)[1]) + 1
    found = (f"s3://{split_uri(uri)[0]}/{key}" for key, _ in list_keys(f"{uri}/"))
    return {split_uri(one)[1][start:]: (read_object(one) or b"").decode() for one in found}


def test_objects_of_a_rerun_and_of_others(s3_bucket: str) -> None:
    uri = f"{s3_bucket}/models/x"
    write_object(f"{uri}/sub/notes", b"mine")
    write_object(f"{s3_bucket}/models/xa.bin", b"mine")  # the prefix's sibling
    upload(uri)
    upload(uri, "again")
    found = objects(uri)
    assert found.keys() == {*NAMES, "sub/notes"}
    assert (found["a.bin"], found["sub/notes"]) == ("again", "mine")
    with pytest.raises(InputError, match=r"sub/notes would be replaced, .* give another --export_dir"):
        upload(uri, "", ["sub/notes", "record.json"])
    assert objects(uri) == found


@pytest.mark.parametrize("name", NAMES)
def test_an_object_of_somebody_else_is_named(s3_bucket: str, name: str) -> None:
    uri = f"{s3_bucket}/x#1"
    write_object(f"{uri}/{name}", b"{}")
    with pytest.raises(InputError, match=f"{uri}/{name} would be replaced"):
        upload(uri)
    assert objects(uri) == {name: "{}"}


def test_after_a_kill_its_own_unfinished_objects_are_known(s3_bucket: str) -> None:
    uri = f"{s3_bucket}/x"
    write_object(f"{uri}/other.bin", b"mine")
    with pytest.raises(KeyboardInterrupt), remote(uri).writing(NAMES):
        write_object(f"{uri}/a.bin", b"half")
        raise KeyboardInterrupt
    with pytest.raises(InputError, match=r"other.bin would be replaced"):
        remote(uri).check(["other.bin"])
    upload(uri)
    assert objects(uri).keys() == {*NAMES, "other.bin"}
