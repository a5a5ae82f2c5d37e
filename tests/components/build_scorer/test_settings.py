"""Settings are checked, and the component repeats them."""

import inspect
from typing import Any

import pytest

from components.build_scorer.component import build_scorer
from components.build_scorer.settings import BuildScorerSettings
from speech.errors import InputError

ARTIFACTS = {"corpus", "model", "scorer", "metrics"}
OWN = {
    "build_scorer": False,
    "scorer_uri": "",
    "scorer_text_uri": "",
    "scorer_transcripts": True,
    "extra_flags": "",
}  # of the component alone


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_k": 0}, "--top_k 0 is not allowed: 1 or more"),
        ({"arpa_order": 1}, "--arpa_order 1 is not allowed: 2 to 6"),
        ({"arpa_order": 7}, "--arpa_order 7 is not allowed: 2 to 6"),
        ({"arpa_prune": "0|0|1|1", "arpa_order": 3}, "at most 3 counts"),
        ({"arpa_prune": "0|x"}, "--arpa_prune '0|x' is not allowed"),
        ({"arpa_prune": "0|2|1"}, "begin with 0 and never fall"),
        ({"arpa_prune": "1|1"}, "begin with 0 and never fall"),
        ({"max_arpa_memory": "lots"}, "a share such as 85% or a size such as 4G"),
        ({"binary_a_bits": 256}, "0 to 255"),
        ({"binary_q_bits": 1}, "0, or 2 to 25"),
        ({"binary_type": "array"}, "one of trie, probing"),
        ({"force_bytes_output_mode": "maybe"}, "true, false or empty"),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        BuildScorerSettings(**given)
    assert message in str(raised.value)


def test_bytes_output_mode() -> None:
    modes = [BuildScorerSettings(force_bytes_output_mode=text).bytes_output_mode for text in ("", "true", "False", "1")]
    assert modes == [None, True, False, True]


def test_the_component_repeats_the_settings() -> None:
    """The same names and defaults: kfp needs literals in the signature."""
    for name, parameter in inspect.signature(build_scorer.python_func).parameters.items():
        if name not in ARTIFACTS:
            expected = OWN[name] if name in OWN else getattr(BuildScorerSettings, name)
            assert parameter.default == expected, name
