"""Which clips of other.tsv a model heard as they are written."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.import_cv import step
from components.import_cv.plan.reasons import Reason
from components.import_cv.read.heard import Hearings
from components.import_cv.settings import ImportSettings
from speech.artifacts import Corpus
from speech.errors import InputError
from tests.components.import_cv.conftest import Entry, mp3, write_release


def sample(name: str, transcript: str, cer: float, loss: float | None) -> dict[str, Any]:
    return {"wav_filename": name, "src": transcript, "res": "", "cer": cer, "loss": loss}


def write(path: Path, samples: object) -> Path:
    path.write_text(json.dumps(samples), encoding="utf-8")
    return path


def test_what_is_heard_about_as_it_is_written_is_kept(tmp_path: Path) -> None:
    samples = [
        sample("clips/good.wav", "open the door", 0.2, 13.0),
        sample("clips/bad.wav", "open the door", 0.6, 13.0),
        sample("clips/lost.wav", "open the door", 0.0, 65.0),
        sample("clips/unwritable.wav", "open the door", 0.0, None),
        sample("one/twice.wav", "open the door", 0.9, 13.0),
        sample("two/twice.wav", "open the door", 0.0, 13.0),
    ]
    path = write(tmp_path / "samples.json", samples)

    def reason(clip: str, text: str = "open the door", max_loss: float = 4.0) -> Reason:
        return Hearings.read(path, "samples.json", 0.5, max_loss).reason(clip, text)

    assert reason("good.mp3") is Reason.ACCEPTED
    assert reason("release/good.mp3", "Open the door!") is Reason.ACCEPTED
    assert reason("good.mp3", "open a window") is Reason.UNHEARD  # the sentence has changed since
    assert reason("new.mp3") is Reason.UNHEARD
    assert reason("bad.mp3") is Reason.MISHEARD
    assert reason("lost.mp3") is Reason.MISHEARD
    assert reason("unwritable.mp3") is Reason.MISHEARD
    assert reason("lost.mp3", max_loss=0.0) is Reason.ACCEPTED
    assert reason("twice.mp3") is Reason.MISHEARD


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "samples.json: not readable as JSON"),
        ('{"wer": 0.1}', "samples.json: sample 0: without a usable wav_filename, src, cer, loss"),
        ('[{"wav_filename": "a.wav", "src": "a", "cer": "NaN", "loss": 1}]', "not a number"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "samples.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Hearings.read(path, "samples.json", 0.5, 0.0)
    with pytest.raises(InputError, match="no such file: expected the samples.json"):
        Hearings.read(tmp_path / "absent", "absent", 0.5, 0.0)


def test_an_import_leaves_out_what_was_misheard(tmp_path: Path) -> None:
    clips = [mp3(1.0, 16000, seed) for seed in range(3)]
    own = [Entry(f"t{number}.mp3", f"words of {'abcdefgh'[number]}", clips[0], f"t{number}") for number in range(8)]
    other = [Entry(f"o{number}.mp3", f"more of {'abc'[number]}", clips[number], f"o{number}") for number in range(3)]
    tables = {"train": own[:4], "dev": own[4:6], "test": own[6:]}
    release = write_release(tmp_path / "xx", **tables, validated=own, other=other)
    samples = [sample("clips/o0.wav", "more of a", 0.1, 1.0), sample("clips/o1.wav", "more of b", 1.0, 1.0)]
    heard = write(tmp_path / "samples.json", samples)
    settings = ImportSettings(train_sets=("train", "other"), splits="release", other_heard=str(heard))
    corpus = step.run(settings, str(release), tmp_path / "corpus")
    names = {clip.wav_filename for clip in corpus.manifest("train")}
    assert names == {*(f"clips/t{number}.wav" for number in range(4)), "clips/o0.wav"}
    counted = corpus.report["sets"]["train"]["tables"]["other"]
    assert counted["left_out"] == {"misheard": 1, "unheard": 1}
    assert "heard something else" in (corpus.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")


def test_it_filters_other_alone() -> None:
    with pytest.raises(InputError, match="other_heard"):
        ImportSettings(other_heard="samples.json")
