"""Models that several tests convert."""

from pathlib import Path

import pytest

from speech.geometry import Geometry
from tests.components.convert_openvino.models import make_weights, write_frozen

GEOMETRY = Geometry(n_hidden=64, n_labels=28)
WIDE = Geometry(n_hidden=512, n_labels=28)  # wide enough for the LSTM of an int8 network to go frame by frame


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen graph with 64 units."""
    return write_frozen(tmp_path_factory.mktemp("frozen") / "output_graph.pb", make_weights(GEOMETRY), GEOMETRY)


@pytest.fixture(scope="session")
def mapped(frozen: Path) -> Path:
    """The same, memory-mapped."""
    from speech.model_files.memmapped_file import convert

    path = frozen.with_name("output_graph.pbmm")
    convert(frozen, path)
    return path


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen graph with 512 units."""
    return write_frozen(tmp_path_factory.mktemp("wide") / "output_graph.pb", make_weights(WIDE), WIDE)
