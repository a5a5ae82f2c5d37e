"""`speechmill images sbom`: every package of an image, by the lock; the same bytes each time."""

import json
import re
from pathlib import Path

import pytest

from components import images
from pipelines import __main__ as speechmill
from pipelines.cluster.bill_of_materials import BillFlags, bill
from pipelines.cluster.image_builds import CHOICES
from speech.errors import InputError

TYPES = {"container", "library", "application"}


@pytest.fixture(scope="module")
def bills() -> dict[str, dict]:
    return {name: bill(name, BillFlags()) for name in CHOICES}


@pytest.mark.parametrize("name", CHOICES)
def test_a_bill_is_a_whole_graph_of_what_the_locks_hold(name: str, bills) -> None:
    found = bills[name]
    refs = [part["bom-ref"] for part in found["components"]]
    assert len(refs) == len(set(refs))
    assert {part["type"] for part in found["components"]} <= TYPES
    assert found["metadata"]["component"]["bom-ref"] == images.reference(name)
    reached, waiting = set(), [images.reference(name)]
    graph = {one["ref"]: one["dependsOn"] for one in found["dependencies"]}
    while waiting:
        for ref in graph.get(waiting.pop(), ()):
            if ref not in reached:
                reached.add(ref)
                waiting.append(ref)
    assert reached == set(refs)  # nothing that nobody asks for
    pins = {
        pin
        for lock in (*images.locks(name), "kfp")
        for pin in re.findall(
            r"^([\w.-]+==[^ \\]+) \\$", (images.ROOT / f"requirements/{lock}.lock").read_text(), re.MULTILINE
        )
    }
    assert pins <= {f"{part['name']}=={part['version']}" for part in found["components"]}  # those without a marker
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", found["serialNumber"])


def test_markers_are_those_of_the_image(bills) -> None:
    names = {name: {part["name"] for part in found["components"]} for name, found in bills.items()}
    assert "tensorflow-cpu" in names["train"]
    assert "colorama" not in names["train"]  # of Windows
    on_arm = {part["name"] for part in bill("train", BillFlags(machine="aarch64"))["components"]}
    assert "tensorflow-cpu" not in on_arm
    assert "tensorflow" in on_arm
    assert "kenlm" in names["build-scorer"]
    assert {"ds-ctcdecoder", "openvino"} <= names["evaluate-ds-ctcdecoder"]
    versions = {part["version"] for part in bills["evaluate-ds-ctcdecoder"]["components"] if part["name"] == "numpy"}
    assert len(versions) == 2  # each Python has its own


def test_a_package_is_named_with_all_files_that_the_lock_allows(bills) -> None:
    (kfp,) = (part for part in bills["publish"]["components"] if part["name"] == "kfp")
    digests = {one["content"] for one in kfp["externalReferences"][0]["hashes"]}
    assert digests == set(re.findall(r"sha256:([0-9a-f]{64})", (images.ROOT / "requirements/kfp.lock").read_text()))
    assert kfp["purl"] == f"pkg:pypi/kfp@{kfp['version']}"


def test_files_are_the_same_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        speechmill.main(["images", "sbom", "--images", "publish", "train-gpu", "--output", str(tmp_path / folder)])
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["publish.cdx.json", "train-gpu.cdx.json"]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert "nvidia-cudnn" in path.read_text() or path.name.startswith("publish")
        assert json.loads(path.read_text())["bomFormat"] == "CycloneDX"
    assert "publish" in capsys.readouterr().out


def test_a_base_image_with_a_digest_is_pinned_by_it() -> None:
    digest = "0123456789abcdef" * 4
    found = bill("publish", BillFlags(python=f"mirror.example.org/python:3.12-slim@sha256:{digest}"))
    base = found["components"][0]
    assert (base["name"], base["version"]) == ("mirror.example.org/python", "3.12-slim")
    assert base["hashes"] == [{"alg": "SHA-256", "content": digest}]


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="does not say which Python"):
        bill("publish", BillFlags(python="mirror.example.org/base:latest"))
    with pytest.raises(InputError, match="--images nothing is not allowed"):
        BillFlags(images=("nothing",))
