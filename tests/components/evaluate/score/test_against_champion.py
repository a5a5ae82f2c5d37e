"""Comparison with an earlier evaluation."""

import json
from pathlib import Path

import pytest

from components.evaluate.score.against_champion import compare, find_champion, read_champion
from components.evaluate.settings import EvaluateSettings
from speech.errors import InputError
from speech.storage.objects import upload_file
from tests.components.evaluate.samples import sample

SETTINGS = EvaluateSettings(champion="there", bootstrap_samples=500)


def row(reference: str, hypothesis: str, name: str = "") -> dict[str, str]:
    return {"wav_filename": f"/elsewhere/{name or reference}.wav", "src": reference, "res": hypothesis}


def test_better_and_worse_clips_on_what_both_heard() -> None:
    samples = [
        sample("a b c", "a b c"),
        sample("d e", "d x"),
        sample("f g h", "f"),
        sample("only here", "only here"),
        sample("same name", "x", name="other.wav"),
    ]
    champion = [row("a b c", "z"), row("d e", "d e"), row("f g h", "f"), row("only there", ""), row("", "", "other")]
    found = compare(SETTINGS, samples, champion)
    assert [change.sample.reference for change in found.changes] == ["a b c", "d e", "f g h"]
    assert [(change.sample.reference, change.edits) for change in found.better(5)] == [("a b c", -3)]
    assert [(change.sample.reference, change.edits) for change in found.worse(5)] == [("d e", 1)]
    assert (found.own_rate, found.champion_rate) == (3 / 8, 5 / 8)
    described = found.to_dict()
    assert (described["clips"], described["better_clips"], described["worse_clips"]) == (3, 1, 1)
    assert described["difference_interval"][0] <= -0.25 <= described["difference_interval"][1]


def test_chance_says_how_sure_it_is() -> None:
    clearly = [sample(f"{number} a b", f"{number} a b") for number in range(50)]
    better = compare(SETTINGS, clearly, [row(one.reference, "x") for one in clearly])
    assert better.chance_better == 1.0
    equal = compare(SETTINGS, clearly, [row(one.reference, one.reference) for one in clearly])
    assert equal.chance_better == 0.5
    assert equal.interval == (0.0, 0.0)


def test_speakers_are_drawn_where_that_is_asked_for() -> None:
    """Two speakers, one all better and one all worse: drawn by clip that is sure to be equal, by speaker anything."""
    ours = [sample("a b", "a b" if n % 2 else "x", name=f"{n}.wav", speaker=f"s{n % 2}") for n in range(80)]
    theirs = [row("a b", "x" if n % 2 else "a b", str(n)) for n in range(80)]
    by_clip = compare(SETTINGS, ours, theirs)
    by_speaker = compare(
        EvaluateSettings(champion="there", bootstrap_samples=500, bootstrap_unit="speaker"), ours, theirs
    )
    assert by_clip.interval[1] - by_clip.interval[0] < 0.6
    assert by_speaker.interval == (-1.0, 1.0)
    unknown = [sample(one.reference, one.hypothesis, name=one.wav_filename) for one in ours]  # each stands for itself
    settings = EvaluateSettings(champion="there", bootstrap_samples=500, bootstrap_unit="speaker")
    assert compare(settings, unknown, theirs).interval == by_clip.interval


def test_normalisation_is_the_same_for_both() -> None:
    settings = EvaluateSettings(champion="there", text_normalization="lower", bootstrap_samples=0)
    found = compare(settings, [sample("a b", "a b", name="x.wav")], [row("A  B", "A b", "x")])
    assert (found.champion_rate, found.interval, found.chance_better) == (0.0, None, None)


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(InputError, match="not one clip in common"):
        compare(SETTINGS, [sample("a", "a")], [row("b", "b")])


def test_the_champion_of_published_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = EvaluateSettings(champion_of=str(tmp_path), bootstrap_samples=0)
    assert find_champion(EvaluateSettings()) == []
    assert find_champion(settings) == []  # the first version has nothing to be compared with
    assert "note: compared with no champion" in capsys.readouterr().err
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "samples.json").write_text(json.dumps([row("a b", "a c")]))
    (tmp_path / "champion.json").write_text(json.dumps({"version": "v1", "uri": str(tmp_path / "v1")}))
    champion = find_champion(settings)
    comparison = compare(settings, [sample("a b", "a b")], champion)
    assert comparison is not None
    assert (comparison.own_rate, comparison.champion_rate) == (0.0, 0.5)
    assert compare(settings, [sample("x", "x")], champion) is None
    assert "measured on other clips" in capsys.readouterr().err
    (tmp_path / "champion.json").write_text("{}")
    assert find_champion(settings) == []


def test_reading(tmp_path: Path, s3_bucket: str) -> None:
    (tmp_path / "samples.json").write_text(json.dumps([row("a", "b")]))
    assert read_champion(str(tmp_path)) == [row("a", "b")]
    upload_file(tmp_path / "samples.json", f"{s3_bucket}/model/v1/samples.json")
    assert read_champion(f"{s3_bucket}/model/v1/") == [row("a", "b")]
    for nowhere in (f"{s3_bucket}/model/v2", str(tmp_path / "none")):
        with pytest.raises(InputError, match=rf"--champion {nowhere}: no samples\.json there: expected an evaluation"):
            read_champion(nowhere)
    for content in ("[1]", "{", '[{"src": "a"}]'):
        (tmp_path / "samples.json").write_text(content)
        with pytest.raises(InputError, match="holds no samples"):
            read_champion(str(tmp_path))


def test_characters_are_compared_where_words_mean_nothing() -> None:
    ours = [sample("你好世界", "你好世界"), sample("世界你好", "世界好好")]
    theirs = [row("你好世界", "你好世好"), row("世界你好", "好好好好")]
    found = compare(SETTINGS, ours, theirs, "cer")
    assert found is not None
    assert (found.own_rate, found.champion_rate) == (1 / 8, 4 / 8)
    assert [change.edits for change in found.changes] == [-1, -2]
    assert (found.to_dict()["cer"], found.to_dict()["champion_cer"]) == (1 / 8, 4 / 8)
