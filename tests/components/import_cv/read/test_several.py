"""Several releases imported as one corpus."""

import shutil
import tarfile
from pathlib import Path

import pytest

from components.import_cv import step
from components.import_cv.settings import ImportSettings
from components.import_cv.write.parts import merge
from speech.artifacts import Corpus
from speech.errors import InputError
from tests.components.import_cv.conftest import Entry, mp3, write_release

BASE, FIRST, SECOND = (
    "cv-corpus-17.0-2024-03-15", "cv-corpus-18.0-delta-2024-06-14", "cv-corpus-19.0-delta-2024-09-13",
)  # fmt: skip


def entry(number: int, sentence: str, client_id: str, seed: int | None = None) -> Entry:
    data = mp3(0.8, seed=number if seed is None else seed)
    return Entry(f"common_voice_cy_{number}.mp3", sentence, data, client_id)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base release and two deltas; one more is packed."""
    folder = tmp_path_factory.mktemp("releases")
    train = [entry(number, f"train word {chr(97 + number)}", f"t{number}") for number in range(4)]
    dev, test = [entry(10, "dev words", "d")], [entry(11, "test words", "s")]
    write_release(folder / BASE / "cy", train=train, dev=dev, test=test, validated=[*train, *dev, *test], other=[])
    validated = [entry(20, "new words", "n"), entry(21, "more words", "s"), entry(0, "corrected words", "t0")]
    write_release(folder / FIRST / "cy", validated=validated, other=[entry(22, "not yet", "n")])
    again = entry(30, "uploaded once more", "m", seed=11)  # the audio of the test clip
    write_release(folder / SECOND / "cy", validated=[again, entry(22, "not yet", "n")], other=[])
    with tarfile.open(folder / f"{SECOND}-cy.tar.gz", "w:gz") as tar:
        tar.add(folder / SECOND / "cy", f"{SECOND}/cy")
    return folder


def transcripts(corpus: Corpus, name: str) -> list[str]:
    return sorted(clip.transcript for clip in corpus.manifest(name).clips)


@pytest.mark.parametrize("packed", [False, True])
def test_a_base_and_two_deltas(releases: Path, tmp_path: Path, packed: bool) -> None:
    second = f"{releases}/{SECOND}-cy.tar.gz" if packed else f"{releases}/{SECOND}/cy"
    uris = [second, f"{releases}/{BASE}/cy", f"{releases}/{FIRST}/cy"]  # the dates order them
    corpus = step.run(ImportSettings(), ",".join(uris), tmp_path / "corpus")
    assert transcripts(corpus, "train") == [
        "corrected words", "new words", "not yet", "train word b", "train word c", "train word d",
    ]  # fmt: skip
    assert (transcripts(corpus, "dev"), transcripts(corpus, "test")) == (["dev words"], ["test words"])
    report = corpus.report
    assert {name: one["count"] for name, one in report["reasons"].items()} == {"repeated_audio": 1}
    assert [origin["date"] for origin in report["origins"]] == ["2024-03-15", "2024-06-14", "2024-09-13"]
    assert report["release"] == " + ".join(f"{name}/cy" for name in (BASE, FIRST, SECOND))
    facts = report["origins"][1]["merged"]
    assert (facts["clips"], facts["to_train"], facts["held_out"], facts["changed_sentences"]) == (3, 1, 1, 1)
    assert [origin["merged"]["imported"] for origin in report["origins"]] == [5, 2, 1]
    page = (corpus.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")
    assert "<h2>Releases</h2>" in page
    assert f"{FIRST}/cy</td><td>2024-06-14" in page
    names = {Path(clip.wav_filename).parts[1] for clip in corpus.manifest("train").clips}
    assert names == {f"{name}-cy" for name in (BASE, FIRST, SECOND)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_partitions_and_another_place_make_the_same_corpus(releases: Path, tmp_path: Path) -> None:
    uris = [f"{releases}/{BASE}/cy", f"{releases}/{FIRST}", f"{releases}/{SECOND}-cy.tar.gz"]
    whole = step.run(ImportSettings(shard_clips=2), ",".join(uris), tmp_path / "whole")
    parts = [tmp_path / "1", tmp_path / "2"]
    for number, folder in enumerate(parts, 1):
        step.run(ImportSettings(shard_clips=2, partition=f"{number}/2"), ",".join(uris), folder)
    made = merge(parts, tmp_path / "merged")
    assert contents(made.folder) == contents(whole.folder)


def test_an_interrupted_import_goes_on(releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.import_cv.convert.journal import Journal

    uris = ",".join([f"{releases}/{BASE}/cy", f"{releases}/{SECOND}-cy.tar.gz"])
    whole = step.run(ImportSettings(shard_clips=2, workers=1), uris, tmp_path / "whole")
    original, seen = Journal.record, []

    def record(journal: Journal, *arguments: object) -> None:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(journal.position)
        original(journal, *arguments)

    monkeypatch.setattr(Journal, "record", record)
    with pytest.raises(KeyboardInterrupt):
        step.run(ImportSettings(shard_clips=2, workers=1), uris, tmp_path / "again")
    monkeypatch.undo()
    again = step.run(ImportSettings(shard_clips=2, workers=1), uris, tmp_path / "again")
    assert seen == [0, 2]
    assert contents(again.folder) == contents(whole.folder)


def test_an_earlier_corpus_of_the_base_is_reused(releases: Path, tmp_path: Path) -> None:
    base = step.run(ImportSettings(), f"{releases}/{BASE}/cy", tmp_path / "base")
    uris = f"{releases}/{BASE}/cy,{releases}/{FIRST}/cy"
    made = step.run(ImportSettings(previous=str(base.folder)), uris, tmp_path / "corpus")
    assert made.report["audio"]["from_previous"] == 6
    assert made.report["audio"]["converted"] == 1


def test_two_corpora_of_one_name_keep_apart(releases: Path, tmp_path: Path) -> None:
    shutil.copytree(releases / BASE, tmp_path / "copy" / BASE)
    uris = f"{releases}/{BASE}/cy,{tmp_path}/copy/{BASE}/cy"
    corpus = step.run(ImportSettings(), uris, tmp_path / "corpus")
    assert len(corpus.manifest("train").clips) == 4
    assert [origin["merged"]["repeated"] for origin in corpus.report["origins"]] == [6, 0]


def test_what_is_wrong_is_told_of_the_release_that_has_it(releases: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="elsewhere: no such folder or archive"):
        step.run(ImportSettings(), f"{releases}/{BASE}/cy,/elsewhere", tmp_path / "corpus")
    with pytest.raises(InputError, match="--audio_dir names the audio of one release"):
        step.run(ImportSettings(audio_dir="/x"), f"{releases}/{BASE}/cy,{releases}/{FIRST}/cy", tmp_path / "corpus")
    deltas = f"{releases}/{FIRST}/cy,{releases}/{SECOND}/cy"
    with pytest.raises(InputError, match=r"no train\.tsv, dev\.tsv, test\.tsv"):
        step.run(ImportSettings(splits="release"), deltas, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
