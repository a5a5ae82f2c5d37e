"""The model card: what a model is, was made of and can do, as Markdown with front matter for programs, and as JSON."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech.artifacts import Corpus, Evaluation, ExportedModel
from speech.clips import tally
from speech.errors import InputError
from speech.metrics import CHARACTERS, WORDS
from speech.model_card.front_matter import PLACEHOLDER, front_matter
from speech.settings import setting, setting_error
from speech.storage.files import write_json, write_text

JSON_NAME = "model_card.json"
CLIENTS = {
    ".pb": "deepspeech",
    ".pbmm": "deepspeech, loaded without reading it",
    ".tflite": "stt, deepspeech-tflite",
    ".onnx": "ONNX Runtime and others; features and decoding are the caller's",
    ".txt": "the symbols that the model writes",
}
SHOWN_SETTINGS = (
    *("recipe", "epochs", "train_batch_size", "learning_rate", "lr_schedule", "dropout_rate", "layer_norm"),
    "random_seed",
)


@dataclass(frozen=True)
class CardSettings:
    """What the model card says beyond what the files say."""

    export_author_id: str = setting("author", "who made the model, as one word", group="Model card", component=True)
    export_model_name: str = setting("model", "name of the model", pipeline=True)
    export_model_version: str = setting("0.0.1", "version of the model", component=True)
    export_contact_info: str = setting(PLACEHOLDER, "how to reach the author", component=True)
    export_license: str = setting(PLACEHOLDER, "licence of the model, an SPDX identifier", pipeline=True)
    export_data_license: str = setting(
        "CC0-1.0", "licence of the training data; Common Voice's by default", component=True
    )
    export_description: str = setting(
        "", "description in Markdown: what the data and the model are, what it is for", component=True
    )
    export_datasets: tuple[str, ...] = setting(
        (), "the training data's names on a model hub; none: Common Voice's, if the release is one of it"
    )
    export_min_ds_version: str = setting("0.9.3", "oldest version of DeepSpeech's clients that loads the model")
    export_max_ds_version: str = setting("0.9.3", "newest version of DeepSpeech's clients that loads the model")
    export_min_stt_version: str = setting("1.4.0", "oldest version of Coqui STT's clients that loads the model")
    export_max_stt_version: str = setting("1.4.0", "newest version of Coqui STT's clients that loads the model")

    def __post_init__(self) -> None:
        for name in ("export_author_id", "export_model_name", "export_model_version"):
            value = getattr(self, name)
            if not value or "/" in value or "\n" in value:
                raise setting_error(name, value, "a name without slashes: the card's file is named after it")


@dataclass(frozen=True)
class CardSources:
    """What the card is made of: the formats of one model, and what is known of its scores and its data."""

    models: Sequence[ExportedModel]
    evaluation: Evaluation | None = None
    corpus: Corpus | None = None


def write(settings: CardSettings, sources: CardSources, folder: Path) -> list[Path]:
    """Write the card as Markdown and JSON into `folder`; returns the two files, the Markdown first."""
    facts = describe(settings, sources)
    page, data = folder / file_name(settings), folder / JSON_NAME
    write_text(page, markdown(facts))
    write_json(data, facts)
    return [page, data]


def file_name(settings: CardSettings) -> str:
    """The peers' name of the card."""
    return f"{settings.export_author_id}_{settings.export_model_name}_{settings.export_model_version}.md"


def describe(settings: CardSettings, sources: CardSources) -> dict[str, Any]:
    """The card's content; raises InputError if the evaluation is of another model."""
    sidecar = sources.models[0].sidecar
    files = {name: about for model in sources.models for name, about in model.sidecar["files"].items()}
    return {
        **stated(settings),
        "language": sidecar.get("language") or PLACEHOLDER,
        "files": {name: {**about, "for": CLIENTS.get(Path(name).suffix, "")} for name, about in sorted(files.items())},
        "model": {
            "geometry": sidecar["geometry"],
            "n_steps": sidecar["n_steps"],
            "beam_width": sidecar["beam_width"],
            "symbols": None if sources.models[0].alphabet.bytes_mode else list(sources.models[0].alphabet.symbols),
            "checkpoint": sidecar.get("checkpoint", ""),
            "global_step": sidecar.get("global_step", 0),
        },
        "training": sidecar.get("training", {}),
        "data": _data(sources.corpus),
        "evaluation": _evaluation(sources.evaluation, sources.models[0]),
    }


