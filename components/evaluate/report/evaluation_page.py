"""The HTML report: one file that loads nothing from anywhere, with the worst clips to listen to."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate.score import scores
from components.evaluate.score.against_champion import ChampionComparison
from components.evaluate.score.differences import aligned_words, confusions, count_differences
from components.evaluate.score.earlier_versions import EarlierVersion
from components.evaluate.score.samples import Sample, ranked
from components.evaluate.score.worst_words import worst_words
from speech import charts
from speech.clips.tally import describe
from speech.decoding.tuning import Tuning, plot
from speech.metrics import CHARACTERS, WORDS
from speech.progress import format_duration

TEMPLATE = "report.html.j2"
DECODER_NAMES = {"beam": "beam search", "greedy": "greedy decoder", "ds_ctcdecoder": "ds_ctcdecoder"}
MOST_FREQUENT = 12  # errors of a kind
MOST_WORDS = 20  # of those with the most errors
MOST_CHANGED = 10  # clips better or worse than the champion's
FIRST_CLIPS = 5  # of those that were left out for a reason
MOST_CHARACTERS = 32  # of the confusion table
MP3_COMPRESSION = 0.9  # of libsndfile's scale: 3 s of speech take 9 kB


def render(
    evaluation: Mapping[str, Any],
    samples: Sequence[Sample],
    *,
    epochs: Sequence[Mapping[str, Any]] = (),
    comparison: ChampionComparison | None = None,
    tuning: Tuning | None = None,
    earlier: Sequence[EarlierVersion] = (),
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
    read = evaluation["headline"]
    differences = count_differences(samples)
    words = worst_words(samples, MOST_WORDS) if read == WORDS else []
    worst = [sample for sample in reversed(ranked(samples)) if sample.words.edits][:players]
    page = environment.get_template(TEMPLATE).render(
        title=f"Evaluation of {evaluation['model']['file']}",
        subtitle=_subtitle(evaluation),
        scores=evaluation,
        confidence=f"{evaluation['settings']['confidence']:.0%}",
        comparison=comparison,
        better=comparison.better(MOST_CHANGED) if comparison else [],
        worse=comparison.worse(MOST_CHANGED) if comparison else [],
        counts=_change_counts(comparison),
        decodings=_decodings(evaluation),
        tuning=tuning,
        search=Markup(plot(tuning)) if tuning else "",
        most_groups=scores.MOST_GROUPS,
        bar=lambda *rates: Markup(charts.rate_bar(*rates)),
        read=read,
        other=CHARACTERS if read == WORDS else WORDS,
        largest=lambda rows: max(
            (limit for row in rows for limit in (row[read], *(row[f"{read}_interval"] or ()))), default=1
        ),
        curve=Markup(charts.learning_curve(epochs)),
        versions=Markup(_versions(earlier, evaluation)),
        worst_words=[
            (one, audio_uri(one.example) if one.example and n < players else "") for n, one in enumerate(words)
        ],
        most_wrong=max((one.wrong for one in words), default=1),
        frequent=_frequent(differences),
        confusions=confusions(differences, MOST_CHARACTERS),
        worst=[(sample, audio_uri(sample)) for sample in worst],
        aligned=aligned_words,
        facts=_facts(evaluation),
    )
    return charts.with_policy(page)


def _versions(earlier: Sequence[EarlierVersion], evaluation: Mapping[str, Any]) -> str:
    """The picture of the rate over the versions, this evaluation's behind them."""
    rate = evaluation["headline"]
    rows = [
        (
            f"{one.created[:10] or one.name}{', the champion' if one.is_champion else ''}",
            one.rates[rate],
            one.intervals.get(rate),
            "crowned" if one.is_champion else "",
        )
        for one in earlier
        if rate in one.rates
    ]
    rows.append(("this model", evaluation[rate], evaluation[f"{rate}_interval"], "this"))
    return charts.rates_over_versions(rows, rate.upper())


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


def _subtitle(evaluation: Mapping[str, Any]) -> str:
    sets = ", ".join(test_set["name"] for test_set in evaluation["sets"])
    decoder = evaluation["decoder"]
    scorer = f" with {decoder['scorer']['file']}" if "scorer" in decoder else ""
    return f"{evaluation['model']['kind']}, {DECODER_NAMES[decoder['name']]}{scorer}, on {sets}"


def _decodings(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores with and without the scorer, of all clips and of each set, as rows of a table; none without one."""
    if not evaluation.get("without_scorer"):
        return []
    parts = [("", evaluation)]
    if len(evaluation["sets"]) > 1:
        parts += [(f"{test_set['name']}: ", test_set) for test_set in evaluation["sets"]]
    return [
        {**row, "name": f"{part}{name}"}
        for part, whole in parts
        for name, row in (("with the scorer", whole), ("without it", whole["without_scorer"]))
    ]


def _change_counts(comparison: ChampionComparison | None) -> dict[str, int]:
    if comparison is None:
        return {}
    described = comparison.to_dict()
    return {"Better": described["better_clips"], "Worse": described["worse_clips"]}


def _frequent(differences: Any) -> list[tuple[str, list[Any]]]:
    headings = (("Substituted", "substituted"), ("Missing", "deleted"), ("Added", "inserted"))
    rows = [(heading, differences.most_frequent(kind, MOST_FREQUENT)) for heading, kind in headings]
    return [(heading, pairs) for heading, pairs in rows if pairs]


def _facts(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, emissions, settings = evaluation["model"], evaluation["emissions"], evaluation["settings"]
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
        *_decoder_facts(evaluation["decoder"]),
        ("text", f"normalised: {settings['text_normalization']} (references and transcripts alike, in all sets)"),
        *(
            (f"set {test_set['name']}", f"{test_set['csv']}: {_clips(test_set['clips'])}")
            for test_set in evaluation["sets"]
        ),
    ]


def _clips(tally: Mapping[str, Any]) -> str:
    """How many clips were used, and why others were not, with the first of these by name."""
    first = [f"{reason}: {', '.join(names[:FIRST_CLIPS])}" for reason, names in tally["examples"].items()]
    return "; ".join([describe([tally]), *first])


def _decoder_facts(decoder: Mapping[str, Any]) -> list[tuple[str, str]]:
    name = DECODER_NAMES[decoder["name"]]
    if decoder["name"] == "greedy":
        return [("decoder", name)]
    facts = [("decoder", f"{name}, {decoder['beam_width']} beams")]
    if decoder["cutoff_prob"] < 1.0:
        facts = [
            (
                "decoder",
                f"{name}, {decoder['beam_width']} beams; of each frame the {decoder['cutoff_top_n']} likeliest labels, "
                f"up to {decoder['cutoff_prob']:g} in all",
            )
        ]
    if scorer := decoder.get("scorer"):
        facts.append(
            (
                "scorer",
                f"{scorer['file']}, {scorer['bytes']:,} bytes, sha256 {scorer['sha256']}; {scorer['order']}-grams, "
                f"alpha {scorer['lm_alpha']:.4g}, beta {scorer['lm_beta']:.4g}",
            )
        )
        if scorer["hot_words"]:
            facts.append(("hot words", ", ".join(f"{word} {boost:+g}" for word, boost in scorer["hot_words"].items())))
    return facts
