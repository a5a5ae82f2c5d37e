"""A small exported model with random weights, and a corpus of tones in its alphabet."""

from collections.abc import Callable
from pathlib import Path

import pytest

from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, ExportedModel, describe_files, write_sidecar
from speech.geometry import Geometry
from tests.fixtures.tones import texts, write_csv

LETTERS = Alphabet((" ", "a", "b", "c", "d"))
GEOMETRY = Geometry(n_hidden=24, n_labels=len(LETTERS))


def write_frozen(path: Path, geometry: Geometry = GEOMETRY, alphabet: Alphabet = LETTERS, n_steps: int = 16) -> Path:
    """A frozen graph with `random_weights`."""
    from speech.nn.graph import Metadata, streaming_graph
    from tests.speech.nn.test_model import random_weights

    path.parent.mkdir(parents=True, exist_ok=True)
    graph = streaming_graph(random_weights(geometry), geometry, alphabet, n_steps, Metadata())
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ExportedModel folder with a frozen graph; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    write_frozen(folder / ExportedModel.FROZEN)
    LETTERS.save(folder / ALPHABET)
    files = describe_files(folder, [ExportedModel.FROZEN])
    write_sidecar(folder, ExportedModel.MODEL, {"geometry": GEOMETRY.to_dict(), "n_steps": 16, "files": files})
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with test.csv (9 clips), dev.csv (4) and alphabet.txt; not to be changed."""
    folder = tmp_path_factory.mktemp("clips")
    write_csv(folder, "test", [*texts(8, 7), "ab cd"])
    write_csv(folder, "dev", texts(4, 8))
    LETTERS.save(folder / ALPHABET)
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`command(*argv)`: run the step as from a shell; its exit code, stdout and stderr."""

    def run(*argv: object) -> tuple[int, str, str]:
        from components.evaluate.__main__ import main

        monkeypatch.setattr("sys.argv", ["evaluate", *map(str, argv)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
