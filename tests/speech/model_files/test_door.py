"""One door: the same model out of every kind of file, and one clear line for what is no such model."""

import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.convert_openvino import step as convert
from components.convert_openvino.settings import OpenVinoSettings
from speech import model_files
from speech.alphabet import Alphabet
from speech.artifacts import ExportedModel, describe_files, write_sidecar
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files import Kind, Model, memmapped_file
from speech.model_files.variables import NoFloatWeights
from tests.components.convert_openvino.models import ALPHABET, make_weights, write_frozen
from tests.speech.ir.test_ir_file import write_other_ir

GEOMETRY = Geometry(n_hidden=24, n_labels=28)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    """One model in every kind of file, each in a folder of its own, and none with an alphabet beside it."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("pb", "pbmm", "tflite"):
        (folder / name).mkdir()
    frozen = write_frozen(folder / "pb" / "output_graph.pb", make_weights(GEOMETRY), GEOMETRY)
    mapped = folder / "pbmm" / "output_graph.pbmm"
    memmapped_file.convert(frozen, mapped)
    representation = convert.run(OpenVinoSettings(precision="f32"), str(frozen), folder / "ir")
    xml = representation.xml
    (representation.folder / "alphabet.txt").unlink()
    representation.sidecar_path.unlink()
    return {
        Kind.FROZEN: frozen,
        Kind.MAPPED: mapped,
        Kind.TFLITE: write_tflite(folder / "tflite" / "output_graph.tflite", GEOMETRY),
        Kind.IR: xml,
        Kind.CHECKPOINT: save_checkpoint(folder / "checkpoint") / "best_dev-7",
    }


def save_checkpoint(folder: Path, geometry: Geometry = GEOMETRY, name: str = "best_dev-7", **others: object) -> Path:
    import tensorflow as tf

    tensors = {**make_weights(geometry), **others}
    folder.mkdir(exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / name),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return folder


def write_tflite(path: Path, geometry: Geometry, *, quantize: bool = False) -> Path:
    """What the export step makes of the model."""
    from components.export import tflite

    numbers = {
        "version": 6,
        "sample_rate": geometry.audio_sample_rate,
        "feature_win_len": geometry.feature_win_len,
        "feature_win_step": geometry.feature_win_step,
        "beam_width": 500,
    }
    metadata = {f"metadata_{name}": np.array([value], np.int32) for name, value in numbers.items()}
    metadata["metadata_alphabet"] = np.array([ALPHABET.serialize()], object)
    metadata["metadata_language"] = np.array([b"en-GB"], object)
    tflite.write(path, make_weights(geometry), geometry, metadata, 16, quantize)
    return path


def assert_is_the_model(model: Model, geometry: Geometry = GEOMETRY) -> None:
    assert (model.geometry, model.alphabet) == (geometry, ALPHABET)
    for name, value in make_weights(geometry).items():
        assert np.array_equal(model.weights[name], value), name


@pytest.mark.parametrize("kind", [Kind.FROZEN, Kind.MAPPED, Kind.TFLITE, Kind.CHECKPOINT])
def test_the_same_model_out_of_every_file_and_its_folder(files: dict[Kind, Path], kind: Kind) -> None:
    for path in (files[kind], files[kind].parent):
        model = model_files.open(path)
        assert model.kind is kind
        assert model.path == files[kind]
        assert model.n_steps == (0 if kind is Kind.CHECKPOINT else 16)
        assert_is_the_model(model)


def test_an_ir_has_everything_but_named_weights(files: dict[Kind, Path]) -> None:
    for path in (files[Kind.IR], files[Kind.IR].parent):
        model = model_files.open(path)
        assert (model.kind, model.geometry, model.alphabet) == (Kind.IR, GEOMETRY, ALPHABET)
        assert model.metadata["precision"] == "f32"
        with pytest.raises(NoFloatWeights, match="an IR's weights have no names"):
            _ = model.weights


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_runs_and_says_the_same(files: dict[Kind, Path], kind: Kind) -> None:
    from speech.ir.runner import IrRunner
    from speech.nn.runners.checkpoint_model import BatchedModel
    from speech.nn.runners.runtimes import open_runner
    from tests.components.convert_openvino.models import chirp

    clips = [chirp(0.7), chirp(0.01), chirp(1.1, seed=6)]
    model = model_files.open(files[kind])
    runner = IrRunner(model, precision="f32", batches=True) if kind is Kind.IR else open_runner(model)
    expected = BatchedModel(GEOMETRY, make_weights(GEOMETRY)).emissions(clips)
    for ours, theirs in zip(runner.emissions(clips), expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=5e-5)
    if kind is Kind.IR:
        with pytest.raises(InputError, match="TensorFlow runs none"):
            open_runner(model)


def test_opening_loads_no_library_that_runs_models(files: dict[Kind, Path]) -> None:
    """Geometry, alphabet, metadata and weights of each kind, in a process that imports neither of them."""
    code = (
        "import sys; from speech import model_files\n"
        "for path in sys.argv[1:]:\n"
        "    model = model_files.open(path); model.geometry, model.alphabet, model.metadata\n"
        "    if not path.endswith('.xml'): model.weights\n"
        "print(sorted({'tensorflow', 'openvino', 'onnx'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *map(str, files.values())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_metadata(files: dict[Kind, Path], tmp_path: Path) -> None:
    frozen, tflite = (model_files.open(files[kind]).metadata for kind in (Kind.FROZEN, Kind.TFLITE))
    rates = {"sample_rate": 16_000, "feature_win_len": 32, "feature_win_step": 20, "beam_width": 500}
    assert rates.items() <= frozen.items()
    assert {**rates, "language": "en-GB"}.items() <= tflite.items()
    steps = save_checkpoint(tmp_path / "c", global_step=np.array(7, np.int64))
    assert model_files.open(steps).metadata == {"global_step": 7}


def test_the_record_beside_a_file_is_of_that_file(files: dict[Kind, Path], tmp_path: Path) -> None:
    shutil.copy(files[Kind.FROZEN], tmp_path / ExportedModel.FROZEN)
    record = {"geometry": GEOMETRY.to_dict(), "beam_width": 300}
    write_sidecar(tmp_path, ExportedModel.MODEL, {**record, "files": describe_files(tmp_path, [ExportedModel.FROZEN])})
    assert model_files.open(tmp_path).sidecar["beam_width"] == 300
    shutil.copy(files[Kind.FROZEN], tmp_path / "other.pb")
    assert model_files.open(tmp_path / "other.pb").sidecar == {}
    with (tmp_path / ExportedModel.FROZEN).open("ab") as file:
        file.write(b"x")
    assert "model.json records" in refusal(tmp_path)


def test_other_geometry_and_layer_normalisation(tmp_path: Path) -> None:
    geometry = replace(GEOMETRY, layer_norm=True, n_context=3, relu_clip=5.0, feature_win_step=10)
    path = write_frozen(tmp_path / "graph.pb", make_weights(geometry), geometry)
    assert_is_the_model(model_files.open(path), geometry)


def test_a_folder_gives_the_kinds_that_are_asked_for(files: dict[Kind, Path], tmp_path: Path) -> None:
    shutil.copy(files[Kind.FROZEN], tmp_path)
    for ending in (".xml", ".bin"):
        shutil.copy(files[Kind.IR].with_suffix(ending), tmp_path)
    save_checkpoint(tmp_path)
    kinds = {kind: model_files.open(tmp_path, kinds=(kind,)).kind for kind in (Kind.FROZEN, Kind.IR, Kind.CHECKPOINT)}
    assert all(kind is asked for asked, kind in kinds.items())
    assert model_files.open(tmp_path).kind is Kind.FROZEN
    with pytest.raises(InputError, match=r"no model in it: expected output_graph\.pbmm or output_graph\.tflite$"):
        model_files.open(tmp_path, kinds=(Kind.TFLITE, Kind.MAPPED))
    with pytest.raises(InputError, match=r"frozen graph: expected a folder of .*convert_openvino.*\.xml"):
        model_files.open(files[Kind.FROZEN], kinds=(Kind.IR,))


def test_a_checkpoint_by_folder_state_file_prefix_and_index(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "c", **{"cudnn_lstm/opaque_kernel": np.zeros(3, np.float32)})
    (folder / "best_dev_checkpoint").write_text('model_checkpoint_path: "/home/ci/best_dev-7"\n')
    for name in ("", "best_dev_checkpoint", "best_dev-7", "best_dev-7.index"):
        assert_is_the_model(model_files.open(folder / name))
    assert model_files.open(folder, load="best").path.name == "best_dev-7"


def test_a_damaged_bundle_gives_way_and_a_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_checkpoint(tmp_path / "c", name="train-1")
    save_checkpoint(folder, name="train-2")
    path = folder / "train-2.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert model_files.open(folder).path.name == "train-1"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: ")
    assert "its checksum is wrong" in line
    assert line.endswith("taking " + str(folder / "train-1"))


def test_the_alphabet_is_the_named_the_carried_the_one_beside_or_the_releases(
    files: dict[Kind, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_checkpoint(tmp_path / "c")
    assert model_files.open(folder).recorded is None
    assert model_files.open(folder).alphabet == ALPHABET  # 28 labels, as in the English releases
    assert "carries no alphabet: its 28 labels are taken for the releases' English" in capsys.readouterr().err
    other = Alphabet(tuple(reversed(ALPHABET.symbols)))
    other.save(folder / "alphabet.txt")
    assert model_files.open(folder).alphabet == model_files.open(folder).recorded == other
    named = model_files.open(files[Kind.FROZEN], alphabet=other)
    assert (named.alphabet, named.inside) == (other, ALPHABET)


@pytest.mark.parametrize("n_labels", [30, 255])
def test_no_alphabet_is_one_error(tmp_path: Path, n_labels: int) -> None:
    """The same of a checkpoint and of an IR of another converter."""
    geometry = replace(GEOMETRY, n_labels=n_labels)
    xml = write_other_ir(tmp_path / "other.xml", n_labels + 1)
    sources = {xml: geometry} if n_labels == 255 else {xml: geometry, save_checkpoint(tmp_path / "c", geometry): 0}
    for path in sources:
        with pytest.raises(InputError, match=f"^no alphabet: .* has {n_labels} labels .* --alphabet_config_path") as no:
            _ = model_files.open(path).alphabet
        assert ("--bytes_output_mode" in str(no.value)) == (n_labels == 255)


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as error:
        model_files.open(path, **options)  # type: ignore[arg-type]
    message = str(error.value)
    assert "\n" not in message
    assert str(path.with_suffix("")) in message
    return message


def test_tflite_files_that_cannot_be_taken_apart(tmp_path: Path) -> None:
    geometry = replace(GEOMETRY, relu_clip=7.0, n_context=3, feature_win_step=10)
    assert_is_the_model(model_files.open(write_tflite(tmp_path / "a.tflite", geometry)), geometry)
    normalised = replace(geometry, layer_norm=True)
    for name, shape, quantize, reason in (
        ("q", geometry, True, "a quantized TFLite model"),
        ("n", normalised, False, "layer-normalised"),
    ):
        model = model_files.open(write_tflite(tmp_path / f"{name}.tflite", shape, quantize=quantize))
        assert (model.geometry, model.alphabet) == (shape, ALPHABET)
        with pytest.raises(NoFloatWeights, match=reason):
            _ = model.weights


def test_wrong_files(files: dict[Kind, Path], tmp_path: Path) -> None:
    for name, content, reason in (
        ("called.pb", files[Kind.MAPPED].read_bytes(), "call it .pbmm"),
        ("called.pbmm", files[Kind.FROZEN].read_bytes(), "not memory-mapped"),
        ("short.pb", files[Kind.FROZEN].read_bytes()[:-10_000], "cut short"),
        ("empty.pb", b"", "empty"),
        ("text.pb", b"node { name: 'x' }\n", "text file"),
        ("model.h5", b"x", "unknown model format: expected .pb, .pbmm, .tflite, .xml"),
        ("text.tflite", b"x" * 100, "not a TFLite model"),
        ("damaged.tflite", struct.pack("<I", 1 << 30) + b"TFL3" + bytes(100), "damaged"),
        ("broken.xml", b"<net>", "broken.bin: no such file"),
    ):
        (tmp_path / name).write_bytes(content)
        assert reason in refusal(tmp_path / name)
    (tmp_path / "broken.bin").touch()
    assert "not readable as an OpenVINO IR" in refusal(tmp_path / "broken.xml")
    assert "no such file or folder" in refusal(tmp_path / "missing.pb")
    (tmp_path / "folder").mkdir()
    assert "no model in it" in refusal(tmp_path / "folder")
    assert "no checkpoint in it" in refusal(tmp_path / "folder", kinds=(Kind.CHECKPOINT,))


def test_a_tflite_file_cut_anywhere_is_refused(files: dict[Kind, Path], tmp_path: Path) -> None:
    """The interpreter would read on behind the file's end, and crash or hear nonsense."""
    content, path = files[Kind.TFLITE].read_bytes(), tmp_path / "cut.tflite"
    for length in (8, 100, 2000, len(content) // 2, len(content) - 100, len(content) - 1):
        path.write_bytes(content[:length])
        assert "cut.tflite" in refusal(path)


def test_unfrozen_and_other_networks(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.compat.v1.get_variable("layer_1/weights", [4, 4])
    unfrozen = tmp_path / "unfrozen.pb"
    unfrozen.write_bytes(graph.as_graph_def().SerializeToString())
    assert "not frozen" in refusal(unfrozen)
    with tf.Graph().as_default() as graph:
        tf.matmul(tf.compat.v1.placeholder(tf.float32, [1, 2]), tf.constant([[1.0], [2.0]]), name="logits")
    other = tmp_path / "other.pb"
    other.write_bytes(graph.as_graph_def().SerializeToString())
    assert "lacks the node" in refusal(other)
    tf.raw_ops.SaveV2(prefix=str(tmp_path / "other"), tensor_names=["v"], shape_and_slices=[""], tensors=[[1.0]])
    assert "not a DeepSpeech checkpoint" in refusal(tmp_path / "other.index")


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    weights = make_weights(GEOMETRY)
    weights["layer_2/weights"][3, 3] = np.nan
    model = model_files.open(write_frozen(tmp_path / "nan.pb", weights, GEOMETRY))
    with pytest.raises(InputError, match="layer_2/weights holds values that are not finite: the training diverged"):
        model.check_finite()


def test_an_alphabet_of_another_size(files: dict[Kind, Path]) -> None:
    for path in files.values():
        assert "3 symbols, but the model has 28 labels" in refusal(path, alphabet=Alphabet((" ", "a", "b")))
