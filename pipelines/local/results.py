"""What came out of a local run: the facts for `summary.json`, and the text that ends the run."""

import json
from pathlib import Path
from typing import Any

from pipelines.local import collect
from pipelines.local.runners import LocalRun
from speech.artifacts import Checkpoint, Corpus, Evaluation
from speech.metrics import CHARACTERS, WORDS
from speech.storage.files import sha256

MODEL_FOLDERS = (collect.MODEL, collect.OPENVINO, collect.PUBLISHED)


def gather(run: LocalRun, folder: Path) -> dict[str, Any]:
    """The facts of a run whose artifacts are collected in `folder`."""
    graph = Evaluation.open(run.outputs["evaluate"]["evaluation"].path)
    representation = Evaluation.open(run.outputs["evaluate_openvino"]["evaluation"].path)
    return {
        "headline": graph.scores.get("headline", WORDS),
        "wer": graph.scores["wer"],
        "cer": graph.scores["cer"],
        "loss": graph.scores["loss"],
        "test_clips": graph.scores["test_clips"],
        "openvino": {name: representation.scores[name] for name in ("wer", "cer", "loss")},
        "heard": _heard(graph, representation),
        "clips": _clips(Corpus.open(folder / collect.CORPUS)),
        "training": _training(folder / collect.CHECKPOINT / Checkpoint.HISTORY),
        "files": _files(folder),
        "published": _published(run.outputs["publish"]["published"].metadata, folder),
        "report": collect.REPORT,
        "seconds": {step: round(seconds, 2) for step, seconds in run.seconds.items()},
        "cached": run.cached,
    }


def _clips(corpus: Corpus) -> dict[str, Any]:
    report = corpus.report
    return {
        "imported": {name: counted["clips"] for name, counted in report["sets"].items()},
        "refused": {reason: refusal["count"] for reason, refusal in report["reasons"].items()},
    }


def _training(path: Path) -> dict[str, Any]:
    history = json.loads(path.read_text(encoding="utf-8"))
    names = ("recipe", "best_by", "best_dev_loss", "best_dev_wer", "best_dev_cer")
    return {**{name: history.get(name) for name in names}, "epochs": history["epochs"]}


def _published(metadata: dict[str, Any], folder: Path) -> dict[str, str]:
    """The version's name, and where it is: in `folder` unless it went to a URI of its own."""
    version = metadata["version"]
    collected = folder / collect.PUBLISHED / version
    return {"version": version, "uri": str(collected) if collected.is_dir() else metadata["uri"]}


def _heard(graph: Evaluation, representation: Evaluation) -> dict[str, str]:
    """The longest test clip, and what each model wrote."""
    samples = {name: _samples(evaluation) for name, evaluation in (("graph", graph), ("ir", representation))}
    name = max(samples["graph"], key=lambda name: (len(samples["graph"][name]["src"]), name))
    return {
        "wav_filename": name,
        "reference": samples["graph"][name]["src"],
        "frozen_graph": samples["graph"][name]["res"],
        "openvino": samples["ir"][name]["res"],
    }


def _samples(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    samples = json.loads((evaluation.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))
    return {sample["wav_filename"]: sample for sample in samples}


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    paths = [path for name in MODEL_FOLDERS for path in collect.files(folder / name)]
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths
    }


def text(facts: dict[str, Any], folder: Path) -> str:
    """The facts for a person."""
    blocks = (
        ("Clips", _clip_lines(facts["clips"])),
        ("Training", _training_lines(facts["training"], facts["seconds"]["train"])),
        ("Test", _test_lines(facts)),
        ("Heard", _heard_lines(facts["heard"])),
        ("Models", _file_lines(facts["files"], folder)),
        ("Published", [facts["published"]["uri"]]),
        ("Report", [str(folder / facts["report"])]),
    )
    lines = [""]
    for title, body in blocks:
        lines += [f"{title if row == 0 else '':11}{line}" for row, line in enumerate(body)]
    return "\n".join(lines)


def _clip_lines(clips: dict[str, Any]) -> list[str]:
    imported, refused = clips["imported"], clips["refused"]
    sets = ", ".join(f"{count} {name}" for name, count in imported.items())
    reasons = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in refused.items())
    total = sum(refused.values())
    return [f"{sum(imported.values())} imported: {sets}", f"{total} refused: {reasons}" if total else "none refused"]


def _training_lines(training: dict[str, Any], seconds: float) -> list[str]:
    epochs = training["epochs"]
    if not epochs:
        return ["no epochs"]
    losses = f"train loss {epochs[0]['train_loss']:.2f} -> {epochs[-1]['train_loss']:.2f}"
    if training["best_dev_loss"] is not None:
        losses += f", best epoch by {training['best_by']}: dev loss {training['best_dev_loss']:.2f}"
        losses += f", WER {training['best_dev_wer']:.1%}"
    return [f"{len(epochs)} epochs in {seconds:.0f} s, recipe {training['recipe']}: {losses}"]


def _test_lines(facts: dict[str, Any]) -> list[str]:
    clips = f"{facts['test_clips']} clips that training never saw"
    return [clips, *(f"{name:13}{_rates(scores, facts['headline'])}" for name, scores in _models(facts))]


def _models(facts: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return [("frozen graph", facts), ("OpenVINO IR", facts["openvino"])]


def _rates(scores: dict[str, float], headline: str) -> str:
    order = sorted((WORDS, CHARACTERS), key=lambda rate: rate != headline)
    return "   ".join(f"{rate.upper()} {scores[rate]:6.1%}" for rate in order)


def _heard_lines(heard: dict[str, str]) -> list[str]:
    names = (("reference", "reference"), ("frozen graph", "frozen_graph"), ("OpenVINO IR", "openvino"))
    return [f"{name:13}{heard[key] or '(nothing)'}" for name, key in names]


def _file_lines(files: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    shown = [name for name in files if name.startswith((f"{collect.MODEL}/", f"{collect.OPENVINO}/"))]
    graphs = [name for name in shown if "output_graph" in name]
    width = max(len(str(folder / name)) for name in graphs)
    return [f"{folder / name!s:{width}} {_size(files[name]['bytes']):>10}" for name in graphs]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"
