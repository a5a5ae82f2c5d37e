"""Command lines of the peers' evaluations, as their users have them in scripts."""

import pytest

from components.evaluate.__main__ import ALIASES, RETIRED, EvaluateCommand
from components.evaluate.tune import TUNE_ALIASES, TuneCommand
from speech.errors import InputError
from speech.settings import parse

LINES = {
    "Coqui's evaluate": (
        "--test_files a.csv b.csv --checkpoint_dir ckpt --scorer_path kenlm.scorer --test_batch_size 32 "
        "--n_hidden 2048 --load_cudnn true --train_cudnn false --show_progressbar false --report_count 10 "
        "--test_output_file out.json --lm_alpha 0.75 --lm_beta 1.85 --export_beam_width 700 --cutoff_prob 0.99 "
        "--cutoff_top_n 40 --bytes_output_mode false --load_evaluate best --limit_test 100 --reverse_test true",
        {"test_files": ("a.csv", "b.csv"), "lm_alpha": 0.75, "lm_beta": 1.85, "beam_width": 700, "cutoff_prob": 0.99,
         "cutoff_top_n": 40, "limit_test": 100, "reverse_test": True, "report_count": 10, "checkpoint_dir": "ckpt"},
    ),
    "DeepSpeech's evaluate.py": (
        "--test_files a.csv,b.csv --checkpoint_dir ckpt --scorer kenlm.scorer --alphabet_config_path alphabet.txt "
        "--n_hidden=375 --beam_width=1024 --lm_alpha=0.93 --noshow_progressbar --use_allow_growth --load_cudnn",
        {"test_files": ("a.csv", "b.csv"), "scorer_path": "kenlm.scorer", "beam_width": 1024, "lm_alpha": 0.93},
    ),
    "evaluate_export, evaluate_tflite": (
        "--model output_graph.tflite --csv test.csv --scorer kenlm.scorer --proc 4 --dump heard",
        {"model": "output_graph.tflite", "test_files": ("test.csv",), "scorer_path": "kenlm.scorer",
         "decoder_threads": 4, "dump": "heard"},
    ),
    "hot words as the clients take them": (
        "--model m.pb --test_files t.csv --scorer k.scorer --hot_words mill:7.5,wheel:-2",
        {"hot_words": ("mill:7.5", "wheel:-2")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_evaluation(name: str) -> None:
    line, expected = LINES[name]
    made = parse(EvaluateCommand, line.split(), prog="x", description="", retired=RETIRED, aliases=ALIASES)
    assert {key: getattr(made, key) for key in expected} == expected


@pytest.mark.parametrize("list_form", ["dev.csv,more.csv", "dev.csv more.csv"])
def test_lm_optimizer(list_form: str) -> None:
    line = (
        f"--alphabet_config_path a.txt --test_files {list_form} --checkpoint_dir c --scorer_path k.scorer "
        "--n_hidden 2048 --test_batch_size 16 --n_trials 600 --lm_alpha_max 4 --lm_beta_max 3 --train_cudnn"
    )
    made = parse(TuneCommand, line.split(), prog="x", description="", retired=RETIRED, aliases=TUNE_ALIASES)
    assert made.dev_files == ("dev.csv", "more.csv")
    assert (made.n_trials, made.lm_alpha_max, made.lm_beta_max) == (600, 4.0, 3.0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--lm_aplha 1", "did you mean --lm_alpha"),
        ("--cutoff_prob 0", "--cutoff_prob 0.0 is not allowed"),
        ("--lm_alpha nan", "--lm_alpha nan is not allowed: a finite number"),
        ("--lm_alpha_max 0", "--lm_alpha_max 0.0 is not allowed: more than 0"),
        ("--n_best 0", "--n_best 0 is not allowed: 1 or more"),
        ("--decoder flashlight", "--decoder"),
    ],
)
def test_refused(flags: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(EvaluateCommand, flags.split(), prog="x", description="", retired=RETIRED, aliases=ALIASES)
