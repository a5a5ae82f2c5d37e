"""What a run trains on: mixed sources, caches, sample rates, and what is left out."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.train import loop, outcome, step, validation
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.artifacts import Checkpoint
from speech.clips.audio import wav_header
from speech.clips.manifest import Clip, write_manifest
from speech.clips.sources import read_source
from speech.errors import InputError
from speech.nn import snapshots
from speech.nn.batches import ClipSet
from speech.progress import Progress
from tests.fixtures.tones import speak
from tests.speech.clips.test_sample_database import GOLDEN, SPEECH, TRANSCRIPT, database
from tests.speech.clips.test_webdataset import write_tar

SETTINGS = TrainSettings(n_hidden=16, epochs=1, train_batch_size=4, learning_rate=0.005)


def wav(text: str, rate: int = 16_000) -> bytes:
    samples = speak(text, 1)
    return wav_header(len(samples), rate) + samples.tobytes()


def corpus(folder: Path, texts: list[str]) -> Path:
    """A Corpus folder with one shard."""
    (folder / "shards").mkdir(parents=True)
    clips = []
    with tarfile.open(write_tar(folder / "shards" / "clips-00000.tar", {f"{t}.wav": wav(t) for t in texts})) as archive:
        for member, text in zip(archive.getmembers(), texts, strict=True):
            shard = "shards/clips-00000.tar"
            clips.append(Clip(member.name, member.size, text, 0.5, "", shard, member.offset_data))
    write_manifest(folder / "train.csv", clips[:-1])
    write_manifest(folder / "dev.csv", clips[-1:])
    (folder / "alphabet.txt").write_text(" \na\nb\nc\nd\n")
    (folder / "import_report.json").write_text("{}")
    return folder


def test_all_kinds_of_sources_at_once(tones: Path, tmp_path: Path) -> None:
    rows = [(wav(text), text.encode()) for text in ("ab", "abc")]
    (tmp_path / "x.sdb").write_bytes(database(rows, [SPEECH, TRANSCRIPT]))
    tar = write_tar(tmp_path / "x.tar", {"a.wav": wav("dab"), "a.txt": b"dab", "b.wav": wav("b"), "b.txt": b"b"})
    folder = corpus(tmp_path / "corpus", ["ad", "ca", "bb"])
    sources = [tones / "train.csv", GOLDEN, tmp_path / "x.sdb", tar, folder]
    overlay = (f"overlay[source={tmp_path / 'x.sdb'},snr=20,p=0.5]", f"overlay[source={tar},snr=20,p=0.5]")
    settings = replace(SETTINGS, augment=overlay)
    step.run(settings, sources, [folder, GOLDEN], tmp_path / "c", metrics_sources=[tar])
    sidecar = json.loads((tmp_path / "c" / Checkpoint.MODEL).read_text())
    assert (sidecar["train_clips"], sidecar["dev_clips"]) == (22 + 2 + 2 + 2 + 2, 1 + 2)
    history = json.loads((tmp_path / "c" / Checkpoint.HISTORY).read_text())
    assert history["clips"]["train"]["counts"] == {}
    assert list(history["epochs"][0]["metrics"]) == [str(tar)]
    assert np.isfinite(history["epochs"][0]["train_loss"])


def test_the_alphabet_of_the_data_where_none_is_given(tmp_path: Path) -> None:
    (tmp_path / "x.sdb").write_bytes(database([(wav("ab"), b"ab"), (wav("ad"), b"ad")], [SPEECH, TRANSCRIPT]))
    step.run(replace(SETTINGS, epochs=0), [tmp_path / "x.sdb"], [], tmp_path / "c")
    assert Alphabet.load(tmp_path / "c" / "alphabet.txt").symbols == (" ", "a", "b", "d")


def test_the_cache_changes_nothing_and_is_used(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = ClipSet._read

    def counting(self: ClipSet, position: int):
        reads.append(position)
        return read(self, position)

    monkeypatch.setattr(ClipSet, "_read", counting)
    settings = replace(SETTINGS, epochs=4, feature_cache=str(tmp_path / "cache"), skip_batch_test=True)
    losses = []
    for name, given, expected in (
        ("plain", replace(settings, feature_cache="", augment=("volume[p=0]",)), 4 * 22),
        ("memory", replace(settings, feature_cache=""), 22),
        ("voices", replace(settings, feature_cache="", augment=("voice[p=0]",)), 22),
        ("first", settings, 22),
        ("second", settings, 0),
        ("renewed", replace(settings, cache_for_epochs=2), 2 * 22),
    ):
        reads.clear()
        step.run(given, [tones / "train.csv"], [], tmp_path / name)
        assert len(reads) == expected
        history = json.loads((tmp_path / name / Checkpoint.HISTORY).read_text())
        losses.append([epoch["train_loss"] for epoch in history["epochs"]])
    assert losses[1] == losses[2] == losses[3] == losses[4] == losses[5]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_augmented_features_are_not_cached(tones: Path, tmp_path: Path, capsys) -> None:
    settings = replace(SETTINGS, feature_cache=str(tmp_path / "cache"), augment=("volume",))
    step.run(settings, [tones / "train.csv"], [], tmp_path / "c")
    assert "--feature_cache is not used" in capsys.readouterr().err
    assert not list(tmp_path.glob("cache*"))


def test_other_sample_rates(tmp_path: Path) -> None:
    names = []
    for number, rate in enumerate((16_000, 16_000, 8_000)):
        (tmp_path / f"{number}.wav").write_bytes(wav("ab", rate))
        names.append(Clip(f"{number}.wav", 10_924, "ab"))
    write_manifest(tmp_path / "x.csv", names)
    for flag, counts in ((True, {}), (False, {"another sample rate": 1})):
        given = replace(SETTINGS, normalize_sample_rate=flag, allow_skipped="0.4")
        step.run(given, [tmp_path / "x.csv"], [], tmp_path / str(flag))
        assert json.loads((tmp_path / str(flag) / "history.json").read_text())["clips"]["train"]["counts"] == counts
    assert snapshots.find(tmp_path / "False")


def test_reversed_dev_sets_are_grouped_from_the_long_end(tones: Path, tmp_path: Path) -> None:
    losses = {}
    for reverse in (False, True):
        settings = replace(SETTINGS, dev_batch_size=4, reverse_dev=reverse)
        made = step.run(settings, [tones / "train.csv"], [tones / "dev.csv"], tmp_path / str(reverse))
        losses[reverse] = outcome.headline(made)["best_dev_loss"]
    assert losses[True] != losses[False]
    assert losses[True] == pytest.approx(losses[False], rel=0.5)


@pytest.mark.parametrize("show", [True, False])
def test_the_progress_bar_can_be_switched_off(show: bool, tones: Path, tmp_path: Path, monkeypatch) -> None:
    shown: list[bool] = []

    class Watched(Progress):
        def __init__(self, *arguments, show: bool = True, **named) -> None:
            shown.append(show)
            super().__init__(*arguments, show=show, **named)

    for module in (loop, validation):
        monkeypatch.setattr(module, "Progress", Watched)
    settings = replace(SETTINGS, show_progressbar=show, limit_train=4)
    step.run(settings, [tones / "train.csv"], [tones / "dev.csv"], tmp_path)
    assert shown == [show, show]


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF and no more")
    write_manifest(tmp_path / "x.csv", [Clip("a.wav", 50_000, "ab")])
    with pytest.raises(InputError, match=r"x\.csv: no usable clip \(1 unreadable audio \(a\.wav\)\)"):
        step.run(SETTINGS, [tmp_path / "x.csv"], [], tmp_path / "c")
    assert len(read_source(tmp_path / "x.csv")) == 1


def test_a_corpus_without_dev_clips_in_batches_larger_than_itself(tmp_path: Path, capsys) -> None:
    folder = corpus(tmp_path / "corpus", ["ad", "ca", "bb"])
    write_manifest(folder / "dev.csv", [])
    made = step.run_on_corpus(replace(SETTINGS, train_batch_size=64, early_stop=True), folder, tmp_path / "c")
    assert not (made.folder / Checkpoint.BEST).exists()
    history = json.loads((made.folder / Checkpoint.HISTORY).read_text())
    assert history["epochs"][0]["dev_loss"] is None
    said = capsys.readouterr()
    assert "the corpus has no dev set" in said.err
    assert "--load_checkpoint_dir deepspeech-0.9.3-checkpoint" in said.err
