"""The drivers, on models and emissions that are the peers' own: what fails here is not this project's doing."""

import csv
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.peers.environments import Peer, PeerFailed

DECODERS = ("deepspeech", "stt")
Find = Callable[[str], Peer]


@pytest.mark.parametrize("name", DECODERS)
def test_a_certain_path_is_decoded_with_its_timesteps(peer: Find, tmp_path: Path, name: str) -> None:
    path = [0, 3, 1, 1, 3, 1, 2, 3]  # 3 is the blank
    probabilities = np.full([len(path), 4], 0.01)
    probabilities[range(len(path)), path] = 0.97
    np.savez(tmp_path / "certain.npz", clip=probabilities)
    (tmp_path / "alphabet.txt").write_text(" \na\nb\n")
    given = ("--emissions", tmp_path / "certain.npz", "--alphabet", tmp_path / "alphabet.txt")
    [best] = peer(name).drive("ctc_decoder", *given)["results"]["clip"]
    assert (best["text"], best["tokens"]) == (" aab", [0, 1, 1, 2])
    assert best["timesteps"] == sorted(best["timesteps"])
    assert len(best["timesteps"]) == 4


def test_both_reference_decoders_agree(peer: Find, tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(scale=3, size=[70, 4])
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.savez(tmp_path / "random.npz", long=probabilities[:40], short=probabilities[40:])
    (tmp_path / "alphabet.txt").write_text(" \na\nb\n")
    given = ("--emissions", tmp_path / "random.npz", "--alphabet", tmp_path / "alphabet.txt", "--beam_width", 20)
    answers = [peer(name).drive("ctc_decoder", *given, "--num_results", 3)["results"] for name in DECODERS]
    for clip in ("long", "short"):
        first, second = answers[0][clip], answers[1][clip]
        assert len(first) == 3
        confidences = [candidate.pop("confidence") for candidate in first]
        assert confidences == sorted(confidences, reverse=True)
        assert [candidate.pop("confidence") for candidate in second] == pytest.approx(confidences, rel=1e-6)
        assert first == second


@pytest.mark.parametrize("name", DECODERS)
def test_bytes_that_are_no_text_are_replaced(peer: Find, tmp_path: Path, name: str) -> None:
    probabilities = np.full([2, 256], 1e-4)
    probabilities[0, 0xC3 - 1] = probabilities[1, ord("a") - 1] = 0.9  # label = byte - 1; C3 begins a character
    np.savez(tmp_path / "bytes.npz", clip=probabilities)
    found = peer(name).drive("ctc_decoder", "--emissions", tmp_path / "bytes.npz", "--bytes_output_mode")
    assert found["results"]["clip"][0]["text"] == "\ufffda"


def test_a_model_that_does_not_load_is_a_failure_and_not_a_crash(peer: Find, tmp_path: Path) -> None:
    (tmp_path / "garbage.pb").write_bytes(b"no graph")
    with pytest.raises(PeerFailed, match="cannot load") as failed:
        peer("deepspeech").drive("native_client", "--model", tmp_path / "garbage.pb")
    assert failed.value.returncode == 1


def make_corpus(folder: Path) -> Path:
    """Six clips of one second of noise, as a CSV."""
    rng, rows = np.random.default_rng(1), []
    for number in range(6):
        path = folder / f"clip{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(rng.integers(-8000, 8000, 16000, np.int16).tobytes())
        rows.append([path.name, path.stat().st_size, "ab ba"[: 2 + number % 4].strip()])
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["wav_filename", "wav_filesize", "transcript"], *rows])
    return folder / "clips.csv"


@pytest.mark.slow
def test_coqui_trains_and_its_exports_speak_in_every_client(peer: Find, tmp_path: Path) -> None:
    clips = make_corpus(tmp_path)
    (tmp_path / "alphabet.txt").write_text(" \na\nb\n")
    trainer = peer("coqui-training")
    model = ("--checkpoint_dir", tmp_path / "checkpoint", "--n_hidden", 16)
    alphabet = ("--alphabet_config_path", tmp_path / "alphabet.txt")
    sets = ("--train_files", clips, "--dev_files", clips, "--epochs", 2, "--train_batch_size", 2)
    epochs = trainer.drive("coqui_trainer", "train", *model, *alphabet, *sets)["epochs"]
    assert len(epochs) == 2
    assert epochs[1]["dev"][str(clips)] < epochs[0]["dev"][str(clips)]

    evaluated = trainer.drive("coqui_trainer", "evaluate", *model, "--test_files", clips)["clips"]
    npz = ("--npz", tmp_path / "forward.npz")
    computed = trainer.drive("coqui_trainer", "forward", *npz, *model, "--test_files", clips)["clips"]
    losses = {clip["wav_filename"]: clip["loss"] for clip in evaluated}
    assert {clip["wav_filename"]: clip["loss"] for clip in computed} == pytest.approx(losses, rel=1e-5)
    with np.load(tmp_path / "forward.npz") as arrays:
        assert arrays["features_0"].shape == (49, 26)  # (16000 - 512) // 320 + 1
        assert arrays["logits_0"].shape == (49, 4)

    for tflite in ("true", "false"):
        flags = ("--export_dir", tmp_path / "export", "--export_tflite", tflite, "--export_quantize", "false")
        trainer.drive("coqui_trainer", "export", *model, *flags)
    spoken = {}
    for name, file in (("deepspeech", "pb"), ("stt", "tflite"), ("deepspeech-tflite", "tflite")):
        graph = ("--model", tmp_path / "export" / f"output_graph.{file}")
        heard = peer(name).drive("native_client", *graph, "--chunk_samples", 320, "--wavs", *tmp_path.glob("*.wav"))
        assert (heard["sample_rate"], heard["beam_width"]) == (16000, 500)
        assert all(clip["text"] == clip["streamed"] for clip in heard["clips"])
        spoken[name] = {clip["wav"]: clip["text"] for clip in heard["clips"]}
    assert spoken["deepspeech"] == spoken["stt"] == spoken["deepspeech-tflite"]
