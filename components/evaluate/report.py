"""The HTML report: one file that loads nothing from anywhere, with the worst clips to listen to."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate import charts, scores
from components.evaluate.champion import Comparison
from components.evaluate.differences import aligned_words, confusions, count_differences
from components.evaluate.samples import Sample, ranked
from speech.progress import format_duration

TEMPLATE = "report.html.j2"
MOST_FREQUENT = 12  # errors of a kind
MOST_CHANGED = 10  # clips better or worse than the champion's
MOST_CHARACTERS = 32  # of the confusion table
MP3_COMPRESSION = 0.9  # of libsndfile's scale: 3 s of speech take 9 kB


def render(
    found: Mapping[str, Any],
    samples: Sequence[Sample],
    *,
    epochs: Sequence[Mapping[str, Any]] = (),
    comparison: Comparison | None = None,
    players: int,
) -> str:
    """The page for `scores.json`'s content and the samples behind it; `epochs` are those of the training's history."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "percent": percent,
        "hundredths": lambda rate: f"{100 * rate:.2f}",
        "points": lambda rate: f"{100 * rate:+.2f}",
        "decimal": lambda value: "-" if value is None else f"{value:.3g}",
        "duration": lambda seconds: f"{seconds:.1f} s" if seconds < 60 else format_duration(seconds),
        "speaker": scores.short_speaker,
        "symbol": lambda token: {"": "∅", " ": "␣"}.get(token, token),
    }
    differences = count_differences(samples)
    worst = [sample for sample in reversed(ranked(samples)) if sample.words.edits][:players]
    return environment.get_template(TEMPLATE).render(
        title=f"Evaluation of {found['model']['file']}",
        subtitle=_subtitle(found),
        scores=found,
        confidence=f"{found['settings']['confidence']:.0%}",
        comparison=comparison,
        better=comparison.better(MOST_CHANGED) if comparison else [],
        worse=comparison.worse(MOST_CHANGED) if comparison else [],
        counts=_change_counts(comparison),
        most_groups=scores.MOST_GROUPS,
        bar=lambda *given: Markup(charts.rate_bar(*given)),
        largest=lambda rows: max(
            (limit for row in rows for limit in (row["wer"], *(row["wer_interval"] or ()))), default=1
        ),
        curve=Markup(charts.learning_curve(epochs)),
        frequent=_frequent(differences),
        confusions=confusions(differences, MOST_CHARACTERS),
        worst=[(sample, audio_uri(sample)) for sample in worst],
        aligned=aligned_words,
        facts=_facts(found),
    )


def percent(rate: float) -> str:
    """`0.1234` -> `12.34 %`."""
    return f"{100 * rate:.2f} %"


def audio_uri(sample: Sample) -> str:
    """The clip as an MP3 in a `data:` URI; "" if its audio is not at hand."""
    if sample.item is None:
        return ""
    import soundfile

    samples, buffer = sample.item.samples(), io.BytesIO()
    if not len(samples):
        return ""
    soundfile.write(
        buffer,
        np.ascontiguousarray(samples),
        sample.item.reader.sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=MP3_COMPRESSION,
    )
    return f"data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _subtitle(found: Mapping[str, Any]) -> str:
    sets = ", ".join(one["name"] for one in found["sets"])
    return f"{found['model']['kind']}, {found['settings']['decoder']} decoder, on {sets}"


def _change_counts(comparison: Comparison | None) -> dict[str, int]:
    if comparison is None:
        return {}
    described = comparison.to_dict()
    return {"Better": described["better_clips"], "Worse": described["worse_clips"]}


def _frequent(differences: Any) -> list[tuple[str, list[Any]]]:
    headings = (("Substituted", "substituted"), ("Missing", "deleted"), ("Added", "inserted"))
    rows = [(heading, differences.most_frequent(kind, MOST_FREQUENT)) for heading, kind in headings]
    return [(heading, found) for heading, found in rows if found]


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, emissions, settings = found["model"], found["emissions"], found["settings"]
    geometry = model["geometry"]
    engine = {
        "file": "the file itself, in its own runtime, clip by clip",
        "batch": "the file's weights in batches",
        "cache": "emissions of an earlier evaluation of the same file",
    }[emissions["engine"]]
    if emissions["checked_clips"]:
        engine += (
            f"; on {emissions['checked_clips']} clips compared with the file in its own runtime: probabilities within "
            f"{emissions['largest_difference']:.1g}"
        )
    return [
        ("model", f"{model['file']}, {model['bytes']:,} bytes, sha256 {model['sha256']}"),
        (
            "geometry",
            f"{geometry['n_hidden']} hidden units, {model['alphabet']} symbols, {geometry['audio_sample_rate']} Hz"
            + (", layer normalisation" if geometry["layer_norm"] else ""),
        ),
        ("emissions", engine),
        ("text", f"normalised: {settings['text_normalization']} (references and transcripts alike, in all sets)"),
        *((f"set {one['name']}", one["csv"]) for one in found["sets"]),
    ]
