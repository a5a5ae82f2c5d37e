"""The search for a scorer's weights from a shell: python -m components.evaluate.tune --scorer_path ... --dev_files ...

It takes the command lines of the peers' lm_optimizer, which calls the dev set `--test_files`.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.evaluate import locations
from components.evaluate.__main__ import ALIASES, RETIRED
from components.evaluate.settings import USUAL_TRIALS, EvaluateSettings
from speech.artifacts import place_of_scorer
from speech.clips.sources import fetch_source
from speech.errors import InputError
from speech.extras import MODULES, require
from speech.ownership import Place, place_at
from speech.settings import command, setting
from speech.storage.files import write_json, write_text

TUNE_ALIASES = {**ALIASES, "test_files": "dev_files", "csv": "dev_files"}
RESULT, PLOT = "tuning.json", "tuning.svg"


@dataclass(frozen=True)
class TuneCommand(EvaluateSettings):
    """The settings, and the paths."""

    model: str = setting("", "model or checkpoint, as for the evaluation", metavar="MODEL", group="Input and output")
    checkpoint_dir: str = setting("", "the same, under the peers' name")
    dev_files: tuple[str, ...] = setting((), "CSVs or corpus folders to search on: dev, never test")
    tuned_scorer: str = setting(
        "", "file or folder that takes a copy of the scorer with the weights that were found", metavar="PATH"
    )
    tuning: str = setting(
        "", "folder or s3:// prefix that takes tuning.json and a plot of the search, tuning.svg", metavar="FOLDER"
    )
    n_trials: int = setting(USUAL_TRIALS, "weights that are tried", group="Search for the scorer's weights")


def run(settings: TuneCommand) -> None:
    """Search, and say what was found."""
    require("evaluate", modules=(*MODULES["evaluate"], "optuna"))
    from components.evaluate.decode.decoders import open_scorer
    from components.evaluate.decode.scorer_weights import check_copy, copy_scorer, search
    from components.evaluate.model.models import open_subject
    from speech.decoding.tuning import plot

    model = settings.model or settings.checkpoint_dir
    for flag, value in (
        ("model", model),
        ("scorer_path", settings.scorer_path),
        ("dev_files", settings.dev_files),
        ("n_trials", settings.n_trials),
    ):
        if not value:
            raise InputError(f"--{flag} is missing: a search needs a model, a scorer and dev clips")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        local = locations.fetch_settings(settings, scratch)
        if settings.tuned_scorer:
            check_copy(Path(local.scorer_path), settings.tuned_scorer)
        if settings.tuning:
            _place(settings.tuning).check((RESULT, PLOT))
        subject = open_subject(local, locations.fetch_model(model, scratch / "model"))
        scorer = open_scorer(local, subject.alphabet)
        assert scorer is not None
        csvs = [fetch_source(uri, scratch / f"dev-{n}") for n, uri in enumerate(settings.dev_files)]
        tuning = search(local, subject, scorer, csvs)
        if settings.tuned_scorer:
            tuned = place_of_scorer(settings.tuned_scorer, "--tuned_scorer")
            copy_scorer(Path(local.scorer_path), locations.place(settings.tuned_scorer, scratch / "tuned"), tuning)
            locations.deliver(scratch / "tuned", settings.tuned_scorer, tuned)
        if settings.tuning:
            place = locations.place(settings.tuning, scratch / "tuning")
            with _place(place).writing((RESULT, PLOT)):
                write_text(place / PLOT, plot(tuning))
                write_json(place / RESULT, tuning.to_dict())
            locations.deliver(place, settings.tuning, _place(settings.tuning))
    rate = "CER" if tuning.unit == "characters" else "WER"
    best = tuning.best
    print(f"Best params: lm_alpha={best.alpha} and lm_beta={best.beta} with {rate}={best.rate}")


def _place(where: str | Path) -> Place:
    return place_at(where, {RESULT: lambda record: (RESULT, PLOT) if "trials" in record else ()}, "--tuning")


def main() -> None:
    """Entry point."""
    command(
        TuneCommand,
        run,
        prog="python -m components.evaluate.tune",
        usage="--model MODEL --scorer_path FILE --dev_files FILE ...",
        description="Find a scorer's weights with the fewest errors on a dev set.",
        retired=RETIRED,
        aliases=TUNE_ALIASES,
    )


if __name__ == "__main__":
    main()
