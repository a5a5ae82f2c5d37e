"""The label rules, as a table of the peers' importers' behaviour."""

from pathlib import Path

import pytest

from components.import_cv.plan.labels import LabelRules, load_validator
from components.import_cv.plan.reasons import Reason
from speech.alphabet import Alphabet
from speech.errors import InputError

# sentence, transcript or the reason
CASES = [
    ("Open the door.", "open the door"),
    ("  Open the door  ", "open the door"),
    ("well-known fact", "well known fact"),
    ("snake_case - and  spaces", "snake case and spaces"),
    ("a , b", "a  b"),  # spaces are joined before the punctuation goes
    ('"Quoted," she said; why? No: yes!', "quoted she said why no yes"),
    ("it's John's", "it's john's"),
    ("ends with a paren)", "ends with a paren)"),
    ("greater > than", "greater > than"),
    ("ÄÖÜ Straße", "äöü straße"),
    ("İstanbul", "i̇stanbul"),
    ("مرحبا بالعالم", "مرحبا بالعالم"),
    ("हिन्दी", "हिन्दी"),
    ("smile 😀 please", "smile 😀 please"),
    ("٣ apples", "٣ apples"),  # digits of other scripts pass
    ("e\u0301te\u0301", "e\u0301te\u0301"),
    ("room 7", Reason.INVALID_LABEL),
    ("(aside)", Reason.INVALID_LABEL),
    ("a < b", Reason.INVALID_LABEL),
    ("[noise]", Reason.INVALID_LABEL),
    ("]", Reason.INVALID_LABEL),
    ("this & that", Reason.INVALID_LABEL),
    ("star*", Reason.INVALID_LABEL),
    ("{brace", Reason.INVALID_LABEL),
    ("", Reason.NO_SENTENCE),
    ("   ", Reason.NO_SENTENCE),
    ('.,;?!:"-_', Reason.NO_SENTENCE),
    ("null\0byte", Reason.CONTROL_CHARACTER),
    ("line\rend", Reason.CONTROL_CHARACTER),
    ("escape\x1b[0m", Reason.INVALID_LABEL),
]


@pytest.mark.parametrize(("sentence", "expected"), CASES)
def test_default_rules(sentence: str, expected: str | Reason) -> None:
    reason, text = LabelRules()(sentence)
    if isinstance(expected, Reason):
        assert reason is expected
    else:
        assert (reason, text) == (Reason.ACCEPTED, expected)


@pytest.mark.parametrize(
    ("sentence", "expected"), [("Café naïve", "cafe naive"), ("Straße", "strae"), ("  Ångström. ", "angstrom")]
)
def test_normalize_keeps_base_letters(sentence: str, expected: str) -> None:
    assert LabelRules(normalize=True)(sentence) == (Reason.ACCEPTED, expected)


def test_normalize_of_another_script_leaves_nothing() -> None:
    assert LabelRules(normalize=True)("привет")[0] is Reason.NO_SENTENCE


def test_alphabet_refuses_what_it_lacks() -> None:
    rules = LabelRules(alphabet=Alphabet.collect(["abc def"]))
    assert rules("Fed a bead.") == (Reason.ACCEPTED, "fed a bead")
    assert rules("cab é")[0] is Reason.OUTSIDE_ALPHABET


def test_validator_of_a_locale(tmp_path: Path) -> None:
    (tmp_path / "letters.py").write_text("DROP = '!'\n")
    path = tmp_path / "locale_rules.py"
    path.write_text(
        "from letters import DROP\n"
        "def validate_label(label):\n"
        "    if 'no' in label: return None\n"
        "    if 'boom' in label: raise KeyError('boom')\n"
        "    return 7 if label == 'seven' else label.replace(DROP, '').upper()\n"
    )
    rules = LabelRules(validator=load_validator(path))
    assert rules("hello!") == (Reason.ACCEPTED, "HELLO")
    assert rules("12 (ok)") == (Reason.ACCEPTED, "12 (OK)")
    assert rules("no")[0] is Reason.INVALID_LABEL
    assert rules("boom")[0] is Reason.VALIDATOR_FAILED
    assert rules("seven")[0] is Reason.VALIDATOR_FAILED
    assert rules("!")[0] is Reason.NO_SENTENCE


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), ("x = 1\n", "defines no function"), ("syntax error here\n", "SyntaxError")],
)
def test_bad_validator_files(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "bad_rules.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_validator(path)
