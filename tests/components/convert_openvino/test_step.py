"""The step: files, their description, the guard of the accuracy, and nothing half-written."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.convert_openvino import step
from components.convert_openvino.settings import OpenVinoSettings
from speech import model_files
from speech.artifacts import ExportedModel, IntermediateRepresentation, describe_files, write_sidecar
from speech.clips.manifest import Clip, write_manifest
from speech.decoding.greedy import best_path
from speech.errors import InputError
from speech.features.mfcc import mfcc
from speech.features.streaming import context_windows
from speech.geometry import Geometry
from speech.ir.runner import IrRunner, core
from speech.storage.files import sha256
from speech.storage.objects import upload_file
from tests.components.convert_openvino.conftest import GEOMETRY
from tests.components.convert_openvino.models import (
    ALPHABET,
    chirp,
    make_weights,
    reference,
    write_frozen,
    write_wav,
)


def expected_emissions(samples: np.ndarray, geometry: Geometry = GEOMETRY) -> np.ndarray:
    zeros = np.zeros((1, geometry.n_hidden))
    windows = context_windows(mfcc(samples, geometry), geometry)[np.newaxis]
    return reference(make_weights(geometry), geometry, windows, zeros, zeros)[0][:, 0]


def heard_by_the_model(samples: np.ndarray) -> str:
    return best_path(expected_emissions(samples), ALPHABET)


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """A dev set with the transcripts that the float32 model hears: it scores a WER of 0."""
    clips = []
    for number in range(4):
        samples = chirp(2.0 + 0.3 * number, seed=number)
        path = write_wav(tmp_path / f"{number}.wav", samples)
        clips.append(Clip(path.name, path.stat().st_size, heard_by_the_model(samples)))
    assert sum(len(clip.transcript.split()) for clip in clips) > 4
    write_manifest(tmp_path / "dev.csv", clips)
    return tmp_path / "dev.csv"


@pytest.mark.parametrize("name", [ExportedModel.FROZEN, ExportedModel.MAPPED])
def test_a_flipped_bit(name: str, frozen: Path, mapped: Path, tmp_path: Path) -> None:
    """It changes no size, and is converted as little as a file cut short."""
    model = Path(shutil.copytree(frozen.parent, tmp_path / "model"))
    names = [ExportedModel.FROZEN, ExportedModel.MAPPED]
    write_sidecar(model, ExportedModel.MODEL, {"geometry": GEOMETRY.to_dict(), "files": describe_files(model, names)})
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        step.run(OpenVinoSettings(), str(model / name), tmp_path / "ir")
    assert not (tmp_path / "ir").exists()


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
def test_files_and_their_description(frozen: Path, tmp_path: Path, precision: str) -> None:
    settings = OpenVinoSettings(precision=precision, stateful=True, with_features=True)
    made = step.run(settings, str(frozen), tmp_path / "ir")
    forms = ("output_graph", "output_graph_stateful", "output_graph_audio")
    files = {f"{form}{ending}" for form in forms for ending in (".xml", ".bin")} | {"alphabet.txt"}
    assert {path.name for path in made.folder.iterdir()} == files | {"openvino.json"}
    assert set(made.sidecar["files"]) == files
    for name, recorded in made.sidecar["files"].items():
        assert recorded == {"bytes": (made.folder / name).stat().st_size, "sha256": sha256(made.folder / name)}
    assert (made.geometry, made.alphabet) == (GEOMETRY, ALPHABET)
    assert made.xml == made.folder / "output_graph.xml"
    assert made.sidecar["settings"]["precision"] == precision
    assert made.sidecar["converted_from"] == "output_graph.pb"

    samples = chirp(1.5)
    expected = expected_emissions(samples)
    for form in forms:
        (emissions,) = IrRunner(model_files.open(made.folder / f"{form}.xml"), precision="f32").emissions([samples])
        assert emissions.shape == expected.shape
        assert np.abs(emissions - expected).max() < {"f32": 2e-5, "f16": 2e-3, "int8": 5e-2}[precision]


def test_smaller_weights_make_smaller_files(wide: Path, tmp_path: Path) -> None:
    size = {}
    for precision in ("f32", "f16", "int8"):
        made = step.run(OpenVinoSettings(precision=precision), str(wide), tmp_path / precision)
        size[precision] = (made.folder / "output_graph.bin").stat().st_size
    assert size["f16"] < 0.51 * size["f32"]
    assert size["int8"] < 0.28 * size["f32"]


def test_an_ir_alone_knows_its_geometry_and_alphabet(frozen: Path, tmp_path: Path) -> None:
    made = step.run(OpenVinoSettings(), str(frozen), tmp_path / "ir")
    (made.folder / "alphabet.txt").unlink()
    (made.folder / "openvino.json").unlink()
    model = model_files.open(made.folder / "output_graph.xml")
    assert (model.geometry, model.alphabet, model.metadata["precision"]) == (GEOMETRY, ALPHABET, "f16")
    network = core().read_model(made.folder / "output_graph.xml")
    assert json.loads(network.get_rt_info(["speechmill", "settings"]).astype(str))["precision"] == "f16"


@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_the_same_model_gives_the_same_files(frozen: Path, tmp_path: Path, precision: str) -> None:
    settings = OpenVinoSettings(precision=precision, stateful=True, with_features=True)
    first, second = (step.run(settings, str(frozen), tmp_path / name) for name in "ab")
    assert first.sidecar == second.sidecar


def test_form_and_name(frozen: Path, tmp_path: Path) -> None:
    settings = OpenVinoSettings(model_name="small", n_steps=16)
    made = step.run(settings, str(frozen), tmp_path)
    assert IntermediateRepresentation.open(tmp_path).xml == tmp_path / "small.xml"
    assert str(core().read_model(made.xml).input("input_node").get_partial_shape()) == "[1,16,19,26]"
    free = step.run(OpenVinoSettings(batch=0), str(frozen), tmp_path / "free")
    assert str(core().read_model(free.xml).input("input_node").get_partial_shape()) == "[?,?,19,26]"


def test_converting_again_replaces_what_was_there(frozen: Path, tmp_path: Path) -> None:
    step.run(OpenVinoSettings(precision="f32", stateful=True), str(frozen), tmp_path)
    first = (tmp_path / "output_graph.bin").stat().st_size
    step.run(OpenVinoSettings(precision="int8"), str(frozen), tmp_path)
    assert (tmp_path / "output_graph.bin").stat().st_size < first / 2
    assert IntermediateRepresentation.open(tmp_path).sidecar["settings"]["precision"] == "int8"
    assert not list(tmp_path.glob("*_stateful*"))


def test_accuracy_is_measured_on_the_dev_set(frozen: Path, dev: Path, tmp_path: Path) -> None:
    settings = OpenVinoSettings(stateful=True, max_wer_increase=100)
    metrics = step.run(settings, str(frozen), tmp_path / "ir", [str(dev)]).sidecar["metrics"]
    assert metrics["dev_wer_float32"] == 0
    assert metrics["dev_clips"] == 4
    assert 0 <= metrics["dev_wer"] <= 1
    assert 0 <= metrics["dev_wer_stateful"] <= 1


def test_accuracy_of_a_form_that_takes_several_utterances(frozen: Path, dev: Path, tmp_path: Path) -> None:
    settings = OpenVinoSettings(batch=4, max_wer_increase=100)
    made = step.run(settings, str(frozen), tmp_path / "ir", [str(dev)])
    single = step.run(replace(settings, batch=1), str(frozen), tmp_path / "single", [str(dev)])
    assert made.sidecar["metrics"]["dev_wer"] == single.sidecar["metrics"]["dev_wer"]
    assert len(list(made.folder.iterdir())) == 4


def test_without_a_dev_set_it_says_so(frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = step.run(OpenVinoSettings(), str(frozen), tmp_path / "ir").sidecar["metrics"]
    assert "not measured" in capsys.readouterr().out
    assert set(metrics) == {"megabytes"}


def test_an_ir_that_loses_too_much_is_refused(dev: Path, tmp_path: Path) -> None:
    """One enormous weight a row, on a unit that is never active: float32 does not notice, int8 has no room left."""
    weights = make_weights(GEOMETRY)
    weights["layer_1/bias"][0] = -1e6
    weights["layer_2/weights"][0] = 1e5
    graph = write_frozen(tmp_path / "graph.pb", weights, GEOMETRY)
    (tmp_path / "ir").mkdir()
    with pytest.raises(InputError, match="max_wer_increase allows 0.5"):
        # The dev set's transcripts are another model's: what counts is the increase.
        step.run(OpenVinoSettings(precision="int8"), str(graph), tmp_path / "ir", [str(relabelled(dev, graph))])
    assert list((tmp_path / "ir").iterdir()) == []
    made = step.run(OpenVinoSettings(precision="f32"), str(graph), tmp_path / "ir", [str(dev)])
    assert made.xml.is_file()


def relabelled(dev: Path, graph: Path) -> Path:
    """The dev set with the transcripts that the float32 IR of `graph` hears."""
    from speech.clips.audio import ClipReader
    from speech.clips.manifest import read_manifest

    made = step.run(OpenVinoSettings(precision="f32"), str(graph), dev.parent / "labels")
    runner, manifest = IrRunner(model_files.open(made.xml), precision="f32"), read_manifest(dev)
    reader = ClipReader(manifest, 16_000)
    texts = [best_path(runner.emissions([reader.samples(clip)])[0], ALPHABET) for clip in manifest]
    clips = [replace(clip, transcript=text) for clip, text in zip(manifest, texts, strict=True)]
    write_manifest(dev.with_name("relabelled.csv"), clips)
    return dev.with_name("relabelled.csv")


def test_the_dev_set_can_be_sampled(frozen: Path, dev: Path, tmp_path: Path) -> None:
    settings = OpenVinoSettings(limit_dev=2, max_wer_increase=100)
    assert step.run(settings, str(frozen), tmp_path / "ir", [str(dev)]).sidecar["metrics"]["dev_clips"] == 2


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: folder.write_text("x"), "it is a file"),
        (
            lambda folder: (folder.mkdir(), (folder / "openvino.json").write_text("{}")),
            "openvino.json would be replaced",
        ),
        (lambda folder: (folder.mkdir(), (folder / "output_graph.bin").touch()), "output_graph.bin would be replaced"),
    ],
)
def test_folders_that_cannot_take_an_ir(
    frozen: Path, tmp_path: Path, prepare: Callable[[Path], object], message: str
) -> None:
    prepare(tmp_path / "taken")
    with pytest.raises(InputError, match=message):
        step.run(OpenVinoSettings(), str(frozen), tmp_path / "taken")


def test_beside_the_exported_model_that_it_is_made_of(frozen: Path, tmp_path: Path) -> None:
    """As the guide says: export, then convert in the same folder; and any of the two again."""
    shutil.copy(frozen, tmp_path / ExportedModel.FROZEN)
    ALPHABET.save(tmp_path / "alphabet.txt")
    files = describe_files(tmp_path, [ExportedModel.FROZEN, "alphabet.txt"])
    write_sidecar(tmp_path, ExportedModel.MODEL, {"geometry": GEOMETRY.to_dict(), "n_steps": 16, "files": files})
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    for precision in ("f32", "int8"):
        made = step.run(OpenVinoSettings(precision=precision), str(tmp_path), tmp_path)
        assert made.sidecar["settings"]["precision"] == precision
        assert (made.alphabet, made.geometry) == (ALPHABET, GEOMETRY)
        assert ExportedModel.open(tmp_path).alphabet == ALPHABET
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before


def test_an_ir_of_an_earlier_version(frozen: Path, tmp_path: Path) -> None:
    """Its sidecar was called model.json; it opens, and converting again takes its place."""
    made = step.run(OpenVinoSettings(precision="f32", stateful=True), str(frozen), tmp_path)
    made.sidecar_path.rename(tmp_path / "model.json")
    assert IntermediateRepresentation.open(tmp_path).sidecar["settings"]["precision"] == "f32"
    step.run(OpenVinoSettings(), str(frozen), tmp_path)
    names = {"output_graph.xml", "output_graph.bin", "alphabet.txt", "openvino.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_failure_leaves_nothing(frozen: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such CSV"):
        step.run(OpenVinoSettings(), str(frozen), tmp_path / "ir", [str(tmp_path / "missing.csv")])
    assert not any((tmp_path / "ir").iterdir())
    with pytest.raises(InputError):
        step.run(OpenVinoSettings(), str(tmp_path / "missing.pb"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_models_in_an_object_store(frozen: Path, tmp_path: Path, s3_bucket: str) -> None:
    upload_file(frozen, f"{s3_bucket}/models/output_graph.pb")
    for uri in (f"{s3_bucket}/models/output_graph.pb", f"{s3_bucket}/models"):
        made = step.run(OpenVinoSettings(), uri, tmp_path / uri.replace("/", "_"))
        assert made.geometry == GEOMETRY
    with pytest.raises(InputError, match="no such object"):
        step.run(OpenVinoSettings(), f"{s3_bucket}/models/missing.pb", tmp_path / "missing")


def test_a_full_disk_is_worth_another_attempt(frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO says that it could not write, but not why."""
    place = shutil.disk_usage(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Check 'bin_file' failed at serialize.cpp:94")

    monkeypatch.setattr("openvino.save_model", refuse)
    with pytest.raises(InputError, match="OpenVINO could not write it: Check"):
        step.run(OpenVinoSettings(), str(frozen), tmp_path / "ir")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: place._replace(free=0))
    with pytest.raises(OSError, match="No space left on device"):
        step.run(OpenVinoSettings(), str(frozen), tmp_path / "ir")
    assert not list((tmp_path / "ir").iterdir())
