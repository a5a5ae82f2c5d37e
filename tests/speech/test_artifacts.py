"""What makes each artifact complete."""

import pytest

from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, Corpus, ExportedModel, describe_files, write_sidecar
from speech.errors import InputError
from speech.geometry import Geometry


def test_corpus_needs_its_report(tmp_path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        Corpus.open(tmp_path / "none")
    Alphabet((" ", "a")).save(tmp_path / ALPHABET)
    with pytest.raises(InputError, match=r"import_report.json is missing; run `python -m components.import_cv`"):
        Corpus.open(tmp_path)
    (tmp_path / Corpus.REPORT).write_text("{}")
    assert Corpus.open(tmp_path).alphabet.symbols == (" ", "a")


def test_checkpoint_needs_a_bundle(tmp_path) -> None:
    with pytest.raises(InputError, match="no checkpoint in it"):
        Checkpoint.open(tmp_path)
    (tmp_path / "train-1.index").touch()
    assert Checkpoint.open(tmp_path).folder == tmp_path


def exported(folder, symbols=(" ", "a")) -> None:
    folder.mkdir(exist_ok=True)
    Alphabet(symbols).save(folder / ALPHABET)
    (folder / ExportedModel.FROZEN).write_bytes(b"graph")
    files = describe_files(folder, [ExportedModel.FROZEN])
    write_sidecar(folder, ExportedModel.MODEL, {"geometry": Geometry(8, 2).to_dict(), "files": files})


def test_exported_model_checks_sizes(tmp_path) -> None:
    exported(tmp_path)
    model = ExportedModel.open(tmp_path)
    assert model.geometry == Geometry(8, 2)
    assert model.alphabet.symbols == (" ", "a")
    with pytest.raises(InputError, match=r"holds no output_graph.pbmm"):
        model.file(ExportedModel.MAPPED)
    (tmp_path / ExportedModel.FROZEN).write_bytes(b"cut")
    with pytest.raises(InputError, match="has 3 bytes, but model.json records 5"):
        ExportedModel.open(tmp_path)
    (tmp_path / ExportedModel.FROZEN).unlink()
    with pytest.raises(InputError, match="is missing"):
        ExportedModel.open(tmp_path)


def test_alphabet_of_another_size(tmp_path) -> None:
    exported(tmp_path, (" ", "a", "b"))
    with pytest.raises(InputError, match="3 symbols, but the model beside it has 2 labels"):
        _ = ExportedModel.open(tmp_path).alphabet
