"""What the rules did is counted and shown."""

from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.reasons import Reason
from components.import_cv.rules.choice import choose
from components.import_cv.rules.rulebook import EXAMPLES


def test_each_rule_counts_rows_and_shows_three_examples() -> None:
    rulebook = choose("generic", "en", (), False)
    assert rulebook is not None
    for sentence in ("It’s one.", "It’s two.", "It’s two.", "It’s three.", "It’s four.", "two  words"):
        rulebook(sentence)
    rulebook("It’s five.", counted=False)
    found = {rule["name"]: rule for rule in rulebook.describe()["rules"]}
    assert {name: rule["rows"] for name, rule in found.items() if rule["rows"]} == {
        "punctuation": 5, "apostrophes": 5, "case": 5, "spaces": 1,  # not what full stops leave
    }  # fmt: skip
    assert found["apostrophes"]["examples"][0] == ("It’s one", "It's one")
    assert all(len(rule["examples"]) <= EXAMPLES for rule in found.values())


def test_examples_show_no_space_where_none_will_be() -> None:
    rulebook = choose("generic", "zh-CN", (), False)
    assert rulebook is not None
    assert rulebook("你好，世界。") == (Reason.ACCEPTED, "你好世界")
    found = {rule["name"]: rule["examples"] for rule in rulebook.describe()["rules"] if rule["rows"]}
    assert found["punctuation"] == [("你好,世界。", "你好世界")]
    assert "spaces" not in found


def test_a_validator_of_ones_own_comes_first() -> None:
    def validate_label(sentence: str) -> str | None:
        return None if "bad" in sentence else sentence.replace("&", "and")

    rules = LabelRules(validator=validate_label, rulebook=choose("locale", "en", (), own_validator=True))
    assert rules("Fish & Chips.") == (Reason.ACCEPTED, "fish and chips")
    assert rules("bad 7")[0] is Reason.INVALID_LABEL
    assert rules("room 7")[0] is Reason.DIGITS
