"""The native clients of DeepSpeech 0.9.3 and Coqui STT 1.4.0 hear the same from every format that we export."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from components.export import clients, tflite
from components.export import step as export
from components.export.selfcheck import probe_signal
from components.export.settings import ExportSettings
from components.import_cv import step as import_cv
from components.import_cv.settings import ImportSettings
from components.train import step as train
from components.train.settings import TrainSettings
from speech import model_files
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, ExportedModel
from speech.clips.audio import ClipReader, wav_header
from speech.clips.manifest import Manifest, read_manifest
from speech.decoding.greedy import best_path
from speech.errors import InputError
from speech.geometry import Geometry
from speech.metrics import character_error_table, word_error_table
from speech.model_files import memmapped_file
from speech.model_files.variables import initial_weights
from speech.nn import snapshots
from speech.nn.runners.frozen import FrozenModel
from tests.fixtures.decoding.cases import ALPHABET as SCORER_ALPHABET
from tests.fixtures.decoding.cases import WORDS, vocabulary
from tests.fixtures.records import record_again
from tests.peers.environments import Peer

EXAMPLE = Path(__file__).parents[2] / "examples" / "cv-corpus-demo" / "en"
Find = Callable[[str], Peer]
PB, PBMM, INT8, FLOAT = "output_graph.pb", "output_graph.pbmm", "output_graph.tflite", "float.tflite"
# Which client loads which file.
EXACT = [("deepspeech", PB), ("deepspeech", PBMM), ("stt", FLOAT)]
# int8 weights are rounded ones, and deepspeech-tflite fills a clip's last window up with samples of the one before.
CLOSE = [("stt", INT8), ("deepspeech-tflite", INT8), ("deepspeech-tflite", FLOAT)]


def write_formats(checkpoint: Path, folder: Path, settings: ExportSettings) -> Path:
    """Every file that a client loads."""
    export.freeze(settings, checkpoint, folder)
    export.convert_mmap(folder, folder)
    export.convert_tflite(folder, folder, quantize=True)
    graph = memmapped_file.open_graph(folder / PB)
    metadata = {name: graph.constant(name) for name in graph.nodes if name.startswith("metadata_")}
    frozen = model_files.open(folder / PB)
    tflite.write(folder / FLOAT, frozen.weights, frozen.geometry, metadata, frozen.n_steps, quantize=False)
    return folder


@pytest.fixture(scope="module")
def clips(tones: Path) -> Manifest:
    return read_manifest(tones / "dev.csv")


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


def hear(client: Peer, model: Path, manifest: Manifest, chunk_samples: int = 320) -> list[str]:
    """What a client hears, all at once and as a stream."""
    given = ("--model", model, "--chunk_samples", chunk_samples, "--wavs", *wavs_of(manifest))
    answer = client.drive("native_client", *given)
    assert (answer["sample_rate"], answer["beam_width"]) == (16_000, 500)
    texts = [clip["text"] for clip in answer["clips"]]
    assert [clip["streamed"] for clip in answer["clips"]] == texts
    return texts


def test_every_format_says_what_was_said(peer: Find, model: Path, clips: Manifest) -> None:
    said = [clip.transcript for clip in clips]
    heard = {(client, name): hear(peer(client), model / name, clips) for client, name in (*EXACT, *CLOSE)}
    first = heard["deepspeech", PB]
    rate = character_error_table(said, first).total.rate
    assert rate < 0.25
    assert [heard[pair] for pair in EXACT] == [first] * len(EXACT)
    for pair in CLOSE:
        assert character_error_table(said, heard[pair]).total.rate < rate + 0.1, pair


def test_the_clients_hear_what_the_evaluation_does(peer: Find, model: Path, clips: Manifest) -> None:
    opened, reader = model_files.open(model / PB), ClipReader(clips, 16_000)
    frozen = FrozenModel(opened)
    ours = [best_path(frozen.emissions([reader.samples(clip)])[0], opened.alphabet) for clip in clips]
    theirs = hear(peer("deepspeech"), model / PB, clips)
    assert character_error_table(theirs, ours).total.rate < 0.1  # they search a beam, and hear one frame more


def test_with_a_scorer(peer: Find, model: Path, clips: Manifest) -> None:
    given = ("--scorer", WORDS, "--chunk_samples", "1600", "--wavs", *wavs_of(clips))
    texts = {}
    for client, name in (*EXACT, *CLOSE):
        answers = peer(client).drive("native_client", "--model", model / name, *given)["clips"]
        texts[client, name] = [answer["text"] for answer in answers]
        assert [answer["streamed"] for answer in answers] == texts[client, name]
    first = texts["deepspeech", PB]
    known = {word for text in first for word in text.split()}
    assert len(known) > 2
    assert known <= set(vocabulary())
    assert [texts[pair] for pair in EXACT] == [first] * len(EXACT)
    assert {word for pair in CLOSE for text in texts[pair] for word in text.split()} <= set(vocabulary())


def test_the_exports_own_check_in_the_clients(peer: Find, model: Path, tmp_path: Path) -> None:
    pythons = {name: str(peer(name).python) for name in ("deepspeech", "stt", "deepspeech-tflite")}
    heard = clients.check(ExportedModel.open(model), list(pythons.values()))
    assert [line.split(" with ")[0] for line in heard] == [
        "output_graph.pb: heard by deepspeech 0.9.3",
        "output_graph.pbmm: heard by deepspeech 0.9.3",
        "output_graph.tflite: heard by stt 1.4.0",
        "output_graph.tflite: heard by deepspeech 0.9.3",
    ]
    # A graph that loads and says nothing: the client prints the operator's error and goes on.
    shutil.copytree(model, tmp_path / "mute")
    path = tmp_path / "mute" / PB
    path.write_bytes(path.read_bytes().replace(b"new_state_c", b"new_state_x"))
    record_again(tmp_path / "mute")
    with pytest.raises(InputError, match=r"mute/output_graph.pb: "):
        clients.check(ExportedModel.open(tmp_path / "mute"), [pythons["deepspeech"]])


@pytest.mark.slow
def test_the_example_test_set(peer: Find, tmp_path: Path) -> None:
    """A model that reads well says the same in every float format; int8 costs less than a point of WER."""
    corpus = import_cv.run(ImportSettings(layout="clips"), str(EXAMPLE), tmp_path / "corpus").folder
    settings = TrainSettings(n_hidden=192, epochs=20, train_batch_size=8)
    train.run_on_corpus(settings, corpus, tmp_path / "checkpoint")
    model = write_formats(tmp_path / "checkpoint", tmp_path / "exported", ExportSettings())
    manifest = read_manifest(corpus / "test.csv")
    said = [clip.transcript for clip in manifest]
    heard = {(client, name): hear(peer(client), model / name, manifest, 3200) for client, name in (*EXACT, *CLOSE)}
    first = heard["deepspeech", PB]
    rate = word_error_table(said, first).total.rate
    assert rate < 0.2
    assert [heard[pair] for pair in EXACT] == [first] * len(EXACT)
    for pair in CLOSE:
        assert word_error_table(said, heard[pair]).total.rate <= rate + 0.01, pair


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
    snapshot = snapshots.Snapshot(case.geometry, weights, {}, 7, 0.001, 0.9, 0.999)
    snapshots.save(folder, "best_dev-7", snapshot)
    snapshots.write_state(folder, Checkpoint.BEST, ["best_dev-7"])
    case.alphabet.save(folder / ALPHABET)
    return folder


def write_probe(folder: Path, geometry: Geometry) -> Path:
    """A second of the probe, then silence, so that the last window is the same in every client."""
    rate = geometry.audio_sample_rate
    samples = np.concatenate([probe_signal(geometry)[:rate], np.zeros(2 * geometry.window_samples, np.int16)])
    path = folder / "probe.wav"
    path.write_bytes(wav_header(len(samples), rate) + samples.tobytes())
    return path


def compare_formats(peer: Find, case: Case, folder: Path) -> None:
    settings = ExportSettings(
        n_steps=case.n_steps, bytes_output_mode=case.bytes_mode, audio_sample_rate=case.geometry.audio_sample_rate
    )
    model = write_formats(save_checkpoint(folder / "checkpoint", case), folder / "exported", settings)
    wav = write_probe(folder, case.geometry)
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for client, name in (*EXACT, *CLOSE):
        given = ("--model", model / name, "--candidates", 1, "--chunk_samples", 4000, "--beam_width", 20, "--wavs", wav)
        found[client, name] = peer(client).drive("native_client", *given)["clips"][0]
    text, (confidence,) = found["deepspeech", PB]["text"], found["deepspeech", PB]["confidences"]
    assert text
    assert np.isfinite(confidence)
    for pair, clip in found.items():
        assert clip["text"] == clip["streamed"], pair
        if pair[1] == INT8:
            assert clip["confidences"][0] == pytest.approx(confidence, rel=0.25, abs=1), pair
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

    graph = memmapped_file.open_graph(model / PB)
    metadata = {name: graph.constant(name) for name in graph.nodes if name.startswith("metadata_")}
    longer = Alphabet((*ExportedModel.open(model).alphabet.symbols, "é")).serialize()
    metadata["metadata_alphabet"] = np.array([longer], object)
    frozen = model_files.open(model / PB)
    tflite.write(tmp_path / "bad.tflite", frozen.weights, frozen.geometry, metadata, 16, quantize=True)
    for client in ("stt", "deepspeech-tflite"):
        with pytest.raises(PeerFailed, match="cannot load") as failed:
            peer(client).drive("native_client", "--model", tmp_path / "bad.tflite")
        assert failed.value.returncode == 1
