"""Our exports and those that Coqui STT 1.4.0 makes of the same checkpoint: the same numbers, names and cards."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from components.export import step
from components.export.selfcheck import probe_signal
from components.export.settings import ExportSettings
from speech import model_card, model_files
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, ExportedModel
from speech.geometry import Geometry
from speech.model_files import memmapped_file
from speech.model_files.variables import initial_weights
from speech.nn import snapshots
from speech.nn.runners.frozen import FrozenModel
from speech.nn.runners.tflite_model import TFLiteModel
from tests.peers.environments import Peer

GEOMETRY = Geometry(64, 5)
SYMBOLS = Alphabet((" ", "a", "b", "c", "d"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    weights = initial_weights(GEOMETRY, 5)
    weights["layer_6/weights"] = weights["layer_6/weights"] * np.float32(20)
    snapshots.save(folder, "best_dev-3", snapshots.Snapshot(GEOMETRY, weights, {}, 3, 0.001, 0.9, 0.999))
    snapshots.write_state(folder, Checkpoint.BEST, ["best_dev-3"])
    SYMBOLS.save(folder / ALPHABET)
    return folder


@pytest.fixture(scope="module")
def theirs(peer: Callable[[str], Peer], checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coqui's exports: `pb/`, `float/` and `int8/`."""
    folder = tmp_path_factory.mktemp("coqui")
    coqui = peer("coqui-training")
    shared = ["--checkpoint_dir", str(checkpoint), "--n_hidden", "64", "--export_language", "cy"]
    shared += ["--alphabet_config_path", str(checkpoint / ALPHABET)]
    kinds = {
        "pb": ["--export_tflite", "false"],
        "float": ["--export_quantize", "false"],
        "int8": ["--export_quantize", "true"],
    }
    for name, flags in kinds.items():
        coqui.drive("coqui_trainer", "export", *shared, *flags, "--export_dir", str(folder / name))
    return folder


@pytest.fixture(scope="module")
def ours(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our exports: `int8/` with the frozen graph, and `float/`."""
    folder = tmp_path_factory.mktemp("ours")
    step.freeze(ExportSettings(export_language="cy"), checkpoint, folder / "int8")
    step.convert_tflite(folder / "int8", folder / "int8", quantize=True)
    step.convert_tflite(folder / "int8", folder / "float", quantize=False)
    return folder


def test_frozen_graphs(theirs: Path, ours: Path) -> None:
    graphs = [path / "output_graph.pb" for path in (theirs / "pb", ours / "int8")]
    emissions = [FrozenModel(model_files.open(path)).emissions([probe_signal(GEOMETRY)])[0] for path in graphs]
    np.testing.assert_allclose(emissions[0], emissions[1], atol=1e-6)
    their_nodes, our_nodes = (set(memmapped_file.open_graph(path).nodes) for path in graphs)
    assert our_nodes - their_nodes == {"logits_shape"}
    # They cast int32 to int32 in the mask of the frames.
    assert {name.rsplit("/", 1)[-1] for name in their_nodes - our_nodes} <= {"Cast"}


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_tflite_models(theirs: Path, ours: Path, kind: str) -> None:
    models = [model_files.open(folder / kind / "output_graph.tflite") for folder in (theirs, ours)]
    emissions = [TFLiteModel(model).emissions([probe_signal(GEOMETRY)])[0] for model in models]
    np.testing.assert_allclose(emissions[0], emissions[1], atol=1e-6)
    assert models[0].alphabet == models[1].alphabet
    assert models[0].geometry == models[1].geometry


def test_front_matters(theirs: Path, ours: Path, tmp_path: Path) -> None:
    settings = model_card.CardSettings()
    model = ExportedModel.open(ours / "int8")
    page, _ = model_card.write(settings, model_card.CardSources([model]), tmp_path)
    found = [yaml.safe_load(path.read_text().split("---\n")[1]) for path in (theirs / "int8" / page.name, page)]
    assert found[0].keys() <= found[1].keys()
    for name in ("author", "model_name", "model_version", "language", "runtime", "acoustic_model_url", "scorer_url"):
        assert found[0][name] == found[1][name], name
