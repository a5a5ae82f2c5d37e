"""Rules that hold for every script: what is written but not spoken, and what is written in several ways."""

import re
import unicodedata
from collections.abc import Callable, Set

from components.import_cv.plan.reasons import Reason
from components.import_cv.rules.rulebook import Refusal, Rule
from speech.metrics import UNSPACED

APOSTROPHE = "'"
APOSTROPHES = frozenset("'\u2019\u2018\u02bc\u02bb\u02bd\u2032\u201b\uff07`\u00b4\u055a\u05f3")
QUOTATION = frozenset(
    '"\u201c\u201d\u201e\u201f\u201a\u00ab\u00bb\u2039\u203a\u2033\uff02\u05f4\u300c\u300d\u300e\u300f\u301d\u301e\u301f'
)
PAIR = re.compile("(?<!\\w)\u2018(.*?)\u2019(?!\\w)")  # a closing one between letters is an apostrophe
DOUBLED = re.compile("['\u2018\u2019`\u00b4]{2,}")
LONE = re.compile(r"(?<!\S)'+(?!\S)")
INVISIBLE = frozenset(["\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", *map(chr, range(0xFE00, 0xFE10))])
JOINERS = "\u200c\u200d"
# Arabic to N'Ko, the scripts of India and Sri Lanka, Tibetan and Myanmar, Khmer and Mongolian: there joiners spell
JOINING = "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua87f"
STRAY_JOINER = re.compile(f"(?<![{JOINING}])[{JOINERS}]+|[{JOINERS}]+(?![{JOINING}])")
ELONGATIONS = "\u0640\u07fa"
GAP = "\n"  # in place of punctuation; no row of a table has one
INNER_GAP = re.compile(f"(?<=[{UNSPACED}]){GAP}+(?=[{UNSPACED}])")
INSIDE_WORDS = frozenset("\u055b\u055c\u055e\u055f")  # Armenian marks on a word's vowel
SPELLING = frozenset("\u0f0b\u0f0c\u104c\u104d\u104e\u104f\u06fd\u06fe\u1361")  # Tibetan's tsheg, words of one sign
ETHIOPIC_SPACE = "\u1361"
SIGNS = frozenset(
    "%&@#*+=<>[]{}\\^|~$\u00a7\u00b6\u2030\u2031\u00b0\u00a9\u00ae\u2122\u2116\uff05\uff06\uff20\uff03\uff0a\u066a"
)
MIDDLE_DOT = "\u00b7"
BETWEEN_L = re.compile("(?<![lL])\u00b7|\u00b7(?![lL])")  # Catalan spells l·l
SYMBOLS_DRAWN = (
    (0x2190, 0x2200),
    (0x2300, 0x27C0),
    (0x2900, 0x2980),
    (0x2B00, 0x2C00),
    (0x3000, 0x3040),
    (0x1F000, 0x1FB00),
)
BULLETS = frozenset("\u2022\u2023\u2043\u204c\u204d\u2219\u22c5\u25e6\u2027\u30fb\uff65\u00a4")
TURKIC = ("tr", "az", "crh", "gag", "tly")
CHEROKEE = {**{0xAB70 + n: 0x13A0 + n for n in range(80)}, **{0x13F8 + n: 0x13F0 + n for n in range(6)}}
# Thai and Lao am in two parts, its tone mark anywhere among them, or whole before its tone mark; two e for ae
AM_IN_PARTS = re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32|\u0e33([\u0e48-\u0e4b])")
LAO_AM_IN_PARTS = re.compile("\u0ecd([\u0ec8-\u0ecb]?)\u0eb2|\u0eb3([\u0ec8-\u0ecb])")
TYPED_IN_PARTS = frozenset("\u0e4d\u0e33\u0e40\u0ecd\u0eb3")


