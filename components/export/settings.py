"""What can be set for an export; names of DeepSpeech and Coqui STT."""

from dataclasses import dataclass

from speech.settings import setting, setting_error


@dataclass(frozen=True)
class ExportSettings:
    """The streaming graph and its metadata."""

    n_steps: int = setting(16, "frames a call of the streaming graph", unit="frames")
    export_beam_width: int = setting(500, "beam width that clients use by default")
    export_language: str = setting("", "language code stored in the graph, e.g. cy")
    load_evaluate: str = setting(
        "auto", "checkpoint to export; auto: best, else last", choices=("auto", "best", "last")
    )
    alphabet_config_path: str = setting("", "alphabet file, where the checkpoint carries none")
    bytes_output_mode: bool = setting(False, "the model writes UTF-8 bytes; known from our own checkpoints")

    def __post_init__(self) -> None:
        for name in ("n_steps", "export_beam_width"):
            if getattr(self, name) < 1:
                raise setting_error(name, getattr(self, name), "at least 1")
