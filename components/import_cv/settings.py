"""Settings of the import step."""

import re
from dataclasses import dataclass

from speech.artifacts import ALL_SETS, SPLITS
from speech.settings import setting, setting_error

LAYOUTS = ("shards", "clips")
HEALTH_FINDINGS = ("duplicate_audio", "duplicate_sentence", "silent", "clipped", "too_many_labels")
PROPOSE, UTF8 = "propose", "utf8"
RULES = NO_RULES, GENERIC_RULES, LOCALE_RULES = ("none", "generic", "locale")
SPLIT_SOURCES = ("auto", "release", "made")
SPLIT_UNITS = ("auto", "speaker", "sentence")
TRAIN_TABLES = ("train", "validated", "other")


@dataclass(frozen=True)
class ImportInputs:
    """What the pipeline hands the step besides its settings."""

    corpus_uri: str = setting(
        "",
        "Common Voice release, or several corpora with commas between: folder, .tar.gz, .tar or .zip; local, s3://, "
        "gs:// or https://",
        pipeline=True,
    )
    corpus_revision: str = setting(
        "",
        "text that changes when the corpus does, so that a cached import is not taken for the new one; "
        "`speechmill run` and `submit` find it out",
        pipeline=True,
    )
    extra_flags: str = setting(
        "", "further flags of the import step, such as --normalize --max_chars_per_s 30", pipeline="import_flags"
    )


