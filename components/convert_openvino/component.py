"""The conversion to OpenVINO as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.CONVERT_OPENVINO, install_kfp_package=False)
def convert_openvino(
    model: Input[Model],
    dev_clips: Input[Dataset],
    ir: Output[Model],
    model_name: str = "output_graph",
    precision: str = "f16",
    n_steps: int = 0,
    batch: int = 1,
    stateful: bool = False,
    with_features: bool = False,
    alphabet_config_path: str = "",
    max_wer_increase: float = 0.5,
    limit_dev: int = 500,
) -> None:
    """Make an OpenVINO IR of an exported model.

    Args:
        model: The exported model (output_graph.pb or output_graph.pbmm) or a checkpoint.
        dev_clips: The clips of the dev set, which guards the accuracy of the IR; of a corpus without one, nothing does.
        ir: The IR: MODEL_NAME.xml, MODEL_NAME.bin, the alphabet and a description.
        model_name: Name of the files.
        precision: How the file keeps the weights: f32, f16 or int8.
        n_steps: Frames a call as a fixed dimension; 0: any number.
        batch: Utterances a call as a fixed dimension; 0: any number.
        stateful: Also write MODEL_NAME_stateful, which keeps the LSTM's states from call to call.
        with_features: Also write MODEL_NAME_audio, which takes the samples of a whole utterance.
        alphabet_config_path: Alphabet of the model, where it carries none or a wrong one.
        max_wer_increase: Refuse an IR whose WER is worse than the float32 one's by more points than this.
        limit_dev: Clips of the dev set to measure that on; 0: all.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.convert_openvino import step
        from components.convert_openvino.settings import OpenVinoSettings
        from speech.artifacts import Clips

        settings = OpenVinoSettings(
            model_name=model_name,
            precision=precision,
            n_steps=n_steps,
            batch=batch,
            stateful=stateful,
            with_features=with_features,
            alphabet_config_path=alphabet_config_path,
            max_wer_increase=max_wer_increase,
            limit_dev=limit_dev,
        )
        clips = Clips.open(dev_clips.path)
        dev_files = [str(clips.csv("dev"))] if "dev" in clips.sets else []
        made = step.run(settings, model.path, Path(ir.path), dev_files)
        ir.metadata.update(made.sidecar["metrics"])
