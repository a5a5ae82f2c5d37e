"""The rates of versions that were published before."""

import json
from pathlib import Path

import pytest

from components.evaluate.score.earlier_versions import MOST_VERSIONS, earlier_versions
from speech.storage.stores import store_at


def publish(place: str, name: str, created: str, wer: object, **scores: object) -> None:
    store = store_at(place)
    description = {"version": name, "created": created, "scores": {"wer": wer}}
    if scores:
        store.write(f"{name}/scores.json", json.dumps({"wer": wer, **scores}).encode())
    store.write(f"{name}/version.json", json.dumps(description).encode())


@pytest.fixture(params=["folder", "prefix"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "cy") if request.param == "folder" else request.getfixturevalue("s3_bucket") + "/models/cy"


def test_the_versions_of_a_place_in_order_of_time(place: str) -> None:
    publish(place, "b", "2026-01-01T00:00:00", 0.4)
    publish(place, "a", "2026-02-01T00:00:00", 0.3, wer_interval=[0.2, 0.4], cer=0.1)
    publish(place, "unmeasured", "2026-03-01T00:00:00", None)
    store = store_at(place)
    store.write("champion.json", b'{"version": "a", "number": 1}')
    store.write("champions/00000001.json", b"{}")
    store.write("damaged/version.json", b"{")
    store.write("a/parts/version.json", b"{}")
    first, second, last = earlier_versions(place)
    assert (first.name, first.rates, first.intervals, first.is_champion) == ("b", {"wer": 0.4}, {}, False)
    assert (second.name, second.rates, second.is_champion) == ("a", {"wer": 0.3, "cer": 0.1}, True)
    assert second.intervals == {"wer": [0.2, 0.4]}
    assert (last.name, last.rates) == ("unmeasured", {})


def test_many_versions_are_the_newest(tmp_path: Path) -> None:
    for number in range(MOST_VERSIONS + 5):
        publish(str(tmp_path), f"2026-{number:03}", f"2026-{number:03}", 0.1)
    assert earlier_versions(str(tmp_path))[0].name == "2026-005"


def test_a_place_that_cannot_be_read_is_a_note(capsys: pytest.CaptureFixture[str], s3_bucket: str) -> None:
    assert earlier_versions("") == []
    assert earlier_versions("/nowhere/at/all") == []
    assert earlier_versions("s3://no-such-bucket-here/models") == []
    assert "the report shows no earlier versions: s3://no-such-bucket-here/models" in capsys.readouterr().err
