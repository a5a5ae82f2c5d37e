"""What can be set about the conversion to OpenVINO."""

from dataclasses import dataclass

from speech.settings import setting, setting_error

PRECISIONS = ("f32", "f16", "int8")


@dataclass(frozen=True)
class OpenVinoSettings:
    """The form of the IR, and how much accuracy it may cost."""

    model_name: str = setting(
        "output_graph",
        "name of the files: MODEL_NAME.xml and MODEL_NAME.bin",
        group="Form of the IR",
        component=True,
    )
    precision: str = setting("f16", "how the file keeps the weights", choices=PRECISIONS, pipeline="openvino_precision")
    n_steps: int = setting(
        0, "frames a call as a fixed dimension; 0: any number, chosen at each call", unit="frames", component=True
    )
    batch: int = setting(
        1, "utterances a call as a fixed dimension; 0: any number, chosen at each call", component=True
    )
    stateful: bool = setting(
        False, "also write MODEL_NAME_stateful, which keeps the LSTM's states from call to call", component=True
    )
    with_features: bool = setting(
        False,
        "also write MODEL_NAME_audio, which takes the samples of a whole utterance and computes the MFCC itself",
        component=True,
    )
    alphabet_config_path: str = setting(
        "", "alphabet of the model, where it carries none or a wrong one", component=True
    )
    max_wer_increase: float = setting(
        0.5,
        "refuse an IR whose WER on the dev set is worse than the f32 one's by more than this",
        unit="points",
        group="Check of the accuracy",
        component=True,
    )
    limit_dev: int = setting(
        500, "clips of the dev set to measure that on, evenly spread; 0: all", unit="clips", component=True
    )

    def __post_init__(self) -> None:
        if not self.model_name or "/" in self.model_name or self.model_name.startswith("."):
            raise setting_error("model_name", self.model_name, "a file name without folder and ending")
        if self.precision not in PRECISIONS:
            raise setting_error("precision", self.precision, ", ".join(PRECISIONS))
        for name in ("n_steps", "batch", "limit_dev"):
            if getattr(self, name) < 0:
                raise setting_error(name, getattr(self, name), "0 (any number) or more")
        if not self.max_wer_increase >= 0:
            raise setting_error("max_wer_increase", self.max_wer_increase, "0 or more, in points of WER")
