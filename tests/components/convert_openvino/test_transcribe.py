"""Text from audio by an IR: whole, in chunks, from a pipe."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.convert_openvino import step
from components.convert_openvino.settings import OpenVinoSettings
from components.convert_openvino.transcribe import Transcriber, main
from speech import model_files
from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.ir.runner import IrRunner
from tests.components.convert_openvino.models import chirp, write_wav
from tests.fixtures.commands import exit_code


@pytest.fixture(scope="module")
def ir(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IRs of the three forms, any number of frames a call."""
    folder = tmp_path_factory.mktemp("ir")
    step.run(OpenVinoSettings(precision="f32", stateful=True, with_features=True), str(frozen), folder)
    return folder


@pytest.fixture(scope="module")
def fixed(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IRs for 16 frames a call."""
    folder = tmp_path_factory.mktemp("fixed")
    step.run(OpenVinoSettings(precision="f32", stateful=True, n_steps=16), str(frozen), folder)
    return folder


@pytest.mark.parametrize("form", ["output_graph", "output_graph_stateful"])
@pytest.mark.parametrize("chunk", [1, 160, 317, 5000, 10**6])
def test_chunks_of_any_size_give_the_same_text(ir: Path, fixed: Path, form: str, chunk: int) -> None:
    samples = chirp(1.7) if chunk > 1 else chirp(0.1)
    expected = Transcriber(ir / "output_graph.xml", precision="f32").transcribe(samples)
    assert len(expected) > 3 or chunk == 1
    for folder in (ir, fixed):
        transcriber = Transcriber(folder / f"{form}.xml", precision="f32")
        assert transcriber.transcribe(samples) == expected
        for _ in range(2):  # the second utterance knows nothing of the first
            stream = transcriber.stream()
            for start in range(0, len(samples), chunk):
                stream.feed(samples[start : start + chunk])
            assert stream.finish() == expected


def test_the_text_grows_while_the_stream_goes_on(ir: Path) -> None:
    stream = Transcriber(ir / "output_graph.xml").stream()
    texts = []
    for part in np.array_split(chirp(3.0), 10):
        stream.feed(part)
        texts.append(stream.text())
    assert len(texts[2]) < len(texts[9]) <= len(stream.finish())


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_audio_shorter_than_a_frame_has_no_text(ir: Path, seconds: float) -> None:
    for form in ("output_graph", "output_graph_stateful", "output_graph_audio"):
        assert Transcriber(ir / f"{form}.xml").transcribe(chirp(seconds)) == ""
    assert Transcriber(ir / "output_graph.xml").stream().finish() == ""


def test_long_audio_goes_through_in_blocks(ir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = chirp(2.0)
    model = model_files.open(ir / "output_graph.xml")
    (whole,) = IrRunner(model, precision="f32").emissions([samples])
    monkeypatch.setattr("speech.ir.runner.MAX_FRAMES", 10)
    (blocks,) = IrRunner(model, precision="f32").emissions([samples])
    assert np.abs(blocks - whole).max() < 1e-5


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = exit_code(main, *arguments)
    output = capsys.readouterr()
    return code, output.out, output.err


def test_command(ir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    samples, model = chirp(1.5), ir / "output_graph.xml"
    expected = Transcriber(model).transcribe(samples)
    a = write_wav(tmp_path / "a.wav", samples)
    b = write_wav(tmp_path / "b.wav", np.repeat(samples[::2], 2)[: len(samples)], 16_000)
    assert run(capsys, "--model", model, "--audio", a) == (0, f"{expected}\n", "")
    code, out, _ = run(capsys, "--model", model, "--audio", a, b)
    assert code == 0
    assert out.splitlines()[0] == f"{a}: {expected}"
    assert len(out.splitlines()) == 2
    code, out, err = run(capsys, "--model", model, "--audio", a, "--chunk_ms", 200)
    assert (code, out) == (0, f"{expected}\n")
    assert len(err.splitlines()) > 2
    seconds, texts = zip(*(line.split(" s  ") for line in err.splitlines()), strict=True)
    assert all(expected.startswith(text) for text in texts)
    assert [float(value) for value in seconds] == sorted(map(float, seconds))
    code, out, _ = run(capsys, "--model", model, "--audio", a, "--timing", "--threads", 1, "--precision", "f32")
    assert "1.50 s of audio" in out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(samples.tobytes())))
    assert run(capsys, "--model", model, "--audio", "-")[:2] == (0, f"{expected}\n")


def test_beam_search(ir: Path, tmp_path: Path) -> None:
    samples = chirp(1.5)
    text = Transcriber(ir / "output_graph.xml", beam_width=20).transcribe(samples)
    assert isinstance(text, str)
    assert text
    assert Transcriber(ir / "output_graph.xml", beam_width=20).transcribe(samples[:10]) == ""


def test_other_sample_rates_are_resampled(ir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from speech.clips.audio import resample

    samples = chirp(1.5)
    expected = Transcriber(ir / "output_graph.xml").transcribe(
        resample(resample(samples, 16_000, 48_000), 48_000, 16_000)
    )
    wav = write_wav(tmp_path / "48.wav", resample(samples, 16_000, 48_000), 48_000)
    assert run(capsys, "--model", ir / "output_graph.xml", "--audio", wav)[1] == f"{expected}\n"


def test_wrong_inputs_are_one_line(ir: Path, frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav = write_wav(tmp_path / "a.wav", chirp(0.5))
    lonely = tmp_path / "lonely.xml"
    lonely.write_bytes((ir / "output_graph.xml").read_bytes())
    broken = tmp_path / "broken.xml"
    broken.write_text("<net>")
    broken.with_suffix(".bin").touch()
    Alphabet((" ", "a")).save(tmp_path / "short.txt")
    text = tmp_path / "text.wav"
    text.write_text("no audio")
    for arguments, expected in (
        (("--audio", wav), "--model and --audio are needed"),
        (("--model", tmp_path / "no.xml", "--audio", wav), "no such file"),
        (("--model", lonely, "--audio", wav), "lonely.bin: no such file"),
        (("--model", broken, "--audio", wav), "not readable as an OpenVINO IR"),
        (
            ("--model", frozen, "--audio", wav),
            "frozen graph: expected a folder of `python -m components.convert_openvino`, or a file: .xml",
        ),
        (("--model", ir / "output_graph.xml", "--audio", tmp_path / "no.wav"), "no such audio file"),
        (("--model", ir / "output_graph.xml", "--audio", text), "not readable as audio"),
        (("--model", ir / "output_graph_audio.xml", "--audio", wav, "--chunk_ms", 100), "takes whole utterances"),
        (
            ("--model", ir / "output_graph.xml", "--audio", wav, "--alphabet_config_path", tmp_path / "short.txt"),
            "2 sy",
        ),
        (("--model", ir / "output_graph.xml", "--audio", wav, "--chunk_ms", -1), "chunk_ms"),
        (("--model", ir / "output_graph.xml", "--audio", wav, "--speed", 1), "unknown flag --speed"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        assert err.startswith("error: ")
        assert expected in err
        assert err.count("\n") == 1, err


def test_an_ir_for_several_utterances_or_without_states_cannot_stream(frozen: Path, tmp_path: Path) -> None:
    batch = step.run(OpenVinoSettings(batch=4), str(frozen), tmp_path / "batch")
    with pytest.raises(InputError, match="--batch 1"):
        Transcriber(batch.xml)
    form = replace(step.IrShape(), outputs=("logits",))
    stateless = step.run(OpenVinoSettings(), str(frozen), tmp_path / "logits", form_of=lambda geometry: form)
    with pytest.raises(InputError, match="no output new_state_c"):
        Transcriber(stateless.xml)
