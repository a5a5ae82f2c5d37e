"""The command line: as the peers' importer, as our own, and its errors."""

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from kfp import dsl

from components.import_cv.__main__ import DESCRIPTION, Command, _scratch_folder, run
from components.import_cv.component import import_cv, import_part, merge_corpus
from components.import_cv.settings import ImportSettings
from speech.artifacts import ALL_SETS, SPLITS, Clips, Corpus
from speech.clips.audio import ClipReader, parse_wav
from speech.clips.manifest import read_manifest
from speech.errors import InputError
from speech.settings import parse
from speech.storage.objects import upload_folder
from speech.tracking.tracking_settings import TrackingSettings

from .conftest import Entry, write_release

MakeRelease = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def call(*argv: str) -> None:
    run(parse(Command, argv, prog="import_cv", description=DESCRIPTION))


def peer_rows(path: Path) -> list[tuple[str, int, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["wav_filename"], int(row["wav_filesize"]), row["transcript"]) for row in csv.DictReader(file)]


def test_as_the_peers_importer(make_release: MakeRelease, tmp_path: Path) -> None:
    release = make_release(train=4)
    (release / "validated.tsv").write_bytes((release / "train.tsv").read_bytes())
    mp3s = {path.name: path.read_bytes() for path in (release / "clips").iterdir()}
    call(str(release))
    clips = release / "clips"
    assert {path.name: path.read_bytes() for path in clips.glob("*.mp3")} == mp3s
    assert {path.stem for path in clips.glob("*.csv")} - {"import_index"} == set(ALL_SETS) - {"other"}
    for name, size, _ in peer_rows(clips / "train.csv"):
        data = (clips / name).read_bytes()
        assert len(data) == size
        assert parse_wav(data, name)[1] == 16000
    assert [row[0] for row in peer_rows(clips / "train.csv")] == [f"clip_{n:05d}.wav" for n in range(4)]
    assert peer_rows(clips / "train-all.csv") == peer_rows(clips / "train.csv")
    assert Corpus.open(clips).report["sets"]["train"]["clips"] == 4
    before = {path.name: path.read_bytes() for path in clips.iterdir()}
    call(str(release))
    assert {path.name: path.read_bytes() for path in clips.iterdir()} == before


def test_the_peers_flags(tmp_path: Path, clips: list[bytes]) -> None:
    entries = [Entry("a.mp3", "Café", clips[0]), Entry("b.mp3", "Zebra", clips[1])]
    release = write_release(tmp_path / "xx", train=entries)
    (release / "clips").rename(tmp_path / "elsewhere")
    (tmp_path / "alphabet.txt").write_text(" \na\nc\ne\nf\n")
    (tmp_path / "rules.py").write_text("def validate_label(label):\n    return label.lower()\n")
    call(
        "--filter_alphabet", str(tmp_path / "alphabet.txt"), "--audio_dir", str(tmp_path / "elsewhere"), "--normalize",
        "--validate_label_locale", str(tmp_path / "rules.py"), "--space_after_every_character", str(release),
    )  # fmt: skip
    assert [row[2] for row in peer_rows(tmp_path / "elsewhere/train.csv")] == ["c a f e"]
    assert (tmp_path / "elsewhere/a.wav").is_file()
    assert not list(release.glob("*.csv"))


