"""Measure an exported model on test sets: what it hears, how wrong that is, and a report to learn from."""

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate.decode.decoders import Decoding, Hypothesis, open_decoding, open_scorer
from components.evaluate.decode.scorer_weights import check_copy, copy_scorer, search
from components.evaluate.model.emissions import Emission, EmissionFacts, Emitter
from components.evaluate.model.models import Subject, open_subject
from components.evaluate.report import console
from components.evaluate.report.evaluation_page import render
from components.evaluate.report.markdown import SUMMARY, summary
from components.evaluate.score import scores
from components.evaluate.score.against_champion import compare, find_champion
from components.evaluate.score.earlier_versions import earlier_versions
from components.evaluate.score.samples import Reading, Sample
from components.evaluate.score.sets import EvaluationClip, EvaluationSet, items, open_sets
from components.evaluate.settings import EvaluateSettings
from speech.artifacts import Checkpoint, Clips, Evaluation, ExternalScorer, describe_files, write_sidecar
from speech.clips.tally import total
from speech.decoding.ctc import ctc_losses
from speech.errors import InputError
from speech.metrics import (
    NORMALIZATIONS,
    ErrorCount,
    character_error_table,
    headline_rate,
    unspaced_characters,
    word_error_table,
)
from speech.ownership import Place, place_at
from speech.storage.files import write_json, write_text
from speech.tracking.tracked_run import StepRecord, record
from speech.tracking.tracking_settings import TrackingSettings, run_of

DEV = "dev"
EXAMPLES = 5  # clips in the Markdown summary
NAMES = (Evaluation.SAMPLES, Evaluation.HTML_REPORT, SUMMARY, Evaluation.SCORES)


def run(
    settings: EvaluateSettings,
    model: Path,
    csvs: Sequence[Path],
    evaluation: Path,
    *,
    dev: Sequence[Path] = (),
    history: Path | None = None,
    tuned_scorer: Path | None = None,
) -> Evaluation:
    """Evaluate `model` (an artifact's folder or a model file) on the clips of `csvs`, into the folder `evaluation`.

    A CSV may also be a corpus' folder, which stands for its test set. `dev` are the CSVs on which the scorer's weights
    are searched, if the settings ask for that; `tuned_scorer` takes a copy of the scorer with the weights that were
    found. `history` is the training's history.json, for the learning curve; by default the one beside the model, if
    there is one. Raises InputError for a damaged model or scorer, an empty test set, or a model that does not fit the
    corpus or the scorer.
    """
    place = place_of(evaluation)
    place.check(NAMES)
    if tuned_scorer is not None:
        check_copy(Path(settings.scorer_path), tuned_scorer)
    subject = open_subject(settings, Path(model))
    scorer = open_scorer(settings, subject.alphabet)
    decoding = open_decoding(settings, subject.alphabet, scorer, subject.beam_width)
    sets = open_sets(settings, [Path(path) for path in csvs], subject)
    champion = find_champion(settings)
    epochs = _epochs(history or subject.path.parent / Checkpoint.HISTORY, needed=history is not None)
    clips = items(settings, sets, subject)
    tuning = search(settings, subject, scorer, dev) if scorer is not None and settings.n_trials else None
    if tuning is not None:  # the decoder may run in a process of its own, with the weights that it got
        decoding = open_decoding(settings, subject.alphabet, scorer, subject.beam_width)
    transcripts, facts = _transcribe(settings, subject, decoding, clips)
    samples = _score(settings, transcripts)
    measured = _scores(settings, samples, sets, facts)
    unspaced = sum(unspaced_characters(sample.reference) for sample in samples)
    rate = headline_rate(subject.alphabet.has_space, measured["words"], measured["characters"], unspaced)
    comparison = compare(settings, samples, champion, rate)
    content = {**measured, "headline": rate, "model": _describe(subject)}
    content["decoder"] = decoding.describe(settings)
    content["settings"] = {field.name: getattr(settings, field.name) for field in fields(EvaluateSettings)}
    if comparison is not None:
        content["champion"] = comparison.to_dict()
    if tuning is not None:
        content["tuning"] = tuning.to_dict()
    for test_set in sets if settings.report_count else ():
        print(console.report(str(test_set.manifest.path), _of_set(samples, test_set.name), settings.report_count))
    page = render(
        content,
        samples,
        epochs=epochs,
        comparison=comparison,
        tuning=tuning,
        earlier=earlier_versions(settings.champion_of),
        players=settings.report_players,
    )
    if tuned_scorer is not None:
        copy_scorer(Path(settings.scorer_path), tuned_scorer, tuning)
    with place.writing(NAMES):
        place.remove([Evaluation.SCORES])  # what says that the folder is complete
        write_json(evaluation / Evaluation.SAMPLES, [sample.to_dict() for sample in samples])
        write_text(evaluation / Evaluation.HTML_REPORT, page)
        write_text(
            evaluation / SUMMARY,
            summary(content, [(sample.reference, sample.hypothesis) for sample in samples[:EXAMPLES]]),
        )
        files = describe_files(evaluation, [Evaluation.SAMPLES, Evaluation.HTML_REPORT])
        write_sidecar(evaluation, Evaluation.SCORES, {**content, "files": files})
    return Evaluation.open(evaluation)


