"""What changed from one version to another: settings, data, scores by group, and which clips got better or worse."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from components.publish.gate import compare, pair_samples
from components.publish.history.versions import StoredVersion, Versions
from components.publish.settings import PublishSettings
from speech.metrics import WORDS

RATES = ("wer", "wer_interval", "cer", "cer_interval", "test_clips")


def changes(versions: Versions, before: str, after: str) -> dict[str, Any]:
    """The changes, in JSON's types; a section is empty where nothing changed or nothing is known."""
    old, new = versions.read(before), versions.read(after)
    samples = versions.samples(before), versions.samples(after)
    comparison = compare(PublishSettings(), samples[1], samples[0], new.scores.get("headline", WORDS))
    better, worse = clip_changes(*samples)
    return {
        "before": old.row(),
        "after": new.row(),
        "settings": differing(settings_of(old), settings_of(new)),
        "data": differing(data_of(old), data_of(new)),
        "comparison": asdict(comparison) if comparison else None,
        "groups": group_changes(old.scores.get("groups", {}), new.scores.get("groups", {})),
        "better": better,
        "worse": worse,
    }


def settings_of(version: StoredVersion) -> dict[str, Any]:
    """What the model was made and measured with, by name; sections are told apart by a word in front."""
    training = version.training
    sections = {
        "": training.get("settings", {}),
        "geometry.": version.sidecar.get("geometry", {}),
        "export.": {name: version.sidecar.get(name) for name in ("n_steps", "beam_width")},
        "training.": {name: training.get(name) for name in ("start", "dropped_layers")},
        "evaluation.": version.scores.get("settings", {}),
        "decoder.": version.scores.get("decoder", {}),
    }
    trained = sections[""]
    return {
        f"{section}{name}": value
        for section, values in sections.items()
        for name, value in values.items()
        if section != "geometry." or name not in trained  # the training's own settings say it already
    }


def data_of(version: StoredVersion) -> dict[str, Any]:
    """What the model was trained and tested on."""
    sets = version.card.get("data", {}).get("sets", {})
    symbols = version.card.get("model", {}).get("symbols")
    return {
        "release": version.release,
        **{name: version.training.get(name) for name in ("train_clips", "train_hours", "dev_clips")},
        "test_clips": version.scores.get("test_clips"),
        **{f"{name}.{fact}": counts.get(fact) for name, counts in sets.items() for fact in ("clips", "hours")},
        **({"alphabet": "".join(symbols)} if symbols else {}),
        **{name: version.description.get("source", {}).get(name) for name in ("corpus_uri", "corpus_revision")},
    }


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Name -> [before, after] of what is not the same; None stands for what one side does not say."""
    names = dict.fromkeys((*old, *new))
    return {name: [old.get(name), new.get(name)] for name in names if old.get(name) != new.get(name)}


def group_changes(
    old: Mapping[str, Sequence[Mapping[str, Any]]], new: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """The groups that both were measured in, by sort; `difference` is of the WER, negative is better."""
    rows = []
    for sort in (sort for sort in new if sort in old):
        before = {group["name"]: group for group in old[sort]}
        for group in (group for group in new[sort] if group["name"] in before):
            sides = {"before": before[group["name"]], "after": group}
            rows.append(
                {
                    "sort": sort,
                    "group": group["name"],
                    **{side: {name: found.get(name) for name in RATES} for side, found in sides.items()},
                    "difference": group["wer"] - before[group["name"]]["wer"],
                }
            )
    return rows


def clip_changes(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The clips with fewer word errors than before, and those with more, the largest change first."""
    changed = [
        {
            "clip": row["wav_filename"],
            "reference": row["src"],
            "before": before.get("res", ""),
            "after": row.get("res", ""),
            "words": row["word_length"],
            "edits": row["word_distance"] - before["word_distance"],
        }
        for row, before in pair_samples(new, old)
    ]
    better = sorted((row for row in changed if row["edits"] < 0), key=lambda row: (row["edits"], row["clip"]))
    worse = sorted((row for row in changed if row["edits"] > 0), key=lambda row: (-row["edits"], row["clip"]))
    return better, worse
