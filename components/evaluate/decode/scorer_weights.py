"""The search for a scorer's weights on a dev set, and the copy of the scorer that suggests them."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from components.evaluate.model.emissions import Emitter
from components.evaluate.model.models import Subject
from components.evaluate.score.sets import EvaluationClip, items, open_sets
from components.evaluate.settings import EvaluateSettings
from speech.artifacts import ExternalScorer, describe_files, place_of_scorer, write_sidecar
from speech.decoding.packaging import set_default_weights
from speech.decoding.scorer import Scorer
from speech.decoding.tuning import Tuning, tune
from speech.errors import InputError
from speech.metrics import NORMALIZATIONS
from speech.storage.files import atomic_path, write_text
from speech.storage.objects import is_remote


def search(settings: EvaluateSettings, subject: Subject, scorer: Scorer, csvs: Sequence[Path]) -> Tuning:
    """Find the weights with the fewest errors on the clips of `csvs`; each clip goes through the model once.

    The scorer gets these weights. Raises InputError without a dev set, or if the model does not fit it.
    """
    if not csvs:
        raise InputError("--n_trials searches on a dev set: give --dev_files (not the test set)")
    sets = open_sets(replace(settings, limit_test=0, reverse_test=False), csvs, subject)
    clips = _spread(items(settings, sets, subject), settings.tune_clips)
    emissions: dict[int, np.ndarray] = {}  # by the clip's number: one that cannot be read has none
    for batch in Emitter(settings, subject, clips).run():
        emissions |= {number: probabilities for number, probabilities, _ in batch}
    readable = sorted(emissions)
    tuned = tune(
        [emissions[number] for number in readable],
        [clips[number].clip.transcript for number in readable],
        scorer,
        n_trials=settings.n_trials,
        beam_width=settings.tune_beam_width,
        lm_alpha_max=settings.lm_alpha_max,
        lm_beta_max=settings.lm_beta_max,
        cutoff_prob=settings.cutoff_prob,
        cutoff_top_n=settings.cutoff_top_n,
        num_processes=settings.decoder_threads or None,
        normalize=NORMALIZATIONS[settings.text_normalization],
        seed=settings.random_seed,
    )
    scorer.reset_params(tuned.best.alpha, tuned.best.beta)
    return tuned


def _spread(clips: list[EvaluationClip], count: int) -> list[EvaluationClip]:
    """`count` of the clips, evenly spread over the set; 0: all."""
    if not 0 < count < len(clips):
        return clips
    return [clips[number * len(clips) // count] for number in range(count)]


def copy_scorer(source: Path, target: Path, tuning: Tuning | None) -> Path:
    """A copy of a scorer (file or ExternalScorer folder) that suggests the weights of `tuning`, if there is one.

    A folder becomes a folder, a file a file, under its own name if `target` is a folder.
    """
    path = target / source.name if target.is_dir() and not source.is_dir() else target
    if path.exists() and path.samefile(source):
        raise InputError(f"{path}: the copy of the scorer would overwrite the scorer itself: give another path")
    if not source.is_dir():
        _copy(source, path, tuning)
        return path
    scorer = ExternalScorer.find(source)
    place, names = place_of_scorer(target, "--tuned_scorer"), _names(scorer)
    with place.writing(names):
        place.remove([ExternalScorer.MODEL, *sorted(place.own - {*names, ExternalScorer.MODEL})])
        if scorer is None:
            write_text(target / ExternalScorer.NONE, ExternalScorer.NONE_TEXT)
        else:
            _copy_artifact(scorer, target, tuning)
    return target


def _copy_artifact(scorer: ExternalScorer, target: Path, tuning: Tuning | None) -> None:
    """The files of an ExternalScorer, and its record with the weights and how they were found."""
    description = {name: value for name, value in scorer.description.items() if name != "also"}
    files = list(description.get("files", {}))
    for name in files:
        _copy(scorer.folder / name, target / name, tuning if name == ExternalScorer.SCORER else None)
    if tuning is not None:
        description |= {"default_alpha": tuning.best.alpha, "default_beta": tuning.best.beta}
        description["tuning"] = json.loads(json.dumps(tuning.to_dict()))
    description["files"] = describe_files(target, files)
    write_sidecar(target, ExternalScorer.MODEL, description)


def check_copy(source: Path, target: str | Path) -> None:
    """Raise InputError if `target` is a folder or prefix with files of others under the names of what is copied."""
    if source.is_dir():
        place_of_scorer(target, "--tuned_scorer").check(_names(ExternalScorer.find(source)))
    elif not is_remote(target):
        copy = Path(target) / source.name
        if copy.exists() and not copy.samefile(source):
            raise InputError(f"{copy} would be replaced: name the file itself to replace it, or give another folder")


def _names(scorer: ExternalScorer | None) -> list[str]:
    if scorer is None:
        return [ExternalScorer.NONE]
    return [*scorer.description.get("files", {}), ExternalScorer.MODEL]


def _copy(source: Path, target: Path, tuning: Tuning | None) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        if tuning is not None:
            set_default_weights(temporary, tuning.best.alpha, tuning.best.beta)
