"""Reading and counting text."""

import gzip
from pathlib import Path

import pytest

from components.build_scorer.text import PreparedText, prepare, read_lines, split_code_points
from speech.errors import InputError


def prepared(tmp_path: Path, lines: list[str], *, keep_case: bool = False) -> PreparedText:
    return prepare(lines, tmp_path / "text.txt", keep_case=keep_case)


def test_a_sentence_a_line_in_lower_case(tmp_path: Path) -> None:
    text = prepared(tmp_path, ["Hello  World\n", "\n", " \t", "hello\u00a0there\r\n", "ÄRGER İ"])
    assert text.path.read_text(encoding="utf-8") == "hello world\nhello there\närger i̇\n"
    assert text.counts == {"hello": 2, "world": 1, "there": 1, "ärger": 1, "i̇": 1}
    assert text.words == 6


def test_case_can_be_kept(tmp_path: Path) -> None:
    assert prepared(tmp_path, ["Hello hello"], keep_case=True).counts == {"Hello": 1, "hello": 1}


def test_words_of_the_tools_own_are_dropped(tmp_path: Path) -> None:
    """<s>, </s> and <unk> mean something to lmplz."""
    assert prepared(tmp_path, ["a <s> b <UNK> </s>", "<s>"]).path.read_text() == "a b\n"


def test_most_frequent_words(tmp_path: Path) -> None:
    text = prepared(tmp_path, ["b a c a b a d"])
    assert text.vocabulary(2) == ["a", "b"]
    assert text.vocabulary(3) == ["a", "b", "c"]  # c came before d
    assert text.vocabulary(100) == ["a", "b", "c", "d"]


def test_code_points(tmp_path: Path) -> None:
    text = split_code_points(prepared(tmp_path, ["早上 好é"]), tmp_path / "points.txt", "space7")
    assert text.path.read_text(encoding="utf-8") == "早 上 space7 好 é\n"
    assert text.counts == {"早": 1, "上": 1, "space7": 1, "好": 1, "é": 1}
    assert not (tmp_path / "text.txt").exists()


def test_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text to build a language model from"):
        prepared(tmp_path, ["", " \n"])


def test_plain_and_compressed_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("één\ntwee", encoding="utf-8")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("één\ntwee".encode()))
    assert list(read_lines(tmp_path / "a.txt")) == list(read_lines(tmp_path / "a.txt.gz")) == ["één\n", "twee"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing.txt: no such text"):
        list(read_lines(tmp_path / "missing.txt"))
    (tmp_path / "latin.txt").write_bytes("ok\nnaïve\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.txt, line 2: not UTF-8 at byte 2 of the line"):
        list(read_lines(tmp_path / "latin.txt"))
    whole = gzip.compress(b"line\n" * 1000)
    (tmp_path / "cut.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.txt.gz: damaged gzip file behind line \d+"):
        list(read_lines(tmp_path / "cut.txt.gz"))
    (tmp_path / "no.txt.gz").write_bytes(b"plain")
    with pytest.raises(InputError, match=r"no.txt.gz: damaged gzip file behind line 0"):
        list(read_lines(tmp_path / "no.txt.gz"))
