"""The block at the head of a card: any text survives it, and a hub's own classes take it."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from speech.model_card.front_matter import PLACEHOLDER, front_matter

SCORES = {"name": "test", "wer": 0.18312, "wer_interval": [0.179, 0.187], "cer": 0.0521}


def facts(**given: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(("author", "model_name", "model_version", "contact_info", "license", "language"), PLACEHOLDER),
        **{"clients": {"deepspeech": ["a", "b"], "stt": ["c", "d"]}, "model_name": "cy"},
        "files": {"output_graph.pb": {}, "output_graph.pbmm": {}, "output_graph.tflite": {}},
        "data": {"release": "cv-corpus-17.0-2024-03-15/cy"},
        "evaluation": {"sets": [SCORES]},
        **given,
    }


def page(**given: Any) -> str:
    return "\n".join([*front_matter(facts(**given)), "", "# cy", ""])


def block(**given: Any) -> dict[str, Any]:
    return yaml.safe_load(page(**given).split("---\n")[1])


@given(
    st.text(max_size=30) | st.sampled_from(["true", "1.0", "1.10.0", "2026-01-01", "1e3", "null", "~", "a: b", "a "])
)
def test_any_text_survives(text: str) -> None:
    texts = dict.fromkeys(("author", "model_name", "model_version", "contact_info"), text)
    found = block(**texts, datasets=[text])
    assert {name: found[name] for name in texts} == texts
    assert found["datasets"] == [text]
    assert found["model-index"][0]["name"] == text


def test_a_hub_s_classes_take_it() -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(page(license="MPL-2.0", language="sv-SE"))
    data = card.data
    assert (data.license, data.language, data["language_bcp47"]) == ("mpl-2.0", "sv", ["sv-SE"])
    assert data.datasets == ["mozilla-foundation/common_voice_17_0"]
    assert data.metrics == ["wer", "cer"]
    assert data.pipeline_tag == "automatic-speech-recognition"
    assert data.tags == ["deepspeech", "coqui-stt"]
    assert data.model_name == "cy"
    found = {result.metric_type: result for result in data.eval_results}
    assert {kind: result.metric_value for kind, result in found.items()} == {"wer": 18.31, "cer": 5.21}
    assert found["wer"].dataset_name == "cv-corpus-17.0-2024-03-15/cy, test"
    assert (found["wer"].dataset_config, found["wer"].dataset_split) == ("sv", "test")
    assert hub.ModelCard(str(card)).data.to_dict() == data.to_dict()  # what a hub writes back says the same
    assert card.text.strip() == "# cy"


@pytest.mark.parametrize(
    ("given", "license", "name"),
    [
        ("Apache-2.0", "apache-2.0", None),
        ("GPL-3.0-or-later", "gpl-3.0", None),
        ("our own terms", "other", "our own terms"),
        (PLACEHOLDER, "unknown", None),
    ],
)
def test_licenses_are_such_as_a_hub_knows(given: str, license: str, name: str | None) -> None:
    found = block(license=given)
    assert (found["license"], found.get("license_name")) == (license, name)


@pytest.mark.parametrize(
    ("release", "datasets"),
    [
        ("cv-corpus-21.0-delta-2025-03-14/cy", ["mozilla-foundation/common_voice_21_0"]),
        ("cv-corpus-16.1-2023-12-06-cy", ["mozilla-foundation/common_voice_16_1"]),
        ("cv-corpus-demo/en", None),
        ("", None),
    ],
)
def test_only_a_release_of_common_voice_has_its_name(release: str, datasets: list[str] | None) -> None:
    assert block(data={"release": release}).get("datasets") == datasets
    assert block(data={"release": release}, datasets=["a/b"])["datasets"] == ["a/b"]
    merged = {"release": "two sources", "origins": [{"release": release}, {"release": "own"}, {"release": release}]}
    assert block(data=merged).get("datasets") == datasets


def test_what_is_not_known_is_left_out() -> None:
    found = block(language="Welsh, as spoken", data={}, evaluation={})
    assert not {"language", "language_bcp47", "datasets", "metrics", "model-index"} & found.keys()
