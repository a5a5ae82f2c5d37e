"""What can be set about the evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

from speech.clips.tally import USUALLY_ALLOWED, Allowance
from speech.settings import setting, setting_error

DECODERS = ("auto", "beam", "greedy", "ds_ctcdecoder")
ENGINES = ("auto", "batch", "file")
NORMALIZATIONS = ("none", "spaces", "lower", "letters")
UNITS = ("clip", "speaker")
USUAL_TRIALS = 60  # of a search for a scorer's weights


@dataclass(frozen=True)
class EvaluateInputs:
    """What the pipeline hands the step besides its settings."""

    test_sets: str = setting("test", "sets of the corpus to measure on, with commas between them", pipeline=True)
    extra_flags: str = setting(
        "",
        "further flags of the evaluate steps, such as --hot_words mill:5 --bootstrap_unit speaker",
        pipeline="evaluate_flags",
    )


@dataclass(frozen=True)
class EvaluateSettings:
    """How a model is measured."""

    test_batch_size: int = setting(
        64, "clips that go through the model at once, at most", unit="clips", group="Clips", component=True
    )
    limit_test: int = setting(0, "use only the first clips of each set; 0: all", unit="clips", component=True)
    reverse_test: bool = setting(False, "take each set from its end")
    normalize_sample_rate: bool = setting(True, "resample clips of another sample rate; off: leave them out")
    allow_skipped: str = setting(
        USUALLY_ALLOWED,
        "clips of a set that may be unusable (missing, unreadable, ...): a number, or a share",
        metavar="SHARE",
    )
    engine: str = setting(
        "auto",
        "what computes the emissions: `file` runs the model file itself, in its own runtime; `batch` reads the weights "
        "out of the file and runs them in batches; `auto` is `batch` where the file allows it",
        choices=ENGINES,
        group="Emissions",
        component=True,
    )
    check_clips: int = setting(
        3, "clips on whose first second `batch` is compared with the file in its own runtime", unit="clips"
    )
    emission_cache: str = setting(
        "", "folder that keeps emissions for later evaluations of the same file; empty: none", metavar="FOLDER"
    )
    decoder: str = setting(
        "auto",
        "how emissions become text: `beam` searches as the clients do, `greedy` takes the likeliest label of each "
        "frame (and no scorer), `ds_ctcdecoder` is DeepSpeech's own package in another interpreter; `auto` is `beam` "
        "if its library is compiled or a scorer is given, else `greedy`",
        choices=DECODERS,
        group="Decoding",
        component=True,
    )
    scorer_path: str = setting("", "scorer: a .scorer file or the folder of one; empty: none")
    lm_alpha: float | None = setting(None, "weight of the language model; not given: what the scorer suggests")
    lm_beta: float | None = setting(None, "bonus for each word; not given: what the scorer suggests")
    beam_width: int = setting(
        0, "beams of the search; 0: what the model carries for its clients, else 500", component=True
    )
    cutoff_prob: float = setting(1.0, "labels of a frame are searched until their probabilities add up to this")
    cutoff_top_n: int = setting(300, "labels of a frame that are searched at most, with a --cutoff_prob below 1")
    hot_words: tuple[str, ...] = setting(
        (), "words that the scorer shall favour, or avoid: WORD:BOOST, in nats", metavar="WORD:BOOST"
    )
    n_best: int = setting(1, "transcripts of each clip that samples.json lists, if more than one")
    decoder_threads: int = setting(0, "clips that are decoded at the same time; 0: as many as there are processors")
    ds_ctcdecoder_python: str = setting(
        "python3.9",
        "interpreter with ds_ctcdecoder, for `--decoder ds_ctcdecoder`; the image evaluate-ds-ctcdecoder has python3.9",
        metavar="PYTHON",
    )
    n_trials: int = setting(
        0,
        "search the scorer's weights on the dev set first, with so many trials; 0: no search",
        group="Search for the scorer's weights",
        pipeline=True,
        in_pipeline=USUAL_TRIALS,
    )
    lm_alpha_max: float = setting(5.0, "upper end of the search for --lm_alpha")
    lm_beta_max: float = setting(5.0, "upper end of the search for --lm_beta")
    tune_beam_width: int = setting(100, "beams in the search for the weights")
    tune_clips: int = setting(
        1000, "dev clips in the search for the weights, evenly spread over the set; 0: all", unit="clips"
    )
    text_normalization: str = setting(
        "spaces",
        "what is done to references and transcripts before they are compared: `spaces` makes runs of white space one "
        "space (and Unicode NFC), `lower` also the case, `letters` also drops what is no letter, digit or apostrophe",
        choices=NORMALIZATIONS,
        group="Scores",
        pipeline=True,
    )
    bootstrap_samples: int = setting(1000, "resamples behind each confidence interval; 0: no intervals")
    bootstrap_unit: str = setting(
        "clip",
        "what is drawn: clips, or speakers with all their clips (wider, and right for few speakers)",
        choices=UNITS,
        component=True,
    )
    confidence: float = setting(0.95, "coverage of the intervals")
    random_seed: int = setting(4568, "seed of the resampling", component=True)
    report_count: int = setting(
        5,
        "best, median and worst clips that are printed, of each",
        unit="clips",
        group="Report",
        component=True,
    )
    report_players: int = setting(10, "worst clips that the HTML report lets one hear", unit="clips", component=True)
    champion: str = setting(
        "",
        "evaluation to compare with: the folder or s3:// prefix that has its samples.json",
        group="Comparison",
        metavar="FOLDER",
        pipeline=True,
    )
    champion_of: str = setting(
        "",
        "folder or s3:// prefix of published versions: compare with the champion there, if it has one",
        metavar="FOLDER",
        pipeline="publish_uri",
    )
    load_evaluate: str = setting(
        "auto",
        "bundle of a checkpoint: best, last, or auto (best, else last)",
        choices=("auto", "best", "last"),
        group="Model",
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
            ("beam_width", 0),
            ("cutoff_top_n", 1),
            ("n_best", 1),
            ("decoder_threads", 0),
            ("n_trials", 0),
            ("tune_beam_width", 1),
            ("tune_clips", 0),
        ):
            if getattr(self, name) < least:
                raise setting_error(name, getattr(self, name), f"{least} or more")
        if not 0.0 < self.confidence < 1.0:
            raise setting_error("confidence", self.confidence, "between 0 and 1")
        if not 0.0 < self.cutoff_prob <= 1.0:
            raise setting_error("cutoff_prob", self.cutoff_prob, "more than 0, and 1 at most")
        for name in ("lm_alpha_max", "lm_beta_max"):
            if not 0.0 < getattr(self, name) < inf:
                raise setting_error(name, getattr(self, name), "more than 0")
        for name in ("lm_alpha", "lm_beta"):
            if getattr(self, name) is not None and not isfinite(getattr(self, name)):
                raise setting_error(name, getattr(self, name), "a finite number")
        hot_word_boosts(self.hot_words)
        Allowance(self.allow_skipped)
        for name, choices in (
            ("engine", ENGINES),
            ("decoder", DECODERS),
            ("text_normalization", NORMALIZATIONS),
            ("bootstrap_unit", UNITS),
            ("load_evaluate", ("auto", "best", "last")),
        ):
            if getattr(self, name) not in choices:
                raise setting_error(name, getattr(self, name), f"one of {', '.join(choices)}")


def hot_word_boosts(hot_words: Sequence[str]) -> dict[str, float]:
    """`WORD:BOOST` items as a table; raises InputError for one of another form."""
    boosts = {}
    for item in hot_words:
        word, colon, boost = item.rpartition(":")
        try:
            boosts[word] = float(boost)
        except ValueError:
            boosts[word] = inf
        if not (colon and word and isfinite(boosts[word])):
            raise setting_error("hot_words", item, "WORD:BOOST, such as mill:7.5")
    return boosts
