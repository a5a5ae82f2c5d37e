"""Recipes complete what no flag says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.train.recipes import recipe
from components.train.recipes.recipe import NOT_GIVEN, OF_SCHEDULE, PEERS, Recipe
from components.train.settings import RECIPES, TrainSettings
from speech.augmentation import Augmenter, parse_augmentations
from speech.errors import InputError
from speech.settings import flags, parse

NAMES = sorted(set(RECIPES) - {"auto"})


def completed(name: str, **given) -> TrainSettings:
    return Recipe.load(name).completed(TrainSettings(**given))


def test_there_is_a_file_for_each_name() -> None:
    assert sorted(path.stem for path in recipe.FOLDER.glob("*.toml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_leaves_nothing_open(name: str) -> None:
    settings = completed(name)
    assert settings.recipe == name
    for setting, open_value in NOT_GIVEN.items():
        if setting not in OF_SCHEDULE and setting not in ("force_initialize_learning_rate", "augment"):
            assert getattr(settings, setting) != open_value, setting
    assert settings == replace(settings)  # which checks the values


def test_peers_are_the_peers() -> None:
    settings = completed("peers")
    assert (settings.train_batch_size, settings.learning_rate, settings.dropout_rate) == (32, 0.001, 0.05)
    assert (settings.lr_schedule, settings.best_by, settings.average_checkpoints) == ("constant", "loss", 1)
    assert not settings.force_initialize_learning_rate
    assert (settings.augment, settings.input_scaling) == ((), "none")


@pytest.mark.parametrize("name", NAMES)
def test_beyond_what_was_measured_recipes_are_careful(name: str) -> None:
    careful = {"n_hidden": 2048, "hours": 100.0}
    wide = Recipe.load(name, **careful).completed(TrainSettings())
    peers = Recipe.load(PEERS).completed(TrainSettings())
    assert (wide.input_scaling, wide.augment) == (peers.input_scaling, peers.augment)
    assert wide.learning_rate * wide.lr_peak <= peers.learning_rate
    assert wide.train_batch_size == peers.train_batch_size
    assert Recipe.load(name, hours=100.0).completed(TrainSettings()).augment == ()


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_wins_also_with_the_peers_value(name: str) -> None:
    given = {"train_batch_size": 32, "learning_rate": 0.001, "dropout_rate": 0.05, "lr_schedule": "constant"}
    given |= {"augment": ("none",), "input_scaling": "none"}
    given |= {"best_by": "loss", "average_checkpoints": 1, "lr_peak": 1.0, "lr_warmup": 0.0, "lr_final": 0.0}
    line = parse(TrainSettings, flags(TrainSettings(recipe=name, **given)), prog="train", description="")
    found = Recipe.load(name).completed(line)
    assert {setting: getattr(found, setting) for setting in given} == given


def test_another_schedule_does_not_take_the_recipes_peak() -> None:
    assert completed("from-scratch").lr_peak > 1
    assert completed("from-scratch", lr_schedule="constant").lr_peak == 0
    assert completed("from-scratch", reduce_lr_on_plateau=True).lr_schedule == "plateau"
    assert completed("from-scratch", reduce_lr_on_plateau=True).lr_peak == 0
    with pytest.raises(InputError, match="--lr_schedule 'cosine' is not allowed: plateau"):
        TrainSettings(lr_schedule="cosine", reduce_lr_on_plateau=True)


def test_a_recipe_augments_unless_other_augmentation_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    peers = (recipe.FOLDER / "peers.toml").read_text()
    (tmp_path / "peers.toml").write_text(peers.replace("augment = []", 'augment = ["volume[p=0.5]", "tempo"]'))
    monkeypatch.setattr(recipe, "FOLDER", tmp_path)
    settings = completed("peers")
    assert settings.augment == ("volume[p=0.5]", "tempo")
    assert "augment volume[p=0.5] tempo" in Recipe.load("peers", "why").describe(settings)
    assert completed("peers", augment=("pitch",)).augment == ("pitch",)
    assert completed("peers", augmentation_speed_up_std=0.1).augment == ()
    assert completed("peers", augment=("none",)).augment == ("none",)
    assert Augmenter(("none",)).empty
    kept = json.loads(json.dumps(Recipe.load("peers").to_dict()))
    assert Recipe(**kept).completed(TrainSettings()) == settings


def test_a_run_of_before_there_was_input_scaling_goes_on_without() -> None:
    kept = Recipe.load("peers").to_dict()
    del kept["values"]["input_scaling"]
    assert Recipe(**kept).completed(TrainSettings()).input_scaling not in ("features",)


@pytest.mark.parametrize("name", NAMES)
def test_a_rate_that_was_given_is_taken_whatever_the_checkpoint_has(name: str) -> None:
    settings = completed(name, learning_rate=0.0005)
    assert (settings.learning_rate, settings.force_initialize_learning_rate) == (0.0005, True)


@pytest.mark.parametrize(
    ("fine_tuning", "transfer", "hours", "name"),
    [
        (False, False, 0.3, "small-data"),
        (False, False, 30.0, "from-scratch"),
        (True, False, 0.3, "fine-tune"),
        (False, True, 30.0, "transfer"),
    ],
)
def test_auto(fine_tuning: bool, transfer: bool, hours: float, name: str) -> None:
    chosen = Recipe.chosen("auto", fine_tuning=fine_tuning, transfer=transfer, hours=hours, n_hidden=256)
    assert chosen.name == name
    assert chosen.describe(chosen.completed(TrainSettings())).startswith(f"recipe {name} (auto: ")
    facts = {"fine_tuning": fine_tuning, "transfer": transfer, "hours": hours, "n_hidden": 2048}
    assert Recipe.chosen("peers", **facts) == Recipe.load("peers")


@pytest.mark.parametrize("name", [name for name in NAMES if name != PEERS])
def test_beyond_what_was_measured_no_rate_is_above_the_peers(name: str) -> None:
    settings = Recipe.load(name, n_hidden=2048).completed(TrainSettings())
    assert settings.lr_peak * settings.learning_rate <= 0.001
    assert Recipe.load(name, hours=300).completed(TrainSettings()).train_batch_size == 32


@pytest.mark.parametrize("name", ["from-scratch", "small-data"])
def test_batches_from_scratch_are_small_where_that_was_measured(name: str) -> None:
    sizes = {
        (hours, n_hidden): Recipe.load(name, hours=hours, n_hidden=n_hidden).values["train_batch_size"]
        for hours in (0.5, 300.0)
        for n_hidden in (256, 2048)
    }
    assert sizes == {(0.5, 256): 8, (0.5, 2048): 16, (300.0, 256): 32, (300.0, 2048): 32}


@pytest.mark.parametrize("name", ["from-scratch", "small-data"])
def test_noise_where_there_are_enough_clips_to_hear(name: str) -> None:
    facts = {"fine_tuning": False, "transfer": False, "hours": 0.5, "n_hidden": 256}
    short, long = (Recipe.chosen(name, **facts, heard_clips=clips).values["augment"] for clips in (19_999, 20_000))
    assert short == []
    assert [augmentation.NAME for augmentation in parse_augmentations(long)] == ["noise"]


def test_a_recipe_that_sets_something_else_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "peers.toml").write_text("epochs = 3\n")
    monkeypatch.setattr(recipe, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"peers\.toml: epochs is nothing that a recipe may set"):
        Recipe.load("peers")
