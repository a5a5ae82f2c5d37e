"""`speechmill watch`: where a training is, from the curves that it writes."""

from pathlib import Path

import pytest

from pipelines import __main__ as speechmill
from pipelines import watching
from speech.curves.events import CurvePoint
from speech.curves.reader import Curves
from speech.curves.writer import CurveWriter
from tests.fixtures.api_server import running
from tests.fixtures.kfp_server import KfpServer, Playback

EPOCHS, STEPS = 4, 10


def train(place: str, steps: int, *, finished: bool = False) -> None:
    curves = CurveWriter(place, 1)
    for step in range(1, steps + 1):
        values = {
            "train/step_loss": 50.0 / step,
            "train/learning_rate": 1e-3,
            "train/clips_per_second": 31.5,
            "progress/epoch": step / STEPS,
            "progress/seconds_left": 60.0 * (EPOCHS - step / STEPS),
        }
        curves.add(step, values | ({"progress/epochs": EPOCHS} if step == 1 else {}))
        if step % STEPS == 0:
            curves.add(step, {"epoch_loss/dev": 9.0, "epoch_wer/dev": 0.125, "epoch_loss/other.csv": 3.5}, rare=True)
    if finished:
        curves.add(steps + 1, {"progress/finished": 1.0})
    curves.close()


@pytest.mark.parametrize("above", ["", "run"])
def test_a_folder_shows_its_training(tmp_path: Path, capsys: pytest.CaptureFixture[str], above: str) -> None:
    train(str(tmp_path / above), 25)
    speechmill.main(["watch", str(tmp_path), "--once"])
    place, progress, _, *lines = capsys.readouterr().out.splitlines()
    assert place == str(tmp_path / above)
    assert progress.startswith("epoch 2.50 of 4, step 25, 1 min 30 s left at most, heard of 0 s ago")
    shown = {line[:22].strip(): line[22:].split() for line in lines if line}
    assert shown["dev WER"][0] == "12.50%"
    assert shown["clips a second"][0] == "31.5"
    assert shown["learning rate"] == ["0.001", "▁" * 25]
    assert shown["loss of other.csv"][0] == "3.500"
    assert shown["loss"][1].startswith("█")
    assert "gradient norm" not in shown  # an older version's


def test_a_prefix_is_followed_to_its_end(s3_bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    train(f"{s3_bucket}/running/summaries/0123", 40, finished=True)
    speechmill.main(["watch", f"{s3_bucket}/running"])  # ends by itself
    place, progress, *_ = capsys.readouterr().out.splitlines()
    assert place == f"{s3_bucket}/running/summaries/0123"
    assert progress.startswith("epoch 4.00 of 4, step 40, finished after ")


def test_a_training_that_is_silent_is_not_called_running() -> None:
    curves = Curves()
    curves.take(CurvePoint(1, 1000.0, {"progress/epoch": 0.1, "progress/seconds_left": 500.0}))
    assert watching.progress(curves, 1100.0) == "epoch 0.10, step 1, 6 min 40 s left at most, heard of 1 min 40 s ago"
    assert "not heard of for 1 h 6 min: interrupted" in watching.progress(curves, 5000.0)


def test_a_run_on_kubeflow_leads_to_the_prefix_of_its_checkpoints(
    s3_bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(f"{s3_bucket}/running/summaries/0123", 10, finished=True)
    named = {"runtime_config": {"parameters": {"checkpoint_uri": f"{s3_bucket}/running"}}}
    compiled = {"parameters": {"checkpoint_uri": {"defaultValue": f"{s3_bucket}/running/"}}}
    of_pipeline = {"pipeline_spec": {"pipeline_spec": {"root": {"inputDefinitions": compiled}}}}
    with running(KfpServer()) as server:
        for name, given in (("given", named), ("compiled", of_pipeline), ("neither", {})):
            server.runs[name] = Playback(name, given, "succeeded")
        for name in ("given", "compiled"):
            speechmill.main(["watch", name, "--endpoint", server.endpoint])
            assert capsys.readouterr().out.startswith(f"{s3_bucket}/running/summaries/0123\nepoch 1.00 of 4, step 10")
        with pytest.raises(SystemExit):
            speechmill.main(["watch", "neither", "--endpoint", server.endpoint])
    assert "run neither has no checkpoint_uri" in capsys.readouterr().err


def test_bars_show_every_point_or_means() -> None:
    assert watching.sparkline([(1, 0.0), (2, 7.0)], 80) == "▁█"
    assert watching.sparkline([(step, float(step >= 500)) for step in range(1000)], 10) == "▁" * 5 + "█" * 5
    assert watching.sparkline([(0, 1.0), (1, 1.0), (9, 2.0)], 80) == "▁ █"  # nothing fell to the middle
    assert watching.sparkline([(5, 3.0)], 80) == "▁"


def test_what_cannot_be_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = {
        (): "what to watch is missing",
        (str(tmp_path / "missing"),): "no such folder: train with --summary_dir",
        (str(tmp_path), "--once"): f"{tmp_path}: no curves there: train with --summary_dir",
    }
    for arguments, expected in calls.items():
        with pytest.raises(SystemExit) as ended:
            speechmill.main(["watch", *arguments])
        assert ended.value.code == 2
        assert expected in capsys.readouterr().err
