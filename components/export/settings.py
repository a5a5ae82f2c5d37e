"""What can be set for an export; names of DeepSpeech and Coqui STT."""

from dataclasses import dataclass

from speech.settings import setting, setting_error


@dataclass(frozen=True)
class ExportSettings:
    """The streaming graph and its metadata."""

    n_steps: int = setting(16, "frames a call of the streaming graph", unit="frames", group="Graph", pipeline=True)
    export_beam_width: int = setting(500, "beam width that clients use by default", pipeline=True)
    export_language: str = setting(
        "", "language code stored in the graph and in the model card, e.g. cy", pipeline=True
    )
    export_quantize: bool = setting(True, "int8 weights in the TFLite model; false: float32", pipeline=True)
    load_evaluate: str = setting(
        "auto", "checkpoint to export; auto: best, else last", choices=("auto", "best", "last"), group="Checkpoint"
    )
    alphabet_config_path: str = setting("", "alphabet file, where the checkpoint carries none")
    bytes_output_mode: bool = setting(False, "the model writes UTF-8 bytes; known from our own checkpoints")
    audio_sample_rate: int = setting(0, "rate of the model; 0: what the checkpoint says, else 16000", unit="Hz")
    feature_win_len: int = setting(0, "analysis window; 0: what the checkpoint says, else 32", unit="ms")
    feature_win_step: int = setting(0, "from window to window; 0: what the checkpoint says, else 20", unit="ms")
    relu_clip: float = setting(0.0, "limit of the activations; 0: what the checkpoint says, else 20")

    def __post_init__(self) -> None:
        for name in ("n_steps", "export_beam_width"):
            if getattr(self, name) < 1:
                raise setting_error(name, getattr(self, name), "at least 1")
        for name in ("audio_sample_rate", "feature_win_len", "feature_win_step", "relu_clip"):
            if getattr(self, name) < 0:
                raise setting_error(name, getattr(self, name), "at least 0")
