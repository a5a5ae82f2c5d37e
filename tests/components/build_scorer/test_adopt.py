"""A run that builds no scorer: it takes one that is there, or leaves a note."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from components.build_scorer import step
from components.build_scorer.component import build_scorer
from speech.artifacts import ALPHABET, ExternalScorer
from speech.errors import InputError
from tests.fixtures.decoding import cases


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    cases.ALPHABET.save(folder / ALPHABET)
    return folder


def test_without_a_scorer_there_is_a_note(model: Path, tmp_path: Path) -> None:
    assert step.adopt("", model, tmp_path / "made") is None
    assert [path.name for path in (tmp_path / "made").iterdir()] == [ExternalScorer.NONE]
    assert ExternalScorer.find(tmp_path / "made") is None
    assert step.headline(None) == {}


def test_a_scorer_that_is_there(model: Path, tmp_path: Path) -> None:
    made = step.adopt(str(cases.WORDS), model, tmp_path / "made")
    assert made is not None
    assert made.path.read_bytes() == cases.WORDS.read_bytes()
    assert made.description["source"] == str(cases.WORDS)
    assert made.description["default_alpha"] == pytest.approx(cases.ALPHA, rel=1e-6)
    assert step.headline(made) == {"megabytes": cases.WORDS.stat().st_size / 1e6}


def test_a_scorer_in_an_object_store(model: Path, tmp_path: Path, s3_bucket: str) -> None:
    from speech.storage.objects import upload_file

    upload_file(cases.WORDS, f"{s3_bucket}/en.scorer")
    made = step.adopt(f"{s3_bucket}/en.scorer", model, tmp_path / "made")
    assert made is not None
    assert made.path.read_bytes() == cases.WORDS.read_bytes()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("/absent/en.scorer", "/absent/en.scorer: no such scorer"),
        (str(cases.BYTES), f"{cases.BYTES}: this scorer is for bytes output mode"),
        (__file__, f"{__file__}: "),
    ],
)
def test_one_that_does_not_fit(model: Path, tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        step.adopt(uri, model, tmp_path / "made")
    assert str(raised.value).startswith(message)
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize(("uri", "found"), [("", False), (str(cases.WORDS), True)])
def test_the_component(model: Path, tmp_path: Path, uri: str, found: bool) -> None:
    made = SimpleNamespace(path=str(tmp_path / "made"), metadata={})
    build_scorer.python_func(
        corpus=SimpleNamespace(path=str(tmp_path)),
        model=SimpleNamespace(path=str(model)),
        scorer=made,
        build_scorer=False,
        scorer_uri=uri,
    )
    assert (ExternalScorer.find(tmp_path / "made") is not None) is found
    assert ("megabytes" in made.metadata) is found
