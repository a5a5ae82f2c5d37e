"""Whole model files of a tiny model, made once in a process of its own: `python -m tests.faults.model_seeds FOLDER`."""

import subprocess
import sys
from pathlib import Path

BUNDLE = "whole"


def bundle(path: Path) -> bytes:
    """A file of the checkpoint."""
    return model_file(path.parent, path.name)


def model_file(folder: Path, name: str) -> bytes:
    """One of the files, all of which are made the first time."""
    if not (folder / name).is_file():
        subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.faults.model_seeds", str(folder)], check=True)
    return (folder / name).read_bytes()


def make(folder: Path) -> None:
    """Write the checkpoint, the frozen graph, and what is made of it."""
    import tensorflow as tf

    from components.export import tflite
    from speech.model_files import memmapped_file
    from speech.nn.graph import Metadata, streaming_graph
    from tests.components.convert_openvino.models import make_weights
    from tests.faults.fuzz_targets import ALPHABET, GEOMETRY, N_STEPS

    folder.mkdir(parents=True, exist_ok=True)
    weights = make_weights(GEOMETRY)
    tf.raw_ops.SaveV2(
        prefix=str(folder / BUNDLE),
        tensor_names=[*weights, "global_step"],
        shape_and_slices=[""] * (len(weights) + 1),
        tensors=[*weights.values(), tf.constant(9, tf.int64)],
    )
    graph = streaming_graph(weights, GEOMETRY, ALPHABET, N_STEPS, Metadata(500, "en"))
    frozen = folder / "output_graph.pb"
    frozen.write_bytes(graph.SerializeToString(deterministic=True))
    memmapped_file.convert(frozen, folder / "output_graph.pbmm")
    from speech import model_files

    container = model_files.open(frozen).container
    metadata = {name: container.constant(name) for name in container.nodes if name.startswith("metadata_")}
    tflite.write(folder / "output_graph.tflite", weights, GEOMETRY, metadata, N_STEPS, True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