def generic_rules(locale: str = "", kept: Set[str] = frozenset()) -> list[Rule]:
    """The rules in order; characters in `kept` are letters of the locale, which no rule takes for anything else."""
    others = "" if APOSTROPHE in kept else "".join(sorted(one for one in APOSTROPHES if one in kept))
    apostrophe = others if len(others) == 1 else APOSTROPHE  # Ukrainian's own, if there is one

    def besides(touches: Callable[[str], bool]) -> Callable[[str], bool]:
        return lambda character: character not in kept and touches(character)

    return [
        Rule("composition", "letters with marks as one character each (NFC)", _combines, _composed),
        Rule("forms", "ligatures, full-width and positional forms as the letters they stand for", besides(_is_form),
             _mapped(lambda one: unicodedata.normalize("NFKC", one) if _is_form(one) and one not in kept else one)),
        Rule("invisible", "characters without width are dropped, and joiners that the script or the alphabet lacks",
             besides(lambda one: _is_invisible(one) or one in JOINERS), _without_invisible(kept)),
        Rule("elongation", "strokes that only make a word longer are dropped", besides(ELONGATIONS.__contains__),
             _mapped(lambda one: "" if one in ELONGATIONS and one not in kept else one)),
        Rule("vowels", "Thai and Lao vowels that were typed in two parts", TYPED_IN_PARTS.__contains__, _thai),
        Rule("quotation", "quotation marks are dropped", besides(lambda one: one in QUOTATION or one in APOSTROPHES),
             _unquoted(kept)),
        Rule("dashes", "dashes and hyphens as a space", besides(_is_dash),
             _mapped(lambda one: GAP if _is_dash(one) and one not in kept else one)),
        Rule("bullets", "bullets, ornaments and pictures are dropped", besides(_is_ornament), _without_ornaments(kept)),
        Rule("punctuation", "punctuation is dropped, and parts words where they touch", besides(_is_punctuation),
             _mapped(lambda one: one if one in kept or not _is_punctuation(one) else
                     "" if one in INSIDE_WORDS else GAP)),
        Rule("apostrophes", "all apostrophes as one, and none but beside a letter",
             besides(lambda one: one in APOSTROPHES), _one_apostrophe(apostrophe, kept)),
        Rule("case", "small letters", besides(lambda one: one != _small(one)), lower_case(locale, kept)),
        Rule("spaces", "one space between words, and none around", _parts_words, _spaced, tidies=True),
    ]  # fmt: skip


def generic_refusals(kept: Set[str] = frozenset()) -> list[Refusal]:
    """What has a reading that is not written down; characters in `kept` have one."""
    return [
        Refusal(Reason.DIGITS, lambda one: one not in kept and unicodedata.category(one) in ("Nd", "No", "Nl")),
        Refusal(Reason.SIGNS, lambda one: one not in kept and _is_sign(one)),
    ]


def lower_case(locale: str, kept: Set[str] = frozenset()) -> Callable[[str], str]:
    """Small letters as the locale has them; Cherokee stays in the letters that it is written in."""
    if any(one != _small(one) for one in kept):
        return _mapped(lambda one: one if one in kept else _small(one))
    turkic = locale.split("-")[0] in TURKIC

    def apply(text: str) -> str:
        if "\u0130" in text or (turkic and "I" in text):
            text = (text.replace("I\u0307", "i").replace("I", "\u0131") if turkic else text).replace("\u0130", "i")
        return text.lower().translate(CHEROKEE)

    return apply


def inside_words(marks: str) -> bool:
    """Whether marks that are dropped stand inside words, so that no space may take their place."""
    return all(one in INSIDE_WORDS or one in ELONGATIONS or one in JOINERS or _is_invisible(one) for one in marks)


def _mapped(change: Callable[[str], str]) -> Callable[[str], str]:
    """What changes a text character by character; nothing that `change` gives may be changed by it again.

    A few characters of a sentence are concerned, if any, and `str.replace` is faster for these than `str.translate`.
    """
    changes: dict[str, str] = {}
    same: set[str] = set()

    def apply(text: str) -> str:
        for character in set(text) - same:
            if character not in changes:
                if (changed := change(character)) == character:
                    same.add(character)
                    continue
                changes[character] = changed
            text = text.replace(character, changes[character])
        return text

    return apply


