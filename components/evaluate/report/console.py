"""The report that DeepSpeech and Coqui STT print after a test: totals, then the best, median and worst clips."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluate.score.samples import Sample, ranked
from components.evaluate.score.scores import mean_loss, total_characters, total_words
from speech.clips.tally import describe
from speech.metrics import CHARACTERS, WORDS

RULE = "-" * 80


def report(set_path: str, samples: Sequence[Sample], count: int) -> str:
    """The text for one test set, `count` clips of each sort."""
    order = ranked(samples)
    lines = [
        f"Test on {set_path} - WER: {total_words(samples).rate:f}, CER: {total_characters(samples).rate:f}, "
        f"loss: {_number(mean_loss(samples))}",
        RULE,
    ]
    middle = max(0, (len(order) - count) // 2)
    for title, chosen in (
        ("Best WER:", order[:count]),
        ("Median WER:", order[middle : middle + count]),
        ("Worst WER:", order[max(0, len(order) - count) :]),
    ):
        if chosen:
            lines += [title, RULE, *(line for sample in chosen for line in _clip(sample))]
    return "\n".join(lines)


def totals(evaluation: Mapping[str, Any]) -> str:
    """The line that ends a run: all sets together, with the intervals."""
    rates = (
        f"{name.upper()} {100 * evaluation[name]:.2f} %{_interval(evaluation[f'{name}_interval'])}"
        for name in sorted((WORDS, CHARACTERS), key=lambda rate: rate != evaluation["headline"])
    )
    line = f"{', '.join(rates)}, loss {_number(evaluation['loss'])} on {evaluation['test_clips']} clips"
    if evaluation.get("caution"):
        line += f"\n{evaluation['caution']}"
    if evaluation["clips"]["skipped"]:
        line += f"\nclips: {describe([evaluation['clips']])}"
    if alone := evaluation.get("without_scorer"):
        line += f"\nwithout the scorer: WER {100 * alone['wer']:.2f} %{_interval(alone['wer_interval'])}"
        line += f", CER {100 * alone['cer']:.2f} %{_interval(alone['cer_interval'])}"
    return line


def _interval(limits: Sequence[float] | None) -> str:
    return f" ({100 * limits[0]:.2f} to {100 * limits[1]:.2f})" if limits else ""


def _clip(sample: Sample) -> list[str]:
    return [
        f"WER: {sample.words.rate:f}, CER: {sample.characters.rate:f}, loss: {_number(sample.loss)}",
        f" - wav: {sample.wav_filename}",
        f' - src: "{sample.reference}"',
        f' - res: "{sample.hypothesis}"',
        RULE,
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:f}"
