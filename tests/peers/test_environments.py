"""The maker of peer environments: tried on small packages made here, so that no registry is needed."""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.peers import environments
from tests.peers.environments import InstallError, Peer, PeerFailed, PeerUnavailable, digest, environment
from tests.peers.requirements import PEERS, Requirements

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
BARE = {"bare": Requirements((HERE,), (), linux_x86_64_only=False)}


def make_wheel(folder: Path) -> str:
    """A package with a console script `tiny`."""
    info = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "def main():\n    print('tiny 1.0')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
    }
    lines = [f"{info}/RECORD,,"]
    for name, text in files.items():
        hashed = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={hashed},{len(text)}")
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in {**files, f"{info}/RECORD": "\n".join(lines) + "\n"}.items():
            file.writestr(name, text)
    return str(path)


def tiny(folder: Path) -> dict[str, Requirements]:
    return {"tiny": Requirements((HERE,), (make_wheel(folder),), linux_x86_64_only=False)}


def test_an_environment_holds_its_packages_and_its_programs(tmp_path: Path) -> None:
    python = environment("tiny", tiny(tmp_path), tmp_path / "cache")
    assert Peer("tiny", python).run("tiny") == "tiny 1.0\n"
    assert Peer("tiny", python).run("python", "-c", "import sys; print(sys.prefix)").strip() == str(python.parents[1])


@pytest.mark.slow
def test_pip_serves_where_uv_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "find_uv", lambda: "/bin/false")
    assert Peer("tiny", environment("tiny", tiny(tmp_path), tmp_path / "cache")).run("tiny") == "tiny 1.0\n"


def test_other_packages_or_pythons_make_another_environment() -> None:
    peer = Requirements(("3.9",), ("tiny==1.0",))
    others = [Requirements(("3.9",), ("tiny==2.0",)), Requirements(("3.9", "3.8"), ("tiny==1.0",))]
    assert len({digest(one) for one in (peer, *others)}) == 3


def test_a_ready_environment_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = environment("bare", BARE, tmp_path)
    monkeypatch.setattr(environments, "install", lambda *_: pytest.fail("installed again"))
    assert environment("bare", BARE, tmp_path) == python


def test_what_a_killed_installation_left_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / f"bare-{digest(BARE['bare'])}"
    left.mkdir()
    (left / "half").write_text("written")
    assert Peer("bare", environment("bare", BARE, tmp_path)).run("python", "-c", "print(1)") == "1\n"
    assert not (left / "half").exists()
    assert (left / environments.COMPLETE).exists()


def test_an_environment_whose_python_went_away_is_made_again(tmp_path: Path) -> None:
    python = environment("bare", BARE, tmp_path)
    python.unlink()
    python.symlink_to(tmp_path / "no-such-python")
    assert Peer("bare", environment("bare", BARE, tmp_path)).run("python", "-c", "print(1)") == "1\n"


def in_a_process(patch: str, cache: Path) -> list[str]:
    """The command of a process that makes the bare environment with something patched."""
    code = (
        "import os, pathlib; from tests.peers import environments as e\n"
        f"from tests.peers.requirements import Requirements\n{patch}\n"
        f"print(e.environment('bare', {BARE!r}, pathlib.Path({str(cache)!r})))\n"
    )
    return [sys.executable, "-c", code]


def test_a_killed_installer_leaves_no_lock(tmp_path: Path) -> None:
    stuck = tmp_path / "uv"
    stuck.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 120\n")
    stuck.chmod(0o755)
    patch = f"e.find_uv = lambda: {str(stuck)!r}\ne.find_interpreter = lambda *_: {sys.executable!r}"
    command = in_a_process(patch, tmp_path / "cache")
    installer = subprocess.Popen(command, cwd=environments.REPOSITORY, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert installer.poll() is None, "the installer ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(installer.pid, signal.SIGKILL)
    installer.wait()
    assert Peer("bare", environment("bare", BARE, tmp_path / "cache")).run("python", "-c", "print(1)") == "1\n"


def test_parallel_workers_install_once(tmp_path: Path) -> None:
    patch = (
        f"folder, install = pathlib.Path({str(tmp_path)!r}), e.install\n"
        "def counted(*a): (folder / f'installed-by-{os.getpid()}').touch(); install(*a)\n"
        "e.install = counted"
    )
    command = in_a_process(patch, tmp_path / "cache")
    workers = [
        subprocess.Popen(command, cwd=environments.REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    pythons = {worker.communicate(timeout=300)[0].strip() for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert len(list(tmp_path.glob("installed-by-*"))) == 1
    assert [Peer("bare", Path(python)).run("python", "-c", "print(1)") for python in pythons] == ["1\n"]


def test_what_cannot_be_installed_is_an_error_and_not_a_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "find_uv", lambda: "/bin/false")
    monkeypatch.setattr(environments, "find_interpreter", lambda *_: "/bin/false")
    with pytest.raises(
        InstallError, match=r"^/bin/false venv .* ended with 1:\n\n/bin/false -m venv .* ended with 1:\n$"
    ):
        environment("tiny", tiny(tmp_path), tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tiny.lock"]


def test_no_such_python_is_a_reason_in_one_line(tmp_path: Path) -> None:
    peers = {"old": Requirements(("2.99", "3.0"), (), linux_x86_64_only=False)}
    with pytest.raises(PeerUnavailable, match=r"^old needs Python 2\.99 or 3\.0, and .*pyenv install 2\.99\)$"):
        environment("old", peers, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_another_platform_is_a_reason_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(PeerUnavailable, match="this is .* on riscv64$"):
        environment("deepspeech", PEERS, tmp_path / "cache")


def test_an_interpreter_that_does_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shims, versions = tmp_path / "shims", tmp_path / "pyenv" / "versions"
    for folder, text in (
        (shims, "#!/bin/sh\necho 'pyenv: python9.1: command not found' >&2\nexit 127\n"),
        (versions / "9.1.3" / "bin", "#!/bin/sh\nexit 1\n"),
        (versions / "9.1.2" / "bin", "#!/bin/sh\necho 9.1\n"),
    ):
        folder.mkdir(parents=True)
        (folder / "python9.1").write_text(text)
        (folder / "python9.1").chmod(0o755)
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert environments.find_interpreter("any", ("9.0", "9.1")) == str(versions / "9.1.2" / "bin" / "python9.1")


def test_a_peer_runs_without_the_settings_of_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    bare = Peer("bare", environment("bare", BARE, tmp_path))
    seen = bare.run("python", "-c", "import os; print(*(os.environ.get(k) for k in ('PYTHONPATH', 'VIRTUAL_ENV')))")
    assert seen == "None None\n"


def test_a_failure_and_a_crash_tell_what_was_said(tmp_path: Path) -> None:
    bare = Peer("bare", environment("bare", BARE, tmp_path))
    with pytest.raises(PeerFailed, match="a clean error") as failed:
        bare.run("python", "-c", "import sys; sys.exit('a clean error')")
    assert failed.value.returncode == 1
    with pytest.raises(PeerFailed) as crashed:
        bare.run("python", "-c", "import os; os.abort()")
    assert crashed.value.returncode == -signal.SIGABRT
    with pytest.raises(subprocess.TimeoutExpired):
        bare.run("python", "-c", "import time; time.sleep(60)", timeout_s=0.5)


@pytest.mark.parametrize("name", PEERS)
def test_every_package_of_a_peer_is_pinned(name: str) -> None:
    packages = [package.split("==") for package in PEERS[name].packages]
    assert all(len(parts) == 2 and parts[1] for parts in packages)
    names = [parts[0].lower() for parts in packages]
    assert len(set(names)) == len(names)
