"""Settings of a training run: names, meanings and (unless said otherwise) defaults of DeepSpeech and Coqui STT."""

import re
from dataclasses import dataclass
from typing import ClassVar

from speech.augmentation import LegacyFlags, parse_augmentations
from speech.clips.tally import USUALLY_ALLOWED, Allowance
from speech.geometry import Geometry
from speech.settings import setting, setting_error
from speech.tracking.tracking_settings import EXPERIMENT, EXPERIMENT_HELP, URI_HELP

RECIPES = ("from-scratch", "fine-tune", "transfer", "small-data", "peers", "auto")
# What a recipe may set. Left at their defaults they were not given.
OF_RECIPES = (
    *("train_batch_size", "learning_rate", "force_initialize_learning_rate", "dropout_rate"),
    *("lr_schedule", "lr_warmup", "lr_peak", "lr_final", "best_by", "average_checkpoints", "augment", "input_scaling"),
)
INPUT_SCALINGS = ("recipe", "none", "features")
SCHEDULES = ("recipe", "constant", "plateau", "linear", "cosine", "one_cycle")
CRITERIA = ("recipe", "loss", "wer", "cer")
LOAD_METHODS = ("auto", "best", "last", "init")
LSTMS = ("auto", "plain")
DEVICES = r"auto|(cpu|gpu)(:[1-9]\d*)?"
# Set by the compiled pipeline in a pod that is too small to train: it starts a TrainJob also for one worker.
LAUNCHER_VARIABLE = "SPEECHMILL_TRAIN_LAUNCHER"
DROP_CHOICES = ("0", "1", "2", "3", "4", "5", "auto")
# A checkpoint brings these along. Left at their defaults they were not given; from scratch, Geometry has the values.
GEOMETRY_FLAGS = ("n_hidden", "layer_norm", "relu_clip", "audio_sample_rate", "feature_win_len", "feature_win_step")
DEFAULT_N_HIDDEN = 2048


@dataclass(frozen=True)
class TrainInputs:
    """What the pipeline hands the step besides its settings."""

    base_checkpoint_uri: str = setting(
        "", "checkpoint to start from, a folder or s3:// prefix; empty: from scratch", pipeline=True
    )
    checkpoint_uri: str = setting(
        "",
        "s3:// prefix for running checkpoints, from which an interrupted training goes on; empty: none",
        pipeline=True,
    )
    extra_flags: str = setting(
        "", "further flags of the train step, such as --layer_norm --checkpoint_secs 300", pipeline="train_flags"
    )


@dataclass(frozen=True)
class TrainMachines:
    """What a training on a cluster has; a deployment has its own defaults."""

    train_workers: int = setting(
        1,
        "on a cluster: machines that train together, started by the Kubeflow Trainer (then checkpoint_uri is needed, "
        "too); 1: the step's own pod trains",
        pipeline=True,
    )
    train_gpu_type: str = setting(
        "nvidia.com/gpu",
        "on a cluster: the training's kind of GPU, as Kubernetes names it, such as nvidia.com/gpu",
        pipeline=True,
    )
    train_gpus: str = setting(
        "0", "on a cluster and with --runner docker: GPUs of the training, on each machine; 0: none", pipeline=True
    )
    train_cpu: str = setting(
        "2",
        "on a cluster: cores of the training on each machine, at most, such as 4 or 500m; 0: no limit",
        pipeline=True,
    )
    train_memory: str = setting(
        "8Gi", "on a cluster: memory of the training on each machine, at most, such as 16Gi; 0: no limit", pipeline=True
    )


