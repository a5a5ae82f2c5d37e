"""The conversion to OpenVINO from a shell: python -m components.convert_openvino --input_model ... --output_dir ..."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from components.convert_openvino import model_optimizer
from components.convert_openvino.settings import OpenVinoSettings
from speech.artifacts import ALPHABET, IntermediateRepresentation
from speech.errors import InputError
from speech.extras import require
from speech.ownership import written
from speech.settings import command, setting


@dataclass(frozen=True)
class OpenVinoCommand(OpenVinoSettings):
    """The settings, the paths that the pipeline would pass, and the Model Optimizer's way to say some of it."""

    input_model: str = setting(
        "",
        "frozen graph (.pb), memory-mapped graph (.pbmm), float TFLite file, checkpoint, or a folder with one",
        group="Input and output",
        metavar="MODEL",
    )
    output_dir: str = setting(".", "folder or s3:// prefix that takes the IR")
    dev_files: tuple[str, ...] = setting((), "CSVs of the dev set on which the WER is measured")
    corpus: str = setting("", "corpus folder that import_cv made, for its dev set", metavar="FOLDER")
    input: str = setting(
        "",
        'as for mo: "input_lengths->[16],input_node[1,16,19,26],..." fixes the number of frames a call',
        group="The same in the Model Optimizer's flags",
    )
    output: str = setting("", "as for mo: the outputs, in their order")
    input_shape: str = setting("", "as for mo: the shapes of --input")
    freeze_placeholder_with_value: str = setting("", "as for mo: input_lengths->[16]")
    data_type: str = setting("", "as for mo: FP16 or half is --precision f16, FP32 or float --precision f32")
    compress_to_fp16: bool = setting(True, "as for mo: false is --precision f32")


def run(flags: OpenVinoCommand) -> None:
    """Convert and say what was made."""
    if not flags.input_model:
        raise InputError("--input_model is missing: the frozen graph, memory-mapped graph or checkpoint to convert")
    require("convert-openvino")
    from components.convert_openvino import step

    values: dict[str, Any] = {field.name: getattr(flags, field.name) for field in fields(OpenVinoSettings)}
    values["precision"] = model_optimizer.precision(flags.precision, flags.data_type, flags.compress_to_fp16)
    dev_files = [*flags.dev_files, *([str(Path(flags.corpus) / "dev.csv")] if flags.corpus else [])]

    def form(geometry: Any) -> step.IrShape:
        asked = model_optimizer.parse(
            flags.input, flags.output, flags.input_shape, flags.freeze_placeholder_with_value, geometry
        )
        if asked.n_steps is not None and flags.n_steps not in (0, asked.n_steps):
            raise InputError(f"--n_steps {flags.n_steps}, but --input has {asked.n_steps} frames: give one of them")
        n_steps = flags.n_steps if asked.n_steps is None else asked.n_steps
        return step.IrShape(n_steps, flags.batch if asked.batch is None else asked.batch, asked.outputs)

    settings = OpenVinoSettings(**values)
    names = [*step.files_of(settings), ALPHABET, IntermediateRepresentation.MODEL]
    with written(step.place_of(flags.output_dir), names, IntermediateRepresentation.MODEL) as folder:
        representation = step.run(settings, flags.input_model, folder, dev_files, form)
        about = f"{representation.xml.name}: {settings.precision}, made of {representation.sidecar['converted_from']}"
    place = "" if flags.output_dir == "." else f"{flags.output_dir.rstrip('/')}/"
    print(f"{place}{about}")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    arguments = sys.argv[1:] if argv is None else argv
    command(
        OpenVinoCommand,
        run,
        prog="python -m components.convert_openvino",
        usage="--input_model MODEL --output_dir FOLDER",
        description="Convert a DeepSpeech or Coqui STT acoustic model to an OpenVINO IR; takes mo's flags as well.",
        retired=model_optimizer.RETIRED_FLAGS,
        refused=model_optimizer.REFUSED_FLAGS,
        argv=[model_optimizer.SHORT_FLAGS.get(argument, argument) for argument in arguments],
    )


if __name__ == "__main__":
    main()
