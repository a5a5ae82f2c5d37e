"""A training is another one if its settings or its data are, and the same one otherwise."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from components.train.data import TrainingClips
from components.train.identity import NOT_IN_RUN_KEY, checkpoints_at, clips_copy_at, run_key, with_summaries
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.clips.manifest import Clip, Manifest

SETTINGS = TrainSettings()
ALPHABET = Alphabet(("a", "b"))
TRAIN = Manifest(Path("train.csv"), [Clip("a.wav", 100, "ab")])
OTHER = {"max_to_keep": 9, "show_progressbar": False, "feature_cache": "x", "devices": "cpu", "log_placement": True}


@pytest.fixture
def clips(tmp_path: Path) -> TrainingClips:
    (tmp_path / "train.csv").write_text("a.wav,100,ab\n")
    return TrainingClips(tmp_path, tmp_path, "s3://x/train", "s3://x/dev")


def test_what_changes_no_weights_changes_no_name(clips: TrainingClips) -> None:
    assert NOT_IN_RUN_KEY.keys() <= {field.name for field in fields(TrainSettings)}
    assert OTHER.keys() <= NOT_IN_RUN_KEY.keys()
    other = replace(SETTINGS, **OTHER)
    assert run_key(other, [TRAIN], [], ALPHABET) == run_key(SETTINGS, [TRAIN], [], ALPHABET)
    assert checkpoints_at("s3://c/", other, clips, "") == checkpoints_at("s3://c", SETTINGS, clips, "")


def test_settings_data_alphabet_and_base_do(clips: TrainingClips, tmp_path: Path) -> None:
    longer = Manifest(Path("train.csv"), [Clip("a.wav", 101, "ab")])
    keys = [
        run_key(SETTINGS, [TRAIN], [], ALPHABET),
        run_key(replace(SETTINGS, epochs=3), [TRAIN], [], ALPHABET),
        run_key(SETTINGS, [longer], [], ALPHABET),
        run_key(SETTINGS, [TRAIN], [TRAIN], ALPHABET),
        run_key(SETTINGS, [TRAIN], [], None),
    ]
    assert len(set(keys)) == len(keys)
    places = [checkpoints_at("s3://c", SETTINGS, clips, ""), checkpoints_at("s3://c", SETTINGS, clips, "s3://base")]
    copy = clips_copy_at("s3://c", clips)
    (tmp_path / "train.csv").write_text("b.wav,100,ab\n")
    places += [checkpoints_at("s3://c", SETTINGS, clips, "")]
    assert len(set(places)) == 3
    assert copy != clips_copy_at("s3://c", clips)


def test_curves_lie_beside_the_checkpoints_of_all_trainings(clips: TrainingClips) -> None:
    name = checkpoints_at("s3://c/running", SETTINGS, clips, "").rpartition("/")[2]
    made = with_summaries("s3://c/running/", SETTINGS, clips, "")
    assert made == replace(SETTINGS, summary_dir=f"s3://c/running/summaries/{name}")
    assert checkpoints_at("s3://c/running", made, clips, "") == f"s3://c/running/{name}"  # no other training
    named = replace(SETTINGS, summary_dir="s3://elsewhere")
    assert with_summaries("s3://c/running", named, clips, "") == named
    assert with_summaries("", SETTINGS, clips, "") == SETTINGS
