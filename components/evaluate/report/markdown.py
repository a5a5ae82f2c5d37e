"""The scores as Markdown, for Kubeflow's UI and for the console."""

from collections.abc import Mapping
from typing import Any

from components.evaluate.report.evaluation_page import percent
from speech.clips.tally import describe
from speech.metrics import CHARACTERS, WORDS

SUMMARY = "summary.md"
ESCAPED = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#"})


def summary(evaluation: Mapping[str, Any], examples: list[tuple[str, str]]) -> str:
    """A few lines and a table for `scores.json`'s content; `examples` are references and transcripts."""
    model = evaluation["model"]
    rates = sorted((WORDS, CHARACTERS), key=lambda rate: rate != evaluation["headline"])
    first, second = (
        f"**{rate.upper()} {percent(evaluation[rate])}**{_interval(evaluation, f'{rate}_interval')}" for rate in rates
    )
    lines = [
        f"{first}, {second} of {_text(model['file'])} on {evaluation['test_clips']} clips.",
        "",
    ]
    if evaluation["headline"] == CHARACTERS:
        why = "are hardly parted into words" if model.get("alphabet_has_space", True) else "have no spaces"
        lines += [f"The sentences {why}, so that a WER counts wrong sentences: the CER is the rate to read.", ""]
    if evaluation.get("caution"):
        lines += [f"**{_text(evaluation['caution'])}**", ""]
    if alone := evaluation.get("without_scorer"):
        scorer = evaluation["decoder"]["scorer"]
        lines += [
            f"With the scorer {_text(scorer['file'])} (alpha {scorer['lm_alpha']:.4g}, beta {scorer['lm_beta']:.4g}); "
            f"without it WER {percent(alone['wer'])}{_interval(alone, 'wer_interval')}, "
            f"CER {percent(alone['cer'])}{_interval(alone, 'cer_interval')}.",
            "",
        ]
    if comparison := evaluation.get("champion"):
        rate = evaluation["headline"]
        difference = 100 * (comparison[rate] - comparison[f"champion_{rate}"])
        lines += [
            f"Against the champion {difference:+.2f} points {rate.upper()} on {comparison['clips']} clips: "
            f"{comparison['better_clips']} better, {comparison['worse_clips']} worse.",
            "",
        ]
    if evaluation["clips"]["skipped"]:
        lines += [f"Clips: {_text(describe([evaluation['clips']]))}.", ""]
    extra = (" WER without scorer |", "---:|") if evaluation.get("without_scorer") else ("", "")
    lines += [f"| set | clips | WER | CER | loss |{extra[0]}", f"|---|---:|---:|---:|---:|{extra[1]}"]
    for test_set in evaluation["sets"]:
        loss = "-" if test_set["loss"] is None else f"{test_set['loss']:.3f}"
        cells = [
            _text(test_set["name"]),
            str(test_set["test_clips"]),
            percent(test_set["wer"]),
            percent(test_set["cer"]),
            loss,
        ]
        if alone := test_set.get("without_scorer"):
            cells.append(percent(alone["wer"]))
        lines.append(f"| {' | '.join(cells)} |")
    if examples:
        lines += ["", "| said | heard |", "|---|---|"]
        lines += [f"| {_text(reference)} | {_text(heard)} |" for reference, heard in examples]
    return "\n".join(lines) + "\n"


def _interval(evaluation: Mapping[str, Any], name: str) -> str:
    limits = evaluation[name]
    return f" ({percent(limits[0])} to {percent(limits[1])})" if limits else ""


def _text(text: str) -> str:
    return text.translate(ESCAPED)