def stated(settings: CardSettings) -> dict[str, Any]:
    """What the card says because somebody set it."""
    return {
        "author": settings.export_author_id,
        "model_name": settings.export_model_name,
        "model_version": settings.export_model_version,
        "contact_info": settings.export_contact_info,
        "license": settings.export_license,
        "data_license": settings.export_data_license,
        "datasets": list(settings.export_datasets),
        "description": settings.export_description,
        "clients": {
            "deepspeech": [settings.export_min_ds_version, settings.export_max_ds_version],
            "stt": [settings.export_min_stt_version, settings.export_max_stt_version],
        },
    }


def restated(facts: Mapping[str, Any], settings: CardSettings) -> dict[str, Any]:
    """The facts of a card, with what `settings` set to anything but the default in the place of what it said."""
    silent = stated(CardSettings())
    return {**facts, **{name: value for name, value in stated(settings).items() if value != silent[name]}}


def _data(corpus: Corpus | None) -> dict[str, Any]:
    if corpus is None:
        return {}
    report = corpus.report
    sets = {name: {"clips": one["clips"], "hours": one["hours"]} for name, one in report.get("sets", {}).items()}
    return {"release": report.get("release", ""), "origins": report.get("origins", []), "sets": sets}


def _evaluation(evaluation: Evaluation | None, model: ExportedModel) -> dict[str, Any]:
    if evaluation is None:
        return {}
    names = ("headline", "wer", "wer_interval", "cer", "cer_interval", "test_clips", "words", "real_time_factor")
    scores = evaluation.scores
    measured, geometry = scores.get("model", {}), model.geometry.to_dict()
    if any(measured.get("geometry", {}).get(name) != geometry[name] for name in ("n_hidden", "n_labels")):
        raise InputError(f"{evaluation.folder}: its scores are of another model than {model.folder}: evaluate this one")
    confidence = scores.get("settings", {}).get("confidence")
    sets = [{name: test_set.get(name) for name in ("name", *names[1:-1])} for test_set in scores.get("sets", ())]
    return {
        "file": measured.get("file", ""),
        "confidence": confidence,
        "clips": scores.get("clips"),
        "scorer": (scores.get("decoder") or {}).get("scorer"),
        **{name: scores.get(name) for name in names},
        "sets": sets,
    }