def test_the_peers_rules_are_those_of_the_peers_command(tmp_path: Path, clips: list[bytes]) -> None:
    entries = [Entry("a.mp3", "It’s a “mid-day” rule…", clips[0]), Entry("b.mp3", "Fish, I say!", clips[1])]
    release = write_release(tmp_path / "xx", train=entries)
    call(str(release))
    assert [row[2] for row in peer_rows(release / "clips/train.csv")] == ["it’s a “mid day” rule…", "fish i say"]
    assert Corpus.open(release / "clips").report["rules"] is None
    call(str(release), "--sets", "train", "--corpus_dir", str(tmp_path / "corpus"))
    made = Corpus.open(tmp_path / "corpus")
    assert [clip.transcript for clip in made.manifest("train")] == ["it's a mid day rule", "fish i say"]
    assert {rule["name"]: rule["rows"] for rule in made.report["rules"]["rules"] if rule["rows"]} == {
        "quotation": 1, "dashes": 1, "punctuation": 2, "apostrophes": 1, "case": 2,
    }  # fmt: skip
    assert "It’s a mid day rule" in (made.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")


def test_wav_sources_beside_the_output_are_not_overwritten(tmp_path: Path, clips: list[bytes]) -> None:
    release = write_release(tmp_path / "xx", train=[Entry("a.wav", "One.", clips[0]), Entry("b.mp3", "Two.", clips[1])])
    call(str(release))
    assert (release / "clips/a.wav").read_bytes() == clips[0]
    assert [row[0] for row in peer_rows(release / "clips/train.csv")] == ["b.wav"]
    corpus = tmp_path / "corpus"
    call(str(release), "--corpus_dir", str(corpus), "--sets", "train", "--layout", "clips")
    assert [row[0] for row in peer_rows(corpus / "train.csv")] == ["clips/a.wav", "clips/b.wav"]
    # the corpus may be the release's own folder: WAV files then lie beside the MP3s
    call(str(release), "--corpus_dir", str(release), "--sets", "train", "--layout", "clips")
    assert (release / "clips/a.wav").read_bytes() == clips[0]
    assert (release / "clips/b.mp3").read_bytes() == clips[1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no release given"),
        (["--merge", "a", "b"], "--merge takes the parts and --corpus_dir"),
        (["{release}", "--merge", "a", "--corpus_dir", "c"], "--merge takes the parts and --corpus_dir"),
        (["s3://bucket/cv.tar.gz"], "--corpus_dir is missing"),
        (["{release}", "--partition", "1/2"], "they need --corpus_dir"),
        (["{release}", "--layout", "shards"], "they need --corpus_dir"),
        (["{release}", "--partition", "3/2"], "--partition '3/2' is not allowed"),
        (["{release}", "--partition", "0/2"], "--partition '0/2' is not allowed"),
        (["{release}", "--sets", "train", "tests", "--corpus_dir", "c"], "--sets 'tests' is not allowed"),
        (["{release}", "--max_duration_s", "0"], "--max_duration_s 0.0 is not allowed"),
        (["{release}", "--workers", "-1"], "--workers -1 is not allowed"),
        (["{release}", "--layout", "folders"], "--layout 'folders' is not allowed"),
        (["{release}", "--audio_sample_rate", "16"], "--audio_sample_rate 16 is not allowed"),
        (["{release}", "--filter_alphabt", "x"], "did you mean --filter_alphabet"),
    ],
)
def test_wrong_command_lines(make_release: MakeRelease, argv: list[str], message: str) -> None:
    release = make_release()
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        call(*(argument.format(release=release) for argument in argv))


def test_defaults_of_the_two_forms() -> None:
    assert Command(tsv_dir="x").settings.sets == ALL_SETS
    assert Command(tsv_dir="x").settings.layout == "clips"
    assert Command(tsv_dir="x", corpus_dir="y").settings == ImportSettings(sets=SPLITS, layout="shards")


def test_the_components_repeat_the_settings() -> None:
    settings, tracking = ImportSettings(), TrackingSettings()
    for component in (import_cv, import_part):
        for name, given in component.component_spec.inputs.items():
            if name in ("corpus_uri", "corpus_revision", "extra_flags"):
                assert given.default == ""
            elif name in ("sets", "train_sets"):
                assert tuple(given.default.split()) == getattr(settings, name)
            elif name != "partition":
                assert given.default == getattr(tracking if hasattr(tracking, name) else settings, name), name
    assert set(merge_corpus.component_spec.inputs) == {"parts"}


class Handed:
    """The outputs of a component that imports."""

    def __init__(self, folder: Path) -> None:
        self.corpus, self.train_clips, self.dev_clips, self.test_clips = (
            dsl.Dataset(name=name, uri=str(folder / name))
            for name in ("corpus", "train_clips", "dev_clips", "test_clips")
        )
        self.report = dsl.HTML(name="report", uri=str(folder / "report"))


