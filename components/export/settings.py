"""What can be set for an export; names of DeepSpeech and Coqui STT."""

from dataclasses import dataclass

from speech.settings import setting, setting_error

PLACEHOLDER = "<to be filled in>"


@dataclass(frozen=True)
class ExportSettings:
    """The streaming graph and its metadata."""

    n_steps: int = setting(16, "frames a call of the streaming graph", unit="frames")
    export_beam_width: int = setting(500, "beam width that clients use by default")
    export_language: str = setting("", "language code stored in the graph and in the model card, e.g. cy")
    export_quantize: bool = setting(True, "int8 weights in the TFLite model; false: float32")
    load_evaluate: str = setting(
        "auto", "checkpoint to export; auto: best, else last", choices=("auto", "best", "last")
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


@dataclass(frozen=True)
class CardSettings:
    """What the model card says beyond what the files say."""

    export_author_id: str = setting("author", "who made the model, as one word")
    export_model_name: str = setting("model", "name of the model")
    export_model_version: str = setting("0.0.1", "version of the model")
    export_contact_info: str = setting(PLACEHOLDER, "how to reach the author")
    export_license: str = setting(PLACEHOLDER, "licence of the model, an SPDX identifier")
    export_data_license: str = setting("CC0-1.0", "licence of the training data; Common Voice's by default")
    export_description: str = setting("", "description in Markdown: what the data and the model are, what it is for")
    export_min_ds_version: str = setting("0.9.3", "oldest version of DeepSpeech's clients that loads the model")
    export_max_ds_version: str = setting("0.9.3", "newest version of DeepSpeech's clients that loads the model")
    export_min_stt_version: str = setting("1.4.0", "oldest version of Coqui STT's clients that loads the model")
    export_max_stt_version: str = setting("1.4.0", "newest version of Coqui STT's clients that loads the model")

    def __post_init__(self) -> None:
        for name in ("export_author_id", "export_model_name", "export_model_version"):
            value = getattr(self, name)
            if not value or "/" in value or "\n" in value:
                raise setting_error(name, value, "a name without slashes: the card's file is named after it")
