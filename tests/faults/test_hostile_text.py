"""Whatever stands in a table, a record, a setting, a URI or a key: a value comes of it, or an InputError.

`make test` tries a hundred of each, `make test-faults` thousands (`--hypothesis-profile=faults`).
"""

import contextlib
import dataclasses
import io
import json
import string
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.build_scorer.settings import BuildScorerSettings
from components.convert_openvino.settings import OpenVinoSettings
from components.evaluate.settings import EvaluateSettings
from components.export.settings import ExportSettings
from components.import_cv.plan.planning import source_name, wav_name
from components.import_cv.read.tsv import read_tsv
from components.import_cv.settings import ImportSettings
from components.publish.settings import PublishSettings
from components.train.settings import TrainSettings
from pipelines.cluster import deployment
from speech.alphabet import Alphabet
from speech.artifacts import (
    Clips,
    Corpus,
    CorpusPart,
    Evaluation,
    ExportedModel,
    ExternalScorer,
    IntermediateRepresentation,
)
from speech.augmentation.parsing import parse_augmentation
from speech.clips.audio import parse_wav, wav_header
from speech.clips.manifest import read_manifest
from speech.clips.sample_database import WAV_TYPE, read_sample_database, write_sample_database
from speech.clips.webdataset import read_webdataset
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.checkpoints import sidecar
from speech.settings import parse
from speech.storage.checked_files import sealed
from speech.storage.corpus_uri import parse_corpus, split_corpora
from speech.storage.objects import local_names, of_artifact_store, split_uri

WAV = wav_header(800, 16_000) + bytes(1600)
DIGEST = "0" * 64


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with some pieces replaced, removed, repeated or put in; or something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        odd = st.sampled_from((b"", b"\0", b"\xff" * 8, b"-1", b"1e999", b"NaN", b'"', b"[" * 50, b"9" * 5000, b"\n"))
        data[at : at + length] = draw(odd | st.binary(max_size=12) | st.just(bytes(data[at : at + 2 * length])))
    return bytes(data)


def value_or_refusal(use: Callable[[], object]) -> None:
    """The one property."""
    with contextlib.suppress(InputError):
        use()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


CSV = (
    b"wav_filename,wav_filesize,transcript,duration_s,client_id,shard,offset\n"
    b'a.wav,1644,"one, two",0.1,me,,0\nb.wav,1644,two,0.1,you,shards/train-00000.tar,512\n'
)


@given(damaged(CSV))
def test_csv(scratch: Path, content: bytes) -> None:
    path = scratch / "train.csv"
    path.write_bytes(content)
    value_or_refusal(lambda: read_manifest(path).survey)


@given(damaged(b"client_id\tpath\tsentence\tup_votes\na\t1.mp3\tGood.\t2\nb\t2.mp3\tBad.\t0\n"))
def test_tsv(scratch: Path, content: bytes) -> None:
    path = scratch / "train.tsv"
    path.write_bytes(content)
    value_or_refusal(lambda: list(read_tsv(path, ("path", "sentence"), (("accents", "accent"),))))


@given(damaged("# comment\n \na\nb\n\\#\né\n'\n".encode()))
def test_alphabet(scratch: Path, content: bytes) -> None:
    path = scratch / "alphabet.txt"
    path.write_bytes(content)

    def use() -> None:
        read = Alphabet.load(path)
        assert Alphabet.from_text(read.to_text()) == read

    value_or_refusal(use)


@pytest.fixture(scope="module")
def sample_database(scratch: Path) -> bytes:
    path = scratch / "good.sdb"
    with write_sample_database(path, WAV_TYPE) as add:
        add(WAV, "one")
        add(WAV, "two")
    return path.read_bytes()


@given(st.data())
def test_sample_database(scratch: Path, sample_database: bytes, data: st.DataObject) -> None:
    path = scratch / "damaged.sdb"
    path.write_bytes(data.draw(damaged(sample_database)))
    value_or_refusal(lambda: read_sample_database(path))