def place_of(evaluation: str | Path) -> Place:
    """A folder or `s3://` prefix that takes an evaluation, beside whatever else it holds."""
    return place_at(evaluation, {Evaluation.SCORES: _own_names}, "--evaluation")


def _own_names(scores: Mapping[str, Any]) -> Sequence[str]:
    return NAMES if "test_clips" in scores and "wer" in scores else ()


def run_on_clips(
    settings: EvaluateSettings,
    model: Path,
    clips: Sequence[Clips],
    test_sets: str,
    evaluation: Path,
    *,
    scorer: Path | None = None,
    tuned_scorer: Path | None = None,
) -> Evaluation:
    """Evaluate on sets of a corpus, named with commas between them; raises InputError for one that `clips` do not hold.

    `scorer` is the artifact of a scorer, or of a run without one; its weights are searched on the dev set if the
    settings ask for that. `tuned_scorer` takes its copy.
    """
    csvs = [_csv(clips, name) for name in _names(test_sets)]
    if scorer is not None:
        if settings.scorer_path:
            raise InputError("--scorer_path: in a pipeline the scorer is an artifact: give scorer_uri to build_scorer")
        if ExternalScorer.find(scorer) is not None:
            settings = replace(settings, scorer_path=str(scorer))
    if not settings.scorer_path:
        settings = replace(settings, n_trials=0, hot_words=())  # a pipeline's settings, with nothing to act on
        if scorer is not None and tuned_scorer is not None:
            copy_scorer(scorer, tuned_scorer, None)
        tuned_scorer = None
    if settings.n_trials and any(DEV in one.sets and not one.has_clips(DEV) for one in clips):
        print("note: the dev set is empty, so the scorer keeps the weights that it came with", flush=True)
        settings = replace(settings, n_trials=0)
    dev = [_csv(clips, DEV)] if settings.n_trials else []
    return run(settings, model, csvs, evaluation, dev=dev, tuned_scorer=tuned_scorer)


def without_dev(test_sets: str, clips: Clips) -> str:
    """The sets without the dev set, where that is not among the clips; raises InputError if none is left."""
    names = _names(test_sets)
    kept = [name for name in names if name != DEV or name in clips.sets]
    if names and not kept:
        raise InputError(f"test_sets {test_sets!r}: the dev set alone cannot be measured here: add `test`")
    if kept != names:
        print("note: the dev set is not measured again: it is no set of the clips of this step", flush=True)
    return ",".join(kept)


def _names(test_sets: str) -> list[str]:
    return [name.strip() for name in test_sets.split(",") if name.strip()]


def _csv(clips: Sequence[Clips], name: str) -> Path:
    for part in clips:
        if name in part.sets:
            return part.csv(name)
    known = [name for part in clips for name in part.sets]
    raise InputError(f"no set {name!r} in the clips of this step: expected {' or '.join(known) or 'some clips'}")


def headline(evaluation: Evaluation) -> dict[str, float]:
    """The numbers that a pipeline shows beside the step."""
    names = ("wer", "cer", "loss", "test_clips", "real_time_factor")
    numbers = {name: value for name in names if (value := evaluation.scores[name]) is not None}
    numbers["clips_left_out"] = evaluation.scores["clips"]["skipped"]
    for name, value in (evaluation.scores.get("without_scorer") or {}).items():
        if name in ("wer", "cer"):
            numbers[f"{name}_without_scorer"] = value
    return numbers


