"""The export steps as Kubeflow components."""

from kfp import dsl
from kfp.dsl import Input, Model, Output

from components import images
from components.export.settings import ExportSettings
from speech.settings.arguments import takes


@dsl.component(base_image=images.EXPORT, install_kfp_package=False)
@takes(ExportSettings, but=("export_quantize",))
def freeze(
    checkpoint: Input[Model],
    model: Output[Model],
    # made by `make tables` of settings.py
    n_steps: int = 16,
    export_beam_width: int = 500,
    export_language: str = "",
    # end
) -> None:
    """Freeze the best checkpoint into the streaming graph that native clients run.

    Args:
        checkpoint: The trained checkpoint.
        model: The frozen graph, its alphabet and its sidecar.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import step
        from components.export.settings import ExportSettings
        from speech.settings.arguments import from_arguments

        settings = from_arguments(ExportSettings, locals())
        made = step.freeze(settings, Path(checkpoint.path), Path(model.path))
        model.metadata["bytes"] = made.sidecar["files"][made.FROZEN]["bytes"]
        model.metadata["selfcheck_max_difference"] = made.sidecar["selfcheck_max_difference"]


@dsl.component(base_image=images.CONVERT_MMAP, install_kfp_package=False)
def convert_mmap(model: Input[Model], mapped: Output[Model]) -> None:
    """Convert the frozen graph to the memory-mapped format.

    Args:
        model: The frozen graph.
        mapped: The memory-mapped graph, its alphabet and its sidecar.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import step

        step.convert_mmap(Path(model.path), Path(mapped.path))


@dsl.component(base_image=images.EXPORT, install_kfp_package=False)
@takes(ExportSettings, only=("export_quantize",))
def convert_tflite(
    model: Input[Model],
    tflite: Output[Model],
    # made by `make tables` of settings.py
    export_quantize: bool = True,
    # end
) -> None:
    """Convert the frozen graph to TFLite.

    Args:
        model: The frozen graph.
        tflite: The TFLite model, its alphabet and its sidecar.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import step

        made = step.convert_tflite(Path(model.path), Path(tflite.path), export_quantize)
        tflite.metadata["bytes"] = made.sidecar["files"][made.TFLITE]["bytes"]
        tflite.metadata["tflite_difference"] = made.sidecar["tflite_difference"]