@dataclass(frozen=True)
class TrainSettings(LegacyFlags):
    """Training of the acoustic model, from scratch or from a checkpoint."""

    GROUPS: ClassVar[tuple[str, ...]] = (
        "Data",
        "Model",
        "Optimisation",
        "By the dev sets",
        "Augmentation",
        "Augmentation, by the flags of DeepSpeech 0.6 and 0.7",
        "Checkpoints",
        "Machine",
        "Log",
    )

    n_hidden: int = setting(
        0,
        f"width of the hidden layers and of the LSTM; 0: the checkpoint's, else {DEFAULT_N_HIDDEN}",
        group="Model",
        pipeline=True,
    )
    layer_norm: bool | None = setting(
        None, "layer normalisation behind the dense layers, except the last; not given: as in the checkpoint, else off"
    )
    relu_clip: float = setting(0.0, "ceiling of the clipped ReLUs; 0: the checkpoint's, else 20")
    audio_sample_rate: int = setting(
        0, "sample rate of the model; other audio is resampled; 0: the checkpoint's, else 16000", unit="Hz"
    )
    feature_win_len: int = setting(0, "analysis window; 0: the checkpoint's, else 32", unit="ms")
    feature_win_step: int = setting(
        0, "step from one analysis window to the next; 0: the checkpoint's, else 20", unit="ms"
    )
    alphabet_config_path: str = setting(
        "", "alphabet file; empty: the checkpoint's, else the one beside the data, else the transcripts' characters"
    )
    bytes_output_mode: bool = setting(False, "write UTF-8 bytes instead of an alphabet's symbols")

    recipe: str = setting(
        "peers",
        "values for what is not given: peers trains as DeepSpeech and Coqui STT do; auto takes "
        "transfer or fine-tune with a checkpoint to start from, else small-data or from-scratch by the hours of audio",
        choices=RECIPES,
        group="Optimisation",
        pipeline=True,
        in_pipeline="auto",  # nobody is there whose command line would have to mean what it meant
    )
    epochs: int = setting(75, "passes over the training set", pipeline=True)
    train_batch_size: int = setting(
        0, "clips a batch, over all devices; 0: the recipe's (peers: 32)", unit="clips", pipeline=True
    )
    train_batch_frames: int = setting(
        0, "batches by size instead: frames of features, padding included; 0: --train_batch_size counts", unit="frames"
    )
    gradient_accumulation_steps: int = setting(
        1, "batches an optimizer step, computed one after another where memory is short", unit="batches"
    )
    dev_batch_size: int = setting(
        1, "clips whose losses are averaged first in the dev loss, as the peers do", unit="clips"
    )
    learning_rate: float = setting(
        0.0, "Adam's step size; 0: the recipe's (peers: the checkpoint's own value, else 0.001)", pipeline=True
    )
    force_initialize_learning_rate: bool = setting(False, "use the recipe's rate even where the checkpoint has one")
    lr_schedule: str = setting(
        "recipe",
        "course of the learning rate over the run; plateau: constant, with --reduce_lr_on_plateau (peers: constant)",
        choices=SCHEDULES,
    )
    lr_warmup: float = setting(
        -1.0,
        "share of the run in which the rate rises to its peak; -1: the recipe's, else the schedule's own (one_cycle "
        "0.3, linear and cosine 0.05, others 0)",
    )
    lr_peak: float = setting(
        0.0,
        "the highest rate, as a multiple of the learning rate; 0: the recipe's, else the schedule's own (one_cycle 3, "
        "others 1)",
    )
    lr_final: float = setting(
        -1.0, "the last rate of linear, cosine and one_cycle, as a share of the peak; -1: the recipe's, else 0"
    )
    beta1: float = setting(0.9, "Adam's decay of the first moment")
    beta2: float = setting(0.999, "Adam's decay of the second moment")
    epsilon: float = setting(1e-8, "Adam's guard against division by zero")
    dropout_rate: float = setting(-1.0, "dropout behind layer 1; -1: the recipe's (peers: 0.05)", pipeline=True)
    dropout_rate2: float = setting(-1.0, "dropout behind layer 2; -1: --dropout_rate")
    dropout_rate3: float = setting(-1.0, "dropout behind layer 3; -1: --dropout_rate")
    dropout_rate6: float = setting(-1.0, "dropout behind layer 5; -1: --dropout_rate")
    input_scaling: str = setting(
        "recipe",
        "features: layer 1 starts and learns as if each feature had mean 0 and deviation 1; a trained one only learns "
        "so; the graph stays (peers: none)",
        choices=INPUT_SCALINGS,
    )
    random_seed: int = setting(4568, "seed of weights, dropout and shuffling", pipeline=True)

    shuffle_batches: bool = setting(
        True, "draw new batches of like lengths each epoch; off: always by length", group="Data"
    )
    shuffle_start: int = setting(1, "first epoch (from 0) that is shuffled; those before go from short to long clips")
    reverse_train: bool = setting(False, "from long to short clips where batches are in order of length")
    limit_train: int = setting(0, "use only so many clips of the training set, the shortest; 0: all", unit="clips")
    limit_dev: int = setting(0, "use only so many clips of each dev set, the shortest; 0: all", unit="clips")
    reverse_dev: bool = setting(False, "dev sets from long to short clips: other groups of --dev_batch_size")
    normalize_sample_rate: bool = setting(True, "resample clips of another sample rate; off: leave them out")
    allow_skipped: str = setting(
        USUALLY_ALLOWED,
        "clips of a set that may be unusable (missing, unreadable, ...): a number, or a share",
        metavar="SHARE",
    )
    feature_cache: str = setting(
        "", "path of a cache of features without augmentation; empty: computed as they go by", metavar="PATH"
    )
    cache_for_epochs: int = setting(0, "empty --feature_cache every so many epochs; 0: never")

    augment: tuple[str, ...] = setting(
        (),
        "augmentations instead of the recipe's, e.g. pitch[p=0.1,pitch=1~0.2] volume[p=0.1]; repeated, they add up; "
        "none: not even the recipe's (peers: none)",
        adds_up=True,
        group="Augmentation",
        metavar="SPEC",
    )
    augmentations_per_epoch: int = setting(1, "passes over the training set in an epoch, augmented anew each time")

    best_by: str = setting(
        "recipe",
        "what makes an epoch the best: the dev sets' loss, or their word or character error rate, decoded greedily "
        "(peers: loss)",
        choices=CRITERIA,
        group="By the dev sets",
    )
    average_checkpoints: int = setting(
        0,
        "epochs, of the last ones, whose weights are averaged at the end and measured on the dev sets beside the best; "
        "better, they become it; 1: no average; 0: the recipe's (peers: 1)",
        unit="epochs",
    )
    early_stop: bool = setting(False, "stop when the dev sets' score stalls, by what --best_by compares", pipeline=True)
    es_epochs: int = setting(25, "epochs without improvement before stopping", pipeline=True)
    es_min_delta: float = setting(
        0.05, "what counts as an improvement of the dev loss; with --best_by wer or cer every new best does"
    )
    reduce_lr_on_plateau: bool = setting(
        False,
        "reload the best weights and cut the learning rate when the dev sets' score stalls",
        pipeline=True,
    )
    plateau_epochs: int = setting(10, "epochs without improvement before cutting", pipeline=True)
    plateau_reduction: float = setting(0.1, "factor of the cut")

    load_train: str = setting(
        "auto", "checkpoint to start from; auto: best, else last, else init", choices=LOAD_METHODS, group="Checkpoints"
    )
    drop_source_layers: str = setting(
        "0",
        "layers to re-initialise, from the output; auto: 0 for the same alphabet, else 1",
        choices=DROP_CHOICES,
        pipeline=True,
        in_pipeline="auto",  # nobody is there to answer a question
    )
    checkpoint_secs: int = setting(600, "time between checkpoints within an epoch", unit="s")
    upload_secs: int = setting(
        120, "time between checkpoints that go to an s3:// prefix, in the background; 0: every one goes", unit="s"
    )
    upload_patience_secs: int = setting(
        1800, "how long an object store that is away is waited for, before a training and at its end", unit="s"
    )
    max_to_keep: int = setting(5, "checkpoints kept besides the best one")

    mixed_precision: bool = setting(
        False,
        "matrix products in bfloat16 or float16, whichever the device is fast at; weights and loss in float32",
        group="Machine",
    )
    lstm: str = setting(
        "auto", "LSTM on processors: auto: in C++ where it can be compiled; plain: by TensorFlow", choices=LSTMS
    )
    skip_batch_test: bool = setting(False, "skip the trial of the longest batch, which shows early if memory suffices")
    devices: str = setting(
        "auto", "auto: all GPUs, else the CPU; cpu; gpu: a missing GPU is an error; gpu:4, cpu:2: so many of them"
    )
    worker_timeout: int = setting(
        1800,
        "how long a worker of several waits for the others, before it ends with exit code 75; 0: for ever",
        unit="s",
    )
    intra_op_parallelism_threads: int = setting(0, "threads within an operation; 0: one a core")
    inter_op_parallelism_threads: int = setting(0, "operations at the same time; 0: TensorFlow decides")

    summary_dir: str = setting(
        "",
        "folder or s3:// prefix of the curves for TensorBoard and `speechmill watch`; empty: none, in the pipeline "
        "checkpoint_uri/summaries",
        group="Log",
    )
    tracking_uri: str = setting("", URI_HELP, pipeline=True)
    tracking_experiment: str = setting(EXPERIMENT, EXPERIMENT_HELP, pipeline=True)
    tracking_run: str = setting("", "name of the run that the training is a part of there; empty: its own")
    show_progressbar: bool = setting(True, "a bar on a terminal, a line a minute in a log")
    log_placement: bool = setting(False, "log on which device each operation runs")

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_augmentations(self.augment)
        Allowance(self.allow_skipped)
        for name in (
            "augmentations_per_epoch",
            "gradient_accumulation_steps",
            "dev_batch_size",
            "es_epochs",
            "plateau_epochs",
            "max_to_keep",
        ):
            if getattr(self, name) < 1:
                raise setting_error(name, getattr(self, name), "at least 1")
        for name in ("train_batch_size", "learning_rate", "lr_peak"):
            if getattr(self, name) < 0:
                raise setting_error(name, getattr(self, name), "above 0, or 0 for the recipe's")
        for name in ("lr_warmup", "lr_final"):
            if not (0 <= getattr(self, name) < 1 or getattr(self, name) == -1):
                raise setting_error(name, getattr(self, name), "from 0 to below 1, or -1 for the recipe's")
        if self.reduce_lr_on_plateau and self.lr_schedule not in ("recipe", "plateau"):
            raise setting_error("lr_schedule", self.lr_schedule, "plateau, with --reduce_lr_on_plateau")
        for name in (
            "average_checkpoints",
            "n_hidden",
            "relu_clip",
            "epochs",
            "shuffle_start",
            "checkpoint_secs",
            "upload_secs",
            "upload_patience_secs",
            "worker_timeout",
            "limit_train",
            "limit_dev",
            "cache_for_epochs",
            "train_batch_frames",
        ):
            if getattr(self, name) < 0:
                raise setting_error(name, getattr(self, name), "at least 0")
        if not self.epsilon > 0:
            raise setting_error("epsilon", self.epsilon, "above 0")
        for name in ("beta1", "beta2", "plateau_reduction"):
            if not 0 < getattr(self, name) < 1:
                raise setting_error(name, getattr(self, name), "between 0 and 1")
        for name in ("dropout_rate", "dropout_rate2", "dropout_rate3", "dropout_rate6"):
            value = getattr(self, name)
            if not (0 <= value < 1 or value == -1):
                raise setting_error(name, value, "from 0 to below 1")
        if not re.fullmatch(DEVICES, self.devices):
            raise setting_error("devices", self.devices, "auto, cpu, gpu, or cpu:N, gpu:N with N from 1")
        if self.audio_sample_rate and self.audio_sample_rate < 1000:
            raise setting_error("audio_sample_rate", self.audio_sample_rate, "at least 1000 Hz")
        for name in ("feature_win_len", "feature_win_step"):
            if getattr(self, name) < 0:
                raise setting_error(name, getattr(self, name), "at least 1 ms")
        if 0 < self.feature_win_len < self.feature_win_step:
            raise setting_error("feature_win_step", self.feature_win_step, "from 1 ms to --feature_win_len")

    def fresh_geometry(self, n_labels: int) -> Geometry:
        """The geometry of a training from scratch; raises InputError if its windows do not fit."""
        given = {flag: value for flag in GEOMETRY_FLAGS if (value := getattr(self, flag))}
        geometry = Geometry(**{"n_hidden": DEFAULT_N_HIDDEN, "n_labels": n_labels, **given})
        if geometry.feature_win_step > geometry.feature_win_len:
            raise setting_error("feature_win_step", geometry.feature_win_step, f"at most {geometry.feature_win_len} ms")
        return geometry
