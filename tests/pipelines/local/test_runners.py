"""kfp.local as this project uses it: exit codes, caching, damaged artifacts, interruptions."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kfp import dsl

from pipelines.local import runners
from pipelines.local.screen import Screen
from speech.errors import InputError
from tests.pipelines.local.test_processes import lives


@dsl.component(base_image="example/python:1", install_kfp_package=False)
def produce(words: str, made: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]) -> None:
    from pathlib import Path

    metrics.log_metric("words", len(words))

    Path(made.path).mkdir()
    for name in ("a.txt", "b.txt"):
        Path(made.path, name).write_text(words)


@dsl.component(base_image="example/python:1", install_kfp_package=False)
def consume(made: dsl.Input[dsl.Dataset], code: int, joined: dsl.Output[dsl.Dataset]) -> None:
    import sys
    from pathlib import Path

    text = "".join(sorted(path.read_text() for path in Path(made.path).iterdir()))
    Path(joined.path).write_text(text)
    if code:
        print(f"error: {text} is refused", file=sys.stderr)
        sys.exit(code)


@dsl.pipeline(name="two-steps")
def two_steps(words: str = "w", code: int = 0) -> None:
    made = produce(words=words)
    first = consume(made=made.outputs["made"], code=code)
    again = consume(made=made.outputs["made"], code=0)
    again.set_display_name("consume-again")
    again.after(first)  # kfp runs steps that do not depend on each other in any order


def run(folder: Path, words: str = "w", code: int = 0) -> tuple[runners.LocalRun, str]:
    screen = Screen(io.StringIO())
    result = runners.run(two_steps, {"words": words, "code": code}, folder, screen)
    return result, screen.stream.getvalue()


def run_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in (runners.CACHE, runners.LOCK)]


def test_a_run_shows_one_line_a_step_and_gives_the_outputs(tmp_path, capfd) -> None:
    result, written = run(tmp_path)
    assert sorted(line.split()[0] for line in written.splitlines()) == ["consume", "consume_again", "produce"]
    assert all(line.endswith(" s") for line in written.splitlines())
    assert result.failed_step == ""
    assert result.outputs.keys() == {"produce", "consume", "consume_again"}
    assert Path(result.outputs["consume"]["joined"].path).read_text() == "ww"
    assert capfd.readouterr() == ("", "")


def test_an_unchanged_rerun_is_cached(tmp_path) -> None:
    first, _ = run(tmp_path)
    second, written = run(tmp_path)
    assert sorted(second.cached) == ["consume", "consume_again", "produce"]
    assert [line.split() for line in written.splitlines()] == [[step, "cached"] for step in second.cached]
    assert second.seconds == first.seconds
    assert second.outputs["consume"]["joined"].uri == first.outputs["consume"]["joined"].uri
    assert len(run_folders(tmp_path)) == 1


def test_a_changed_parameter_runs_what_depends_on_it(tmp_path) -> None:
    run(tmp_path)
    result, _ = run(tmp_path, words="other")
    assert result.cached == []
    assert Path(result.outputs["consume"]["joined"].path).read_text() == "otherother"
    again, _ = run(tmp_path)
    assert len(again.cached) == 3  # what was cached before is still there


def test_a_changed_image_runs_the_step_again(tmp_path) -> None:
    run(tmp_path)

    @dsl.pipeline(name="two-steps")
    def changed(words: str = "w", code: int = 0) -> None:
        made = produce(words=words)
        made.set_container_image("example/python:2")
        consume(made=made.outputs["made"], code=code)

    result = runners.run(changed, {}, tmp_path, Screen(io.StringIO()))
    assert result.cached == []


@pytest.mark.parametrize("damage", ["deleted file", "deleted folder", "same size", "truncated", "added"])
def test_damaged_artifacts_are_made_again(damage, tmp_path) -> None:
    first, _ = run(tmp_path)
    made = Path(first.outputs["produce"]["made"].path)
    if damage == "deleted folder":
        for path in made.iterdir():
            path.unlink()
        made.rmdir()
    elif damage == "added":
        (made / "c.txt").write_text("w")
    elif damage == "deleted file":
        (made / "a.txt").unlink()
    else:
        (made / "a.txt").write_text("x" if damage == "same size" else "")
    second, _ = run(tmp_path)
    assert second.cached == []
    assert Path(second.outputs["consume"]["joined"].path).read_text() == "ww"
    assert len(run(tmp_path)[0].cached) == 3


@pytest.mark.parametrize("code", [2, 75])
def test_a_step_s_own_error_is_all_that_is_said(code, tmp_path, capfd) -> None:
    result, written = run(tmp_path, code=code)
    assert (result.failed_step, result.exit_code, result.log) == ("consume", code, None)
    assert written.splitlines()[1:] == ["error: ww is refused"]
    assert capfd.readouterr() == ("", "")
    (folder,) = run_folders(tmp_path)
    left = {path.name for path in folder.iterdir() if path.is_dir()}
    assert left == ({"produce"} if code == 2 else {"produce", "consume"})


def test_the_log_of_a_crash_is_kept_until_the_next_run(tmp_path) -> None:
    result, _ = run(tmp_path, code=1)
    assert result.exit_code == 1
    assert "executor_input" in result.log.read_text()
    run(tmp_path)
    again, _ = run(tmp_path, words="other", code=1)
    assert again.log.is_file()


def test_a_failing_first_step_leaves_no_folder(tmp_path) -> None:
    @dsl.component(base_image="example/python:1", install_kfp_package=False)
    def fail(made: dsl.Output[dsl.Dataset]) -> None:
        import sys
        from pathlib import Path

        Path(made.path).write_text("half")
        sys.exit(2)

    @dsl.pipeline(name="failing")
    def failing() -> None:
        fail()

    result = runners.run(failing, {}, tmp_path, Screen(io.StringIO()))
    assert result.exit_code == 2
    assert run_folders(tmp_path) == []


INTERRUPTED = """
import sys
from pathlib import Path

