"""The evaluate step from a shell: python -m components.evaluate --model ... --test_files ... --evaluation ..."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from components.evaluate.settings import EvaluateSettings
from speech.errors import InputError
from speech.settings import command, setting

READ_FROM_MODEL = "it is read from the model"
RETIRED = {
    "n_hidden": READ_FROM_MODEL,
    "layer_norm": READ_FROM_MODEL,
    "relu_clip": READ_FROM_MODEL,
    "audio_sample_rate": READ_FROM_MODEL,
    "feature_win_len": READ_FROM_MODEL,
    "feature_win_step": READ_FROM_MODEL,
    "load_cudnn": "checkpoints trained with cuDNN load as they are",
    "train_cudnn": "nothing is trained here",
    "use_allow_growth": "memory is taken as needed",
    "log_level": "there is one level",
    "show_progressbar": "the progress bar shows on a terminal only",
}

ALIASES = {"load_checkpoint_dir": "checkpoint_dir"}


@dataclass(frozen=True)
class EvaluateCommand(EvaluateSettings):
    """The settings, and the paths that the pipeline would pass."""

    model: str = setting(
        "",
        "what is measured: a folder of an exported model, an OpenVINO IR or a checkpoint, or a .pb, .pbmm, .tflite "
        "or .xml file",
    )
    checkpoint_dir: str = setting("", "the same, under the name that the peers' evaluation has for it")
    test_files: tuple[str, ...] = setting((), "CSVs with wav_filename,wav_filesize,transcript, or corpus folders")
    evaluation: str = setting(
        "evaluation", "folder or s3:// prefix that takes scores.json, samples.json and report.html"
    )
    test_output_file: str = setting("", "another copy of samples.json")
    history: str = setting("", "history.json of the training, for the learning curve in the report")


def run(settings: EvaluateCommand) -> None:
    """Evaluate, and say what came out."""
    from components.evaluate import locations, step
    from components.evaluate.console import totals
    from speech.storage import is_remote

    model = settings.model or settings.checkpoint_dir
    if not model:
        raise InputError("--model is missing: give what is to be measured")
    if not settings.test_files:
        raise InputError("--test_files is missing: give one or several CSVs")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        alphabet = settings.alphabet_config_path
        local = replace(settings, alphabet_config_path=str(locations.fetch_file(alphabet, scratch)) if alphabet else "")
        csvs = [locations.fetch_set(uri, scratch / f"set-{n}") for n, uri in enumerate(settings.test_files)]
        made = step.run(
            local,
            locations.fetch_model(model, scratch / "model"),
            csvs,
            scratch / "evaluation" if is_remote(settings.evaluation) else Path(settings.evaluation),
            history=locations.fetch_file(settings.history, scratch) if settings.history else None,
        )
        locations.deliver_folder(made.folder, settings.evaluation, made.SCORES)
        if settings.test_output_file:
            locations.deliver_file(made.folder / made.SAMPLES, settings.test_output_file)
        print(totals(made.scores))
    print(f"report: {settings.evaluation.rstrip('/')}/{made.HTML_REPORT}")


def main() -> None:
    """Entry point."""
    command(
        EvaluateCommand,
        run,
        prog="python -m components.evaluate",
        description="Measure a model file on test sets: WER, CER, loss, and an HTML report.",
        retired=RETIRED,
        aliases=ALIASES,
    )


if __name__ == "__main__":
    main()
