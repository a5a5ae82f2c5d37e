"""What the doctor says of machines that lack something."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from speech.doctor import machine
from speech.doctor.checks import NOTE, OK, PROBLEM

FLAGS = {
    "old": "fpu sse sse2 sse4_2",
    "avx": "fpu sse sse2 sse4_2 avx",
    "avx2": "fpu sse4_2 avx avx2 fma",
    "avx512": "fpu sse4_2 avx avx2 fma avx512f avx512bw avx512dq avx512vl",
    "bf16": "fpu sse4_2 avx avx2 fma avx512f avx512bw avx512dq avx512vl avx512_bf16",
}


def flags_of(folder: Path, kind: str) -> set[str]:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: X\nflags\t\t: {FLAGS[kind]}\nbugs\t\t: none\n")
    return machine.cpu_flags(path)


@pytest.mark.parametrize(
    ("kind", "state", "found", "advice"),
    [
        ("old", PROBLEM, "without AVX", "Illegal instruction"),
        ("avx", NOTE, "without avx2 fma", "by TensorFlow's operators"),
        ("avx2", OK, "kernel for it: AVX2", ""),
        ("avx512", OK, "kernel for it: AVX-512", ""),
        ("bf16", OK, "kernel for it: AVX-512 BF16", ""),
    ],
)
def test_a_processor_s_instructions_choose_the_lstm_s_path(tmp_path, monkeypatch, kind, state, found, advice) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    check = machine.processor(flags_of(tmp_path, kind))
    assert check.state == state
    assert check.found.endswith(found)
    assert advice in check.advice


def test_another_kind_of_processor_trains_by_tensorflow_s_operators(monkeypatch) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    check = machine.processor(set())
    assert (check.state, "TensorFlow's operators" in check.advice) == (NOTE, True)


def test_a_machine_without_shared_memory(tmp_path, monkeypatch) -> None:
    check = machine.shared_memory(tmp_path / "shm")
    assert (check.state, check.found) == (NOTE, "is not there")  # an import and a training ran without it
    assert "--shm-size" in check.advice
    file = tmp_path / "file"
    file.write_text("")
    assert machine.shared_memory(file).state == NOTE
    for free, state, found in (
        (65_536, NOTE, "66 kB free"),
        (64 << 20, NOTE, "67 MB free"),
        (8 << 30, OK, "8.6 GB free"),
    ):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        check = machine.shared_memory(tmp_path)
        assert (check.state, check.found) == (state, found)
    assert list(tmp_path.iterdir()) == [file]  # nothing is left


def test_hours_that_do_not_fit_on_the_disk(tmp_path) -> None:
    assert machine.disk(tmp_path / "new/folder", 0).state in (OK, NOTE)
    check = machine.disk(tmp_path / "new/folder", 1e9)
    assert check.state == PROBLEM
    assert "1e+09 h take" in check.found
    assert not (tmp_path / "new").exists()


def test_a_container_s_limit_counts_rather_than_the_machine_s_memory(tmp_path, monkeypatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    monkeypatch.setattr(machine, "MEMORY_LIMITS", (limit,))
    whole = machine.memory_bytes()
    limit.write_text(f"{2 << 30}\n")
    assert machine.memory_bytes() == 2 << 30 < whole
    check = machine.memory(0)
    assert (check.state, check.found) == (NOTE, "2.1 GB")


def test_a_folder_of_somebody_s_that_hides_ours_is_named(tmp_path) -> None:
    assert machine.own_packages(Path(machine.__file__).parents[2]).state == OK
    (tmp_path / "components").mkdir()
    (tmp_path / "components/__init__.py").write_text("")
    root = Path(machine.__file__).parents[2]
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]\nfrom pathlib import Path\n"
    code += f"from speech.doctor import machine; print(machine.own_packages(Path({str(root)!r})))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "state='problem'" in told
    assert f"`import components` finds {tmp_path / 'components'}" in told


def test_programs_that_are_not_there_are_notes(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    found = {check.subject: check for check in machine.programs()}
    assert found["C++ compiler"].state == found["ffmpeg"].state == NOTE
    assert "apt-get install g++" in found["C++ compiler"].advice
    assert found["audio formats"].state == OK
