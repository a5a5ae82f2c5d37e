"""What DeepSpeech.py does behind the training, in the same command: `--test_files` and `--export_dir`.

Each is another step in a process of its own, as no step knows another: `python -m components.evaluate` and
`python -m components.export` with the flags that were given here.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from speech.settings import setting, setting_error

EVALUATE, EXPORT = "components.evaluate", "components.export"


@dataclass(frozen=True)
class TestFlags:
    """Flags of the evaluation that follows; what is not given keeps the default of components.evaluate.

    The texts of flags that are passed on are those of the steps themselves.
    """

    __test__ = False  # no test case, whatever the name says

    test_files: tuple[str, ...] = setting(
        (), "test sets: WER, CER and loss of the trained checkpoint", group="Test, by components.evaluate"
    )
    evaluation: str = setting(
        "", "where the scores and the report go; empty: evaluation in the checkpoint folder", metavar="FOLDER"
    )
    test_batch_size: int | None = setting(None, "clips that go through the model at once, at most", unit="clips")
    limit_test: int | None = setting(None, "use only the first clips of each set; 0: all", unit="clips")
    reverse_test: bool = setting(False, "take each set from its end")
    report_count: int | None = setting(None, "best, median and worst clips that are printed, of each", unit="clips")
    test_output_file: str = setting("", "another copy of samples.json")
    load_evaluate: str = setting(
        "auto", "checkpoint to test, export and infer with; auto: best, else last", choices=("auto", "best", "last")
    )
    scorer_path: str = setting("", "scorer for the test sets, for --one_shot_infer and for --export_zip")
    lm_alpha: float | None = setting(None, "weight of the scorer's language model; not given: what the scorer suggests")
    lm_beta: float | None = setting(None, "bonus for each word; not given: what the scorer suggests")
    beam_width: int | None = setting(None, "beams of the search; not given: --export_beam_width")
    cutoff_prob: float | None = setting(None, "labels of a frame are searched until their probabilities add up to this")
    cutoff_top_n: int | None = setting(
        None, "labels of a frame that are searched at most, with a --cutoff_prob below 1"
    )

    def test_command(self, checkpoint: str, alphabet: Sequence[str], default_beam_width: int | None) -> list[str]:
        """The arguments of `python` that measure a checkpoint."""
        names = ("test_batch_size", "limit_test", "report_count", "cutoff_prob", "cutoff_top_n", "lm_alpha", "lm_beta")
        named = [f"--{name}={getattr(self, name)}" for name in names if getattr(self, name) is not None]
        texts = [
            f"--{name}={getattr(self, name)}" for name in ("test_output_file", "scorer_path") if getattr(self, name)
        ]
        beams = default_beam_width if self.beam_width is None else self.beam_width
        evaluation = self.evaluation or f"{checkpoint.rstrip('/')}/evaluation"
        arguments = [
            f"--checkpoint_dir={checkpoint}",
            f"--evaluation={evaluation}",
            f"--load_evaluate={self.load_evaluate}",
        ]
        arguments += [*named, *texts, *alphabet, *([f"--beam_width={beams}"] if beams else [])]
        arguments += ["--reverse_test=true"] if self.reverse_test else []
        return ["-m", EVALUATE, *arguments, "--test_files", *self.test_files]


@dataclass(frozen=True)
class ExportFlags:
    """Flags of the export that follows; what is not given keeps the default of components.export."""

    export_dir: str = setting(
        "", "where the trained model is exported to; empty: no export", group="Export, by components.export"
    )
    export_file_name: str | None = setting(None, "name of the model files, without the ending")
    export_tflite: bool = setting(True, "write the TFLite model, too")
    export_quantize: bool = setting(True, "int8 weights in the TFLite model; false: float32")
    export_savedmodel: bool = setting(False, "not supported: no client loads one")
    export_zip: bool = setting(False, "pack the export, and the scorer if one is given, into EXPORT_DIR.zip as well")
    export_batch_size: int = setting(1, "clips a call of the exported graph; clients feed one")
    n_steps: int | None = setting(None, "frames a call of the streaming graph", unit="frames")
    export_beam_width: int | None = setting(None, "beam width in the model's metadata; the test sets use it, too")
    remove_export: bool = setting(False, "remove what EXPORT_DIR holds of earlier exports of ours; other files stay")
    export_author_id: str | None = setting(None, "who made the model, as one word")
    export_model_name: str | None = setting(None, "name of the model")
    export_model_version: str | None = setting(None, "version of the model")
    export_contact_info: str | None = setting(None, "how to reach the author")
    export_license: str | None = setting(None, "licence of the model, an SPDX identifier")
    export_language: str | None = setting(None, "language code stored in the graph and in the model card, e.g. cy")
    export_min_ds_version: str | None = setting(None, "oldest version of DeepSpeech's clients that loads the model")
    export_max_ds_version: str | None = setting(None, "newest version of DeepSpeech's clients that loads the model")
    export_min_stt_version: str | None = setting(None, "oldest version of Coqui STT's clients that loads the model")
    export_max_stt_version: str | None = setting(None, "newest version of Coqui STT's clients that loads the model")
    export_description: str | None = setting(
        None, "description in Markdown: what the data and the model are, what it is for"
    )

    def check(self) -> None:
        """Refuse before the training what the export would refuse behind it."""
        if self.export_savedmodel:
            raise setting_error(
                "export_savedmodel", True, "no client loads a SavedModel; the .pb file has the same nodes"
            )
        if self.export_batch_size != 1:
            raise setting_error("export_batch_size", self.export_batch_size, "1, which is what clients feed")
        for name in ("n_steps", "export_beam_width"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise setting_error(name, value, "at least 1")

    def export_command(self, checkpoint: str, load_evaluate: str, more: Sequence[str]) -> list[str]:
        """The arguments of `python` that export a checkpoint."""
        names = [name for name in ExportFlags.__dataclass_fields__ if name != "export_dir"]
        differing = [name for name in names if getattr(self, name) != getattr(ExportFlags, name)]
        arguments = [
            f"--checkpoint_dir={checkpoint}",
            f"--export_dir={self.export_dir}",
            f"--load_evaluate={load_evaluate}",
        ]
        return ["-m", EXPORT, *arguments, *(f"--{name}={getattr(self, name)}" for name in differing), *more]


def run_step(arguments: Sequence[str]) -> None:
    """Run `python ARGUMENTS` with this interpreter; ends this process with the step's exit code if it fails."""
    print(f"then: python {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)
