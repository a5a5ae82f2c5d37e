"""What can be set about the evaluation."""

from dataclasses import dataclass

from speech.settings import setting, setting_error

DECODERS = ("greedy",)
ENGINES = ("auto", "batch", "file")
NORMALIZATIONS = ("none", "spaces", "lower", "letters")
UNITS = ("clip", "speaker")


@dataclass(frozen=True)
class EvaluateSettings:
    """How a model is measured."""

    test_batch_size: int = setting(64, "clips that go through the model at once, at most", unit="clips")
    limit_test: int = setting(0, "use only the first clips of each set; 0: all", unit="clips")
    reverse_test: bool = setting(False, "take each set from its end")
    engine: str = setting(
        "auto",
        "what computes the emissions: `file` runs the model file itself, in its own runtime; `batch` reads the weights "
        "out of the file and runs them in batches; `auto` is `batch` where the file allows it",
        choices=ENGINES,
    )
    check_clips: int = setting(3, "clips on which `batch` is compared with the file in its own runtime", unit="clips")
    emission_cache: str = setting("", "folder that keeps emissions for later evaluations of the same file; empty: none")
    decoder: str = setting("greedy", "how emissions become text", choices=DECODERS)
    text_normalization: str = setting(
        "spaces",
        "what is done to references and transcripts before they are compared: `spaces` makes runs of white space one "
        "space (and Unicode NFC), `lower` also the case, `letters` also drops what is no letter, digit or apostrophe",
        choices=NORMALIZATIONS,
    )
    bootstrap_samples: int = setting(1000, "resamples behind each confidence interval; 0: no intervals")
    bootstrap_unit: str = setting(
        "clip",
        "what is drawn: clips, or speakers with all their clips (wider, and right for few speakers)",
        choices=UNITS,
    )
    confidence: float = setting(0.95, "coverage of the intervals")
    random_seed: int = setting(4568, "seed of the resampling")
    report_count: int = setting(5, "best, median and worst clips that are printed, of each", unit="clips")
    report_players: int = setting(10, "worst clips that the HTML report lets one hear", unit="clips")
    champion: str = setting("", "evaluation to compare with: the folder or s3:// prefix that has its samples.json")
    load_evaluate: str = setting(
        "auto", "bundle of a checkpoint: best, last, or auto (best, else last)", choices=("auto", "best", "last")
    )
    alphabet_config_path: str = setting("", "alphabet file of a model that carries none")
    bytes_output_mode: bool = setting(False, "a model that carries no alphabet writes UTF-8 bytes")

    def __post_init__(self) -> None:
        for name, least in (
            ("test_batch_size", 1),
            ("limit_test", 0),
            ("check_clips", 0),
            ("bootstrap_samples", 0),
            ("report_count", 0),
            ("report_players", 0),
            ("random_seed", 0),
        ):
            if getattr(self, name) < least:
                raise setting_error(name, getattr(self, name), f"{least} or more")
        if not 0.0 < self.confidence < 1.0:
            raise setting_error("confidence", self.confidence, "between 0 and 1")
        for name, choices in (
            ("engine", ENGINES),
            ("decoder", DECODERS),
            ("text_normalization", NORMALIZATIONS),
            ("bootstrap_unit", UNITS),
            ("load_evaluate", ("auto", "best", "last")),
        ):
            if getattr(self, name) not in choices:
                raise setting_error(name, getattr(self, name), f"one of {', '.join(choices)}")