def test_what_one_imports_is_what_several_import_and_one_merges(make_release: MakeRelease, tmp_path: Path) -> None:
    flags = {"corpus_uri": str(make_release(train=9)), "extra_flags": "--workers 1 --shard_clips 4"}
    alone, merged, parts = Handed(tmp_path / "alone"), Handed(tmp_path / "merged"), []
    for folder in (tmp_path / "alone", tmp_path / "merged"):
        folder.mkdir()
    import_cv.python_func(**vars(alone), **flags)
    for number in (1, 2):
        parts.append(dsl.Dataset(name="part", uri=str(tmp_path / f"part{number}")))
        import_part.python_func(parts[-1], partition=f"{number}/2", **flags)
    merge_corpus.python_func(parts, **vars(merged))
    for name, one in vars(alone).items():
        other = getattr(merged, name)
        if name == "report":
            assert "Import of" in Path(other.path).read_text()
            continue
        assert one.metadata.keys() == other.metadata.keys()
        files, others = contents(Path(one.path)), contents(Path(other.path))
        places = files.pop("places.json", b""), others.pop("places.json", b"")
        assert [text.replace(b"/alone/", b"/merged/") for text in places[:1]] == list(places[1:])
        assert files == others
    assert (merged.corpus.metadata["train_clips"], merged.corpus.metadata["test_refused"]) == (9, 0)


def test_each_reader_gets_what_it_needs_and_no_more(make_release: MakeRelease, tmp_path: Path) -> None:
    made = Handed(tmp_path)
    import_cv.python_func(**vars(made), corpus_uri=str(make_release()), sets="train dev test")
    assert sorted(contents(Path(made.corpus.path))) == [
        "alphabet.txt", "dev.csv", "import_index.csv", "import_report.html", "import_report.json", "places.json",
        "test.csv", "train.csv",
    ]  # fmt: skip
    for name in ("train", "dev", "test"):
        folder = Path(getattr(made, f"{name}_clips").path)
        assert set(contents(folder)) == {"alphabet.txt", "sets.json", f"shards/{name}-00000.tar", f"{name}.csv"}
        manifest = read_manifest(Clips.open(folder).csv(name))
        reader = ClipReader(manifest, 16000)
        assert all(len(reader.samples(clip)) for clip in manifest)


def test_a_clip_of_two_sets_is_handed_to_the_readers_of_both(make_release: MakeRelease, tmp_path: Path) -> None:
    release, made = make_release(), Handed(tmp_path)
    (release / "test.tsv").write_text((release / "train.tsv").read_text())
    import_cv.python_func(**vars(made), corpus_uri=str(release))
    manifest = read_manifest(Path(made.test_clips.path) / "test.csv")
    assert {clip.shard for clip in manifest} == {"shards/train-00000.tar"}
    assert all(len(ClipReader(manifest, 16000).samples(clip)) for clip in manifest)


def test_unchanged_clips_are_taken_from_a_corpus_that_was_handed_on(
    make_release: MakeRelease, tmp_path: Path, s3_bucket: str
) -> None:
    release, first, again = str(make_release()), Handed(tmp_path), Handed(tmp_path / "again")
    (tmp_path / "again").mkdir()
    for name, one in vars(first).items():
        one.uri = f"minio://{s3_bucket.removeprefix('s3://')}/{name}"
        one.path = str(tmp_path / name)
    import_cv.python_func(**vars(first), corpus_uri=release)
    for name in ("corpus", "train_clips", "dev_clips", "test_clips"):
        upload_folder(tmp_path / name, f"{s3_bucket}/{name}")
    import_cv.python_func(**vars(again), corpus_uri=release, previous=f"{s3_bucket}/corpus")
    assert Corpus.open(again.corpus.path).report["audio"]["converted"] == 0


