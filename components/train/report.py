"""The training report: the loss curve and the epochs on one self-contained HTML page."""

import html
from pathlib import Path
from typing import Any

from speech.charts import learning_curve, with_policy
from speech.clips.tally import describe
from speech.storage.files import write_text

PAGE = "loss.html"
FIRST_CLIPS = 5  # of those that were left out for a reason


def write_report(folder: Path, title: str, history: dict[str, Any]) -> None:
    """Write `loss.html` from the epochs' losses."""
    epochs = history["epochs"]
    rows = "".join(
        f"<tr><td>{epoch['epoch']}</td><td>{_number(epoch['train_loss'])}</td><td>{_number(epoch['dev_loss'])}</td>"
        f"<td>{_rate(epoch.get('dev_wer'))}</td><td>{_rate(epoch.get('dev_cer'))}</td>"
        f"<td>{epoch['learning_rate']:g}</td><td>{epoch['seconds']:.1f}</td></tr>"
        for epoch in epochs
    )
    columns = ("epoch", "train loss", "dev loss", "dev WER", "dev CER", "learning rate", "seconds")
    heads = "".join(f"<th>{column}</th>" for column in columns)
    base, before = history.get("base"), ""
    curve = learning_curve(epochs, base["dev_loss"] if base else None)
    if base:
        kept = "; no epoch was better, so it stays the best" if base["is_best"] else ""
        before = f"Before training: {_scores(base, 'dev_')} ({base['checkpoint']}){kept}. "
    if average := history.get("average"):
        kept = "which is better and is what is exported" if average["is_best"] else "no better than the best epoch"
        before += f"The mean of the last {average['epochs']} epochs' weights: {_scores(average, 'dev_')}, {kept}. "
    sets = (("train", [history["clips"]["train"]]), ("dev", history["clips"]["dev"]))
    clips = "".join(_clips(name, tallies) for name, tallies in sets if tallies)
    page = f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>Training</title><meta name="viewport" content="width=device-width, initial-scale=1"><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#222}}
svg{{max-width:100%;height:auto;font-size:13px}}svg text{{fill:#555}}svg .grid{{stroke:#ddd}}
svg .base{{stroke:#888;stroke-dasharray:2 4}}svg .line{{fill:none;stroke-width:2}}svg .line.train{{stroke:#999}}
svg .line.dev{{stroke:#0b63b6}}svg text.dev{{fill:#0b63b6}}
table{{border-collapse:collapse}}td,th{{padding:.15rem .8rem;text-align:right}}
th{{border-bottom:1px solid #999}}</style></head><body><h1>Training</h1><p>{html.escape(title)}</p>
{curve}
<p>{html.escape(before)}Best checkpoint, by {history["best_by"]}: {_scores(history, "best_dev_")}.</p>
{clips}
<table><tr>{heads}</tr>{rows}</table>
</body></html>
"""
    write_text(folder / PAGE, with_policy(page))


def _clips(name: str, tallies: list[dict[str, Any]]) -> str:
    """How many clips were used and why others were not, with the first of these by name."""
    reasons: dict[str, list[str]] = {}
    for tally in tallies:
        for reason, names in tally["examples"].items():
            reasons.setdefault(reason, []).extend(names)
    first = "".join(
        f"<li>{html.escape(reason)}: {html.escape(', '.join(names[:FIRST_CLIPS]))}</li>"
        for reason, names in reasons.items()
    )
    return f"<p>{name}: {html.escape(describe(tallies))}.</p>" + (f"<ul>{first}</ul>" if first else "")


def _scores(record: dict[str, Any], prefix: str) -> str:
    loss, wer, cer = (record.get(f"{prefix}{name}") for name in ("loss", "wer", "cer"))
    return f"dev loss {_number(loss)}, WER {_rate(wer)}, CER {_rate(cer)}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
