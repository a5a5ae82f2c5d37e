"""The conversion to OpenVINO as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images
from components.convert_openvino.settings import OpenVinoSettings
from speech.settings.arguments import takes


@dsl.component(base_image=images.CONVERT_OPENVINO, install_kfp_package=False)
@takes(OpenVinoSettings)
def convert_openvino(
    model: Input[Model],
    dev_clips: Input[Dataset],
    ir: Output[Model],
    # made by `make tables` of settings.py
    model_name: str = "output_graph",
    precision: str = "f16",
    n_steps: int = 0,
    batch: int = 1,
    stateful: bool = False,
    with_features: bool = False,
    alphabet_config_path: str = "",
    max_wer_increase: float = 0.5,
    limit_dev: int = 500,
    # end
) -> None:
    """Make an OpenVINO IR of an exported model.

    Args:
        model: The exported model (output_graph.pb or output_graph.pbmm) or a checkpoint.
        dev_clips: The clips of the dev set, which guards the accuracy of the IR; of a corpus without one, nothing does.
        ir: The IR: MODEL_NAME.xml, MODEL_NAME.bin, the alphabet and a description.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.convert_openvino import step
        from components.convert_openvino.settings import OpenVinoSettings
        from speech.artifacts import Clips
        from speech.settings.arguments import from_arguments

        settings = from_arguments(OpenVinoSettings, locals())
        clips = Clips.open(dev_clips.path)
        dev_files = [str(clips.csv("dev"))] if clips.has_clips("dev") else []
        made = step.run(settings, model.path, Path(ir.path), dev_files)
        ir.metadata.update(made.sidecar["metrics"])
