"""Scores in all and by group."""

from dataclasses import replace

import pytest

from components.evaluate.score.samples import Reading, Sample, ranked
from components.evaluate.score.scores import (
    duration_group,
    group_scores,
    mean_loss,
    measure,
    scorer_effect,
    short_speaker,
)
from components.evaluate.settings import EvaluateSettings
from tests.components.evaluate.samples import sample

SETTINGS = EvaluateSettings(bootstrap_samples=300)
ADA = {"speaker": "ada" * 40, "traits": {"gender": "female", "accent": "Scottish"}}
BOB = {"speaker": "bob" * 40, "traits": {"gender": "male", "accent": ""}}


def test_rates_are_pooled_over_clips() -> None:
    found = measure(SETTINGS, [sample("one", "one"), sample("two three four", "two x", loss=None), sample("", "")])
    assert (found["word_edits"], found["words"], found["wer"]) == (2, 4, 0.5)
    assert found["test_clips"] == 3
    assert found["exact_clips"] == 2
    assert (found["loss"], found["clips_without_loss"]) == (1.0, 1)
    assert found["audio_s"] == 3.0
    assert found["wer_interval"][0] <= 0.5 <= found["wer_interval"][1]


def test_only_empty_references() -> None:
    assert measure(SETTINGS, [sample("", "")])["wer"] == 0.0
    assert measure(SETTINGS, [sample("", "noise")])["wer"] == 1.0
    assert mean_loss([sample("", "", loss=None)]) is None


def test_groups_are_what_is_known() -> None:
    samples = [
        sample("a b", "a b", duration_s=1.0, **ADA),
        sample("a b", "a", duration_s=3.0, **ADA),
        sample("a b c d", "x", duration_s=30.0, **BOB),
        sample("a", "a", duration_s=2.0),
    ]
    groups = group_scores(SETTINGS, samples)
    assert set(groups) == {"speaker", "gender", "accent", "duration"}
    assert [(group["name"], group["words"], group["wer"]) for group in groups["gender"]] == [
        ("female", 4, 0.25),
        ("male", 4, 1.0),
        ("", 1, 0.0),
    ]
    assert {group["name"] for group in groups["accent"]} == {"Scottish", ""}
    assert [group["name"] for group in groups["duration"]] == ["under 2 s", "2-4 s", "10 s and more"]
    assert group_scores(SETTINGS, [sample("a", "a")]).keys() == {"duration"}


def test_only_the_largest_groups_are_kept() -> None:
    samples = [sample("w " * number, "", speaker=f"s{number}") for number in range(1, 80)]
    speakers = group_scores(EvaluateSettings(bootstrap_samples=0), samples)["speaker"]
    assert [group["name"] for group in speakers] == [f"s{number}" for number in range(79, 29, -1)]


def test_drawing_speakers_treats_their_clips_as_one() -> None:
    samples = [sample("a b c d", "a b c d", speaker="x")] * 40 + [sample("a b c d", "z", speaker="y")] * 40
    clips = measure(SETTINGS, samples)["wer_interval"]
    speakers = measure(EvaluateSettings(bootstrap_samples=300, bootstrap_unit="speaker"), samples)["wer_interval"]
    assert speakers == [0.0, 1.0]
    assert clips[1] - clips[0] < 0.4
    unknown = [sample("a b c d", "a b c d")] * 40 + [sample("a b c d", "z")] * 40  # each stands for itself
    assert measure(EvaluateSettings(bootstrap_samples=300, bootstrap_unit="speaker"), unknown)["wer_interval"] == clips


def test_the_scorer_s_effect_is_drawn_in_the_same_unit() -> None:
    def read(text: str, number: int, alone: str) -> Sample:
        other = sample("a b", alone)
        reading = Reading(alone, other.words, other.characters)
        return replace(sample("a b", text, speaker=f"s{number % 2}"), alone=reading)

    samples = [read("a b", n, "x") if n % 2 else read("x", n, "a b") for n in range(80)]
    by_clip = scorer_effect(SETTINGS, samples)["difference_interval"]
    by_speaker = scorer_effect(EvaluateSettings(bootstrap_samples=300, bootstrap_unit="speaker"), samples)
    assert by_clip[1] - by_clip[0] < 0.6
    assert by_speaker["difference_interval"] == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("duration_s", "name"), [(0.0, "under 2 s"), (2.0, "2-4 s"), (5.99, "4-6 s"), (10.0, "10 s and more")]
)
def test_duration_groups(duration_s: float, name: str) -> None:
    assert duration_group(duration_s) == name


def test_ranking_is_by_error_rate_then_loss() -> None:
    order = [
        sample("a b", "a b", loss=0.5),
        sample("a b", "a b", loss=2.0),
        sample("a b", "a b", loss=None),
        sample("a b", "a", loss=0.1),
    ]
    assert ranked(order[::-1]) == order


def test_speakers_are_shortened() -> None:
    assert short_speaker("speaker 7") == "speaker 7"
    assert len(short_speaker("f" * 128)) == 8
    assert short_speaker("f" * 128) != short_speaker("e" * 128)
