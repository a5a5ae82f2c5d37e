"""The generic rules, as a table of sentences in many scripts."""

import pytest

from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.reasons import Reason
from components.import_cv.rules.choice import choose
from speech.alphabet import Alphabet

# locale, sentence, transcript or the reason
CASES = [
    ("en", "“Well-known” – it’s John’s… ‘quoted’ word.", "well known it's john's quoted word"),
    ("en", "rock 'n' roll; and/or U.S.", "rock 'n' roll and or u s"),
    ("en", "• A bullet, na\u00efve cafe\u0301 smile 😀", "a bullet na\u00efve caf\u00e9 smile"),
    ("en", "so\u00adft\u200b hy\ufeffphen", "soft hyphen"),
    ("fr", "L’été, c’est « beau » !", "l'été c'est beau"),
    ("tr", "İstanbul'da IĞDIR’lı", "istanbul'da ığdır'lı"),
    ("en", "İzmir", "izmir"),
    ("ka", "„გამარჯობა“, მეგობარო! – რა ხდება?", "გამარჯობა მეგობარო რა ხდება"),
    ("hy-AM", "Ի՞նչ է սա։ Բարեւ՜, աշխարհ", "ինչ է սա բարեւ աշխարհ"),
    ("el", "Καλημέρα, ΟΔΟΣ· τι κάνεις;", "καλημέρα οδος τι κάνεις"),
    ("he", 'צה״ל ג׳ירפה בן־אדם צה"ל', "צהל ג'ירפה בן אדם צהל"),
    ("ar", "مـــرحبا، بالعالم؟ \ufefb", "مرحبا بالعالم لا"),
    ("fa", "می\u200cخواهم به خانه\u200c بروم.", "می\u200cخواهم به خانه بروم"),
    ("hi", "नमस्ते दुनिया। क्\u200dया?", "नमस्ते दुनिया क्\u200dया"),
    ("en", "no\u200cjoiner\u200d", "nojoiner"),
    ("th", "“กรุงเทพ” ท\u0e4d\u0e32งาน \u0e40\u0e40ม่ ๆ", "กรุงเทพ ทำงาน แม่ ๆ"),
    ("th", "น\u0e4d\u0e49\u0e32 น\u0e49\u0e4d\u0e32 น\u0e33\u0e49 นํ", "น\u0e49\u0e33 น\u0e49\u0e33 น\u0e49\u0e33 นํ"),
    ("lo", "ນ\u0ecd\u0ec9\u0eb2 ນ\u0eb3\u0ec9", "ນ\u0ec9\u0eb3 ນ\u0ec9\u0eb3"),
    ("zh-CN", "你好，世界。“中国”——约翰·史密斯！", "你好世界中国约翰史密斯"),
    ("ja", "「東京」へ、行く。ジョン・スミス", "東京へ行くジョンスミス"),
    ("ko", "안녕, 세계! \u1112\u1161\u11ab\u1100\u1173\u11af", "안녕 세계 한글"),
    ("am", "ሰላም፡ለዓለም። እንዴት፣ ነህ?", "ሰላም ለዓለም እንዴት ነህ"),
    ("nqo", "ߌ ߣߌ߫ ߛߐ߲߬ߜߐߡߊ߫߸ ߊ߬ ߓߍ߬ ߘߌ߫؟", "ߌ ߣߌ߫ ߛߐ߲߬ߜߐߡߊ߫ ߊ߬ ߓߍ߬ ߘߌ߫"),
    ("ca", "L·lustre col·legi · punt", "l·lustre col·legi punt"),
    ("chr", "ᎣᏏᏲ, ᏙᎯᏧ?", "ᎣᏏᏲ ᏙᎯᏧ"),
    ("en", "Room 7", Reason.DIGITS),
    ("ar", "الرقم ٣", Reason.DIGITS),
    ("en", "half ½", Reason.DIGITS),
    ("en", "fish & chips", Reason.SIGNS),
    ("en", "[noise] five €", Reason.SIGNS),
    ("en", "?! … 😀", Reason.EMPTIED),
    ("en", "'", Reason.EMPTIED),
    ("en", "  ", Reason.NO_SENTENCE),
    ("en", "null\0byte", Reason.CONTROL_CHARACTER),
]


@pytest.mark.parametrize(("locale", "sentence", "expected"), CASES)
def test_generic_rules(locale: str, sentence: str, expected: str | Reason) -> None:
    reason, text = LabelRules(rulebook=choose("generic", locale, (), own_validator=False))(sentence)
    if isinstance(expected, Reason):
        assert reason is expected
    else:
        assert (reason, text) == (Reason.ACCEPTED, expected)


@pytest.mark.parametrize(("locale", "sentence", "expected"), CASES)
def test_a_transcript_is_one_already(locale: str, sentence: str, expected: str | Reason) -> None:
    if isinstance(expected, str):
        assert LabelRules(rulebook=choose("generic", locale, (), False))(expected) == (Reason.ACCEPTED, expected)


def test_what_a_given_alphabet_has_is_a_letter() -> None:
    alphabet = Alphabet.from_symbols([*" abcdefghijklmnopqrstuvwxyz", "7", "-", "’", "Q"], "here")
    rules = LabelRules(alphabet=alphabet, rulebook=choose("generic", "en", alphabet.symbols, False))
    assert rules("Well-known: it’s Q 7.") == (Reason.ACCEPTED, "well-known it’s Q 7")
    assert rules("it's") == (Reason.ACCEPTED, "it’s")
    assert rules("Room 8")[0] is Reason.DIGITS


def test_an_alphabet_without_joiners_gets_none() -> None:
    rulebook = choose("generic", "hi", "नमस्तेकय", False)
    assert rulebook is not None
    assert rulebook("क्\u200dय") == (Reason.ACCEPTED, "क्य")
