"""The native clients of DeepSpeech 0.9.3 and Coqui STT 1.4.0 hear the same from every format that we export."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from components.export import step as export
from components.export import tflite
from components.export.selfcheck import probe_signal
from components.export.settings import ExportSettings
from components.train import step as train
from components.train.settings import TrainSettings
from speech import memmapped
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, ExportedModel
from speech.audio import ClipReader, wav_header
from speech.decoding.greedy import best_path
from speech.geometry import Geometry
from speech.graph_facts import read_facts, read_weights
from speech.manifest import Manifest, read_manifest
from speech.metrics import character_error_table
from speech.nn import checkpoints
from speech.nn.frozen import FrozenModel
from speech.variables import initial_weights
from tests.fixtures.decoding.cases import ALPHABET as SCORER_ALPHABET
from tests.fixtures.decoding.cases import WORDS, vocabulary
from tests.peers.environments import Peer

Find = Callable[[str], Peer]
PB, PBMM, INT8, FLOAT = "output_graph.pb", "output_graph.pbmm", "output_graph.tflite", "float.tflite"
# Which client loads which file.
PAIRS = [("deepspeech", PB), ("deepspeech", PBMM)] + [
    (client, name) for client in ("stt", "deepspeech-tflite") for name in (INT8, FLOAT)
]


def write_formats(checkpoint: Path, folder: Path, settings: ExportSettings) -> Path:
    """Every file that a client loads."""
    export.freeze(settings, checkpoint, folder)
    export.convert_mmap(folder, folder)
    export.convert_tflite(folder, folder, quantize=True)
    graph = memmapped.open_graph(folder / PB)
    metadata = {name: graph.constant(name) for name in graph.nodes if name.startswith("metadata_")}
    facts = read_facts(graph)
    tflite.write(folder / FLOAT, read_weights(graph), facts.geometry, metadata, facts.n_steps, quantize=False)
    return folder


def wavs_of(manifest: Manifest) -> list[str]:
    return [str(manifest.resolve(clip.wav_filename)) for clip in manifest]


@pytest.fixture(scope="module")
def model(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt the tones, in the alphabet of the tests' scorer, in every format."""
    folder = tmp_path_factory.mktemp("model")
    SCORER_ALPHABET.save(folder / ALPHABET)
    settings = TrainSettings(
        n_hidden=64,
        epochs=70,
        train_batch_size=4,
        learning_rate=0.005,
        dropout_rate=0.0,
        alphabet_config_path=str(folder / ALPHABET),
    )
    train.run(settings, [tones / "train.csv"], [tones / "dev.csv"], folder / "checkpoint")
    return write_formats(folder / "checkpoint", folder / "exported", ExportSettings(export_language="cy"))


def hear(client: Peer, model: Path, manifest: Manifest) -> list[str]:
    """What a client hears, all at once and as a stream."""
    given = ("--model", model, "--chunk_samples", "320", "--wavs", *wavs_of(manifest))
    answer = client.drive("native_client", *given)
    assert (answer["sample_rate"], answer["beam_width"]) == (16_000, 500)
    texts = [clip["text"] for clip in answer["clips"]]
    assert [clip["streamed"] for clip in answer["clips"]] == texts
    return texts


def test_every_format_says_what_was_said(peer: Find, model: Path, tones: Path) -> None:
    manifest = read_manifest(tones / "dev.csv")
    said = [clip.transcript for clip in manifest]
    heard = {(client, name): hear(peer(client), model / name, manifest) for client, name in PAIRS}
    first = heard["deepspeech", PB]
    rate = character_error_table(said, first).total.rate
    assert rate < 0.25
    for pair, texts in heard.items():
        if pair[1] == INT8:
            assert character_error_table(said, texts).total.rate < rate + 0.1, pair
            assert texts == heard["stt", INT8], pair
        else:
            assert texts == first, pair


def test_the_clients_hear_what_the_evaluation_does(peer: Find, model: Path, tones: Path) -> None:
    manifest = read_manifest(tones / "dev.csv")
    frozen, reader = FrozenModel.load(model / PB), ClipReader(manifest, 16_000)
    emissions = [frozen.emissions(reader.samples(clip)) for clip in manifest]
    ours = [best_path(one, frozen.alphabet) for one in emissions]
    theirs = hear(peer("deepspeech"), model / PB, manifest)
    assert character_error_table(theirs, ours).total.rate < 0.1  # they search a beam, and hear one frame more


def test_with_a_scorer(peer: Find, model: Path, tones: Path) -> None:
    manifest = read_manifest(tones / "dev.csv")
    given = ("--scorer", WORDS, "--chunk_samples", "1600", "--wavs", *wavs_of(manifest))
    texts = {}
    for client, name in PAIRS:
        clips = peer(client).drive("native_client", "--model", model / name, *given)["clips"]
        texts[client, name] = [clip["text"] for clip in clips]
        assert [clip["streamed"] for clip in clips] == texts[client, name]
    first = texts["deepspeech", PB]
    known = {word for text in first for word in text.split()}
    assert len(known) > 2
    assert known <= set(vocabulary())
    for pair, found in texts.items():
        if pair[1] != INT8:  # a rounded model may prefer another word
            assert found == first, pair


