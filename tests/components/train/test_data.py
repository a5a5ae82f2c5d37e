"""What a training in the pipeline reads, and where it finds it."""

import json
import shutil
from pathlib import Path

import pytest

from components.train.data import TrainingClips
from components.train.outcome import keep_best
from components.train.saving.record import RunRecord
from speech.artifacts import Corpus
from speech.errors import InputError
from speech.storage.objects import upload_folder
from tests.fixtures.clips import as_clips


@pytest.fixture
def clips(tones: Path, tmp_path: Path) -> dict[str, Path]:
    """The artifacts of an import: tables, and the clips of train and dev."""
    folders = {name: as_clips(shutil.copytree(tones, tmp_path / name), name) for name in ("train", "dev")}
    tables = tmp_path / "corpus"
    tables.mkdir()
    for name in ("train.csv", "dev.csv", "alphabet.txt"):
        shutil.copyfile(tones / name, tables / name)
    (tables / Corpus.REPORT).write_text("{}")
    return {"corpus": tables, **folders}


def test_tables_alone_lead_to_the_clips(clips: dict[str, Path], tmp_path: Path, s3_bucket: str) -> None:
    uris = {name: f"minio://{s3_bucket.removeprefix('s3://')}/{name}?endpoint=x" for name in ("train", "dev")}
    (clips["corpus"] / Corpus.PLACES).write_text(json.dumps({**uris, "test": "minio://m/test"}))
    for name in uris:
        upload_folder(clips[name], f"{s3_bucket}/{name}")
    handed = TrainingClips.of_pipeline(clips["train"], uris["train"], clips["dev"], uris["dev"])
    tables = TrainingClips.of_pipeline(clips["corpus"], "minio://m/corpus", clips["corpus"], "minio://m/corpus")
    assert (tables.train_uri, tables.dev_uri) == (uris["train"], uris["dev"])
    assert list(tables.identity()) == list(handed.identity())  # a run finds its checkpoints either way
    fetched = tables.fetched(tmp_path / "scratch")
    assert fetched.train_csv.read_bytes() == handed.train_csv.read_bytes()
    assert len(list(fetched.train.rglob("*.wav"))) == len(list(clips["train"].rglob("*.wav"))) > 0
    assert handed.fetched(tmp_path / "nowhere") is handed


def test_an_empty_dev_set_is_none(clips: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    header = (clips["dev"] / "dev.csv").read_text().splitlines()[0]
    (clips["dev"] / "dev.csv").write_text(f"{header}\n")
    assert TrainingClips.of_pipeline(clips["train"], "", clips["dev"], "").dev_csvs == []
    assert "the corpus has no dev set" in capsys.readouterr().err


def test_unfinished_clips_are_refused(clips: dict[str, Path]) -> None:
    (clips["dev"] / "sets.json").unlink()
    with pytest.raises(InputError, match="not a complete artifact with the clips of a set"):
        TrainingClips.of_pipeline(clips["train"], "", clips["dev"], "")


@pytest.mark.parametrize("best", [True, False])
def test_the_best_bundle_is_kept_and_what_no_state_file_names(tmp_path: Path, best: bool) -> None:
    names = ["best_dev-4", "train-2", "train-6", "release-9"]
    for name in names:
        for ending in ("index", "data-00000-of-00001"):
            (tmp_path / f"{name}.{ending}").write_bytes(b"")
    listed = "".join(f'all_model_checkpoint_paths: "{name}"\n' for name in ("train-2", "train-6"))
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "train-6"\n{listed}')
    RunRecord("key", ["best_dev-4", "train-2", "train-6"]).save(tmp_path)
    if best:
        (tmp_path / "best_dev_checkpoint").write_text('model_checkpoint_path: "best_dev-4"\n')
    keep_best(tmp_path)
    kept = "best_dev-4" if best else "train-6"
    left = {path.stem for path in tmp_path.glob("*.index")}
    assert left == {kept, "release-9"} | (set() if best else {"best_dev-4"})
    assert RunRecord.load(tmp_path) == RunRecord("key", sorted(left - {"release-9"}))  # what is there, and is its own
    for state in ("checkpoint", "best_dev_checkpoint") if best else ("checkpoint",):
        assert (tmp_path / state).read_text().startswith(f'model_checkpoint_path: "{kept}"\n')
