"""What `corpus_uri` says of one release and of several."""

from pathlib import Path

import pytest

from speech.errors import InputError
from speech.storage.corpus_uri import CorpusUri, joined_revision, parse_corpus, release_date, split_corpora


def test_commas_divide_releases_but_not_a_path_that_is_there(tmp_path: Path) -> None:
    assert split_corpora("") == []
    assert split_corpora("s3://b/a.tar.gz") == ["s3://b/a.tar.gz"]
    assert split_corpora("a, s3://b/c ,") == ["a", "s3://b/c"]
    (tmp_path / "mine, all mine").mkdir()
    assert split_corpora(f"{tmp_path}/mine, all mine") == [f"{tmp_path}/mine, all mine"]


def test_facts_stand_behind_a_hash() -> None:
    digest = "0123456789abcdef" * 4
    given = parse_corpus(f"https://host/x.tar.gz?key=secret#sha256={digest.upper()}&license=CC%20BY&date=2024-03-15")
    assert given == CorpusUri("https://host/x.tar.gz?key=secret", digest, "2024-03-15", "CC BY")
    assert given.path == "https://host/x.tar.gz"


def test_other_hashes_are_part_of_the_name(tmp_path: Path) -> None:
    assert parse_corpus("s3://b/a#1.tar.gz").uri == "s3://b/a#1.tar.gz"
    (tmp_path / "x#date=1").mkdir()
    assert parse_corpus(f"{tmp_path}/x#date=1").uri == f"{tmp_path}/x#date=1"


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ("sha256=abc", "expected 64 hexadecimal digits"),
        ("date=15.3.2024", "expected YYYY-MM-DD"),
        ("date=2024-03-15&owner=me", "unknown fact #owner: expected #sha256=, #date=, #license="),
    ],
)
def test_a_wrong_fact_is_refused(fact: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_corpus(f"s3://b/x.tar.gz#{fact}")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://b/cv-corpus-17.0-2024-03-15-cy.tar.gz", "cv-corpus-17.0-2024-03-15-cy"),
        ("/data/cv-corpus-17.0-2024-03-15/cy/", "cv-corpus-17.0-2024-03-15-cy"),
        ("/data/my own voice", "my_own_voice"),
        ("https://host/download/own%20clips.zip?token=1", "own_clips"),
        ("https://host/", "host"),
        ("..", "corpus"),
    ],
)
def test_a_name_is_a_folder_s_name(uri: str, name: str) -> None:
    assert CorpusUri(uri).name == name


def test_the_date_of_a_release() -> None:
    assert release_date("s3://b/x.zip", "cv-corpus-17.0-delta-2024-03-15/cy") == "2024-03-15"
    assert release_date("cv-corpus-1", "2024-03-15") == ""


def test_the_revision_of_several() -> None:
    assert joined_revision(["a"]) == "a"
    assert joined_revision([]) == joined_revision(["a", ""]) == ""
    assert joined_revision(["a", "b"]) != joined_revision(["b", "a"])