def _small(character: str) -> str:
    return character.lower().translate(CHEROKEE)


def _combines(character: str) -> bool:
    return unicodedata.combining(character) > 0 or not unicodedata.is_normalized("NFC", character) or (
        "\u1160" <= character <= "\u11ff"  # Hangul's parts
    )  # fmt: skip


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _is_form(character: str) -> bool:
    code = ord(character)
    return (
        (0xFB00 <= code <= 0xFDFF or 0xFE70 <= code < 0xFEFF or 0xFF01 <= code <= 0xFFEE or 0x3300 <= code < 0x3400)
        and unicodedata.normalize("NFKC", character) != character
        and character not in APOSTROPHES
    )


def _is_invisible(character: str) -> bool:
    return character in INVISIBLE or (unicodedata.category(character) == "Cf" and character not in JOINERS)


def _without_invisible(kept: Set[str]) -> Callable[[str], str]:
    unknown = "" if not kept else "".join(joiner for joiner in JOINERS if joiner not in kept)
    drop = _mapped(lambda one: "" if one in unknown or (_is_invisible(one) and one not in kept) else one)
    return lambda text: STRAY_JOINER.sub("", drop(text))


def _thai(text: str) -> str:
    text = LAO_AM_IN_PARTS.sub("\\1\\2\u0eb3", AM_IN_PARTS.sub("\\1\\2\u0e33", text))
    return text.replace("\u0e40\u0e40", "\u0e41")


def _unquoted(kept: Set[str]) -> Callable[[str], str]:
    drop = _mapped(lambda one: "" if one in QUOTATION and one not in kept else one)
    pairs = "\u2018" not in kept and "\u2019" not in kept

    def apply(text: str) -> str:
        if pairs:
            text = DOUBLED.sub(GAP, text)
            if "\u2018" in text:
                text = PAIR.sub(f"{GAP}\\1{GAP}", text)
        return drop(text)

    return apply


def _one_apostrophe(target: str, kept: Set[str]) -> Callable[[str], str]:
    fold = _mapped(lambda one: APOSTROPHE if one in APOSTROPHES and one not in kept else one)

    def apply(text: str) -> str:
        text = LONE.sub(GAP, fold(text))
        return text if target == APOSTROPHE else text.replace(APOSTROPHE, target)

    return apply


def _is_dash(character: str) -> bool:
    return unicodedata.category(character) in ("Pd", "Pc") or character == "\u2212"


def _is_ornament(character: str) -> bool:
    if character in BULLETS or character == MIDDLE_DOT:
        return True
    code = ord(character)
    return any(first <= code < end for first, end in SYMBOLS_DRAWN) and unicodedata.category(character)[0] == "S"


def _without_ornaments(kept: Set[str]) -> Callable[[str], str]:
    drop = _mapped(lambda one: GAP if one not in kept and one != MIDDLE_DOT and _is_ornament(one) else one)
    return lambda text: drop(text if MIDDLE_DOT in kept else BETWEEN_L.sub(GAP, text))


def _is_punctuation(character: str) -> bool:
    if character == ETHIOPIC_SPACE:
        return True
    return (
        unicodedata.category(character)[0] == "P"
        and character not in SIGNS
        and character not in SPELLING
        and character not in APOSTROPHES
        and character != MIDDLE_DOT
    )


def _is_sign(character: str) -> bool:
    if character in SIGNS:
        return True
    spelled = character in SPELLING or character in APOSTROPHES
    return not spelled and unicodedata.category(character) in ("Sm", "Sc", "So")  # Sk: tones and a click, as letters


def _parts_words(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] == "Z"


def _spaced(text: str) -> str:
    return " ".join((INNER_GAP.sub("", text) if GAP in text else text).split())