def _epochs(path: Path, *, needed: bool) -> list[dict[str, Any]]:
    if not path.is_file():
        if needed:
            raise InputError(f"{path}: no such file: expected the history.json that training writes")
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["epochs"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the history of a training: expected a JSON object with `epochs`") from error


def _scores(
    settings: EvaluateSettings, samples: Sequence[Sample], sets: Sequence[EvaluationSet], facts: EmissionFacts
) -> dict[str, Any]:
    measured = scores.measure(settings, samples)
    return {
        **measured,
        "real_time_factor": _real_time_factor(facts, measured["audio_s"]),
        "without_scorer": scores.scorer_effect(settings, samples),
        "clips": total([test_set.tally for test_set in sets]),
        "sets": [
            {
                "name": test_set.name,
                "csv": str(test_set.manifest.path),
                "clips": test_set.tally.to_dict(),
                **scores.measure(settings, _of_set(samples, test_set.name)),
                "without_scorer": scores.scorer_effect(settings, _of_set(samples, test_set.name)),
            }
            for test_set in sets
        ],
        "groups": scores.group_scores(settings, samples),
        "emissions": asdict(facts),
    }


def _real_time_factor(facts: EmissionFacts, audio_s: float) -> float | None:
    """Seconds of work a second of audio; None if emissions came from a cache alone, or there is no audio."""
    if not facts.audio_s or not audio_s:
        return None
    return facts.emissions_s / facts.audio_s + facts.decoding_s / audio_s


def _transcribe(
    settings: EvaluateSettings, subject: Subject, decoding: Decoding, clips: Sequence[EvaluationClip]
) -> tuple[list[Sample], EmissionFacts]:
    """The clips with what the model hears and its loss; not yet scored."""
    emitter = Emitter(settings, subject, clips)
    done: list[Sample | None] = [None] * len(clips)

    def hear(batch: Sequence[Emission]) -> None:
        probabilities = [emissions for _, emissions, _ in batch]
        started = time.perf_counter()
        heard = (decoding.with_scorer or decoding.alone)(probabilities)
        emitter.facts.decoding_s += time.perf_counter() - started
        alone = decoding.alone(probabilities) if decoding.with_scorer else [[] for _ in batch]
        losses = _losses(subject, [clips[number] for number, _, _ in batch], probabilities)
        for (number, _, duration_s), texts, unaided, loss in zip(batch, heard, alone, losses, strict=True):
            done[number] = _sample(clips[number], duration_s, texts, unaided, loss)

    # One batch is decoded while the model computes the next, which on a GPU leaves the processor free.
    with ThreadPoolExecutor(1, "decode") as pool:
        decoding_before = pool.submit(lambda: None)
        for batch in emitter.run():
            decoding_before.result()
            decoding_before = pool.submit(hear, batch)
        decoding_before.result()
    return [sample for sample in done if sample is not None], emitter.facts


def _losses(subject: Subject, clips: Sequence[EvaluationClip], emissions: Sequence[np.ndarray]) -> list[float | None]:
    """The CTC loss of each clip; None if the alphabet or the number of frames cannot carry its reference."""
    losses: list[float | None] = [None] * len(clips)
    chosen = [i for i, item in enumerate(clips) if not subject.alphabet.missing(item.clip.transcript)]
    labels = [subject.alphabet.encode(clips[i].clip.transcript) for i in chosen]
    for i, loss in zip(chosen, ctc_losses([emissions[i] for i in chosen], labels), strict=True):
        losses[i] = float(loss) if np.isfinite(loss) else None
    return losses


def _sample(
    item: EvaluationClip,
    duration_s: float,
    heard: Sequence[Hypothesis],
    alone: Sequence[Hypothesis],
    loss: float | None,
) -> Sample:
    nothing = ErrorCount(0, 0)
    return Sample(
        set_name=item.set_name,
        wav_filename=item.clip.wav_filename,
        speaker=item.clip.client_id,
        traits=item.traits,
        duration_s=duration_s,
        reference=item.clip.transcript,
        hypothesis=heard[0].text,
        words=nothing,
        characters=nothing,
        loss=loss,
        item=item,
        alone=Reading(alone[0].text, nothing, nothing) if alone else None,
        candidates=heard if len(heard) > 1 else (),
    )


def _score(settings: EvaluateSettings, samples: Sequence[Sample]) -> list[Sample]:
    """The same samples with normalised texts and their edits."""
    normalize = NORMALIZATIONS[settings.text_normalization]
    references = [normalize(sample.reference) for sample in samples]
    heard = _readings(references, [normalize(sample.hypothesis) for sample in samples])
    texts = [sample.alone.hypothesis for sample in samples if sample.alone is not None]  # of all, or of none
    alone = _readings(references, [normalize(text) for text in texts]) if texts else [None] * len(samples)
    return [
        replace(sample, reference=reference, alone=unaided, **vars(reading))
        for sample, reference, reading, unaided in zip(samples, references, heard, alone, strict=True)
    ]


def _readings(references: Sequence[str], hypotheses: Sequence[str]) -> list[Reading]:
    tables = word_error_table(references, hypotheses), character_error_table(references, hypotheses)
    counts = [
        [ErrorCount(int(edits), int(tokens)) for edits, tokens in zip(table.edits, table.reference_tokens, strict=True)]
        for table in tables
    ]
    return [Reading(*reading) for reading in zip(hypotheses, *counts, strict=True)]


def _of_set(samples: Sequence[Sample], name: str) -> list[Sample]:
    return [sample for sample in samples if sample.set_name == name]


def _describe(subject: Subject) -> dict[str, Any]:
    return {
        "file": subject.path.name,
        "kind": subject.kind,
        "bytes": subject.path.stat().st_size,
        "sha256": subject.sha256,
        "geometry": subject.geometry.to_dict(),
        "alphabet": len(subject.alphabet),
        "alphabet_has_space": subject.alphabet.has_space,
    }


def track(
    tracking: TrackingSettings, step: str, settings: EvaluateSettings, evaluation: Evaluation, artifact_uri: str
) -> None:
    """Leave the scores and the report in the run's record, if a tracking server is set."""
    record(
        tracking,
        run_of(artifact_uri),
        lambda: StepRecord(
            step,
            asdict(settings),
            headline(evaluation),
            files={Evaluation.HTML_REPORT: evaluation.folder / Evaluation.HTML_REPORT},
        ),
    )
