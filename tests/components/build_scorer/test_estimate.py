"""Finding and running KenLM's programs."""

from pathlib import Path

import pytest

from components.build_scorer import estimate
from components.build_scorer.settings import BuildScorerSettings
from components.build_scorer.text import prepare
from speech.errors import InputError

GIB = 1 << 30


def fake_programs(folder: Path, **scripts: str) -> str:
    """A folder with programs that do as told; those not named write their output and end well."""
    folder.mkdir()
    for name in estimate.PROGRAMS:
        path = folder / name
        path.write_text("#!/bin/sh\n" + scripts.get(name, "exit 0") + "\n")
        path.chmod(0o755)
    return str(folder)


LMPLZ = """
while [ $# -gt 0 ]; do
    case $1 in
        --arpa) arpa=$2 ;;
        --discount_fallback) fallback=yes ;;
    esac
    shift
done
if [ -z "$fallback" ]; then
    echo "To override this error for e.g. a class-based model, rerun with --discount_fallback" >&2
    exit 1
fi
echo made > "$arpa"
"""
FILTER = "cat > /dev/null; printf '\\\\\\\\data\\\\\\\\\\nngram 1=7\\nngram 2=9\\n\\n' > \"$3\""
BUILD = 'for last; do :; done; echo "$@" > "$last"'


def test_a_text_that_needs_fixed_discounts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """lmplz refuses, and is asked again with --discount_fallback; that is said."""
    bins = fake_programs(tmp_path / "bin", lmplz=LMPLZ, filter=FILTER, build_binary=BUILD)
    text = prepare(["a b a"], tmp_path / "text.txt", keep_case=False)
    made = estimate.estimate(BuildScorerSettings(kenlm_bins=bins), text, ["a", "b"], tmp_path)
    assert made.discount_fallback
    assert made.ngrams == (7, 9)
    assert "-a 255 -q 8 trie" in made.binary.read_text()
    assert capsys.readouterr().out.startswith("note: the text is too small or regular")
    settings = BuildScorerSettings(kenlm_bins=bins, binary_type="probing", discount_fallback=True)
    assert "-v -T" in estimate.estimate(settings, text, ["a"], tmp_path).binary.read_text()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("program", estimate.PROGRAMS)
def test_a_program_that_fails(tmp_path: Path, program: str) -> None:
    scripts = {"lmplz": LMPLZ, "filter": FILTER, "build_binary": BUILD} | {
        program: "echo first >&2; echo 'std::bad_alloc in the middle' >&2; exit 3"
    }
    bins = fake_programs(tmp_path / "bin", **scripts)
    text = prepare(["a b a"], tmp_path / "text.txt", keep_case=False)
    settings = BuildScorerSettings(kenlm_bins=bins, discount_fallback=True)
    with pytest.raises(InputError, match=f"^{program} failed: first std::bad_alloc in the middle$"):
        estimate.estimate(settings, text, ["a"], tmp_path)


def test_programs_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: no lmplz, filter and build_binary in it: build them with"):
        estimate.find_programs(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(estimate, "LOCAL_BUILD", tmp_path / "none")
    with pytest.raises(InputError, match="PATH and build/kenlm/bin: no lmplz"):
        estimate.find_programs("")
    bins = fake_programs(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path}:{bins}")
    assert estimate.find_programs("")["lmplz"] == f"{bins}/lmplz"


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of what there is, or a size; never more than the text has use for, never too little to work."""
    monkeypatch.setattr(estimate, "available_bytes", lambda: 100 * GIB)
    large = 10 * GIB
    assert estimate.memory_bytes("85%", large) == 85 * GIB
    assert estimate.memory_bytes("4G", large) == 4 * GIB
    assert estimate.memory_bytes("1.5G", large) == 3 * GIB // 2
    assert estimate.memory_bytes("1000", large) == 1000 << 10
    assert estimate.memory_bytes("85%", 10 << 20) == 1000 << 20
    assert estimate.memory_bytes("85%", 100) == 256 << 20
    assert estimate.memory_bytes("100M", 100) == 100 << 20


def test_available_memory_is_positive() -> None:
    assert estimate.available_bytes() > 64 << 20
