"""Artifacts of small models, and places to publish them."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.publish.settings import PublishSettings
from speech.artifacts import (
    ALPHABET,
    Checkpoint,
    Evaluation,
    ExportedModel,
    IntermediateRepresentation,
    describe_files,
    write_sidecar,
)
from speech.geometry import Geometry
from speech.storage.files import sha256, write_json
from tests.components.convert_openvino.models import make_weights

Settings = partial(PublishSettings, min_test_clips=1)  # the evaluations here are of a few clips


def samples(edits: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of an evaluation on clips of two words each, in which the model makes so many mistakes."""
    return [
        {
            "wav_filename": f"shards/clips-00000.tar/clip-{number}.wav",
            "src": f"word {number}",
            "word_distance": count,
            "word_length": 2,
            "client_id": f"speaker-{number % 10}",
        }
        for number, count in enumerate(edits)
    ]


MADE = Geometry(n_hidden=4, n_labels=3)  # of the artifacts


def trained(folder: Path, geometry: Geometry = MADE) -> Path:
    """A checkpoint folder with two bundles."""
    import tensorflow as tf

    folder.mkdir()
    tensors = make_weights(geometry)
    for name in ("train-9", "best_dev-7"):
        tf.raw_ops.SaveV2(
            prefix=str(folder / name),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=list(tensors.values()),
        )
    (folder / Checkpoint.LAST).write_text('model_checkpoint_path: "train-9"\n')
    (folder / Checkpoint.BEST).write_text('model_checkpoint_path: "best_dev-7"\n')
    return folder


@pytest.fixture
def make_artifacts(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """A maker of the four artifacts of a model: its weights, and how many mistakes it makes in each test clip."""

    def make(weights: bytes = b"weights", edits: Sequence[int] = (0, 1, 0, 1), symbols: str = " ab") -> dict[str, Path]:
        base = tmp_path / hashlib.sha256(weights + str(edits).encode() + symbols.encode()).hexdigest()[:8]
        geometry = Geometry(n_hidden=4, n_labels=len(symbols)).to_dict()
        layout = {
            "model": (ExportedModel.FROZEN,),
            "mapped": (ExportedModel.MAPPED,),
            "tflite": (ExportedModel.TFLITE,),
            "ir": (IntermediateRepresentation.XML, IntermediateRepresentation.BIN),
        }
        for artifact, names in layout.items():
            folder = base / artifact
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                (folder / name).write_bytes(name.encode() + weights)
            (folder / ALPHABET).write_text("".join(f"{symbol}\n" for symbol in symbols))
            files = describe_files(folder, list(names))
            sidecar = IntermediateRepresentation.MODEL if artifact == "ir" else ExportedModel.MODEL
            write_sidecar(folder, sidecar, {"geometry": geometry, "language": "en", "files": files})
        (base / "evaluation").mkdir(exist_ok=True)
        (base / "evaluation" / Evaluation.HTML_REPORT).write_text("<html>")
        write_json(base / "evaluation" / Evaluation.SAMPLES, samples(edits))
        wer = sum(edits) / (2 * len(edits)) if edits else 0.0
        measured = {"sha256": sha256(base / "model" / ExportedModel.FROZEN)}
        scores = {"wer": wer, "cer": 0.05, "by_length": {}, "model": measured}
        write_json(base / "evaluation" / Evaluation.SCORES, scores)
        return {name: base / name for name in (*layout, "evaluation")}

    return make


@pytest.fixture(params=["local", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for versions: a folder that does not exist yet, or a prefix of an empty bucket."""
    if request.param == "local":
        return str(tmp_path / "models" / "en")
    return f"{request.getfixturevalue('s3_bucket')}/models/en"