@pytest.fixture(scope="module")
def web_dataset() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (("a.wav", WAV), ("a.txt", b"one"), ("n" * 120 + ".wav", WAV), ("n" * 120 + ".txt", b"2")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@given(st.data())
def test_web_dataset(scratch: Path, web_dataset: bytes, data: st.DataObject) -> None:
    path = scratch / "damaged.tar"
    path.write_bytes(data.draw(damaged(web_dataset)))
    value_or_refusal(lambda: read_webdataset(path))


@given(damaged(WAV))
def test_wav(content: bytes) -> None:
    value_or_refusal(lambda: parse_wav(content, "a.wav"))


FILE = {"bytes": 1, "sha256": DIGEST}
GEOMETRY = Geometry(n_hidden=16, n_labels=5).to_dict()
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
RECORDS: dict[str, tuple[str, dict, Callable[[Path], object]]] = {
    "exported model": (
        ExportedModel.MODEL,
        {"geometry": GEOMETRY, "files": {"output_graph.pb": FILE}, "language": "en"},
        lambda folder: (ExportedModel(folder).geometry, ExportedModel(folder).alphabet, ExportedModel.open(folder)),
    ),
    "IR": (
        IntermediateRepresentation.MODEL,
        {"geometry": GEOMETRY, "xml": "output_graph.xml", "files": {"output_graph.xml": FILE}},
        lambda folder: (IntermediateRepresentation(folder).xml, IntermediateRepresentation.open(folder)),
    ),
    "scorer": (
        ExternalScorer.MODEL,
        {"default_alpha": 0.9, "files": {"kenlm.scorer": FILE}},
        lambda folder: ExternalScorer.find(folder),
    ),
    "clips": (
        Clips.SETS,
        {"sets": ["train"], "release": "en", "files": {"train.csv": FILE}},
        lambda folder: (Clips(folder).sets, Clips(folder).has_clips("train"), Clips.open(folder)),
    ),
    "corpus": (
        Corpus.REPORT,
        {"sets": {"train": {}}, "converter": {"version": 1}, "files": {"train.csv": FILE}},
        lambda folder: (Corpus.open(folder), Corpus(folder).check()),
    ),
    "places of clips": (
        Corpus.PLACES,
        {"train": "s3://bucket/train", "dev": "s3://bucket/dev"},
        lambda folder: Corpus(folder).places,
    ),
    "part of a corpus": (
        CorpusPart.PART,
        {"part": 1, "parts": 2, "fingerprint": "x"},
        lambda folder: CorpusPart.open(folder).description,
    ),
    "evaluation": (
        Evaluation.SCORES,
        {"wer": 0.1, "test_clips": 3, "files": {"samples.json": FILE}},
        lambda folder: Evaluation.open(folder).scores,
    ),
    "checkpoint": ("model.json", {"geometry": GEOMETRY}, lambda folder: sidecar(folder / "model.json")),
}


@pytest.mark.parametrize("kind", RECORDS)
@given(st.data())
def test_records(scratch: Path, kind: str, data: st.DataObject) -> None:
    name, good, use = RECORDS[kind]
    folder = scratch / kind
    folder.mkdir(exist_ok=True)
    (folder / "alphabet.txt").write_text(" \na\nb\nc\nd\n")
    if data.draw(st.booleans()):  # a stranger's, whose digest is right
        value = {**good, data.draw(st.sampled_from(sorted(good))): data.draw(JSON_VALUES)}
        content = json.dumps(sealed(value) if data.draw(st.booleans()) else value).encode()
    else:
        content = data.draw(damaged(json.dumps(sealed(good)).encode()))
    (folder / name).write_bytes(content)
    value_or_refusal(lambda: use(folder))


SETTINGS = (
    TrainSettings, ImportSettings, EvaluateSettings, ExportSettings, OpenVinoSettings, PublishSettings,
    BuildScorerSettings,
)  # fmt: skip
ODD = st.sampled_from(
    ("", "-1", "0", "nan", "inf", "-inf", "1e999", "9" * 400, "true", "a,b", "[", "]", ",", "=", "%", "\0", "../x", "é")
) | st.text(max_size=10)


@pytest.mark.parametrize("settings_class", SETTINGS)
@given(st.data())
def test_settings(settings_class: type, data: st.DataObject) -> None:
    names = [field.name for field in dataclasses.fields(settings_class)]
    flags = data.draw(st.lists(st.tuples(st.sampled_from(names), ODD), max_size=3))
    arguments = [f"--{name}={value}" for name, value in flags]
    value_or_refusal(lambda: parse(settings_class, arguments, prog="program", description=""))


@given(st.text(max_size=40) | ODD.map(lambda odd: f"pitch[p=0.1,pitch={odd}~{odd}]") | ODD.map("reverb[{}]".format))
def test_augmentations(specification: str) -> None:
    value_or_refusal(lambda: parse_augmentation(specification))


DEPLOYMENT = (
    b'[steps.default]\ncpu = "2"\nmemory = "4Gi"\nretries = 2\nenv = { A = "b" }\n[steps.train]\ngpus = 1\n'
    b'gpu_type = "nvidia.com/gpu"\n[[steps.train.tolerations]]\nkey = "gpu"\n[s3]\nsecret = "store"\n'
)


@given(damaged(DEPLOYMENT))
def test_deployment(scratch: Path, content: bytes) -> None:
    path = scratch / "deployment.toml"
    path.write_bytes(content)
    value_or_refusal(lambda: deployment.read(path))


URIS = st.sampled_from(
    ("s3://bucket/a/b.tar.gz", "gs://b/k", "https://host/x.zip#sha256=" + DIGEST + "&license=CC0", "minio://b/k?x=y")
)


@given(URIS.flatmap(lambda uri: damaged(uri.encode()).map(lambda data: data.decode("utf-8", "replace"))))
def test_uris(text: str) -> None:
    value_or_refusal(lambda: split_uri(text))
    value_or_refusal(lambda: [parse_corpus(one).name for one in split_corpora(text)])
    value_or_refusal(lambda: of_artifact_store(text))


PARTS = st.sampled_from(("", ".", "..", "a", "b.wav", "\0", "n" * 300, "é", " ", "~", "C:", "a\\b", "\n"))


@given(st.lists(st.lists(PARTS | st.text(string.printable, max_size=4), max_size=4).map("/".join), max_size=4))
def test_object_keys_lead_below_their_folder(scratch: Path, keys: list[str]) -> None:
    def use() -> None:
        for name in local_names("s3://bucket/prefix", keys):
            path = (scratch / name).resolve()
            assert scratch in path.parents
            assert path != scratch

    value_or_refusal(use)


@given(st.text(max_size=30) | st.lists(PARTS, max_size=4).map("/".join))
def test_paths_of_clips_lead_below_their_folder(scratch: Path, path: str) -> None:
    name = source_name(path)
    if name is not None:
        assert scratch in (scratch / wav_name(name)).resolve().parents
