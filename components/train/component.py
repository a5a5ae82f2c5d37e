"""The training step as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components import images
from components.train.settings import TrainInputs, TrainMachines, TrainSettings
from speech.settings.arguments import takes


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
@takes(TrainInputs, TrainSettings, TrainMachines)
def train(
    train_clips: Input[Dataset],
    dev_clips: Input[Dataset],
    checkpoint: Output[Model],
    metrics: Output[Metrics],
    report: Output[HTML],
    # made by `make tables` of settings.py
    base_checkpoint_uri: str = "",
    checkpoint_uri: str = "",
    n_hidden: int = 0,
    recipe: str = "auto",
    epochs: int = 75,
    train_batch_size: int = 0,
    learning_rate: float = 0.0,
    dropout_rate: float = -1.0,
    random_seed: int = 4568,
    early_stop: bool = False,
    es_epochs: int = 25,
    reduce_lr_on_plateau: bool = False,
    plateau_epochs: int = 10,
    drop_source_layers: str = "auto",
    tracking_uri: str = "",
    tracking_experiment: str = "speechmill",
    extra_flags: str = "",
    train_workers: int = 1,
    train_gpu_type: str = "nvidia.com/gpu",
    train_gpus: str = "0",
    train_cpu: str = "2",
    train_memory: str = "8Gi",
    # end
) -> None:
    """Train the acoustic model, from scratch or from a checkpoint.

    Args:
        train_clips: The clips of the training set; or the tables of the corpus, for a training that reads them itself.
        dev_clips: The clips of the dev set; or the same tables.
        checkpoint: The best checkpoint on the dev set, by what the recipe compares; without a dev set the newest.
        metrics: Losses, error rates and counts.
        report: The loss curves.
    """
    from dataclasses import replace
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.train import outcome
        from components.train.cluster import launcher
        from components.train.cluster.jobs import Nodes
        from components.train.data import TrainingClips
        from components.train.settings import TrainSettings
        from speech.settings.arguments import from_arguments
        from speech.tracking.tracking_settings import run_of

        settings = from_arguments(TrainSettings, locals(), "extra_flags of train")
        nodes = Nodes(train_workers, train_gpu_type, train_gpus, train_cpu, train_memory)
        settings = replace(launcher.with_gpus(settings, nodes), tracking_run=run_of(checkpoint.uri))
        handed = Path(train_clips.path), train_clips.uri, Path(dev_clips.path), dev_clips.uri
        clips = TrainingClips.of_pipeline(*handed)
        if launcher.is_wanted(nodes):
            work = launcher.TrainingTask(settings, clips, base_checkpoint_uri, checkpoint_uri)
            made = launcher.train(work, nodes, Path(checkpoint.path))
        else:
            from components.train import step

            made = step.run_in_pipeline(settings, clips, base_checkpoint_uri, checkpoint_uri, Path(checkpoint.path))
        for name, value in outcome.headline(made).items():
            metrics.log_metric(name, value)
        Path(report.path).write_text(outcome.read_report(made), encoding="utf-8")
