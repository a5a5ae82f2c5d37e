"""Recipes: named values of settings, from the TOML files beside this module, for all that no flag says.

What a recipe may set has a value in the settings that means "not given" (`NOT_GIVEN`). So whatever carries settings,
a command line, the parameters of a pipeline or the flags of a node, carries what was said and nothing else, and the
recipe completes it where the data and the checkpoint are known.
"""

import math
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from components.train.recipes.schedule import Schedule
from components.train.settings import OF_RECIPES, TrainSettings
from speech.augmentation import LegacyFlags
from speech.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
PEERS, AUTO = "peers", "auto"
NOT_GIVEN: dict[str, Any] = {field.name: field.default for field in fields(TrainSettings) if field.name in OF_RECIPES}
SHOWN = (
    *("train_batch_size", "learning_rate", "lr_schedule", "dropout_rate", "input_scaling", "best_by"),
    "average_checkpoints",
)
OF_SCHEDULE = ("lr_warmup", "lr_peak", "lr_final")
SMALL_HOURS = 1.0  # of audio; below it `auto` takes small-data
# Beyond what was measured: a recipe's tables of these names have the values there.
LARGE, LARGE_HOURS = "large", 10.0
WIDE, WIDE_HIDDEN = "wide", 512
# A run that hears fewer clips, counted once an epoch, has no time for what only pays later.
SHORT, SHORT_CLIPS = "short", 20_000
BETTER = (
    "recipe peers: as DeepSpeech and Coqui STT train; --recipe auto came to half the word error rate in as many epochs "
    "on two of three small corpora (components/train/README.md)"
)


@dataclass(frozen=True)
class Recipe:
    """What a recipe says, and a line about why it was chosen."""

    name: str
    values: dict[str, Any]
    reason: str = ""

    @classmethod
    def load(
        cls, name: str, reason: str = "", *, hours: float = 0.0, n_hidden: int = 0, heard_clips: float = math.inf
    ) -> "Recipe":
        """Read `NAME.toml`, with its tables for such a run and so wide a model; the rest is as in peers.toml."""
        own, tables = _read(name)
        values = {**_read(PEERS)[0], **own}
        values |= tables.get(WIDE, {}) if n_hidden > WIDE_HIDDEN else {}
        values |= tables.get(LARGE, {}) if hours >= LARGE_HOURS else {}
        values |= tables.get(SHORT, {}) if heard_clips < SHORT_CLIPS else {}
        return cls(name, values, reason)

    @classmethod
    def chosen(
        cls,
        asked: str,
        *,
        fine_tuning: bool,
        transfer: bool,
        hours: float,
        n_hidden: int,
        heard_clips: float = math.inf,
    ) -> "Recipe":
        """The recipe of that name; for `auto` the one that fits the base model and the hours of audio.

        `heard_clips` are those of the training set, once for each epoch.
        """
        name, reason = asked, ""
        if asked == AUTO and transfer:
            name, reason = "transfer", "auto: new layers on a trained model"
        elif asked == AUTO and fine_tuning:
            name, reason = "fine-tune", "auto: from a trained model"
        elif asked == AUTO:
            name = "small-data" if hours < SMALL_HOURS else "from-scratch"
            reason = f"auto: from scratch, {hours:.2g} h of audio"
        return cls.load(name, reason, hours=hours, n_hidden=n_hidden, heard_clips=heard_clips)

    def completed(self, settings: TrainSettings) -> TrainSettings:
        """`settings` with this recipe's values for what was not given."""
        given = {name for name, value in NOT_GIVEN.items() if getattr(settings, name) != value}
        values = {name: value for name, value in self.values.items() if name not in given}
        if settings.reduce_lr_on_plateau and "lr_schedule" not in given:
            values["lr_schedule"] = "plateau"
        if values.get("lr_schedule", settings.lr_schedule) != self.values["lr_schedule"]:
            for name in OF_SCHEDULE:  # another schedule has its own
                values.pop(name, None)
        if "learning_rate" in given:
            values["force_initialize_learning_rate"] = True
        if LegacyFlags.of(settings) != LegacyFlags():  # augmentation was asked for, by other flags
            values.pop("augment", None)
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return replace(settings, **values, recipe=self.name)

    def to_dict(self) -> dict[str, Any]:
        """The form that checkpoints keep."""
        return asdict(self)

    def describe(self, settings: TrainSettings) -> str:
        """The line that is printed: what the recipe makes of the settings that it completed."""
        if self.name == PEERS and not self.reason:
            return BETTER
        shown = {name: f"{name} {getattr(settings, name)}" for name in SHOWN}
        curve = Schedule.of(settings)
        shown["lr_schedule"] += (
            f" (warm-up {curve.warmup:.0%} of the run, peak {curve.peak:g} x, final {curve.final:g} x)"
        )
        if settings.augment:
            shown["augment"] = f"augment {' '.join(settings.augment)}"
        reason = f" ({self.reason})" if self.reason else ""
        return f"recipe {self.name}{reason}: {', '.join(shown.values())}"


def _read(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The values of a recipe, and its tables of others."""
    path = FOLDER / f"{name}.toml"
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    tables = {table: values.pop(table) for table in (LARGE, WIDE, SHORT) if table in values}
    for found in (values, *tables.values()):
        if unknown := sorted(set(found) - set(NOT_GIVEN)):
            raise InputError(f"{path}: {unknown[0]} is nothing that a recipe may set: {', '.join(NOT_GIVEN)}")
    return values, tables
