"""The training step from a shell, with the command lines of DeepSpeech and Coqui STT."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

from components.train.peers import afterwards
from components.train.peers.afterwards import ExportFlags, TestFlags
from components.train.settings import TrainSettings
from speech.artifacts import ALPHABET, Checkpoint
from speech.augmentation import FLAG_ALIASES
from speech.clips.sources import fetch_source
from speech.errors import InputError
from speech.extras import require
from speech.settings import command, setting, setting_error
from speech.storage.objects import is_remote, list_keys, local_folder
from speech.storage.stores import fetched

SEARCH = "the search for the scorer's weights is `python -m components.evaluate --n_trials N`"
RETIRED = {
    "train_cudnn": "on a GPU the LSTM runs on cuDNN by itself",
    "load_cudnn": "checkpoints trained with cuDNN are recognised",
    "use_allow_growth": "GPU memory always grows on demand",
    "read_buffer": "clips are read from memory-mapped files, or whole",
    "shuffle_buffer": "the whole epoch is shuffled",
    "vocab_file": "nothing here decodes with a word list",
    "dropout_rate4": "no layer reads it in the peers either",
    "dropout_rate5": "no layer reads it in the peers either",
    "lm_alpha_max": SEARCH,
    "lm_beta_max": SEARCH,
    "n_trials": SEARCH,
}
ALIASES = {
    **FLAG_ALIASES,
    "scorer": "scorer_path",
    "utf8": "bytes_output_mode",
    "automatic_mixed_precision": "mixed_precision",
    "auto_mixed_precision": "mixed_precision",
}
ONE_SCORER = "a scorer is one file, for --scorer; `python -m components.build_scorer` makes it"
EARLY_STOP = "--es_epochs and --es_min_delta say when to stop"
SEVERAL_MACHINES = "the same command on each machine, with SPEECHMILL_WORKERS and JOB_COMPLETION_INDEX"
REFUSED = {
    **dict.fromkeys(("lm_binary_path", "lm_trie_path"), ONE_SCORER),
    **dict.fromkeys(("es_steps", "es_mean_th", "es_std_th"), EARLY_STOP),
    **dict.fromkeys(("ps_hosts", "worker_hosts", "job_name", "task_index"), SEVERAL_MACHINES),
    "export_version": "it is --export_model_version",
}
SOURCES = "CSVs, .sdb files, .tar files (WebDataset) or corpus folders"


@dataclass(frozen=True)
class TrainCommand(ExportFlags, TestFlags, TrainSettings):
    """The settings, where the data and the checkpoints are, and what follows the training."""

    GROUPS: ClassVar[tuple[str, ...]] = (
        *TrainSettings.GROUPS[:-2],
        "Test, by components.evaluate",
        "Export, by components.export",
        *TrainSettings.GROUPS[-2:],
    )

    corpus: str = setting(
        "", "corpus folder that import_cv made; or give --train_files", group="Data", metavar="FOLDER"
    )
    train_files: tuple[str, ...] = setting((), f"what to train on: {SOURCES}")
    dev_files: tuple[str, ...] = setting((), f"what to validate on: {SOURCES}")
    metrics_files: tuple[str, ...] = setting((), "sets whose loss is reported each epoch, and decides nothing")
    auto_input_dataset: str = setting(
        "",
        "one CSV instead, to be split into train.csv, dev.csv and test.csv beside it, with an alphabet.txt",
        metavar="FILE",
    )
    checkpoint_dir: str = setting(
        "",
        "where checkpoints are loaded from and saved to; empty: ~/.local/share/speechmill/checkpoints",
        group="Checkpoints",
    )
    load_checkpoint_dir: str = setting("", "where the checkpoint to start from is; default: --checkpoint_dir")
    save_checkpoint_dir: str = setting("", "where checkpoints are saved; default: --checkpoint_dir")
    one_shot_infer: str = setting(
        "", "audio file whose transcript is printed at the end", group="Test, by components.evaluate", metavar="FILE"
    )
    log_level: int = setting(
        1, "0: also TensorFlow's own lines, 1: everything, 2: notes and errors, 3: only errors", group="Log"
    )

    def __post_init__(self) -> None:
        TrainSettings.__post_init__(self)
        self.check()
        if not 0 <= self.log_level <= 3:
            raise setting_error("log_level", self.log_level, "0, 1, 2 or 3")

    @property
    def trains(self) -> bool:
        """Whether there is anything to train on."""
        return bool(self.corpus or self.train_files)

    @property
    def saved_at(self) -> str:
        """The folder or prefix of the checkpoint that training makes, or that is only tested and exported."""
        if self.trains:
            return self.save_checkpoint_dir or self.checkpoint_dir or default_folder()
        return self.load_checkpoint_dir or self.checkpoint_dir or self.save_checkpoint_dir or default_folder()


def default_folder() -> str:
    """Where checkpoints are if no flag says it, as DeepSpeech has a folder of its own for that."""
    return str(Path.home() / ".local" / "share" / "speechmill" / "checkpoints")


def main() -> None:
    """Parse the command line and train."""
    command(
        TrainCommand,
        _run,
        prog="python -m components.train",
        usage="(--corpus FOLDER | --train_files FILE ...) --checkpoint_dir FOLDER",
        description="Train a DeepSpeech acoustic model from scratch, or from a checkpoint; then test and export it, "
        "if --test_files and --export_dir are given.",
        retired=RETIRED,
        aliases=ALIASES,
        refused=REFUSED,
    )


def _run(flags: TrainCommand) -> None:
    require("train", modules=("google.protobuf",))  # which the checks need, that name the rest
    from components.train import preflight

    with _log_level(flags.log_level):
        flags = _split_input(flags)
        _check(flags)
        held = preflight.check_command(flags)
        if flags.saved_at == default_folder():
            print(f"checkpoints: {flags.saved_at} (--checkpoint_dir says where else)", flush=True)
        if flags.trains and not _train(flags):
            return  # the chief of several workers has the checkpoint
        del held
        alphabet = [f"--alphabet_config_path={flags.alphabet_config_path}"] if flags.alphabet_config_path else []
        alphabet += ["--bytes_output_mode=true"] if flags.bytes_output_mode else []
        if flags.test_files:
            more = [*alphabet, *_of_audio(flags)]
            afterwards.run_step(flags.test_command(flags.saved_at, more, flags.export_beam_width))
        if flags.export_dir:
            scorer = [f"--scorer_path={flags.scorer_path}"] if flags.export_zip and flags.scorer_path else []
            afterwards.run_step(flags.export_command(flags.saved_at, flags.load_evaluate, [*alphabet, *scorer]))
    if flags.one_shot_infer:
        print(_infer(flags))


def _split_input(flags: TrainCommand) -> TrainCommand:
    """The command with the sets that `--auto_input_dataset` makes."""
    if not flags.auto_input_dataset:
        return flags
    if flags.corpus or flags.train_files or flags.dev_files or flags.test_files:
        raise InputError("--auto_input_dataset excludes --corpus, --train_files, --dev_files and --test_files")
    from components.train.peers.auto_input import split_dataset

    sets = split_dataset(Path(flags.auto_input_dataset), flags.alphabet_config_path, flags.random_seed)
    train, dev, test = ((str(path),) for path in (sets.train, sets.dev, sets.test))
    alphabet = "" if flags.bytes_output_mode else str(sets.alphabet)
    return replace(flags, train_files=train, dev_files=dev, test_files=test, alphabet_config_path=alphabet)


def _of_audio(flags: TrainCommand) -> list[str]:
    """Test audio is treated as training audio is."""
    names = ("normalize_sample_rate", "allow_skipped")
    return [
        f"--{name}={getattr(flags, name)}" for name in names if getattr(flags, name) != getattr(TrainSettings, name)
    ]


def _check(flags: TrainCommand) -> None:
    """Refuse now what would be missing after hours of training."""
    if flags.corpus and flags.train_files:
        raise InputError("give either --corpus or --train_files")
    if not (flags.trains or flags.test_files or flags.export_dir or flags.one_shot_infer):
        raise InputError(
            "nothing to do: give --train_files or --corpus, or --test_files, --export_dir, --one_shot_infer"
        )
    if flags.bytes_output_mode and flags.alphabet_config_path:
        raise InputError("--bytes_output_mode writes bytes and has no alphabet: leave out --alphabet_config_path")


def _train(flags: TrainCommand) -> bool:
    """Train; whether this process has the checkpoint now."""
    from components.train import step
    from speech.nn.devices import is_chief

    names = {field.name for field in fields(TrainSettings)}
    settings = TrainSettings(**{name: value for name, value in asdict(flags).items() if name in names})
    save_uri, load_uri = flags.saved_at, flags.load_checkpoint_dir or flags.checkpoint_dir
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        save_dir, mirror = (scratch / "save", save_uri) if is_remote(save_uri) else (Path(save_uri), "")
        _check_base(flags, save_uri)
        load_dir = save_dir if load_uri in ("", save_uri) else local_folder(load_uri, scratch / "load")
        if settings.alphabet_config_path:
            alphabet = fetched(settings.alphabet_config_path, scratch, ALPHABET)
            settings = replace(settings, alphabet_config_path=str(alphabet))
        if flags.corpus:
            corpus = local_folder(flags.corpus, scratch / "corpus")
            step.run_on_corpus(settings, corpus, save_dir, load_dir, mirror)
            return is_chief()
        train, dev, metrics = (
            [fetch_source(uri, scratch / f"{name}-{number}") for number, uri in enumerate(uris)]
            for name, uris in (
                ("train", flags.train_files),
                ("dev", flags.dev_files),
                ("metrics", flags.metrics_files),
            )
        )
        step.run(settings, train, dev, save_dir, load_dir, metrics_sources=metrics, mirror=mirror)
    return is_chief()


def _check_base(flags: TrainCommand, save_uri: str) -> None:
    """Raise InputError if `--load_checkpoint_dir` holds no checkpoint; a local one beside the folder that is saved to
    is looked at later, as a run that goes on does not need it."""
    uri = flags.load_checkpoint_dir
    if is_remote(uri) and not any(key.endswith(".index") for key, _ in list_keys(f"{uri.rstrip('/')}/")):
        raise InputError(f"--load_checkpoint_dir {uri}: no checkpoint there: expected *.index and *.data-* objects")
    if uri and uri == save_uri and not is_remote(uri) and flags.load_train != "init":
        Checkpoint.open(uri)


def _infer(flags: TrainCommand) -> str:
    from components.train.peers.one_shot import transcribe

    with tempfile.TemporaryDirectory() as scratch:
        return transcribe(
            Path(flags.one_shot_infer),
            local_folder(flags.saved_at, Path(scratch)),
            load=flags.load_evaluate,
            alphabet_path=flags.alphabet_config_path,
            scorer_path=flags.scorer_path,
            lm_alpha=flags.lm_alpha,
            lm_beta=flags.lm_beta,
            beam_width=flags.beam_width or flags.export_beam_width or 500,
        )


@contextlib.contextmanager
def _log_level(level: int) -> Iterator[None]:
    """Let through what the level says; errors pass in any case, as they are reported outside of this."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if level == 0 else "3")
    with contextlib.ExitStack() as stack:
        silence = stack.enter_context(Path(os.devnull).open("w"))
        if level >= 2:
            stack.enter_context(contextlib.redirect_stdout(silence))
        if level >= 3:
            stack.enter_context(contextlib.redirect_stderr(silence))
        yield


if __name__ == "__main__":
    main()
