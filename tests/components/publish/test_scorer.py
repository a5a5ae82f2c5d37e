"""A version holds the scorer that the model was measured with."""

from pathlib import Path

import pytest

from components.publish.contents import gather
from speech.artifacts import ALPHABET, ExternalScorer, describe_files, write_sidecar
from speech.errors import InputError


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    folder = tmp_path / "scorer"
    folder.mkdir()
    (folder / ExternalScorer.SCORER).write_bytes(b"language model")
    (folder / ALPHABET).write_text(" \na\n")
    files = describe_files(folder, [ExternalScorer.SCORER, ALPHABET])
    write_sidecar(folder, ExternalScorer.MODEL, {"default_alpha": 0.9, "files": files})
    return folder


def test_the_scorer_is_part_of_the_version(make_artifacts, scorer: Path) -> None:
    alone = gather(make_artifacts())
    contents = gather({**make_artifacts(), "scorer": scorer})
    assert set(contents.files) - set(alone.files) == {ExternalScorer.SCORER, ExternalScorer.MODEL}
    assert contents.digest != alone.digest
    (scorer / ExternalScorer.SCORER).write_bytes(b"LANGUAGE MODEL")
    with pytest.raises(InputError, match=r"kenlm\.scorer is damaged"):
        gather({**make_artifacts(), "scorer": scorer})


def test_a_run_without_a_scorer_publishes_none(make_artifacts, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / ExternalScorer.NONE).write_text("")
    assert set(gather({**make_artifacts(), "scorer": tmp_path / "none"}).files) == set(gather(make_artifacts()).files)
