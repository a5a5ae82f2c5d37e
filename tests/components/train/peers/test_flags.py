"""Every flag of DeepSpeech 0.6 ... 0.9.3 and Coqui STT 1.4.0, in both spellings: what it sets, or why nothing."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

from components.evaluate import __main__ as evaluate
from components.export import __main__ as export
from components.train import __main__ as train
from components.train import preflight
from components.train.__main__ import ALIASES, RETIRED, TrainCommand
from components.train.peers import afterwards
from speech.errors import InputError
from speech.settings import parse

# flag: (value as it is written, what the settings hold then)
SETTING_FLAGS: dict[str, tuple[str, object]] = {
    "train_files": ("a.csv", ("a.csv",)),
    "dev_files": ("a.csv", ("a.csv",)),
    "test_files": ("a.csv", ("a.csv",)),
    "metrics_files": ("a.csv", ("a.csv",)),
    "auto_input_dataset": ("all.csv", "all.csv"),
    "limit_test": ("3", 3),
    "limit_train": ("3", 3),
    "limit_dev": ("3", 3),
    "reverse_test": ("true", True),
    "reverse_train": ("true", True),
    "reverse_dev": ("true", True),
    "shuffle_batches": ("false", False),
    "shuffle_start": ("4", 4),
    "audio_sample_rate": ("8000", 8000),
    "normalize_sample_rate": ("false", False),
    "feature_win_len": ("40", 40),
    "feature_win_step": ("10", 10),
    "feature_cache": ("cache", "cache"),
    "cache_for_epochs": ("3", 3),
    "augment": ("volume[p=0.5]", ("volume[p=0.5]",)),
    "n_hidden": ("77", 77),
    "layer_norm": ("true", True),
    "relu_clip": ("6", 6.0),
    "random_seed": ("7", 7),
    "epochs": ("7", 7),
    "train_batch_size": ("7", 7),
    "dev_batch_size": ("7", 7),
    "test_batch_size": ("7", 7),
    "learning_rate": ("0.1", 0.1),
    "beta1": ("0.1", 0.1),
    "beta2": ("0.1", 0.1),
    "epsilon": ("0.1", 0.1),
    "dropout_rate": ("0.1", 0.1),
    "dropout_rate2": ("0.1", 0.1),
    "dropout_rate3": ("0.1", 0.1),
    "dropout_rate6": ("0.1", 0.1),
    "early_stop": ("true", True),
    "es_epochs": ("7", 7),
    "es_min_delta": ("0.1", 0.1),
    "reduce_lr_on_plateau": ("true", True),
    "plateau_epochs": ("7", 7),
    "plateau_reduction": ("0.2", 0.2),
    "force_initialize_learning_rate": ("true", True),
    "skip_batch_test": ("true", True),
    "inter_op_parallelism_threads": ("2", 2),
    "intra_op_parallelism_threads": ("2", 2),
    "log_placement": ("true", True),
    "checkpoint_dir": ("c", "c"),
    "load_checkpoint_dir": ("c", "c"),
    "save_checkpoint_dir": ("c", "c"),
    "checkpoint_secs": ("7", 7),
    "max_to_keep": ("7", 7),
    "load_train": ("last", "last"),
    "load_evaluate": ("last", "last"),
    "drop_source_layers": ("2", "2"),
    "alphabet_config_path": ("a.txt", "a.txt"),
    "bytes_output_mode": ("true", True),
    "scorer_path": ("s.scorer", "s.scorer"),
    "beam_width": ("7", 7),
    "lm_alpha": ("0.1", 0.1),
    "lm_beta": ("0.1", 0.1),
    "cutoff_prob": ("0.1", 0.1),
    "cutoff_top_n": ("7", 7),
    "export_dir": ("e", "e"),
    "export_file_name": ("e", "e"),
    "export_tflite": ("false", False),
    "export_quantize": ("false", False),
    "export_zip": ("true", True),
    "n_steps": ("7", 7),
    "export_beam_width": ("7", 7),
    "remove_export": ("true", True),
    "export_author_id": ("x", "x"),
    "export_model_name": ("x", "x"),
    "export_model_version": ("x", "x"),
    "export_contact_info": ("x", "x"),
    "export_license": ("x", "x"),
    "export_language": ("x", "x"),
    "export_min_stt_version": ("x", "x"),
    "export_max_stt_version": ("x", "x"),
    "export_min_ds_version": ("x", "x"),
    "export_max_ds_version": ("x", "x"),
    "export_description": ("x", "x"),
    "log_level": ("2", 2),
    "show_progressbar": ("false", False),
    "report_count": ("7", 7),
    "summary_dir": ("x", "x"),
    "test_output_file": ("x", "x"),
    "one_shot_infer": ("x.wav", "x.wav"),
    "data_aug_features_additive": ("0.1", 0.1),
    "data_aug_features_multiplicative": ("0.1", 0.1),
    "augmentation_spec_dropout_keeprate": ("0.5", 0.5),
    "augmentation_freq_and_time_masking": ("true", True),
    "augmentation_freq_and_time_masking_freq_mask_range": ("7", 7),
    "augmentation_freq_and_time_masking_number_freq_masks": ("7", 7),
    "augmentation_freq_and_time_masking_time_mask_range": ("7", 7),
    "augmentation_freq_and_time_masking_number_time_masks": ("7", 7),
    "augmentation_speed_up_std": ("0.1", 0.1),
    "augmentation_pitch_and_tempo_scaling": ("true", True),
    "augmentation_pitch_and_tempo_scaling_min_pitch": ("0.9", 0.9),
    "augmentation_pitch_and_tempo_scaling_max_pitch": ("1.3", 1.3),
    "augmentation_pitch_and_tempo_scaling_max_tempo": ("1.3", 1.3),
    "augmentation_sparse_warp": ("true", True),
    "augmentation_sparse_warp_num_control_points": ("2", 2),
    "augmentation_sparse_warp_time_warping_para": ("7", 7),
    "augmentation_sparse_warp_interpolation_order": ("3", 3),
    "augmentation_sparse_warp_regularization_weight": ("0.1", 0.1),
    "augmentation_sparse_warp_num_boundary_points": ("2", 2),
    "augmentations_per_epoch": ("2", 2),
}
ALIASED = {
    "scorer": ("s.scorer", "scorer_path", "s.scorer"),
    "utf8": ("true", "bytes_output_mode", True),
    "automatic_mixed_precision": ("true", "mixed_precision", True),
    "auto_mixed_precision": ("true", "mixed_precision", True),
    "augmentation_freq_and_time_masking_time_mask_rangee": (
        "7",
        "augmentation_freq_and_time_masking_time_mask_range",
        7,
    ),
}
WITHOUT_EFFECT = {
    "vocab_file": "words.txt",
    "read_buffer": "2MB",
    "shuffle_buffer": "500",
    "dropout_rate4": "0.1",
    "dropout_rate5": "0.1",
    "train_cudnn": "true",
    "load_cudnn": "true",
    "use_allow_growth": "true",
    "lm_alpha_max": "5",
    "lm_beta_max": "5",
    "n_trials": "2400",
}
REFUSED = {"export_savedmodel": "true", "export_batch_size": "2"}


def read(*arguments: str) -> TrainCommand:
    return parse(TrainCommand, arguments, prog="train", description="", retired=RETIRED, aliases=ALIASES)


def spellings(flag: str, value: str) -> list[list[str]]:
    """Coqui STT's `--flag value`, DeepSpeech's `--flag=value`, and its bare or negated booleans."""
    written = [["--" + flag, value], [f"--{flag}={value}"]]
    booleans = {"true": [[f"--{flag}"]], "false": [[f"--no{flag}"]]}
    return written + booleans.get(value, [])


@pytest.mark.parametrize("flag", SETTING_FLAGS)
def test_the_flag_sets_what_it_names(flag: str) -> None:
    value, expected = SETTING_FLAGS[flag]
    assert getattr(read(), flag) != expected
    for arguments in spellings(flag, value):
        assert getattr(read("--corpus=x", *arguments, "--evaluation", "y"), flag) == expected


@pytest.mark.parametrize("flag", ALIASED)
def test_another_name(flag: str) -> None:
    value, field, expected = ALIASED[flag]
    assert getattr(read(), field) != expected
    for arguments in spellings(flag, value):
        assert getattr(read(*arguments), field) == expected


@pytest.mark.parametrize("flag", WITHOUT_EFFECT)
def test_a_line_says_why_it_does_nothing(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in spellings(flag, WITHOUT_EFFECT[flag]):
        assert read(*arguments, "--epochs", "3") == read("--epochs", "3")
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(f"note: --{flag} does nothing here: ")
        assert len(lines[0]) > len(f"note: --{flag} does nothing here: ") + 15


@pytest.mark.parametrize("flag", REFUSED)
def test_what_no_client_takes_is_refused_before_the_training(flag: str) -> None:
    with pytest.raises(InputError, match=f"--{flag} .* is not allowed"):
        read(f"--{flag}={REFUSED[flag]}")


def test_no_flag_is_left_out() -> None:
    """This file has a row for every flag that a peer has, and for no other."""
    ours = {field.name for field in dataclasses.fields(TrainCommand)}
    own = {"corpus", "evaluation", "mixed_precision", "devices", "train_batch_frames", "gradient_accumulation_steps"}
    own |= {
        "upload_secs",
        "upload_patience_secs",
        "worker_timeout",
        "tracking_uri",
        "tracking_experiment",
        "tracking_run",
    }
    own |= {"allow_skipped", "lstm", "input_scaling"}
    own |= {"recipe", "lr_schedule", "lr_warmup", "lr_peak", "lr_final", "best_by", "average_checkpoints"}
    assert ours - own == {*SETTING_FLAGS, *REFUSED}
    assert set(RETIRED) == set(WITHOUT_EFFECT)
    assert set(ALIASES) == set(ALIASED)


def test_the_readme_has_a_row_for_every_flag() -> None:
    readme = (Path(train.__file__).parent / "README.md").read_text(encoding="utf-8")
    fields = {field.name for field in dataclasses.fields(TrainCommand)}
    for flag in fields | set(RETIRED):
        assert f"\n| `--{flag}` |" in readme, flag
    for flag in ALIASES:
        assert f"`--{flag}` for `--{ALIASES[flag]}`" in readme, flag


@pytest.mark.parametrize("arguments", [["a.csv,b.csv"], ["a.csv", "b.csv"]])
def test_lists(arguments: list[str]) -> None:
    assert read("--train_files", *arguments, "--early_stop").train_files == ("a.csv", "b.csv")
    twice = read("--augment", "volume", "--augment", "tempo[factor=1,p=0.1]")
    assert twice.augment == ("volume", "tempo[factor=1,p=0.1]")
    assert read("--augment", "volume", "tempo[factor=1,p=0.1]") == twice


# What follows a training


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would be run, without running them, and without the look at what they are given."""
    seen: list[list[str]] = []

    def note(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        seen.append(command[1:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(afterwards.subprocess, "run", note)
    monkeypatch.setattr(preflight, "check_command", lambda given: [])
    return seen


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | None:
    monkeypatch.setattr("sys.argv", ["train", *map(str, arguments)])
    try:
        train.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return None


def test_test_and_export_flags_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands) -> None:
    for name in ("t1.csv", "t2.csv", "s.scorer"):
        (tmp_path / name).write_text("")
    flags = "--test_batch_size 7 --limit_test 9 --reverse_test --report_count 3 --cutoff_prob 0.9 --cutoff_top_n 40"
    flags += " --lm_alpha 0.5 --lm_beta 1.5 --beam_width 60 --load_evaluate last --test_output_file out.json"
    export_flags = "--n_steps 8 --export_beam_width 70 --noexport_tflite --remove_export --export_language cy"
    export_flags += " --export_zip --export_file_name graph --export_quantize false --export_model_name m"
    tests = f"--test_files {tmp_path}/t1.csv,{tmp_path}/t2.csv --scorer {tmp_path}/s.scorer"
    arguments = f"{tests} {flags} --export_dir e {export_flags} --checkpoint_dir c"
    assert run(monkeypatch, *arguments.split()) is None
    (first, second) = commands
    assert first[:2] == ["-m", "components.evaluate"]
    read_by = evaluate.EvaluateCommand
    tested = parse(read_by, first[2:], prog="", description="", retired=evaluate.RETIRED, aliases=evaluate.ALIASES)
    assert tested.test_files == (f"{tmp_path}/t1.csv", f"{tmp_path}/t2.csv")
    assert (tested.checkpoint_dir, tested.evaluation, tested.load_evaluate) == ("c", "c/evaluation", "last")
    assert (tested.test_batch_size, tested.limit_test, tested.reverse_test, tested.report_count) == (7, 9, True, 3)
    assert (tested.cutoff_prob, tested.cutoff_top_n, tested.lm_alpha, tested.lm_beta) == (0.9, 40, 0.5, 1.5)
    assert (tested.beam_width, tested.test_output_file) == (60, "out.json")
    assert tested.scorer_path == f"{tmp_path}/s.scorer"
    assert second[:2] == ["-m", "components.export"]
    made = parse(export.ExportCommand, second[2:], prog="", description="", aliases=export.ALIASES)
    assert (made.checkpoint_dir, made.export_dir, made.load_evaluate) == ("c", "e", "last")
    assert (made.n_steps, made.export_beam_width, made.export_tflite, made.remove_export) == (8, 70, False, True)
    assert (made.export_language, made.export_zip, made.export_file_name) == ("cy", True, "graph")
    assert (made.export_quantize, made.export_model_name, made.scorer_path) == (False, "m", f"{tmp_path}/s.scorer")


def test_the_width_of_the_export_is_the_width_of_the_test(tmp_path: Path, monkeypatch, commands) -> None:
    (tmp_path / "t.csv").write_text("")
    run(monkeypatch, "--test_files", tmp_path / "t.csv", "--export_beam_width", 70, "--load_checkpoint_dir", "c")
    assert "--beam_width=70" in commands[0]


def test_a_step_that_fails_ends_the_command_with_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("")

    def fail(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 75)

    monkeypatch.setattr(afterwards.subprocess, "run", fail)
    monkeypatch.setattr(preflight, "check_command", lambda given: [])
    assert run(monkeypatch, "--test_files", tmp_path / "t.csv", "--checkpoint_dir", "c", "--export_dir", "e") == 75


TWO = "2 things have to be mended before the work can begin:\n"
NONE = "--checkpoint_dir c: no checkpoint in it to test, export or infer with"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--checkpoint_dir c", "nothing to do: give --train_files"),
        ("--train_files a.csv --corpus b --checkpoint_dir c", "give either --corpus or --train_files"),
        ("--train_files none.csv --checkpoint_dir c", "--train_files none.csv: no such file"),
        ("--checkpoint_dir c --test_files none.csv", f"{TWO}  1. --test_files none.csv: no such file\n  2. {NONE}"),
        (
            "--export_dir e --checkpoint_dir c --scorer none.scorer",
            f"{TWO}  1. --scorer_path none.scorer: no such file\n  2. {NONE}",
        ),
        (
            "--checkpoint_dir c --one_shot_infer none.wav",
            f"{TWO}  1. --one_shot_infer none.wav: no such file\n  2. {NONE}",
        ),
        ("--auto_input_dataset a.csv --dev_files b.csv --checkpoint_dir c", "--auto_input_dataset excludes"),
        ("--train_files a --checkpoint_dir c --utf8 --alphabet_config_path a", "--bytes_output_mode writes bytes"),
        ("--log_level 4", "--log_level 4 is not allowed: 0, 1, 2 or 3"),
    ],
)
def test_what_is_missing_is_said_at_once(arguments: str, message: str, monkeypatch, capsys) -> None:
    assert run(monkeypatch, *arguments.split()) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