class Case(NamedTuple):
    """A network of random weights."""

    geometry: Geometry
    n_steps: int = 16
    bytes_mode: bool = False

    @property
    def alphabet(self) -> Alphabet:
        if self.bytes_mode:
            return Alphabet.bytes_output_mode()
        return Alphabet(
            (" ", *(chr(0x61 + k) if k < 26 else chr(0x100 + k) for k in range(self.geometry.n_labels - 1)))
        )


CASES = {
    "29 symbols": Case(Geometry(64, 29)),
    "5 symbols, layer norm, a frame a call": Case(Geometry(64, 5, layer_norm=True), 1),
    "200 symbols, 32 frames a call": Case(Geometry(64, 200), 32),
    "bytes, layer norm": Case(Geometry(64, 255, layer_norm=True), bytes_mode=True),
    "8 kHz": Case(Geometry(64, 5, audio_sample_rate=8000)),
}
WIDE = {
    "512": Case(Geometry(512, 29)),
    "512, layer norm": Case(Geometry(512, 29, layer_norm=True), 32),
    "2048": Case(Geometry(2048, 29)),
    "2048, layer norm": Case(Geometry(2048, 200, layer_norm=True), 1),
}


def save_checkpoint(folder: Path, case: Case) -> Path:
    """Weights as they are drawn at first, but with outputs far enough apart to be read as text."""
    weights: dict[str, np.ndarray] = initial_weights(case.geometry, 3)
    weights["layer_6/weights"] = weights["layer_6/weights"] * np.float32(20)
    snapshot = checkpoints.Snapshot(case.geometry, weights, {}, 7, 0.001, 0.9, 0.999)
    checkpoints.save(folder, "best_dev-7", snapshot)
    checkpoints.write_state(folder, Checkpoint.BEST, ["best_dev-7"])
    case.alphabet.save(folder / ALPHABET)
    return folder


def write_probe(folder: Path, geometry: Geometry) -> Path:
    """A second of the probe, then silence: deepspeech-tflite fills the last window up with the one before."""
    samples = probe_signal(geometry)[: geometry.audio_sample_rate]
    samples = np.concatenate([samples, np.zeros(2 * geometry.window_samples, np.int16)])
    path = folder / "probe.wav"
    path.write_bytes(wav_header(len(samples), geometry.audio_sample_rate) + samples.tobytes())
    return path


def compare_formats(peer: Find, case: Case, folder: Path) -> None:
    settings = ExportSettings(
        n_steps=case.n_steps, bytes_output_mode=case.bytes_mode, audio_sample_rate=case.geometry.audio_sample_rate
    )
    model = write_formats(save_checkpoint(folder / "checkpoint", case), folder / "exported", settings)
    wav = write_probe(folder, case.geometry)
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for client, name in PAIRS:
        given = ("--model", model / name, "--candidates", 1, "--chunk_samples", 4000, "--beam_width", 20, "--wavs", wav)
        found[client, name] = peer(client).drive("native_client", *given)["clips"][0]
    text, (confidence,) = found["deepspeech", PB]["text"], found["deepspeech", PB]["confidences"]
    assert text
    assert np.isfinite(confidence)
    for pair, clip in found.items():
        assert clip["text"] == clip["streamed"], pair
        if pair[1] == INT8:
            assert clip["text"] == found["stt", INT8]["text"], pair
            assert clip["confidences"][0] == pytest.approx(confidence, rel=0.25), pair
        else:
            assert clip["text"] == text, pair
            assert clip["confidences"][0] == pytest.approx(confidence, abs=2e-3), pair


@pytest.mark.parametrize("name", CASES)
def test_networks_of_all_kinds(peer: Find, tmp_path: Path, name: str) -> None:
    compare_formats(peer, CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_wide_networks(peer: Find, tmp_path: Path, name: str) -> None:
    compare_formats(peer, WIDE[name], tmp_path)


def test_an_alphabet_that_does_not_fit_is_a_clean_error(peer: Find, model: Path, tmp_path: Path) -> None:
    """Not a crash: the clients compare the alphabet's size with the outputs'."""
    from tests.peers.environments import PeerFailed

    graph = memmapped.open_graph(model / PB)
    metadata = {name: graph.constant(name) for name in graph.nodes if name.startswith("metadata_")}
    longer = Alphabet((*ExportedModel.open(model).alphabet.symbols, "é")).serialize()
    metadata["metadata_alphabet"] = np.array([longer], object)
    facts = read_facts(graph)
    tflite.write(tmp_path / "bad.tflite", read_weights(graph), facts.geometry, metadata, 16, quantize=True)
    for client in ("stt", "deepspeech-tflite"):
        with pytest.raises(PeerFailed, match="cannot load") as failed:
            peer(client).drive("native_client", "--model", tmp_path / "bad.tflite")
        assert failed.value.returncode == 1
