"""Sources of overlays: CSVs, corpus folders with shards, folders of files, and what cannot be read."""

from pathlib import Path

import numpy as np
import pytest

from speech.artifacts import Corpus
from speech.augmentation.recordings import Recordings, open_recordings
from speech.clips.audio import wav_header
from speech.clips.manifest import Clip, Manifest, write_manifest
from speech.errors import InputError


def wav(value: int, samples: int, rate: int = 16_000) -> bytes:
    return wav_header(samples, rate) + np.full(samples, value, "<i2").tobytes()


def write_wav(path: Path, value: int, samples: int, rate: int = 16_000) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(value, samples, rate))
    return path.name


def values(recordings: Recordings, length: int = 50, count: int = 60) -> set[int]:
    generator = np.random.default_rng(0)
    return {int(value * 32768) for _ in range(count) for value in recordings.stretch(length, generator)}


def test_a_csv_of_deepspeech(tmp_path):
    names = [write_wav(tmp_path / "clips" / f"{number}.wav", number, 100) for number in (1, 2, 3)]
    write_manifest(tmp_path / "noise.csv", [Clip(f"clips/{name}", 244, "a") for name in names])
    assert values(open_recordings(str(tmp_path / "noise.csv"), 16_000)) == {1, 2, 3}


def test_a_csv_with_nothing_but_names(tmp_path):
    write_wav(tmp_path / "a.wav", 7, 100)
    (tmp_path / "noise.csv").write_text(f"wav_filename\n{tmp_path / 'a.wav'}")
    assert values(open_recordings(str(tmp_path / "noise.csv"), 16_000)) == {7}


def test_a_folder_of_audio_files(tmp_path):
    write_wav(tmp_path / "a.wav", 1, 100)
    write_wav(tmp_path / "deep" / "b.WAV", 2, 100)
    (tmp_path / "notes.txt").write_text("no sound")
    assert values(open_recordings(str(tmp_path), 16_000)) == {1, 2}


def test_a_corpus_with_a_shard(tmp_path):
    clips, data = [], b"x" * 512
    for number in (4, 5):
        clips.append(Clip(f"{number}.wav", 244, "a", 0.1, "", "shard.tar", len(data)))
        data += wav(number, 100)
    (tmp_path / "shard.tar").write_bytes(data)
    write_manifest(tmp_path / "train.csv", clips)
    (tmp_path / "alphabet.txt").write_text("a\n")
    (tmp_path / Corpus.REPORT).write_text("{}")
    assert values(open_recordings(str(tmp_path), 16_000)) == {4, 5}


def test_a_prefix_of_the_object_store(tmp_path, s3_bucket):
    from speech.storage.objects import upload_folder

    write_wav(tmp_path / "a.wav", 9, 100)
    (tmp_path / "noise.csv").write_text("wav_filename\na.wav\n")
    upload_folder(tmp_path, f"{s3_bucket}/noise")
    for source in (f"{s3_bucket}/noise", f"{s3_bucket}/noise/", f"{s3_bucket}/noise/noise.csv"):
        assert values(open_recordings(source, 16_000)) == {9}


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 1000])
def test_a_stretch_has_the_length_asked_for(tmp_path, length):
    write_wav(tmp_path / "a.wav", 100, 100)
    stretch = open_recordings(str(tmp_path), 16_000).stretch(length, np.random.default_rng(0))
    assert stretch.shape == (length,)
    assert stretch.dtype == np.float32
    assert (stretch == 100 / 32768).all()


def test_short_recordings_are_taken_whole_and_long_ones_anywhere(tmp_path):
    ramp = np.arange(1000, dtype="<i2")
    (tmp_path / "a.wav").write_bytes(wav_header(1000, 16_000) + ramp.tobytes())
    recordings, generator = open_recordings(str(tmp_path), 16_000), np.random.default_rng(0)
    joined = recordings.stretch(2000, generator) * 32768
    assert np.array_equal(joined, np.concatenate([ramp, ramp]))
    starts = [recordings.stretch(100, generator)[0] * 32768 for _ in range(300)]
    assert min(starts) < 50
    assert max(starts) > 850
    assert max(starts) <= 900


def test_recordings_are_resampled(tmp_path):
    time_s = np.arange(8000) / 8000
    tone = (np.sin(2 * np.pi * 500 * time_s) * 8000).astype("<i2")
    (tmp_path / "a.wav").write_bytes(wav_header(8000, 8000) + tone.tobytes())
    stretch = open_recordings(str(tmp_path), 16_000).stretch(16_000, np.random.default_rng(0))
    assert np.abs(np.fft.rfft(stretch)).argmax() == 500


def test_the_same_draws_give_the_same_stretch_with_and_without_a_cache(tmp_path):
    for number in range(4):
        write_wav(tmp_path / f"{number}.wav", number, 70)
    manifest = Manifest(tmp_path / "files", [Clip(f"{number}.wav", 0, "") for number in range(4)])
    stretches = [
        Recordings(manifest, 16_000, cache_bytes=size).stretch(500, np.random.default_rng(5)) for size in (0, 200, 9999)
    ]
    assert np.array_equal(stretches[0], stretches[1])
    assert np.array_equal(stretches[0], stretches[2])


def test_cached_recordings_are_read_once(tmp_path):
    write_wav(tmp_path / "a.wav", 3, 100)
    recordings = open_recordings(str(tmp_path), 16_000)
    assert values(recordings) == {3}
    (tmp_path / "a.wav").unlink()
    assert values(recordings) == {3}
    assert not recordings.unreadable


def test_unreadable_recordings_are_passed_over_and_named(tmp_path):
    write_wav(tmp_path / "good.wav", 3, 100)
    write_wav(tmp_path / "empty.wav", 3, 0)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    recordings = open_recordings(str(tmp_path), 16_000)
    assert values(recordings) == {3}
    assert set(recordings.unreadable) == {"broken.wav", "empty.wav"}


def test_a_source_without_a_readable_recording_is_an_error(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"none of its 1 recordings can be overlaid: .*broken\.wav"):
        open_recordings(str(tmp_path), 16_000).stretch(10, np.random.default_rng(0))


def test_sources_that_are_none(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "headless.csv").write_text("a,b\n1,2\n")
    (tmp_path / "rowless.csv").write_text("wav_filename\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    for name, message in {
        "nothing.csv": "no such file or folder",
        "empty": "no audio file",
        "headless.csv": "no column wav_filename",
        "rowless.csv": "no recordings",
        "binary.csv": "not a CSV",
    }.items():
        with pytest.raises(InputError, match=message):
            open_recordings(str(tmp_path / name), 16_000)


def test_sample_databases_and_tars(tmp_path):
    from tests.speech.clips.test_sample_database import SPEECH, database
    from tests.speech.clips.test_webdataset import write_tar

    (tmp_path / "noise.sdb").write_bytes(database([(wav(6, 100),), (wav(7, 100),)], [SPEECH]))
    write_tar(tmp_path / "noise.tar", {"a.wav": wav(8, 100), "b.wav": wav(9, 100)})
    assert values(open_recordings(str(tmp_path / "noise.sdb"), 16_000)) == {6, 7}
    assert values(open_recordings(str(tmp_path / "noise.tar"), 16_000)) == {8, 9}
