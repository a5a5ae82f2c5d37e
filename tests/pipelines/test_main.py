"""The `speechmill` command: what it loads, what it refuses, and how it says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import __main__ as speechmill
from pipelines.local import run as local
from pipelines.local.runners import LocalRun

LOADED = """
import sys
import pipelines.__main__, pipelines.cluster.compiled, pipelines.local.run, pipelines.retrain, pipelines.tables
print(sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "openvino", "soundfile", "pandas"}))
"""


def test_importing_pipelines_loads_no_step_s_packages() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_command_itself_loads_not_even_kfp() -> None:
    code = "import sys, pipelines.__main__ as m; m.main(['--help']); print('kfp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: speechmill")
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["ruin"],
            "error: unknown command ruin: expected run, compile, submit, schedule, watch, images, models, card, "
            "doctor, import_cv, train, export, convert_openvino, build_scorer, evaluate, publish\n",
        ),
        (["run"], "error: --corpus_uri is missing"),
        (["run", "--corpus_ur", "x"], "error: unknown flag --corpus_ur: did you mean --corpus_uri?\n"),
        (["run", "--corpus_uri", "x", "--runner", "kubernetes"], "error: "),
        (
            ["run", "--corpus_uri", "x", "--train_workers", "2"],
            "error: --train_workers 2: several machines are started",
        ),
        (
            ["submit", "--endpoint", "http://localhost:1", "--corpus_uri", "s3://x/y.tar.gz", "--train_workers", "2"],
            "error: --checkpoint_uri is missing: 2",
        ),
        (["compile", "--registry", "https://x"], "error: --registry"),
    ],
)
def test_wrong_commands_are_one_line(arguments, message, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(arguments)
    errors = capsys.readouterr().err
    assert stopped.value.code == 2
    assert errors.startswith(message)
    assert errors.count("\n") == 1


def test_run_help_lists_the_pipeline_s_parameters(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(["run", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "--n_hidden N" in text
    assert "--openvino_precision {f32,f16,int8}" in text
    assert "--output" in text


@pytest.fixture
def recorded(monkeypatch) -> dict:
    """What a run would be given; the run itself ends as a step that refuses its input."""
    seen: dict = {}

    def record(pipeline, arguments, folder, screen, runner, uncached) -> LocalRun:
        seen.update(arguments=arguments, folder=folder, runner=runner)
        folder.mkdir(parents=True)
        return LocalRun(failed_step="import_cv", exit_code=2)

    monkeypatch.setattr(local.runners, "run", record)
    return seen


def test_flags_become_typed_parameters(recorded, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "train.tsv").write_text("path\tsentence\n")
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(
            ["run", "--corpus_uri", "en", "--output", "out", "--epochs", "3", "--learning_rate=1e-4", "--early_stop"]
        )
    assert stopped.value.code == 2
    arguments = recorded["arguments"]
    assert arguments["corpus_uri"] == str(tmp_path / "en")
    assert len(arguments["corpus_revision"]) == 16
    assert (arguments["epochs"], arguments["learning_rate"], arguments["early_stop"]) == (3, 1e-4, True)
    assert arguments["n_hidden"] == 0
    assert recorded["folder"] == tmp_path / "out" / ".runs"
    assert not (tmp_path / "out").exists()  # nothing was made, nothing is left


def test_uris_and_given_revisions_are_passed_on(recorded, tmp_path) -> None:
    uris = ["--corpus_uri", "s3://bucket/cv", "--publish_uri", "s3://bucket/models", "--corpus_revision", "17.0"]
    with pytest.raises(SystemExit):
        speechmill.main(["run", *uris, "--output", str(tmp_path / "out")])
    assert recorded["arguments"]["corpus_uri"] == "s3://bucket/cv"
    assert recorded["arguments"]["publish_uri"] == "s3://bucket/models"
    assert recorded["arguments"]["corpus_revision"] == "17.0"


def test_a_folder_with_other_files_is_no_place_for_results(recorded, tmp_path, capsys) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(["run", "--corpus_uri", "x", "--output", str(tmp_path)])
    assert stopped.value.code == 2
    assert "holds files that no run made" in capsys.readouterr().err
    assert (tmp_path / "corpus").is_dir()
    assert recorded == {}


def test_a_crash_names_the_step_and_its_log(tmp_path, monkeypatch, capsys) -> None:
    def crash(*_: object) -> LocalRun:
        return LocalRun(failed_step="train", exit_code=139, log=Path("there/train.log"))

    monkeypatch.setattr(local.runners, "run", crash)
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(["run", "--corpus_uri", "x", "--output", str(tmp_path / "out")])
    assert stopped.value.code == 139
    assert capsys.readouterr().err == "error: train failed with exit code 139; its log is there/train.log\n"


def test_a_place_of_releases_becomes_the_newest_one(recorded, tmp_path, capsys) -> None:
    folder = tmp_path / "corpora"
    folder.mkdir()
    for number in ("9.0", "17.0"):
        (folder / f"cv-corpus-{number}-2024-03-15-cy.tar.gz").write_text(number)
    uris = ["--corpus_uri", f"{folder}/", "--publish_uri", str(tmp_path / "models")]
    with pytest.raises(SystemExit):
        speechmill.main(["run", *uris, "--output", str(tmp_path / "out")])
    newest = folder / "cv-corpus-17.0-2024-03-15-cy.tar.gz"
    assert recorded["arguments"]["corpus_uri"] == str(newest)
    assert capsys.readouterr().out == f"new: {newest} (0.00 GB)\n"

    record = tmp_path / "models" / "releases" / f"{recorded['arguments']['corpus_revision']}.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"version": "1", "trained": "2026-01-01T00:00:00"}')
    recorded.clear()
    speechmill.main(["run", *uris, "--output", str(tmp_path / "out")])  # ends well
    assert recorded == {}
    assert capsys.readouterr().out == (
        f"nothing to do: {newest} is the newest release and has not changed since 2026-01-01, "
        "when 1 was trained on it\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_release_s_folder_with_a_slash_is_that_release(recorded, tmp_path) -> None:
    (tmp_path / "cy").mkdir()
    (tmp_path / "cy" / "train.tsv").write_text("path\tsentence\n")
    with pytest.raises(SystemExit):
        speechmill.main(["run", "--corpus_uri", f"{tmp_path}/cy/", "--output", str(tmp_path / "out")])
    assert recorded["arguments"]["corpus_uri"].rstrip("/") == str(tmp_path / "cy")


def test_compile_for_a_deployment(tmp_path, capsys) -> None:
    (tmp_path / "deployment.toml").write_text('registry = "registry.example.org/team"\n[steps.train]\nshm = "3Gi"\n')
    path = tmp_path / "made.yaml"
    for pipeline in ("retrain", "retrain-on-news"):
        flags = ["--deployment", str(tmp_path / "deployment.toml"), "--pipeline", pipeline, "--output", str(path)]
        speechmill.main(["compile", *flags])
        assert capsys.readouterr().out == f"wrote {path}\n"
        text = path.read_text()
        assert "image: registry.example.org/team/speechmill/train:" in text
        assert "sizeLimit: 3Gi" in text
        assert f"name: {pipeline}\n" in text
