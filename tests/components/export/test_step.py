"""Freezing and mapping: the files, the self-check, and the errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.export import selfcheck, step
from components.export.settings import ExportSettings
from speech import memmapped
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, ExportedModel
from speech.errors import InputError
from speech.geometry import Geometry
from speech.nn import checkpoints
from speech.nn.checkpoints import MOMENTS, Bundle
from speech.nn.model import initial_weights

GEOMETRY = Geometry(64, 4)
ALPHABET_OF_4 = Alphabet((" ", "a", "b", "c"))


def make_checkpoint(folder: Path, geometry: Geometry = GEOMETRY) -> Path:
    weights = initial_weights(geometry, 1)
    moments = {f"{name}/{moment}": np.zeros_like(value) for name, value in weights.items() for moment in MOMENTS}
    checkpoints.save(folder, "best_dev-5", Bundle(geometry, weights, moments, 5, 0.001, 0.9, 0.999))
    checkpoints.write_state(folder, Checkpoint.BEST, ["best_dev-5"])
    ALPHABET_OF_4.save(folder / ALPHABET)
    return folder


def test_both_formats_in_one_folder(tmp_path: Path) -> None:
    checkpoint, model = make_checkpoint(tmp_path / "checkpoint"), tmp_path / "model"
    step.freeze(ExportSettings(export_language="cy", export_beam_width=123), checkpoint, model)
    step.convert_mmap(model, model)
    opened = ExportedModel.open(model)
    names = {"output_graph.pb", "output_graph.pbmm", "alphabet.txt"}
    assert {path.name for path in model.iterdir()} == names | {"model.json"}
    assert set(opened.sidecar["files"]) == names
    assert opened.geometry == GEOMETRY
    assert opened.alphabet == ALPHABET_OF_4
    assert (opened.sidecar["checkpoint"], opened.sidecar["language"], opened.sidecar["beam_width"]) == (
        "best_dev-5",
        "cy",
        123,
    )
    assert opened.sidecar["selfcheck_max_difference"] < 1e-5
    assert opened.sidecar["converted_nodes"] == 5
    assert len(memmapped.Package.open(model / "output_graph.pbmm").regions) == 6


def test_exports_are_reproducible(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    for name in ("one", "two"):
        step.freeze(ExportSettings(), checkpoint, tmp_path / name)
    one, two = (tmp_path / name / ExportedModel.FROZEN for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_separate_artifacts(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    step.freeze(ExportSettings(n_steps=4), checkpoint, tmp_path / "model")
    step.convert_mmap(tmp_path / "model", tmp_path / "mapped")
    sidecar = json.loads((tmp_path / "mapped/model.json").read_text())
    assert set(sidecar["files"]) == {"output_graph.pbmm", "alphabet.txt"}
    assert sidecar["n_steps"] == 4


def test_the_selfcheck_sees_a_changed_weight(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    step.freeze(ExportSettings(), checkpoint, tmp_path / "model")
    weights = initial_weights(GEOMETRY, 1)
    weights["layer_5/bias"] = weights["layer_5/bias"] + 1.0
    with pytest.raises(InputError, match="differs from the checkpoint by"):
        selfcheck.check_frozen(tmp_path / "model/output_graph.pb", weights, GEOMETRY)


def test_the_selfcheck_sees_a_changed_mapped_constant(tmp_path: Path) -> None:
    checkpoint, model = make_checkpoint(tmp_path / "checkpoint"), tmp_path / "model"
    step.freeze(ExportSettings(), checkpoint, model)
    step.convert_mmap(model, model)
    content = bytearray((model / "output_graph.pbmm").read_bytes())
    content[400] ^= 1
    (model / "output_graph.pbmm").write_bytes(content)
    with pytest.raises(InputError, match=r"differs from .*output_graph.pb: convert it again"):
        selfcheck.check_mapped(model / "output_graph.pb", model / "output_graph.pbmm")


def test_alphabets(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    (checkpoint / ALPHABET).unlink()
    with pytest.raises(InputError, match="no alphabet.txt beside the checkpoint: give --alphabet_config_path"):
        step.freeze(ExportSettings(), checkpoint, tmp_path / "model")
    Alphabet((" ", "a")).save(tmp_path / "short.txt")
    with pytest.raises(InputError, match="2 symbols, but the model has 4 labels"):
        step.freeze(ExportSettings(alphabet_config_path=str(tmp_path / "short.txt")), checkpoint, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint in it"):
        step.freeze(ExportSettings(), tmp_path, tmp_path / "model")
    with pytest.raises(InputError, match="model.json is missing"):
        step.convert_mmap(tmp_path, tmp_path / "mapped")
