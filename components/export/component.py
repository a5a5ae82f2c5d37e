"""The export steps as Kubeflow components."""

from kfp import dsl
from kfp.dsl import Input, Model, Output

from components import images


@dsl.component(base_image=images.EXPORT, install_kfp_package=False)
def freeze(
    checkpoint: Input[Model],
    model: Output[Model],
    n_steps: int = 16,
    export_beam_width: int = 500,
    export_language: str = "",
) -> None:
    """Freeze the best checkpoint into the streaming graph that native clients run.

    Args:
        checkpoint: The trained checkpoint.
        model: The frozen graph, its alphabet and its sidecar.
        n_steps: Frames a call of the streaming graph.
        export_beam_width: Beam width that clients use by default.
        export_language: Language code stored in the graph.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import step
        from components.export.settings import ExportSettings

        settings = ExportSettings(n_steps=n_steps, export_beam_width=export_beam_width, export_language=export_language)
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
def convert_tflite(
    model: Input[Model],
    tflite: Output[Model],
    export_quantize: bool = True,
) -> None:
    """Convert the frozen graph to TFLite.

    Args:
        model: The frozen graph.
        tflite: The TFLite model, its alphabet and its sidecar.
        export_quantize: Store the weights as int8 rather than float32.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.export import step

        made = step.convert_tflite(Path(model.path), Path(tflite.path), export_quantize)
        tflite.metadata["bytes"] = made.sidecar["files"][made.TFLITE]["bytes"]
        tflite.metadata["tflite_difference"] = made.sidecar["tflite_difference"]