from kfp import dsl

from pipelines.local import runners
from pipelines.local.screen import Screen


@dsl.component(base_image="example/python:1", install_kfp_package=False)
def work(place: str, made: dsl.Output[dsl.Dataset]) -> None:
    import os
    import time
    from pathlib import Path

    Path(made.path).mkdir(exist_ok=True)
    progress = Path(made.path, "progress")
    if progress.is_file():
        progress.write_text(progress.read_text() + "second")
        return
    progress.write_text("first, ")
    Path(place, "pid").write_text(str(os.getpid()))
    time.sleep(300)


@dsl.pipeline(name="interrupted")
def interrupted(place: str = "") -> None:
    work(place=place)


place = Path(sys.argv[1])
result = runners.run(interrupted, {"place": str(place)}, place / "runs", Screen())
print(Path(result.outputs["work"]["made"].path, "progress").read_text())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_step_goes_on_in_the_next_run(number, tmp_path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    command = [sys.executable, script, tmp_path]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | ROOT)
    pid_file, deadline_s = tmp_path / "pid", time.monotonic() + 60
    while not (pid_file.is_file() and pid_file.read_text()) and process.poll() is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    worker = int(pid_file.read_text())
    process.send_signal(number)
    if number == signal.SIGKILL:  # nobody is left to end the step
        os.kill(worker, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert not lives(worker)
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert "Traceback" not in errors
    again = subprocess.run(command, capture_output=True, text=True, env=os.environ | ROOT)
    assert again.returncode == 0, again.stderr
    assert again.stdout == "first, second\n"
    assert len(run_folders(tmp_path / "runs")) == 1
    assert not list((tmp_path / "runs").glob(f"*/*{runners.UNFINISHED}"))


ROOT = {"PYTHONPATH": str(Path(runners.__file__).parents[2])}


def test_two_runs_in_one_folder_exclude_each_other(tmp_path) -> None:
    with runners._locked(tmp_path):
        with pytest.raises(InputError, match="another run is working there"):
            run(tmp_path)
