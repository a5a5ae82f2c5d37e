"""The features inside the network."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset8

from components.convert_openvino.ir.front_end import audio_network, portable, windows_of
from components.convert_openvino.ir.network import ANY, Builder, parameter
from speech.features.mfcc import mfcc
from speech.features.streaming import context_windows
from speech.geometry import Geometry
from speech.ir import names
from speech.ir.runner import core
from tests.components.convert_openvino.models import chirp, make_weights

GEOMETRY = Geometry(n_hidden=64, n_labels=28)


def compile_features(geometry: Geometry, precision: str, folder: Path) -> ov.CompiledModel:
    """The features alone, through a file as the step writes it."""
    samples = parameter(names.SAMPLES, [ANY])
    network = ov.Model([opset8.result(windows_of(samples, geometry))], [samples], "features")
    xml = folder / "features.xml"
    ov.save_model(network, xml, False)
    xml.write_text(portable(xml.read_text()))
    return core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": precision})


@pytest.mark.parametrize("precision", ["f32", "bf16"])  # what the CPU would like to compute in
@pytest.mark.parametrize(
    "geometry",
    [GEOMETRY, Geometry(8, 28, audio_sample_rate=8000, feature_win_len=25, feature_win_step=10, n_context=2)],
)
def test_features_are_those_of_training(geometry: Geometry, precision: str, tmp_path: Path) -> None:
    samples = chirp(1.3)
    ours = compile_features(geometry, precision, tmp_path)([samples.astype(np.float32) / 32768])[0][0]
    expected = context_windows(mfcc(samples, geometry), geometry)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() < 2e-5
    assert np.abs(expected).max() > 4


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_digital_silence_has_the_floor_of_the_features(precision: str, tmp_path: Path) -> None:
    silence = np.zeros(2000, np.int16)
    ours = compile_features(GEOMETRY, precision, tmp_path)([silence.astype(np.float32)])[0][0]
    expected = context_windows(mfcc(silence, GEOMETRY), GEOMETRY)
    assert expected.min() == pytest.approx(-247.1394)
    assert np.abs(ours - expected).max() < 2e-4


def test_marks_of_full_precision_are_those_that_old_versions_read(tmp_path: Path) -> None:
    ov.save_model(audio_network(Builder(GEOMETRY, make_weights(GEOMETRY))), tmp_path / "audio.xml", False)
    written = (tmp_path / "audio.xml").read_text()
    assert "precise" in portable(written)
    assert "DisablePrecisionConversion" not in portable(written)
