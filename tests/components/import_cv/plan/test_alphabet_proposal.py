"""The proposal: what is dropped, why, and how many clips that costs."""

from components.import_cv.plan.alphabet_proposal import SymbolCounts, script_of


def counted(*transcripts: str) -> SymbolCounts:
    counts = SymbolCounts()
    for transcript in transcripts:
        counts.add(transcript)
    return counts


def test_another_script_goes_with_its_clips() -> None:
    counts = counted(*["გამარჯობა მეგობარო"] * 199, "გამარჯობა wifi")
    found = counts.propose()
    assert found.dropped == dict.fromkeys(("f", "i", "w"), "latin, another script")
    assert (found.clips, found.clips_lost) == (200, 1)
    assert found.symbols == tuple(sorted(set("გამარჯობა მეგობარო")))


def test_a_small_corpus_keeps_its_rare_letters() -> None:
    found = counted(*["abc"] * 59, "q").propose()
    assert found.symbols == ("a", "b", "c", "q")
    assert not found.dropped


def test_rare_letters_of_a_large_corpus_go_but_not_the_locales() -> None:
    counts = counted(*["abc it's"] * 3998, "ñab", "čab")
    assert counts.propose().dropped == {"č": "rare", "ñ": "rare"}
    found = counts.propose(frozenset("ñ"))
    assert found.dropped == {"č": "rare"}
    assert found.clips_lost == 1
    assert "'" in found.symbols


def test_no_more_clips_are_lost_than_allowed() -> None:
    """5,000 characters, each in one clip: a hundredth of the clips may go, and no more."""
    transcripts = [chr(0x4E00 + number) + "的" for number in range(5000)]
    found = counted(*transcripts).propose()
    assert found.clips_lost == len(found.dropped) == 50
    described = found.describe(counted(*transcripts))
    assert described["advise_utf8"]
    assert described["table"][0] == {
        "symbol": "的", "code_point": "U+7684", "name": "CJK UNIFIED IDEOGRAPH-7684", "times": 5000, "clips": 5000,
        "dropped": "",
    }  # fmt: skip


def test_what_is_frequent_stays() -> None:
    found = counted(*["ab wifi"] * 600, *["ა"] * 100_000).propose()
    assert set("wifi") <= set(found.symbols)


def test_marks_that_no_rule_dropped_go() -> None:
    assert counted(*["a b"] * 500, "a “b”").propose().dropped == {"“": "no letter", "”": "no letter"}


def test_scripts() -> None:
    assert [script_of(symbol) for symbol in "aЖ你のカߊก'"] == [
        "LATIN", "CYRILLIC", "CJK", "CJK", "CJK", "NKO", "THAI", "",
    ]  # fmt: skip
    assert script_of("\u0301") == ""
