"""The evaluate step as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components import images


@dsl.component(base_image=images.EVALUATE, install_kfp_package=False)
def evaluate(
    model: Input[Model],
    test_clips: Input[Dataset],
    dev_clips: Input[Dataset],
    scorer: Input[Model],
    evaluation: Output[Artifact],
    tuned_scorer: Output[Model],
    metrics: Output[Metrics],
    report: Output[HTML],
    test_sets: str = "test",
    test_batch_size: int = 64,
    limit_test: int = 0,
    engine: str = "auto",
    decoder: str = "auto",
    beam_width: int = 0,
    n_trials: int = 0,
    text_normalization: str = "spaces",
    bootstrap_unit: str = "clip",
    random_seed: int = 4568,
    report_count: int = 5,
    report_players: int = 10,
    champion: str = "",
    champion_of: str = "",
    extra_flags: str = "",
) -> None:
    """Measure the exported model on the corpus' test clips: WER, CER, loss, and a report to learn from.

    Args:
        model: The exported model.
        test_clips: The clips of the test set and of further sets.
        dev_clips: The clips of the dev set, on which the scorer's weights are searched.
        scorer: The scorer, or the artifact of a run without one.
        evaluation: The scores, every transcript and the report.
        tuned_scorer: The scorer with the weights that were found; as it came without a search, or none.
        metrics: WER, CER, loss and the number of clips.
        report: The report as one HTML file.
        test_sets: Sets of the corpus to measure on, with commas between them.
        test_batch_size: Clips that go through the model at once, at most.
        limit_test: Use only the first clips of each set; 0: all.
        engine: What computes the emissions: auto, batch or file.
        decoder: How emissions become text: auto, beam, greedy or ds_ctcdecoder.
        beam_width: Beams of the search; 0: what the model carries for its clients.
        n_trials: Trials in the search for the scorer's weights on the dev set; 0: no search.
        text_normalization: What is done to texts before they are compared: none, spaces, lower or letters.
        bootstrap_unit: What is drawn for the confidence intervals: clip or speaker.
        random_seed: Seed of the resampling.
        report_count: Best, median and worst clips in the log, of each.
        report_players: Worst clips that the report lets one hear.
        champion: Evaluation to compare with, a folder or s3:// prefix; empty: none.
        champion_of: Folder or s3:// prefix of published versions: compare with the champion there, if it has one.
        extra_flags: Further flags as on the command line, e.g. --confidence 0.9 --reverse_test.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.evaluate import step
        from components.evaluate.settings import EvaluateSettings
        from speech.artifacts import Clips
        from speech.settings import with_extra_flags

        given = EvaluateSettings(
            test_batch_size=test_batch_size,
            limit_test=limit_test,
            engine=engine,
            decoder=decoder,
            beam_width=beam_width,
            n_trials=n_trials,
            text_normalization=text_normalization,
            bootstrap_unit=bootstrap_unit,
            random_seed=random_seed,
            report_count=report_count,
            report_players=report_players,
            champion=champion,
            champion_of=champion_of,
        )
        settings = with_extra_flags(given, extra_flags, "evaluate: extra_flags")
        made = step.run_on_clips(
            settings,
            Path(model.path),
            [Clips.open(one.path) for one in (test_clips, dev_clips)],
            test_sets,
            Path(evaluation.path),
            scorer=Path(scorer.path),
            tuned_scorer=Path(tuned_scorer.path),
        )
        for name, value in step.headline(made).items():
            metrics.log_metric(name, value)
        Path(report.path).write_bytes((made.folder / made.HTML_REPORT).read_bytes())


@dsl.component(base_image=images.EVALUATE, install_kfp_package=False)
def evaluate_openvino(
    ir: Input[Model],
    test_clips: Input[Dataset],
    scorer: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
    test_sets: str = "test",
    text_normalization: str = "spaces",
    extra_flags: str = "",
) -> None:
    """Measure the OpenVINO IR on the clips that the exported model was measured on.

    Args:
        ir: The OpenVINO IR.
        test_clips: The clips of the test set and of further sets.
        scorer: The scorer with the weights that it was given for the exported model, or the artifact of none.
        evaluation: The scores, every transcript and the report.
        metrics: WER, CER, loss and the number of clips.
        report: The report as one HTML file.
        test_sets: Sets of the corpus to measure on, with commas between them; the dev set is left out.
        text_normalization: What is done to texts before they are compared: none, spaces, lower or letters.
        extra_flags: Further flags as on the command line, e.g. --confidence 0.9 --reverse_test.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.evaluate import step
        from components.evaluate.settings import EvaluateSettings
        from speech.artifacts import Clips
        from speech.settings import with_extra_flags

        settings = with_extra_flags(
            EvaluateSettings(text_normalization=text_normalization), extra_flags, "evaluate_openvino: extra_flags"
        )
        clips = Clips.open(test_clips.path)
        sets = step.without_dev(test_sets, clips)
        made = step.run_on_clips(
            settings, Path(ir.path), [clips], sets, Path(evaluation.path), scorer=Path(scorer.path)
        )
        for name, value in step.headline(made).items():
            metrics.log_metric(name, value)
        Path(report.path).write_bytes((made.folder / made.HTML_REPORT).read_bytes())
