"""The training step from a shell, with the command lines of DeepSpeech and Coqui STT."""

import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from components.train.settings import TrainSettings
from speech.augmentation import FLAG_ALIASES
from speech.errors import InputError
from speech.settings import command, setting
from speech.storage import is_remote, local_folder

RETIRED = {
    "train_cudnn": "on a GPU the LSTM runs on cuDNN by itself",
    "load_cudnn": "checkpoints trained with cuDNN are recognised",
    "use_allow_growth": "GPU memory always grows on demand",
    "read_buffer": "clips are read from memory-mapped shards, or whole",
    "shuffle_buffer": "the whole epoch is shuffled",
    "vocab_file": "nothing here decodes with a word list",
    "show_progressbar": "a bar is shown on a terminal only",
    "dropout_rate4": "no layer reads it in the peers either",
    "dropout_rate5": "no layer reads it in the peers either",
}


@dataclass(frozen=True)
class TrainCommand(TrainSettings):
    """The settings, and where the data and the checkpoints are."""

    corpus: str = setting("", "corpus folder that import_cv made; or give --train_files")
    train_files: tuple[str, ...] = setting((), "CSVs to train on")
    dev_files: tuple[str, ...] = setting((), "CSVs to validate on")
    metrics_files: tuple[str, ...] = setting((), "CSVs whose loss is reported each epoch, and decides nothing")
    checkpoint_dir: str = setting("", "where checkpoints are loaded from and saved to")
    load_checkpoint_dir: str = setting("", "where the checkpoint to start from is; default: --checkpoint_dir")
    save_checkpoint_dir: str = setting("", "where checkpoints are saved; default: --checkpoint_dir")


def main() -> None:
    """Parse the command line and train."""
    command(
        TrainCommand,
        _run,
        prog="python -m components.train",
        description="Train a DeepSpeech acoustic model from scratch, or from a checkpoint.",
        retired=RETIRED,
        aliases=FLAG_ALIASES,
    )


def _run(given: TrainCommand) -> None:
    save_uri = given.save_checkpoint_dir or given.checkpoint_dir
    load_uri = given.load_checkpoint_dir or given.checkpoint_dir
    if not save_uri:
        raise InputError("no place for checkpoints: give --checkpoint_dir, or --save_checkpoint_dir")
    if bool(given.corpus) == bool(given.train_files):
        raise InputError("give either --corpus or --train_files")
    from components.train import step

    names = {field.name for field in fields(TrainSettings)}
    settings = TrainSettings(**{name: value for name, value in asdict(given).items() if name in names})
    with tempfile.TemporaryDirectory() as scratch:
        save_dir, mirror = (Path(scratch) / "save", save_uri) if is_remote(save_uri) else (Path(save_uri), "")
        load_dir = save_dir if load_uri == save_uri else local_folder(load_uri, Path(scratch) / "load")
        if given.corpus:
            corpus = local_folder(given.corpus, Path(scratch) / "corpus")
            step.run_on_corpus(settings, corpus, save_dir, load_dir, mirror)
            return
        sets = (given.train_files, given.dev_files, given.metrics_files)
        train, dev, metrics = ([Path(path) for path in paths] for paths in sets)
        step.run(settings, train, dev, save_dir, load_dir, metrics_csvs=metrics, mirror=mirror)


if __name__ == "__main__":
    main()
