"""Measure an exported model on test sets: what it hears, how wrong that is, and a report to learn from."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate import console, scores
from components.evaluate.champion import compare, read_champion
from components.evaluate.decoders import open_decoder
from components.evaluate.emissions import EmissionFacts, Emitter
from components.evaluate.models import Subject, open_subject
from components.evaluate.report import render
from components.evaluate.samples import Sample
from components.evaluate.sets import ClipSet, Item, items, open_sets
from components.evaluate.settings import EvaluateSettings
from components.evaluate.summary import SUMMARY, summary
from speech.artifacts import Checkpoint, Corpus, Evaluation
from speech.decoding.ctc import ctc_losses
from speech.errors import InputError
from speech.metrics import NORMALIZATIONS, ErrorCount, character_error_table, word_error_table
from speech.storage import write_json, write_text

EXAMPLES = 5  # clips in the Markdown summary


def run(
    settings: EvaluateSettings,
    model: Path,
    csvs: Sequence[Path],
    evaluation: Path,
    *,
    history: Path | None = None,
) -> Evaluation:
    """Evaluate `model` (an artifact's folder or a model file) on the clips of `csvs`, into the folder `evaluation`.

    A CSV may also be a corpus' folder, which stands for its test set. `history` is the training's history.json, for
    the learning curve; by default the one beside the model, if there is one. Raises InputError for a damaged model,
    an empty test set, or a model that does not fit the corpus.
    """
    subject = open_subject(settings, Path(model))
    sets = open_sets(settings, [Path(path) for path in csvs], subject)
    champion = read_champion(settings.champion) if settings.champion else []
    epochs = _epochs(history or subject.path.parent / Checkpoint.HISTORY, needed=history is not None)
    transcripts, facts = _transcribe(settings, subject, items(sets, subject))
    samples = _score(settings, transcripts)
    comparison = compare(settings, samples, champion) if champion else None
    found = {**_scores(settings, samples, sets, facts), "model": _describe(subject)}
    found["settings"] = {field.name: getattr(settings, field.name) for field in fields(EvaluateSettings)}
    if comparison is not None:
        found["champion"] = comparison.to_dict()
    for one in sets if settings.report_count else ():
        print(console.report(str(one.manifest.path), _of_set(samples, one.name), settings.report_count))
    page = render(found, samples, epochs=epochs, comparison=comparison, players=settings.report_players)
    (evaluation / Evaluation.SCORES).unlink(missing_ok=True)  # what says that the folder is complete
    write_json(evaluation / Evaluation.SAMPLES, [sample.to_dict() for sample in samples])
    write_text(evaluation / Evaluation.HTML_REPORT, page)
    write_text(evaluation / SUMMARY, summary(found, [(one.reference, one.hypothesis) for one in samples[:EXAMPLES]]))
    write_json(evaluation / Evaluation.SCORES, found)
    return Evaluation.open(evaluation)


def run_on_corpus(
    settings: EvaluateSettings, model: Path, corpus: Path, test_sets: str, evaluation: Path
) -> Evaluation:
    """Evaluate on sets of a corpus, named with commas between them; raises InputError for one that it lacks."""
    opened = Corpus.open(corpus)
    names = [name.strip() for name in test_sets.split(",") if name.strip()]
    return run(settings, model, [opened.csv(name) for name in names], evaluation)


def headline(evaluation: Evaluation) -> dict[str, float]:
    """The numbers that a pipeline shows beside the step."""
    names = ("wer", "cer", "loss", "test_clips", "real_time_factor")
    return {name: value for name in names if (value := evaluation.scores[name]) is not None}


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
    settings: EvaluateSettings, samples: Sequence[Sample], sets: Sequence[ClipSet], facts: EmissionFacts
) -> dict[str, Any]:
    measured = scores.measure(settings, samples)
    return {
        **measured,
        "real_time_factor": _real_time_factor(facts, measured["audio_s"]),
        "sets": [
            {"name": one.name, "csv": str(one.manifest.path), **scores.measure(settings, _of_set(samples, one.name))}
            for one in sets
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
    settings: EvaluateSettings, subject: Subject, clips: Sequence[Item]
) -> tuple[list[Sample], EmissionFacts]:
    """The clips with what the model hears and its loss; not yet scored."""
    emitter = Emitter(settings, subject, clips)
    decode = open_decoder(settings, subject.alphabet)
    done: list[Sample | None] = [None] * len(clips)
    for batch in emitter.run():
        started = time.perf_counter()
        texts = decode([emissions for _, emissions, _ in batch])
        emitter.facts.decoding_s += time.perf_counter() - started
        losses = _losses(subject, [clips[number] for number, _, _ in batch], [emissions for _, emissions, _ in batch])
        for (number, _, duration_s), text, loss in zip(batch, texts, losses, strict=True):
            done[number] = _sample(clips[number], text, duration_s, loss)
    return [sample for sample in done if sample is not None], emitter.facts


def _losses(subject: Subject, clips: Sequence[Item], emissions: Sequence[np.ndarray]) -> list[float | None]:
    """The CTC loss of each clip; None if the alphabet or the number of frames cannot carry its reference."""
    found: list[float | None] = [None] * len(clips)
    chosen = [i for i, item in enumerate(clips) if not subject.alphabet.missing(item.clip.transcript)]
    labels = [subject.alphabet.encode(clips[i].clip.transcript) for i in chosen]
    for i, loss in zip(chosen, ctc_losses([emissions[i] for i in chosen], labels), strict=True):
        found[i] = float(loss) if np.isfinite(loss) else None
    return found


def _sample(item: Item, text: str, duration_s: float, loss: float | None) -> Sample:
    nothing = ErrorCount(0, 0)
    return Sample(
        set_name=item.set_name,
        wav_filename=item.clip.wav_filename,
        speaker=item.clip.client_id,
        traits=item.traits,
        duration_s=duration_s,
        reference=item.clip.transcript,
        hypothesis=text,
        words=nothing,
        characters=nothing,
        loss=loss,
        item=item,
    )


def _score(settings: EvaluateSettings, samples: Sequence[Sample]) -> list[Sample]:
    """The same samples with normalised texts and their edits."""
    normalize = NORMALIZATIONS[settings.text_normalization]
    references = [normalize(sample.reference) for sample in samples]
    hypotheses = [normalize(sample.hypothesis) for sample in samples]
    word_table = word_error_table(references, hypotheses)
    character_table = character_error_table(references, hypotheses)
    return [
        replace(
            sample,
            reference=references[row],
            hypothesis=hypotheses[row],
            words=ErrorCount(int(word_table.edits[row]), int(word_table.reference_tokens[row])),
            characters=ErrorCount(int(character_table.edits[row]), int(character_table.reference_tokens[row])),
        )
        for row, sample in enumerate(samples)
    ]


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
    }
