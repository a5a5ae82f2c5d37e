"""The cache of local runs: what is taken from it, and what is not."""

from pathlib import Path

import pytest
from kfp import dsl

from pipelines.local.step_cache import RECORD, VerifiedCache


@pytest.fixture
def artifact(tmp_path: Path) -> dsl.Model:
    folder = tmp_path / "artifacts" / "model"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("1 2 3")
    return dsl.Model(name="model", uri=str(folder), metadata={})


class Run:
    """One run of a pipeline with one step, `train`, which takes 12 s."""

    def __init__(self, folder: Path, uncached: tuple[str, ...] = ()) -> None:
        self.hits: list[str] = []
        self.seconds: dict[str, float] = {}
        self.cache = VerifiedCache(folder / "cache", {"comp-train": "train"}, self.seconds, self.hits.append, uncached)
        self.key = self.cache.compute_key("comp-train", "image", ["python"], {"epochs": 3})

    def train(self, artifact: dsl.Model) -> None:
        self.seconds["train"] = 12.0
        self.cache.put(self.key, {"model": artifact})


def test_an_entry_is_taken_with_the_time_that_the_step_took(tmp_path: Path, artifact: dsl.Model) -> None:
    Run(tmp_path).train(artifact)
    again = Run(tmp_path)
    outputs = again.cache.get(again.key)
    assert outputs is not None
    assert outputs["model"].uri == artifact.uri
    assert (again.hits, again.seconds, again.cache.outputs) == (["train"], {"train": 12.0}, {"train": outputs})
    assert again.cache.artifact_paths() == [Path(artifact.uri)]


@pytest.mark.parametrize("content", ["2 3 4", "1 2 3 4", None])
def test_a_changed_file_is_a_miss(tmp_path: Path, artifact: dsl.Model, content: str | None) -> None:
    Run(tmp_path).train(artifact)
    weights = Path(artifact.uri, "weights")
    if content is None:
        weights.unlink()
    else:
        weights.write_text(content)
    again = Run(tmp_path)
    assert again.cache.get(again.key) is None
    assert again.hits == []


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"seconds": 1'])
def test_a_damaged_record_is_a_miss(tmp_path: Path, artifact: dsl.Model, damage: str) -> None:
    Run(tmp_path).train(artifact)
    (record,) = (tmp_path / "cache").glob(f"*{RECORD}")
    record.write_text(damage)
    again = Run(tmp_path)
    assert again.cache.get(again.key) is None
    assert again.cache.artifact_paths() == []


def test_a_step_may_be_run_in_any_case(tmp_path: Path, artifact: dsl.Model) -> None:
    Run(tmp_path).train(artifact)
    again = Run(tmp_path, uncached=("train",))
    assert again.cache.get(again.key) is None
    assert again.cache.key == again.key  # by which an unfinished attempt is found
