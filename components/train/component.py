"""The training step as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def train(
    train_clips: Input[Dataset],
    dev_clips: Input[Dataset],
    checkpoint: Output[Model],
    metrics: Output[Metrics],
    report: Output[HTML],
    base_checkpoint_uri: str = "",
    checkpoint_uri: str = "",
    n_hidden: int = 0,
    epochs: int = 75,
    train_batch_size: int = 32,
    learning_rate: float = 0.001,
    dropout_rate: float = 0.05,
    early_stop: bool = False,
    es_epochs: int = 25,
    reduce_lr_on_plateau: bool = False,
    plateau_epochs: int = 10,
    drop_source_layers: str = "auto",
    random_seed: int = 4568,
    extra_flags: str = "",
    train_workers: int = 1,
    train_gpu_type: str = "",
    train_gpus: str = "0",
    train_cpu: str = "",
    train_memory: str = "",
) -> None:
    """Train the acoustic model, from scratch or from a checkpoint.

    Args:
        train_clips: The clips of the training set; or the tables of the corpus, for a training that reads them itself.
        dev_clips: The clips of the dev set; or the same tables.
        checkpoint: The best checkpoint: with the lowest dev loss, or without a dev set the newest.
        metrics: Losses and counts.
        report: The loss curves.
        base_checkpoint_uri: Folder or s3:// prefix of the checkpoint to start from; empty: from scratch.
        checkpoint_uri: s3:// prefix for running checkpoints, from which a retry of the same run goes on; empty: none.
        n_hidden: Width of the hidden layers and of the LSTM; 0 is the checkpoint's, else 2048.
        epochs: Passes over the training set.
        train_batch_size: Clips an optimizer step.
        learning_rate: Adam's step size.
        dropout_rate: Dropout behind the dense layers.
        early_stop: Stop when the dev loss stalls.
        es_epochs: Epochs without improvement before stopping.
        reduce_lr_on_plateau: Cut the learning rate when the dev loss stalls.
        plateau_epochs: Epochs without improvement before cutting.
        drop_source_layers: Layers to re-initialise, from the output; auto decides by the alphabets.
        random_seed: Seed of weights, dropout and shuffling.
        extra_flags: Further flags as on the command line, e.g. --layer_norm --checkpoint_secs 300.
        train_workers: Machines that train together, started by the Kubeflow Trainer; 1: this pod trains.
        train_gpu_type: Kind of GPU of each of several machines, as Kubernetes names it.
        train_gpus: GPUs of each of several machines.
        train_cpu: Cores of each of several machines, at most; empty: no limit.
        train_memory: Memory of each of several machines, at most; empty: no limit.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.train import outcome
        from components.train.cluster import launcher
        from components.train.cluster.jobs import Nodes
        from components.train.data import TrainingClips
        from components.train.settings import TrainSettings
        from speech.settings import with_extra_flags

        given = TrainSettings(
            n_hidden=n_hidden,
            epochs=epochs,
            train_batch_size=train_batch_size,
            learning_rate=learning_rate,
            dropout_rate=dropout_rate,
            early_stop=early_stop,
            es_epochs=es_epochs,
            reduce_lr_on_plateau=reduce_lr_on_plateau,
            plateau_epochs=plateau_epochs,
            drop_source_layers=drop_source_layers,
            random_seed=random_seed,
        )
        settings = with_extra_flags(given, extra_flags, "extra_flags of train")
        nodes = Nodes(train_workers, train_gpu_type, train_gpus, train_cpu, train_memory)
        settings = launcher.with_gpus(settings, nodes)
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
