"""The evaluate step from a shell: python -m components.evaluate --model ... --test_files ... --evaluation ..."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.evaluate import locations
from components.evaluate.settings import EvaluateSettings
from speech.artifacts import Evaluation, place_of_scorer
from speech.clips.manifest import Manifest
from speech.clips.sources import fetch_source, read_source
from speech.errors import InputError
from speech.extras import require
from speech.findings import Findings
from speech.settings import command, setting
from speech.storage.files import write_text
from speech.storage.objects import is_remote
from speech.storage.stores import fetched, put_file

READ_FROM_MODEL = "it is read from the model"
OF_TRAINING = "it is a setting of the training or the export"
RETIRED = {
    "n_hidden": READ_FROM_MODEL,
    "layer_norm": READ_FROM_MODEL,
    "relu_clip": READ_FROM_MODEL,
    "audio_sample_rate": READ_FROM_MODEL,
    "feature_win_len": READ_FROM_MODEL,
    "feature_win_step": READ_FROM_MODEL,
    **dict.fromkeys(("dropout_rate", "dropout_rate2", "dropout_rate3", "dropout_rate4", "dropout_rate5"), OF_TRAINING),
    **dict.fromkeys(("dropout_rate6", "train_files", "train_batch_size", "epochs", "learning_rate"), OF_TRAINING),
    **dict.fromkeys(("automatic_mixed_precision", "augment", "feature_cache", "export_dir"), OF_TRAINING),
    **dict.fromkeys(("save_checkpoint_dir", "load_train", "metrics_files", "summary_dir"), OF_TRAINING),
    **dict.fromkeys(("inter_op_parallelism_threads", "intra_op_parallelism_threads"), "all processors are used"),
    "read_buffer": "clips are read at once",
    "log_placement": "there is no graph of a session to place",
    "load_cudnn": "checkpoints trained with cuDNN load as they are",
    "train_cudnn": "nothing is trained here",
    "use_allow_growth": "memory is taken as needed",
    "log_level": "there is one level",
    "show_progressbar": "the progress bar shows on a terminal only",
}

ALIASES = {
    "load_checkpoint_dir": "checkpoint_dir",
    "scorer": "scorer_path",
    "lm": "scorer_path",
    "export_beam_width": "beam_width",
    "csv": "test_files",
    "proc": "decoder_threads",
}


@dataclass(frozen=True)
class EvaluateCommand(EvaluateSettings):
    """The settings, and the paths that the pipeline would pass."""

    model: str = setting(
        "",
        "what is measured: a folder of an exported model, an OpenVINO IR or a checkpoint, or a .pb, .pbmm, .tflite "
        "or .xml file",
        metavar="MODEL",
        group="Input and output",
    )
    checkpoint_dir: str = setting("", "the same, under the name that the peers' evaluation has for it")
    test_files: tuple[str, ...] = setting((), "CSVs with wav_filename,wav_filesize,transcript, or corpus folders")
    evaluation: str = setting(
        "evaluation", "folder or s3:// prefix that takes scores.json, samples.json and report.html", metavar="FOLDER"
    )
    dev_files: tuple[str, ...] = setting((), "CSVs or corpus folders for the search of the scorer's weights")
    tuned_scorer: str = setting(
        "", "file or folder that takes a copy of the scorer with the weights that were found", metavar="PATH"
    )
    test_output_file: str = setting("", "another copy of samples.json")
    dump: str = setting(
        "", "path without ending: PATH.txt takes each clip and its reference, PATH.out what was heard", metavar="PATH"
    )
    history: str = setting("", "history.json of the training, for the learning curve in the report", metavar="FILE")


def check(settings: EvaluateCommand, model: str) -> list[Manifest]:
    """Check in seconds what the flags name; gives the local sets that were read, to be held until they are used.

    Raises InputError with a line for each finding.
    """
    from components.evaluate import step

    findings, held = Findings(), []
    if not is_remote(model) and not Path(model).exists():
        findings.add(f"{model}: no such model: give a model file, or the folder of a model or of a checkpoint")
    for flag in ("scorer_path", "alphabet_config_path", "history", "champion"):
        if path := getattr(settings, flag):
            findings.exists(flag, path)
    for flag, split in (("test_files", "test"), *([("dev_files", "dev")] if settings.n_trials else [])):
        for path in getattr(settings, flag):
            if is_remote(path):
                findings.exists(flag, path)
                continue
            with findings.noting():
                held.append(read_source(path, split))
    if settings.emission_cache:
        findings.takes_files("emission_cache", settings.emission_cache)
    with findings.noting():
        step.place_of(settings.evaluation).check(step.NAMES)
        findings.takes_files("evaluation", settings.evaluation)
    for flag in ("test_output_file", "dump"):
        if path := getattr(settings, flag):
            findings.takes_file(flag, path)
    search = ("optuna",) if settings.n_trials else ()
    runtime = "openvino" if model.endswith(".xml") else "tensorflow"
    findings.has_packages("evaluate", (runtime, *search))
    findings.raise_found()
    return held


def run(settings: EvaluateCommand) -> None:
    """Evaluate, and say what came out."""
    require("evaluate")
    from components.evaluate import step
    from components.evaluate.decode.scorer_weights import check_copy
    from components.evaluate.report.console import totals

    model = settings.model or settings.checkpoint_dir
    if not model:
        raise InputError("--model is missing: give what is to be measured")
    if not settings.test_files:
        raise InputError("--test_files is missing: give one or several CSVs")
    held = check(settings, model)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        local = locations.fetch_settings(settings, scratch)
        if settings.tuned_scorer:
            check_copy(Path(local.scorer_path), settings.tuned_scorer)
        csvs = [fetch_source(uri, scratch / f"set-{n}") for n, uri in enumerate(settings.test_files)]
        dev = [fetch_source(uri, scratch / f"dev-{n}") for n, uri in enumerate(settings.dev_files)]
        evaluation = step.run(
            local,
            locations.fetch_model(model, scratch / "model"),
            csvs,
            scratch / "evaluation" if is_remote(settings.evaluation) else Path(settings.evaluation),
            dev=dev if settings.n_trials else [],
            history=fetched(settings.history, scratch) if settings.history else None,
            tuned_scorer=locations.place(settings.tuned_scorer, scratch / "tuned") if settings.tuned_scorer else None,
        )
        del held
        if settings.tuned_scorer:
            locations.deliver(
                scratch / "tuned", settings.tuned_scorer, place_of_scorer(settings.tuned_scorer, "--tuned_scorer")
            )
        locations.deliver(evaluation.folder, settings.evaluation, step.place_of(settings.evaluation))
        if settings.test_output_file:
            put_file(evaluation.folder / evaluation.SAMPLES, settings.test_output_file)
        if settings.dump:
            _dump(evaluation, settings.dump, scratch)
        print(totals(evaluation.scores))
    print(f"report: {settings.evaluation.rstrip('/')}/{evaluation.HTML_REPORT}")


def _dump(evaluation: Evaluation, target: str, scratch: Path) -> None:
    """The two lists that the peers' evaluation of an exported model leaves."""
    samples = json.loads((evaluation.folder / evaluation.SAMPLES).read_text(encoding="utf-8"))
    for ending, key in ((".txt", "src"), (".out", "res")):
        lines = (f"{sample['wav_filename']} {sample[key]}\n" for sample in samples)
        write_text(scratch / f"dump{ending}", "".join(lines))
        put_file(scratch / f"dump{ending}", f"{target}{ending}")


def main() -> None:
    """Entry point."""
    command(
        EvaluateCommand,
        run,
        prog="python -m components.evaluate",
        usage="--model MODEL --test_files FILE ...",
        description="Measure a model file on test sets: WER, CER, loss, and an HTML report.",
        retired=RETIRED,
        aliases=ALIASES,
    )


if __name__ == "__main__":
    main()
