"""Why a row of a release does not become a clip of the corpus: a name, a number for compact tables, a meaning."""

from enum import IntEnum


class Reason(IntEnum):
    """Reasons of refusal; ACCEPTED is none."""

    ACCEPTED = 0
    # seen in the TSV
    MALFORMED_ROW = 1
    NOT_UTF8 = 2
    UNSAFE_PATH = 3
    NAME_TAKEN = 4
    NO_SENTENCE = 5
    INVALID_LABEL = 6
    OUTSIDE_ALPHABET = 7
    CONTROL_CHARACTER = 8
    VALIDATOR_FAILED = 9
    HELD_OUT = 10
    # seen in usable clips, and left out with --exclude
    DUPLICATE_AUDIO = 80
    DUPLICATE_SENTENCE = 81
    SILENT = 82
    CLIPPED = 83
    TOO_MANY_LABELS = 84
    # seen by the transcript rules
    EMPTIED = 60
    DIGITS = 61
    SIGNS = 62
    OUTSIDE_LOCALE = 63
    HELD_OUT_CLIP = 11
    HELD_OUT_SPEAKER = 12
    HELD_OUT_SENTENCE = 13
    KEPT_ASIDE = 14
    VOTED_DOWN = 15
    UNHEARD = 16
    MISHEARD = 17
    # seen in the audio
    MISSING = 20
    EMPTY = 21
    NOT_A_FILE = 22
    TOO_BIG = 23
    NOT_AUDIO = 24
    NEEDS_FFMPEG = 25
    TRUNCATED = 26
    NO_SAMPLES = 27
    DECODER_FAILED = 28
    # seen in both
    TOO_LONG = 40
    TOO_SHORT = 41
    REPEATED_AUDIO = 50
    UNUSUAL_RATE = 42

    @property
    def key(self) -> str:
        """The name in reports."""
        return self.name.lower()

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return MEANINGS[self]

    @property
    def by_design(self) -> bool:
        """Whether nothing is wrong with the clip: it is left out for the sake of others."""
        return self in BY_DESIGN


MEANINGS = {
    Reason.ACCEPTED: "imported",
    Reason.MALFORMED_ROW: "the row has not the columns of the TSV's first line (a tab inside a field, a cut line)",
    Reason.NOT_UTF8: "the row is not UTF-8",
    Reason.UNSAFE_PATH: "the path is empty or leaves the folder of the clips",
    Reason.NAME_TAKEN: "the clip's WAV file would have the name of another clip's, or of its own source",
    Reason.NO_SENTENCE: "no sentence, or nothing but punctuation",
    Reason.INVALID_LABEL: "the label rules refuse the sentence (digits, brackets, & or *; or the locale's own rule)",
    Reason.OUTSIDE_ALPHABET: "the sentence has characters that the alphabet lacks",
    Reason.CONTROL_CHARACTER: "the sentence has control characters",
    Reason.VALIDATOR_FAILED: "the locale's validate_label raised an error",
    Reason.HELD_OUT: "left out of train-all: the speaker or the sentence is in dev or test",
    Reason.DUPLICATE_AUDIO: "the same audio, byte by byte, as another clip of the set",
    Reason.DUPLICATE_SENTENCE: "the same sentence by the same speaker as another row of the set",
    Reason.SILENT: "silent: nothing in it is louder than -50 dB of full scale",
    Reason.CLIPPED: "overdriven: 0.1 % of the samples or more are at full scale",
    Reason.TOO_MANY_LABELS: "too short for CTC to align: more labels than frames of 20 ms, equal neighbours twice",
    Reason.EMPTIED: "the transcript rules leave nothing of the sentence",
    Reason.DIGITS: "the sentence has digits, and how they are read is not written",
    Reason.SIGNS: "the sentence has signs whose words are not written (%, &, @, currencies) or brackets for remarks",
    Reason.OUTSIDE_LOCALE: "the sentence has characters that the locale's rules do not allow",
    Reason.HELD_OUT_CLIP: "left out of train: the clip is in dev or test",
    Reason.HELD_OUT_SPEAKER: "left out of train: the speaker is one of dev's or test's",
    Reason.HELD_OUT_SENTENCE: "left out of train: the sentence is in dev or test",
    Reason.KEPT_ASIDE: "left out of train: the sentence is dev's or test's while a release has too few speakers",
    Reason.VOTED_DOWN: "left out of train: in other.tsv, with more votes against it than for it",
    Reason.UNHEARD: "left out of train: in other.tsv, and not in --other_heard with this sentence",
    Reason.MISHEARD: "left out of train: in other.tsv, and the model of --other_heard heard something else",
    Reason.MISSING: "the audio file is missing",
    Reason.EMPTY: "the audio file is empty",
    Reason.NOT_A_FILE: "not a regular file but a link, a device or a folder",
    Reason.TOO_BIG: "the audio file is larger than --max_clip_mb, or would be when decoded",
    Reason.NOT_AUDIO: "not decodable as audio",
    Reason.NEEDS_FFMPEG: "a format that only ffmpeg reads, and ffmpeg is not installed",
    Reason.TRUNCATED: "the audio ends before its own header or the release's durations say",
    Reason.NO_SAMPLES: "the audio decodes to nothing",
    Reason.DECODER_FAILED: "the decoder crashed or failed",
    Reason.TOO_LONG: "longer than --max_duration_s",
    Reason.REPEATED_AUDIO: "the audio is that of another clip, of another release, which counts once",
    Reason.TOO_SHORT: "too short for its sentence: more characters a second than --max_chars_per_s",
    Reason.UNUSUAL_RATE: "left out of train: in other.tsv, and read unusually fast or slowly for its sentence",
}
BY_DESIGN = frozenset(
    [
        Reason.HELD_OUT,
        Reason.HELD_OUT_CLIP,
        Reason.HELD_OUT_SPEAKER,
        Reason.HELD_OUT_SENTENCE,
        Reason.KEPT_ASIDE,
        Reason.VOTED_DOWN,
        Reason.UNHEARD,
        Reason.MISHEARD,
        Reason.UNUSUAL_RATE,
    ]
)


class Refused(Exception):
    """Raised where a clip turns out not to be usable."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