@dataclass(frozen=True)
class ImportSettings:
    """What to import of a Common Voice release, and how."""

    sets: tuple[str, ...] = setting(
        SPLITS,
        f"sets to write, of {' '.join(ALL_SETS)}; train-all is validated without dev's and test's",
        group="Corpus",
        metavar="SET",
        component=True,
    )
    splits: str = setting(
        "auto",
        "where train, dev and test come from: the release's own files, made of validated.tsv, or auto: made are those "
        "that the release lacks, or has under the floor and could have above it",
        choices=SPLIT_SOURCES,
        group="Sets",
        pipeline=True,
    )
    split_floor_clips: int = setting(
        20, "auto: a set of the release with fewer clips is made", unit="clips", group="Sets"
    )
    split_floor_speakers: float = setting(
        0.02, "auto: dev or test with a smaller share of the speakers of all three sets is made", group="Sets"
    )
    split_share: float = setting(
        0.1, "share of the speakers (or sentences) that a made dev set gets, and a made test set, each", group="Sets"
    )
    split_by: str = setting(
        "auto",
        "made sets have speakers of their own, or sentences of their own; auto: speakers, and sentences where these "
        "are too few, so train leaves both out; speaker: train leaves out the speakers alone, and has more clips",
        choices=SPLIT_UNITS,
        group="Sets",
    )
    split_margin: float = setting(
        0.01,
        "a made dev or test set has at most as many clips as stand for all with this error at 99 % confidence",
        group="Sets",
    )
    split_salt: str = setting("", "any text: another one gives made sets of other speakers", group="Sets")
    train_sets: tuple[str, ...] = setting(
        ("train",),
        "what train is made of: train; validated: also what else is validated, but not by dev's or test's speakers, "
        "nor a sentence of theirs; other: also what has too few votes",
        group="Sets",
        metavar="TABLE",
        pipeline=True,
    )
    held_out_speakers: bool = setting(
        True, "validated and other: not from speakers who are in dev or test", group="Sets"
    )
    held_out_sentences: bool = setting(True, "validated and other: no sentences that are in dev or test", group="Sets")
    other_tails: float = setting(
        0.02,
        "other: only clips whose characters a second are usual, so without this share of the other clips' at each end",
        group="Sets",
    )
    other_heard: str = setting(
        "",
        "other: only clips that a model heard about as they are written: the samples.json of an evaluation of them, "
        "local or s3://",
        group="Sets",
        metavar="FILE",
    )
    other_max_cer: float = setting(
        0.5, "other_heard: the most characters that the model got wrong, as a share of the clip's", group="Sets"
    )
    other_max_loss: float = setting(
        0.0, "other_heard: the highest loss, in nats a character of the transcript; 0: any", unit="nats", group="Sets"
    )
    filter_alphabet: str = setting(
        "",
        "drop clips whose sentence has characters outside this alphabet: file, s3:// URI, or the alphabet's own text "
        "(several lines); empty: the alphabet is collected from the transcripts",
        group="Transcripts",
        metavar="FILE",
        pipeline=True,
    )
    alphabet: str = setting(
        "",
        "the corpus' alphabet, instead of all characters of the transcripts: propose (without rare ones, those of "
        "another script, and their clips), utf8 (the bytes of UTF-8), or as --filter_alphabet",
        group="Transcripts",
        pipeline=True,
    )
    rules: str = setting(
        GENERIC_RULES,
        "what makes a transcript of a sentence: rules that hold for every script; those of the locale where "
        "commonvoice-utils has some, and the generic ones beneath; or none but those of DeepSpeech's importer",
        choices=RULES,
        group="Transcripts",
        pipeline=True,
    )
    locale: str = setting(
        "",
        "locale of the sentences, such as ka or sv-SE; empty: as the release says",
        group="Transcripts",
        component=True,
    )
    normalize: bool = setting(
        False,
        "turn letters with diacritics into their base letters (ASCII)",
        group="Transcripts",
        pipeline=True,
    )
    validate_label_locale: str = setting(
        "",
        "local Python file with a function validate_label(sentence) -> transcript or None; it is run, so never from s3://",
        group="Transcripts",
        metavar="FILE",
        component=True,
    )
    space_after_every_character: bool = setting(
        False,
        "write a space after every character of the transcript",
        group="Transcripts",
        component=True,
    )
    max_chars_per_s: float = setting(
        50.0,
        "drop clips with more characters a second than this",
        unit="characters/s",
        group="Transcripts",
        component=True,
    )
    exclude: tuple[str, ...] = setting(
        (),
        f"what the report finds and the import leaves out, of {' '.join(HEALTH_FINDINGS)} (the first one stays)",
        group="Transcripts",
    )
    audio_dir: str = setting(
        "", "folder of the audio, if it is not `clips` beside the TSV files (folders only)", group="Audio"
    )
    audio_sample_rate: int = setting(
        16000, "sample rate of the clips written", unit="Hz", group="Audio", component=True
    )
    max_duration_s: float = setting(10.0, "drop longer clips", unit="s", group="Audio", pipeline=True)
    max_clip_mb: float = setting(16.0, "drop larger audio files without reading them", unit="MB", group="Audio")
    layout: str = setting(
        "shards",
        "tar files of many WAV clips, or one WAV file a clip",
        choices=LAYOUTS,
        group="Corpus",
    )
    shard_clips: int = setting(
        0,
        "clips of the release that make a shard a set; 0: 6000 (about 1 GB), fewer in a small corpus, so that it can "
        "be partitioned",
        group="Corpus",
    )
    previous: str = setting(
        "",
        "corpus of an earlier import: clips whose audio has not changed are taken from it",
        group="Corpus",
        metavar="FOLDER",
        pipeline=True,
    )
    partition: str = setting(
        "", "i/n: import the i-th of n parts of the clips; merge the parts afterwards", group="Corpus", metavar="I/N"
    )
    workers: int = setting(0, "processes that convert; 0: one a core", group="Corpus")

    def __post_init__(self) -> None:
        unknown = [name for name in self.sets if name not in ALL_SETS]
        if unknown or not self.sets:
            raise setting_error("sets", " ".join(unknown), f"expected some of {' '.join(ALL_SETS)}")
        if not self.train_sets or any(name not in TRAIN_TABLES for name in self.train_sets):
            raise setting_error("train_sets", " ".join(self.train_sets), f"expected some of {' '.join(TRAIN_TABLES)}")
        if self.other_heard and "other" not in self.train_sets:
            raise setting_error("other_heard", self.other_heard, "it filters --train_sets other, which is not chosen")
        for name, choices in (("splits", SPLIT_SOURCES), ("split_by", SPLIT_UNITS)):
            if getattr(self, name) not in choices:
                raise setting_error(name, getattr(self, name), f"one of {', '.join(choices)}")
        for name, least, most in (
            ("split_floor_speakers", 0.0, 1.0),
            ("split_share", 0.001, 0.4),
            ("split_margin", 0.001, 0.5),
            ("other_tails", 0.0, 0.4),
            ("other_max_cer", 0.0, 10.0),
            ("other_max_loss", 0.0, 1000.0),
        ):
            if not least <= getattr(self, name) <= most:
                raise setting_error(name, getattr(self, name), f"expected {least:g} to {most:g}")
        if self.layout not in LAYOUTS:
            raise setting_error("layout", self.layout, f"expected {' or '.join(LAYOUTS)}")
        if self.alphabet and self.filter_alphabet:
            raise setting_error("alphabet", self.alphabet.split("\n")[0], "--filter_alphabet names one already")
        if odd := [name for name in self.exclude if name not in HEALTH_FINDINGS]:
            raise setting_error("exclude", " ".join(odd), f"expected some of {' '.join(HEALTH_FINDINGS)}")
        if self.rules not in RULES:
            raise setting_error("rules", self.rules, f"one of {', '.join(RULES)}")
        if not 1000 <= self.audio_sample_rate <= 192_000:
            raise setting_error("audio_sample_rate", self.audio_sample_rate, "expected 1000 to 192000 Hz")
        for name in ("max_chars_per_s", "max_duration_s", "max_clip_mb"):
            if not 0 < getattr(self, name) < float("inf"):
                raise setting_error(name, getattr(self, name), "expected a number above 0")
        for name in ("shard_clips", "workers", "split_floor_clips"):
            if getattr(self, name) < 0:
                raise setting_error(name, getattr(self, name), "expected 0 or more")
        if self.partition and not re.fullmatch(r"[1-9]\d*/[1-9]\d*", self.partition):
            raise setting_error("partition", self.partition, "expected i/n, such as 1/4 for the first of four parts")
        if self.part > self.parts:
            raise setting_error("partition", self.partition, "expected i/n with i from 1 to n")

    @property
    def alphabet_given(self) -> str:
        """The alphabet file, URI or text that is given."""
        return self.filter_alphabet or (self.alphabet if self.alphabet not in (PROPOSE, UTF8) else "")

    @property
    def part(self) -> int:
        """Which part to import, counted from 1."""
        return int(self.partition.split("/")[0]) if self.partition else 1

    @property
    def parts(self) -> int:
        """How many parts the import is divided into."""
        return int(self.partition.split("/")[1]) if self.partition else 1

    @property
    def ordered_sets(self) -> tuple[str, ...]:
        """The chosen sets, each once, in a fixed order."""
        return tuple(name for name in ALL_SETS if name in self.sets)

    @property
    def max_clip_bytes(self) -> int:
        """Largest source file that is read."""
        return int(self.max_clip_mb * 1e6)

    def too_short(self, samples: int, characters: int) -> bool:
        """Whether a transcript has too many characters for its audio.

        The order of operations is that of the peers' importers, for the last bit at the limit itself.
        """
        return int(samples / self.audio_sample_rate * 1000 / 10 / 2 * (self.max_chars_per_s / 50)) < characters

    def too_long(self, samples: int) -> bool:
        """Whether a clip is longer than allowed."""
        return samples / self.audio_sample_rate > self.max_duration_s