FOREIGN = {
    "train.csv": "wav_filename,wav_filesize,transcript\nmine.wav,1,mine\n",
    "other.csv": "wav_filename,wav_filesize,transcript\nmine.wav,1,mine\n",  # of a set that is not imported
    "alphabet.txt": "# mine\n \nz\n",
    "import_report.html": "mine",
    "clips/clip_00001.wav": "mine",
    "clips/mine.wav": "mine",
    "shards/train-00000.tar": "mine",
    "shards/clips-00000.tar": "mine",  # as earlier versions named theirs
    "shards/train-00007.tar": "mine",
}


@pytest.mark.parametrize("layout", ["shards", "clips"])
def test_files_of_others_stay_byte_for_byte(make_release: MakeRelease, tmp_path: Path, layout: str) -> None:
    """Files with the names of an import's stop it before its work; all others lie there unharmed, also after reruns."""
    written = {
        "shards": {"train.csv", "alphabet.txt", "import_report.html", "shards/train-00000.tar"},
        "clips": {"train.csv", "alphabet.txt", "import_report.html", "clips/clip_00001.wav"},
    }[layout]
    corpus, release = tmp_path / "corpus", make_release(train=4)
    given = [str(release), "--corpus_dir", str(corpus), "--sets", "train", "--layout", layout]
    for name, text in FOREIGN.items():
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_text(text)
    left = dict(FOREIGN)
    for name in sorted(written):
        with pytest.raises(InputError, match="would be replaced, but no record there says that this step wrote it"):
            call(*given)
        found = {path.relative_to(corpus).as_posix(): path for path in corpus.rglob("*") if path.is_file()}
        assert {name: path.read_text() for name, path in found.items()} == left
        del left[name]
        (corpus / name).unlink()
    others = set(FOREIGN) - written
    for again in range(3):
        call(*given, *(["--max_duration_s", "9"] if again else []))
        assert {name: (corpus / name).read_text() for name in others} == {name: FOREIGN[name] for name in others}
    assert not list(corpus.glob(".*"))


def test_an_alphabet_with_the_same_symbols_stays_and_serves(make_release: MakeRelease, tmp_path: Path) -> None:
    text = "# by hand\n" + "".join(f"{letter}\n" for letter in " abcdefghijklmnopqrstuvwxyz'")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/alphabet.txt").write_text(text)
    flags = ["--sets", "train", "--filter_alphabet", str(tmp_path / "corpus/alphabet.txt")]
    for _ in range(2):
        call(str(make_release(train=3)), "--corpus_dir", str(tmp_path / "corpus"), *flags)
        assert (tmp_path / "corpus/alphabet.txt").read_text() == text
    assert Corpus.open(tmp_path / "corpus").report["alphabet"]["found"] is True


def test_sets_of_an_earlier_import_go(make_release: MakeRelease, tmp_path: Path) -> None:
    release = make_release(train=3, dev=2)
    call(str(release), "--corpus_dir", str(tmp_path / "corpus"), "--sets", "train", "dev", "--layout", "clips")
    assert len(list((tmp_path / "corpus/clips").iterdir())) > 3
    call(str(release), "--corpus_dir", str(tmp_path / "corpus"), "--sets", "train")
    names = {path.name for path in (tmp_path / "corpus").iterdir()}
    assert "dev.csv" not in names
    assert not list((tmp_path / "corpus").glob("clips/*"))


def test_a_temporary_folder_that_others_can_reach_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_bucket: str, make_release: MakeRelease
) -> None:
    """Its name can be guessed: what somebody laid there in advance would be uploaded as a corpus, or overwritten."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    uri = f"{s3_bucket}/corpus"
    folder = _scratch_folder(uri)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert _scratch_folder(uri) == folder  # an interrupted import goes on
    folder.chmod(0o777)
    with pytest.raises(InputError, match="for itself alone"):
        call(str(make_release()), "--corpus_dir", uri)
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="for itself alone"):
        call(str(make_release()), "--corpus_dir", uri)
    assert not any((tmp_path / "elsewhere").iterdir())
