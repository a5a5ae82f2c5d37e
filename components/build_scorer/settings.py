"""What can be set about building a scorer."""

import re
from dataclasses import dataclass

from speech.settings import setting, setting_error

BINARY_TYPES = ("trie", "probing")
AUTO, WORDS, CHARACTERS = UNITS = ("auto", "words", "characters")


@dataclass(frozen=True)
class ScorerInputs:
    """What the pipeline hands the step besides its settings."""

    build_scorer: bool = setting(
        False, "build a scorer of the training transcripts, of scorer_text_uri, or of both", pipeline=True
    )
    scorer_uri: str = setting(
        "", "scorer that is there already, a .scorer file or s3:// URI, if none is built; empty: none", pipeline=True
    )
    scorer_text_uri: str = setting(
        "",
        "text for the scorer, a sentence a line: .txt or .txt.gz, local or s3://, with commas between",
        pipeline=True,
    )
    scorer_transcripts: bool = setting(True, "the training transcripts are text for the scorer", pipeline=True)
    extra_flags: str = setting(
        "",
        "further flags of the build_scorer step, such as --keep_case --binary_type probing",
        pipeline="scorer_flags",
    )


@dataclass(frozen=True)
class BuildScorerSettings:
    """How the language model is estimated and packaged."""

    top_k: int = setting(
        500_000, "most frequent words that make the vocabulary", unit="words", group="Language model", pipeline=True
    )
    arpa_order: int = setting(5, "longest n-gram; 2 to 6, as clients read them", unit="words", pipeline=True)
    arpa_prune: str = setting(
        "0|0|1", "n-grams seen this often or less are dropped: one count an order, `|` between", pipeline=True
    )
    max_arpa_memory: str = setting(
        "85%",
        "memory for lmplz at most: a share of the machine or container, or 4G, 500M",
        metavar="SIZE",
        component=True,
    )
    binary_a_bits: int = setting(255, "most bits of a trie pointer that may be moved to a table; 0: none", unit="bits")
    binary_q_bits: int = setting(8, "bits of a quantized probability or backoff in a trie; 0: float32", unit="bits")
    binary_type: str = setting("trie", "language model: trie is small, probing fast", choices=BINARY_TYPES)
    discount_fallback: bool = setting(
        False, "smooth small or artificial text by fixed discounts; done anyway, with a note, where nothing else works"
    )
    keep_case: bool = setting(False, "do not lower-case the text")
    default_alpha: float = setting(
        0.931289039105002,
        "weight of the language model that the scorer suggests",
        group="Scorer",
        component=True,
    )
    default_beta: float = setting(1.1834137581510284, "bonus for each word that the scorer suggests", component=True)
    force_bytes_output_mode: str = setting(
        "", "true: for a model in bytes output mode, false: for an alphabet; empty: as the model is"
    )
    scorer_units: str = setting(
        AUTO,
        "what the scorer knows: words, which end at a space, or characters; auto: characters if the alphabet has no "
        "space or the text is hardly parted into words",
        choices=UNITS,
    )
    kenlm_bins: str = setting(
        "",
        "folder of lmplz, filter and build_binary; empty: PATH, or build/kenlm/bin",
        group="Machine",
        metavar="FOLDER",
    )

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise setting_error("top_k", self.top_k, "1 or more")
        if not 2 <= self.arpa_order <= 6:
            raise setting_error("arpa_order", self.arpa_order, "2 to 6")
        counts = self.arpa_prune.replace("|", " ").split()
        if not all(count.isdecimal() for count in counts) or len(counts) > self.arpa_order:
            raise setting_error("arpa_prune", self.arpa_prune, f"at most {self.arpa_order} counts such as 0|0|1")
        thresholds = [int(count) for count in counts]
        if thresholds != sorted(thresholds) or thresholds[:1] not in ([], [0]):
            raise setting_error("arpa_prune", self.arpa_prune, "counts that begin with 0 and never fall")
        if not re.fullmatch(r"\d+(\.\d+)?(%|[bKMGT]?)", self.max_arpa_memory):
            raise setting_error("max_arpa_memory", self.max_arpa_memory, "a share such as 85% or a size such as 4G")
        if not 0 <= self.binary_a_bits <= 255:
            raise setting_error("binary_a_bits", self.binary_a_bits, "0 to 255")
        if self.binary_q_bits not in (0, *range(2, 26)):
            raise setting_error("binary_q_bits", self.binary_q_bits, "0, or 2 to 25")
        if self.binary_type not in BINARY_TYPES:
            raise setting_error("binary_type", self.binary_type, f"one of {', '.join(BINARY_TYPES)}")
        if self.scorer_units not in UNITS:
            raise setting_error("scorer_units", self.scorer_units, f"one of {', '.join(UNITS)}")
        if self.force_bytes_output_mode.lower() not in ("", "true", "false", "1", "0"):
            raise setting_error("force_bytes_output_mode", self.force_bytes_output_mode, "true, false or empty")

    @property
    def bytes_output_mode(self) -> bool | None:
        """What `force_bytes_output_mode` demands; None: nothing."""
        text = self.force_bytes_output_mode.lower()
        return None if not text else text in ("true", "1")
