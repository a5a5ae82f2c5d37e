"""The one runner of IRs, on those of another converter: fixed frames, `input_lengths`, and names with ports."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from components.images import ROOT
from speech import model_files
from speech.errors import InputError
from speech.geometry import Geometry
from speech.ir.first_run import try_out
from speech.ir.runner import IrRunner
from speech.nn.runners.checkpoint_model import BatchedModel
from tests.components.convert_openvino.models import ALPHABET, chirp, make_weights, write_frozen

GEOMETRY = Geometry(n_hidden=24, n_labels=28)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What OpenVINO's own converter makes of the frozen graph, with the alphabet beside it."""
    folder = tmp_path_factory.mktemp("converted")
    frozen = write_frozen(folder / "graph.pb", make_weights(GEOMETRY), GEOMETRY)
    shapes: list[tuple[str, list[int]]] = [
        ("input_node:0", [1, 16, 19, 26]),
        ("previous_state_c:0", [1, GEOMETRY.n_hidden]),
        ("previous_state_h:0", [1, GEOMETRY.n_hidden]),
        ("input_lengths:0", [1]),
    ]
    network = ov.convert_model(frozen, input=shapes, output=["logits:0", "new_state_c:0", "new_state_h:0"])
    ov.save_model(network, folder / "theirs.xml", compress_to_fp16=False)
    ALPHABET.save(folder / "alphabet.txt")
    return folder / "theirs.xml"


@pytest.mark.parametrize("batches", [False, True])
def test_an_ir_of_openvinos_converter(converted: Path, batches: bool) -> None:
    model = model_files.open(converted)
    assert (model.geometry, model.alphabet, model.n_steps) == (GEOMETRY, ALPHABET, 16)
    clips = [chirp(0.9), chirp(0.01), chirp(0.4, seed=8)]
    expected = BatchedModel(GEOMETRY, make_weights(GEOMETRY)).emissions(clips)
    runner = IrRunner(model, precision="f32", batches=batches)
    for ours, theirs in zip(runner.emissions(clips), expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=5e-5)


def test_a_damaged_ir_is_one_line(converted: Path, tmp_path: Path) -> None:
    """Whatever OpenVINO does with it: it is tried in a process of its own, and its errors are ours."""
    import shutil

    for name in ("theirs.bin", "alphabet.txt"):
        shutil.copy(converted.parent / name, tmp_path / name)
    xml = converted.read_text()
    damages = [
        xml.replace('type="MatMul"', 'type="NoSuchLayer"', 1),
        xml.replace('offset="0"', 'offset="99999999999"', 1),
        xml.replace("<dim>26</dim>", "<dim>27</dim>", 1),
    ]
    for damage in damages:
        assert damage != xml
        (tmp_path / "theirs.xml").write_text(damage)
        with pytest.raises(InputError, match=r"theirs\.xml"):
            try_out(model_files.open(tmp_path / "theirs.xml"))
    (tmp_path / "theirs.xml").write_text(xml)
    try_out(model_files.open(tmp_path / "theirs.xml"))


def test_signals_are_handled_when_runners_are_gone(converted: Path) -> None:
    """Each plugin of OpenVINO's would leave the signal stack of one before it, freed."""
    code = """
import faulthandler, os, signal, sys
from speech import model_files
from speech.ir.runner import IrRunner
faulthandler.enable()  # has a signal stack of its own
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
first = IrRunner(model_files.open(sys.argv[1]))
second = IrRunner(model_files.open(sys.argv[1]))
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, converted], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "handled\n")
