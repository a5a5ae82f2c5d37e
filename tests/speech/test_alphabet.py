"""The alphabet file's rules, as both peers read it, and the blob that native clients read."""

from pathlib import Path

import pytest

from speech.alphabet import Alphabet
from speech.errors import InputError


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        (" \na\nb\n", (" ", "a", "b")),
        ("# comment\n \na", (" ", "a")),
        (" \n\\#\nb\n", (" ", "#", "b")),
        (" \r\na\r\n", (" ", "a")),
        (" \n\na\n", (" ", "a")),
        ("\ufeff \na\n", (" ", "a")),
        (" \n\\#x\n", (" ", "\\#x")),
    ],
)
def test_file_format(text: str, symbols: tuple[str, ...]) -> None:
    assert Alphabet.from_text(text).symbols == symbols


@pytest.mark.parametrize(
    ("text", "message"),
    [(" \na\na\n", "'a' occurs twice"), ("", "empty"), ("# only\n", "empty")],
)
def test_unusable_alphabets(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Alphabet.from_text(text, "x.txt")


def test_an_alphabet_without_a_space(tmp_path) -> None:
    """Coqui's trainer takes it as well: Chinese and Thai are written without."""
    alphabet = Alphabet.from_text("你\n好\n")
    assert (alphabet.has_space, Alphabet((" ", "a")).has_space) == (False, True)
    assert Alphabet.bytes_output_mode().has_space
    alphabet.save(tmp_path / "alphabet.txt")
    assert Alphabet.load(tmp_path / "alphabet.txt") == Alphabet.deserialize(alphabet.serialize()) == alphabet
    assert alphabet.missing("你 好") == [" "]
    with pytest.raises(InputError, match=r"lacks: ' '"):
        alphabet.encode("你 好")


def test_missing_file_and_wrong_encoding(tmp_path) -> None:
    with pytest.raises(InputError, match="no such alphabet file"):
        Alphabet.load(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b" \n\xe9\n")
    with pytest.raises(InputError, match="not UTF-8 at byte 2"):
        Alphabet.load(tmp_path / "latin.txt")


def test_text_round_trip(tmp_path) -> None:
    alphabet = Alphabet((" ", "#", "a", "ñ", "'"))
    alphabet.save(tmp_path / "alphabet.txt")
    assert Alphabet.load(tmp_path / "alphabet.txt") == alphabet


def test_encode_decode_and_missing() -> None:
    alphabet = Alphabet.from_text(" \na\nb\nc\n")
    assert alphabet.blank == 4
    assert alphabet.encode("cab a").tolist() == [3, 1, 2, 0, 1]
    assert alphabet.decode([3, 1, 2]) == "cab"
    assert alphabet.missing("xaxy") == ["x", "y"]
    with pytest.raises(InputError, match="'x' 'y'"):
        alphabet.encode("axy")


def test_serialize_is_the_clients_format() -> None:
    # Bytes read from a graph that Coqui STT 1.4.0 exported: u16 count, then u16 label, u16 length, UTF-8 bytes.
    blob = Alphabet((" ", "a", "é")).serialize()
    assert blob.hex() == "0300" + "00000100" + "20" + "01000100" + "61" + "02000200" + "c3a9"


def test_deserialize_takes_any_order() -> None:
    blob = bytes.fromhex("0200" + "01000100" + "61" + "00000100" + "20")
    assert Alphabet.deserialize(blob).symbols == (" ", "a")
    for damaged in (b"", b"\x01", blob[:-1], blob + b"x", b"\x02\x00" + blob[7:] + blob[7:]):
        with pytest.raises(InputError):
            Alphabet.deserialize(damaged)


def test_bytes_output_mode() -> None:
    alphabet = Alphabet.bytes_output_mode()
    assert len(alphabet) == 255
    assert alphabet.blank == 255
    assert alphabet.encode("ñ").tolist() == [0xC3 - 1, 0xB1 - 1]
    assert alphabet.decode(alphabet.encode("héllo 你好")) == "héllo 你好"
    assert alphabet.decode([0xC3 - 1]) == "\ufffd"
    assert Alphabet.deserialize(alphabet.serialize()) == alphabet


def test_collect_holds_the_space() -> None:
    assert Alphabet.collect(["ba", "cé"]).symbols == (" ", "a", "b", "c", "é")


def test_the_file_of_bytes_output_mode_is_read_as_such(tmp_path: Path) -> None:
    Alphabet.bytes_output_mode().save(tmp_path / "alphabet.txt")
    assert Alphabet.load(tmp_path / "alphabet.txt") == Alphabet.bytes_output_mode()
