"""TensorFlow's bundles without TensorFlow."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from speech.errors import InputError
from speech.model_files.bundle import Bundle

ROOT = Path(__file__).parents[3]


def save(prefix: Path, **tensors: object) -> Path:
    values = [tf.constant(value) for value in tensors.values()]
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=list(tensors), shape_and_slices=[""] * len(values), tensors=values
    )
    return prefix


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with several kinds of tensors, and enough names for several blocks of the index."""
    generator = np.random.default_rng(1)
    many = {f"layer_{n}/some/long/scope/that/fills/the/index/weights": np.float32([n]) for n in range(300)}
    return save(
        tmp_path / "train-12",
        **{
            "layer_1/weights": generator.normal(size=(494, 64)).astype(np.float32),
            "global_step": np.int64(12),
            "learning_rate": np.float32(0.001),
            "half": np.float16([1.5, -2.0]),
            "empty": np.zeros((0, 3), np.float32),
            "text": "not numbers",
            **many,
        },
    )


def test_names_shapes_and_values_are_tensorflows(bundle: Path) -> None:
    reader, ours = tf.train.load_checkpoint(str(bundle)), Bundle.open(bundle)
    assert ours.shapes == {name: list(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    assert len(ours.shapes) == 306
    for name in ours.shapes:
        if name != "text":
            value = ours.tensor(name)
            assert value.dtype == reader.get_tensor(name).dtype
            assert np.array_equal(value, reader.get_tensor(name))
            assert not value.flags.writeable
    assert Bundle.open(f"{bundle}.index").shapes == ours.shapes


def test_bundles_of_several_data_files(tmp_path: Path) -> None:
    prefixes = [save(tmp_path / f"part-{n}", **{f"v{n}": np.arange(100.0) * n}) for n in range(3)]
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(prefix) for prefix in prefixes], destination_prefix=str(tmp_path / "whole")
    )
    assert len(list(tmp_path.glob("whole.data-*-of-00003"))) == 3
    ours = Bundle.open(tmp_path / "whole")
    for n in range(3):
        assert np.array_equal(ours.tensor(f"v{n}"), np.arange(100.0) * n)


def test_what_is_not_there_or_no_number(bundle: Path) -> None:
    ours = Bundle.open(bundle)
    with pytest.raises(InputError, match="layer_9 is not in this checkpoint of 306 tensors"):
        ours.tensor("layer_9")
    with pytest.raises(InputError, match="text is string"):
        ours.tensor("text")


def test_slices_are_refused(tmp_path: Path) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "a"), tensor_names=["v"], shape_and_slices=["4 0,2"], tensors=[np.float32([1, 2])]
    )
    with pytest.raises(InputError, match="stored in slices"):
        Bundle.open(tmp_path / "a").tensor("v")


def test_every_flipped_byte_of_the_index_is_noticed(tmp_path: Path) -> None:
    prefix = save(tmp_path / "a", v=np.float32([1, 2, 3]), w=np.int64(3))
    index = tmp_path / "a.index"
    original = index.read_bytes()
    harmless = 0
    for position in range(len(original)):
        index.write_bytes(original[:position] + bytes([original[position] ^ 0x10]) + original[position + 1 :])
        try:
            ours = Bundle.open(prefix)
            values = [ours.tensor("v").tolist(), ours.tensor("w").tolist()]
        except InputError:
            continue
        assert values == [[1, 2, 3], 3]
        harmless += 1  # padding of the footer, and the block of statistics that nothing reads
    assert harmless < len(original) / 2


def test_a_flipped_byte_of_the_data_is_noticed(bundle: Path) -> None:
    data = Path(f"{bundle}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    offset = Bundle.open(bundle).entries["layer_1/weights"].offset
    content[offset + 1000] ^= 1
    data.write_bytes(content)
    with pytest.raises(InputError, match="layer_1/weights: its checksum is wrong"):
        Bundle.open(bundle).tensor("layer_1/weights")


def test_cut_short_and_missing_files(bundle: Path, tmp_path: Path) -> None:
    data, index = Path(f"{bundle}.data-00000-of-00001"), Path(f"{bundle}.index")
    shutil.copy(data, tmp_path / "copy")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(InputError, match="cut short"):
        Bundle.open(bundle).tensor("layer_1/weights")
    data.unlink()
    with pytest.raises(InputError, match=f"{data.name}: No such file"):
        Bundle.open(bundle).tensor("layer_1/weights")
    content = index.read_bytes()
    for length in (0, 1, 40, 60, len(content) - 1):
        index.write_bytes(content[:length])
        with pytest.raises(InputError, match="index"):
            Bundle.open(bundle)
    index.unlink()
    with pytest.raises(InputError, match="No such file"):
        Bundle.open(bundle)


def test_it_is_read_without_tensorflow(bundle: Path) -> None:
    program = (
        "import sys; from speech.model_files.bundle import Bundle;"
        f"assert Bundle.open({str(bundle)!r}).tensor('global_step') == 12;"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
