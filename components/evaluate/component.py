"""The evaluate step as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components import images
from components.evaluate.settings import EvaluateInputs, EvaluateSettings
from speech.settings.arguments import takes
from speech.tracking.tracking_settings import TrackingSettings


@dsl.component(base_image=images.EVALUATE, install_kfp_package=False)
@takes(EvaluateInputs, EvaluateSettings, TrackingSettings)
def evaluate(
    model: Input[Model],
    test_clips: Input[Dataset],
    dev_clips: Input[Dataset],
    scorer: Input[Model],
    evaluation: Output[Artifact],
    tuned_scorer: Output[Model],
    metrics: Output[Metrics],
    report: Output[HTML],
    # made by `make tables` of settings.py
    test_sets: str = "test",
    test_batch_size: int = 64,
    limit_test: int = 0,
    engine: str = "auto",
    decoder: str = "auto",
    beam_width: int = 0,
    n_trials: int = 60,
    text_normalization: str = "spaces",
    bootstrap_unit: str = "clip",
    random_seed: int = 4568,
    report_count: int = 5,
    report_players: int = 10,
    champion: str = "",
    champion_of: str = "",
    extra_flags: str = "",
    tracking_uri: str = "",
    tracking_experiment: str = "speechmill",
    # end
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
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.evaluate import step
        from components.evaluate.settings import EvaluateSettings
        from speech.artifacts import Clips
        from speech.settings.arguments import from_arguments
        from speech.tracking.tracking_settings import TrackingSettings

        settings = from_arguments(EvaluateSettings, locals(), "evaluate: extra_flags")
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
        step.track(from_arguments(TrackingSettings, locals()), "evaluate", settings, made, evaluation.uri)


@dsl.component(base_image=images.EVALUATE, install_kfp_package=False)
@takes(
    EvaluateInputs,
    EvaluateSettings,
    TrackingSettings,
    only=("test_sets", "text_normalization", "extra_flags", "tracking_uri", "tracking_experiment"),
)
def evaluate_openvino(
    ir: Input[Model],
    test_clips: Input[Dataset],
    scorer: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
    # made by `make tables` of settings.py
    test_sets: str = "test",
    text_normalization: str = "spaces",
    extra_flags: str = "",
    tracking_uri: str = "",
    tracking_experiment: str = "speechmill",
    # end
) -> None:
    """Measure the OpenVINO IR on the clips that the exported model was measured on.

    Args:
        ir: The OpenVINO IR.
        test_clips: The clips of the test set and of further sets.
        scorer: The scorer with the weights that it was given for the exported model, or the artifact of none.
        evaluation: The scores, every transcript and the report.
        metrics: WER, CER, loss and the number of clips.
        report: The report as one HTML file.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.evaluate import step
        from components.evaluate.settings import EvaluateSettings
        from speech.artifacts import Clips
        from speech.settings.arguments import from_arguments
        from speech.tracking.tracking_settings import TrackingSettings

        settings = from_arguments(EvaluateSettings, locals(), "evaluate_openvino: extra_flags")
        clips = Clips.open(test_clips.path)
        sets = step.without_dev(test_sets, clips)
        made = step.run_on_clips(
            settings, Path(ir.path), [clips], sets, Path(evaluation.path), scorer=Path(scorer.path)
        )
        for name, value in step.headline(made).items():
            metrics.log_metric(name, value)
        Path(report.path).write_bytes((made.folder / made.HTML_REPORT).read_bytes())
        step.track(from_arguments(TrackingSettings, locals()), "evaluate_openvino", settings, made, evaluation.uri)
