"""The export from a shell, with the command lines of DeepSpeech and Coqui STT."""

import tempfile
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from components.export.settings import ExportSettings
from speech.errors import InputError
from speech.extras import require
from speech.findings import Findings
from speech.model_card import CardSettings
from speech.settings import command, setting, setting_error
from speech.storage.objects import is_remote, local_folder
from speech.storage.scratch import scratch_in

S = TypeVar("S")

READ_FROM_CHECKPOINT = "it is read from the checkpoint"
RETIRED = {
    "n_hidden": READ_FROM_CHECKPOINT,
    "layer_norm": READ_FROM_CHECKPOINT,
    "load_cudnn": "checkpoints trained with cuDNN are recognised",
    "train_cudnn": "nothing is trained",
    "save_checkpoint_dir": "nothing is trained",
    "use_allow_growth": "the export runs on the processor",
    "show_progressbar": "there is none",
    "log_level": "one line a file is all there is",
}
ALIASES = {"load_checkpoint_dir": "checkpoint_dir", "scorer": "scorer_path"}


@dataclass(frozen=True)
class ExportCommand(CardSettings, ExportSettings):
    """The settings, and where things are."""

    checkpoint_dir: str = setting(
        "", "checkpoint folder, local or s3://: ours, DeepSpeech's or Coqui STT's", group="Input and output"
    )
    export_dir: str = setting("", "folder for the exported model, local or s3://")
    export_file_name: str = setting("output_graph", "name of the model files, without the ending")
    export_tflite: bool = setting(True, "write the TFLite model, too", group="Formats")
    export_onnx: bool = setting(False, "write an ONNX model, too; needs onnx and onnxruntime")
    export_zip: bool = setting(False, "pack the export, and the scorer if one is given, into EXPORT_DIR.zip as well")
    scorer_path: str = setting("", "scorer to pack with --export_zip")
    remove_export: bool = setting(False, "remove what EXPORT_DIR holds of earlier exports of ours; other files stay")
    evaluation: str = setting("", "folder that evaluate made, for the model card", group="Model card", metavar="FOLDER")
    corpus: str = setting("", "corpus folder that the model was trained on, for the model card", metavar="FOLDER")
    client_python: tuple[str, ...] = setting(
        (),
        "Pythons with deepspeech or stt, whose clients have to hear the files as well; default: this one, if it has",
        group="Check by clients",
        metavar="PYTHON",
    )
    export_batch_size: int = setting(
        1, "clips a call; clients feed one", group="Flags of the peers with one allowed value"
    )
    export_savedmodel: bool = setting(False, "not supported")

    def __post_init__(self) -> None:
        ExportSettings.__post_init__(self)
        CardSettings.__post_init__(self)
        if not self.export_file_name or "/" in self.export_file_name:
            raise setting_error("export_file_name", self.export_file_name, "a file name without folders")
        if self.export_batch_size != 1:
            allowed = "1, which is what clients feed; an ONNX model (--export_onnx) takes any number of clips"
            raise setting_error("export_batch_size", self.export_batch_size, allowed)
        if self.export_savedmodel:
            raise setting_error(
                "export_savedmodel", True, "no client loads a SavedModel; the .pb file has the same nodes"
            )


def main() -> None:
    """Parse the command line and export."""
    command(
        ExportCommand,
        _run,
        prog="python -m components.export",
        usage="--checkpoint_dir FOLDER --export_dir FOLDER",
        description="Export a checkpoint in the formats of native clients, with a model card: the frozen graph (.pb), "
        "the memory-mapped graph (.pbmm), TFLite and, on demand, ONNX. Every file is run before it is called done.",
        retired=RETIRED,
        aliases=ALIASES,
    )


def _run(flags: ExportCommand) -> None:
    for flag in ("checkpoint_dir", "export_dir"):
        if not getattr(flags, flag):
            raise InputError(f"--{flag} is missing: `python -m components.export --checkpoint_dir C --export_dir D`")
    require("export", *(("onnx",) if flags.export_onnx else ()))
    from components.export import clients, delivery, step
    from speech import model_card
    from speech.artifacts import Corpus, Evaluation, ExportedModel

    endings = (
        ".pb",
        ".pbmm",
        *((".tflite",) if flags.export_tflite else ()),
        *((".onnx",) if flags.export_onnx else ()),
    )
    names = [flags.export_file_name + ending for ending in endings]
    names += [model_card.file_name(_part(CardSettings, flags)), model_card.JSON_NAME, ExportedModel.MODEL]
    findings, evaluation, corpus = Findings(), None, None
    with findings.noting():
        delivery.check_destination(flags.export_dir, names, flags.remove_export, flags.export_zip)
        findings.takes_files("export_dir", flags.export_dir)
    findings.exists("checkpoint_dir", flags.checkpoint_dir)
    if flags.scorer_path and not Path(flags.scorer_path).is_file():
        findings.add(f"--scorer_path {flags.scorer_path}: no such file")
    if flags.evaluation:
        with findings.noting("evaluation"):
            evaluation = Evaluation.open(flags.evaluation)
    if flags.corpus:
        with findings.noting("corpus"):
            corpus = Corpus.open(flags.corpus)
    findings.raise_found()
    with _scratch(flags.export_dir) as scratch:
        folder = Path(scratch) / "model"
        checkpoint = local_folder(flags.checkpoint_dir, Path(scratch) / "checkpoint")
        step.freeze(_part(ExportSettings, flags), checkpoint, folder)
        model = step.convert_mmap(folder, folder)
        if flags.export_tflite:
            model = step.convert_tflite(folder, folder, flags.export_quantize)
        if flags.export_onnx:
            model = step.convert_onnx(folder, folder)
        for line in clients.check(model, flags.client_python or clients.installed()):
            print(line, flush=True)
        model = delivery.rename(model, flags.export_file_name)
        pages = model_card.write(
            _part(CardSettings, flags), model_card.CardSources([model], evaluation, corpus), folder
        )
        model = step.add_files(model, [page.name for page in pages])
        written = (*model.sidecar["files"], ExportedModel.MODEL)
        packed = delivery.archive(model, flags.scorer_path) if flags.export_zip else None
        delivery.deliver(ExportedModel.open(folder), flags.export_dir, flags.remove_export)
        if packed is not None:
            print(f"packed as {delivery.deliver_archive(packed, flags.export_dir)}", flush=True)
    print(f"exported to {flags.export_dir}: {', '.join(written)}", flush=True)


def _part(settings_class: type[S], flags: ExportCommand) -> S:
    values = asdict(flags)
    return settings_class(**{field.name: values[field.name] for field in fields(settings_class)})  # type: ignore[arg-type]


def _scratch(destination: str) -> AbstractContextManager[str | Path]:
    """A folder on the disk of the destination, so that finished files are moved into place and not copied."""
    if is_remote(destination):
        return tempfile.TemporaryDirectory(prefix=".export-")
    return scratch_in(Path(destination).absolute().parent, ".export-")


if __name__ == "__main__":
    main()