def markdown(facts: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    lines = [*front_matter(facts), "", f"# {_text(facts['model_name'])} {_text(facts['model_version'])}", ""]
    if facts["description"]:
        lines += [facts["description"], ""]
    for title, section in (
        ("Accuracy", _accuracy(facts["evaluation"])),
        ("Data", _data_section(facts)),
        ("Training", _training(facts["training"])),
        ("Model", _model(facts["model"])),
        ("Files", _files(facts["files"])),
        ("Licences", [f"Model: {_text(facts['license'])}. Training data: {_text(facts['data_license'])}."]),
    ):
        if section := list(section):
            lines += [f"## {title}", "", *section, ""]
    return "\n".join(lines)


def _accuracy(evaluation: Mapping[str, Any]) -> Iterator[str]:
    if not evaluation:
        return
    percent = f"{evaluation['confidence']:.0%} " if evaluation["confidence"] else ""
    yield f"Of `{evaluation['file']}`, with the {percent}confidence interval in brackets:"
    yield ""
    order = sorted((WORDS, CHARACTERS), key=lambda rate: rate != evaluation["headline"])
    yield from (f"| set | clips | words | {' | '.join(order).upper()} |", "|---|---:|---:|---:|---:|")
    rows = evaluation["sets"] if len(evaluation["sets"]) == 1 else [*evaluation["sets"], {**evaluation, "name": "all"}]
    for row in rows:
        rates = (_rate(row[name], row[f"{name}_interval"]) for name in order)
        yield f"| {_text(row['name'])} | {row['test_clips']:,} | {row['words']:,} | {' | '.join(rates)} |"
    if evaluation["headline"] == CHARACTERS:
        yield ""
        yield "The sentences are hardly parted into words: the CER is the rate to read, a WER counts wrong sentences."
    if (evaluation.get("scorer") or {}).get("for_clients") is False:
        yield ""
        yield (
            "Measured with a scorer that the clients of DeepSpeech and Coqui STT cannot use in full, because the "
            "alphabet has more than 127 symbols: expect more errors there."
        )
    if evaluation["clips"]:
        yield ""
        yield f"Test clips: {tally.describe([evaluation['clips']])}."


def _data_section(facts: Mapping[str, Any]) -> Iterator[str]:
    data, training = facts["data"], facts["training"]
    if data:
        yield f"{_text(data['release'] or 'The corpus')}, licence {_text(facts['data_license'])}:"
        yield ""
        yield from ("| set | clips | hours |", "|---|---:|---:|")
        for name, one in data["sets"].items():
            yield f"| {_text(name)} | {one['clips']:,} | {one['hours']:,.2f} |"
        yield from _origins(data["origins"])
    elif "train_clips" in training:
        yield f"Trained on {training['train_clips']:,} clips ({training['train_hours']:,.2f} hours)."


def _origins(origins: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where the clips come from, where that is more than one release or a licence is known."""
    if len(origins) < 2 and not any(one.get("license") for one in origins):
        return
    yield from ("", "| from | date | licence | clips |", "|---|---|---|---:|")
    for one in origins:
        clips = f"{one['merged']['imported']:,}" if one.get("merged") else ""
        yield f"| {_text(one.get('release', ''))} | {one.get('date', '')} | {_text(one.get('license', ''))} | {clips} |"


def _training(training: Mapping[str, Any]) -> Iterator[str]:
    if not training:
        return
    if start := training.get("start"):
        yield f"- {_text(start)}"
    settings = training.get("settings", {})
    shown = [f"{name} {settings[name]}" for name in SHOWN_SETTINGS if name in settings]
    if shown:
        yield f"- {', '.join(shown)}; all settings are in `{JSON_NAME}`"
    clips = training.get("clips", {})
    for name, tallies in (("training", [clips["train"]]), ("dev", clips["dev"])) if clips else ():
        if tallies:
            yield f"- {name} clips: {tally.describe(tallies)}"
    if training.get("best_dev_loss") is not None:
        wer = training.get("best_dev_wer")
        rate = "" if wer is None else f" and WER {wer:.2%} (greedy)"
        yield f"- on the dev set loss {training['best_dev_loss']:.4f}{rate}, {training['epochs']} epochs run"
    if base := training.get("base"):
        yield f"- {_text(base['checkpoint'])} had {base['dev_loss']:.4f} there before the training" + (
            "; no epoch was better, so this is that model" if base["is_best"] else ""
        )


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    geometry, symbols = model["geometry"], model["symbols"]
    normalised = "layer-normalised" if geometry["layer_norm"] else "not layer-normalised"
    yield f"- DeepSpeech network of {geometry['n_hidden']} units, {normalised}; {model['n_steps']} frames a call"
    yield f"- {geometry['audio_sample_rate']:,} Hz mono; beam width {model['beam_width']} unless the client changes it"
    yield f"- checkpoint {_text(model['checkpoint'])}, step {model['global_step']:,}"
    yield f"- symbols: {' '.join(map(_symbol, symbols))}" if symbols else "- symbols: the bytes of UTF-8"


def _files(files: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| file | for | bytes | sha256 |", "|---|---|---:|---|")
    for name, about in files.items():
        yield f"| {_text(name)} | {about['for']} | {about['bytes']:,} | `{about['sha256']}` |"


def _rate(rate: float, interval: Sequence[float] | None) -> str:
    shown = f"{rate:.2%}"
    return f"{shown} ({interval[0]:.2%} to {interval[1]:.2%})" if interval else shown


def _symbol(symbol: str) -> str:
    return "space" if symbol == " " else _text(symbol)


def _text(text: str) -> str:
    """Without meaning in Markdown."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", str(text))
