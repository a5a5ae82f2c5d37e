"""The import: plan, convert, write. Every stage can be interrupted; a rerun goes on and ends with the same bytes."""

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.import_cv.convert.clip import CONVERTER
from components.import_cv.convert.conversion import Conversion
from components.import_cv.convert.previous import Previous, fetch
from components.import_cv.convert.work import ClipTask, ClipWork, Outcome
from components.import_cv.convert.workers import Pool
from components.import_cv.plan.alphabet_proposal import SymbolCounts
from components.import_cv.plan.labels import LabelRules, Validator, load_validator
from components.import_cv.plan.planning import HELD_OUT_SETS, Plan, Planner
from components.import_cv.plan.reasons import Reason
from components.import_cv.plan.sets import SetParts, compose, tables_of
from components.import_cv.plan.splits_in_words import in_words
from components.import_cv.read.heard import Hearings
from components.import_cv.read.opening import open_sources
from components.import_cv.read.release import Release, Source, missing_tables
from components.import_cv.rules.choice import choose, locale_of
from components.import_cv.settings import PROPOSE, UTF8, ImportSettings
from components.import_cv.write.corpus_folder import CorpusFolder
from components.import_cv.write.finish import Results, no_clip_message, summary, tables, write_tables
from components.import_cv.write.outcomes import Outcomes
from components.import_cv.write.parts import write_part
from components.import_cv.write.repeats import refuse_repeats
from components.import_cv.write.shards import clips_a_window, shard_number
from speech.alphabet import Alphabet
from speech.artifacts import SPLITS, Corpus, CorpusPart
from speech.errors import NO_SPACE, InputError, RetryError
from speech.native.processors import cores
from speech.storage.stores import fetched
from speech.tracking.tracked_run import StepRecord, record
from speech.tracking.tracking_settings import TrackingSettings, run_of

SHARD_FORMAT = 4  # how clips are divided into shards, and how the journal says it
NOT_IN_FINGERPRINT = (
    "workers",
    "previous",
    "audio_dir",
    "filter_alphabet",
    "alphabet",
    "validate_label_locale",
    "other_heard",
    "partition",
)


def run(settings: ImportSettings, source: str, corpus: Path) -> Corpus:
    """Import a release, or several with commas between, into the folder `corpus`. Raises InputError.

    With `settings.partition` the folder becomes a CorpusPart, which `merge.run` takes.
    """
    run_to(settings, source, CorpusFolder(Path(corpus)))
    return Corpus(Path(corpus))


def run_to(settings: ImportSettings, source: str, target: CorpusFolder, *, lenient: bool = False) -> None:
    """The same with a choice of names in the folder; `lenient`: a chosen set without a TSV is left out."""
    started = time.monotonic()
    if not source:
        raise InputError("no release given: expected the folder or the .tar.gz of a Common Voice release")
    opened = open_sources(source, settings.audio_dir)
    with target.locked():
        try:
            _Import(settings, opened, target).run(lenient)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise RetryError(f"{target.folder}: {error.strerror}: free some space and run it again") from error
            raise
        target.discard()
    _say(f"done in {time.monotonic() - started:.1f} s: {target.folder}")


def headline(corpus: Corpus) -> dict[str, float]:
    """The numbers that a pipeline shows."""
    numbers: dict[str, float] = {}
    for name, counted in corpus.report["sets"].items():
        numbers |= {f"{name}_{key}": counted[key] for key in ("clips", "hours", "refused")}
    return numbers


def read_report(corpus: Corpus) -> str:
    """The HTML report."""
    return (corpus.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")


def track(
    tracking: TrackingSettings, settings: ImportSettings, corpus: Corpus, source: Mapping[str, str], artifact_uri: str
) -> None:
    """Leave what the corpus was made of, and the report, in the run's record, if a tracking server is set."""
    record(
        tracking,
        run_of(artifact_uri),
        lambda: StepRecord(
            "import_cv",
            {**asdict(settings), **source, "imported_uri": artifact_uri},
            headline(corpus),
            files={Corpus.HTML_REPORT: read_report(corpus)},
        ),
    )


def _say(text: str) -> None:
    print(f"import: {text}", file=sys.stderr, flush=True)


@dataclass
class _Import:
    settings: ImportSettings
    source: Source
    target: CorpusFolder

    def run(self, lenient: bool) -> None:
        alphabet = _given_alphabet(self.settings, self.target)
        staged_clips = self.target.staged_clips if self.settings.layout == "clips" else None
        work = ClipWork(self.settings, self.source.loader(), self._previous(), staged_clips)
        # the workers are made before the plan, which they need not hold
        with Pool[ClipTask, Outcome](work, self.settings.workers or cores()) as pool:
            release = self._tables(lenient)
            rules = self._rules(release, alphabet)
            chosen = self._sets(release, rules)
            plan = self._plan(release, rules, chosen, lenient)
            if self.settings.alphabet == PROPOSE:
                alphabet = _proposed(plan, rules)
                rules.limit(alphabet)
                plan = self._plan(release, rules, chosen, lenient)
            _require_rows(plan, self.settings, alphabet)
            with self.target.place.writing(self._names(plan, alphabet)):
                fingerprint = self._fingerprint(plan, alphabet)
                outcomes, notes = self._convert(plan, fingerprint, pool)
                if rules.rulebook is not None:
                    letters = "".join(sorted(rules.rulebook.letters))
                    notes = {**notes, "rules": rules.rulebook.describe(), "letters": letters}
                origins = [origin.describe() for origin in release.origins]
                if len(origins) > 1 and not self.settings.partition:
                    sets = (plan.sets[code] for code in plan.set_codes)
                    refuse_repeats(zip(sets, plan.clips, strict=True), outcomes, plan.sources)
                if chosen is not None:
                    notes = {**notes, "splits": chosen.facts}
                facts = (self.settings, alphabet, release.name, notes, origins)
                self._write(Results(plan.sets, plan.rows(), outcomes, plan.sources, *facts), fingerprint)

    def _names(self, plan: Plan, alphabet: Alphabet | None) -> Iterator[str]:
        """What may be written."""
        part = (CorpusPart.ROWS, CorpusPart.OUTCOMES, CorpusPart.PART)
        names = part if self.settings.partition else tables(plan.sets, alphabet, self.target)
        if self.settings.layout == "clips":
            return self.target.planned(names, plan.sources, ())
        windows = range(-(-plan.clip_count // clips_a_window(self.settings.shard_clips, plan.clip_count)))
        return self.target.planned(names, (), (shard_number(window, name) for window in windows for name in plan.sets))

    def _write(self, results: Results, fingerprint: str) -> None:
        if self.settings.partition:
            write_part(results, self.target, fingerprint)
            return
        description = write_tables(results, self.target)
        self.target.publish_audio(results.sources, results.outcomes)
        self.target.publish_tables(results.sets)
        _say(summary(description))

    def _previous(self) -> Previous | None:
        """The corpus that unchanged clips are taken from: the one named, or the one that is to be replaced."""
        rate = self.settings.audio_sample_rate
        if self.settings.previous:
            tables, *audio = fetch(self.settings.previous, self.target.staging / "previous")
            previous = Previous.open(tables, rate, audio)
            if previous is None:
                _say(f"{self.settings.previous} was made with other settings of the audio: every clip is converted")
            return previous
        try:
            return Previous.open(self.target.folder, rate)
        except InputError:
            return None

    def _rules(self, release: Release, alphabet: Alphabet | None) -> LabelRules:
        settings, validator = self.settings, _validator(self.settings)
        locale = settings.locale or locale_of(release)
        symbols = () if alphabet is None or alphabet.bytes_mode else alphabet.symbols
        rulebook = choose(settings.rules, locale, symbols, own_validator=validator is not None)
        return LabelRules(settings.normalize, alphabet, validator, rulebook)

    def _tables(self, lenient: bool) -> Release:
        needed, optional = tables_of(self.settings)
        for name in (name for name in self.settings.ordered_sets if name not in SPLITS):
            needed += ["validated", *HELD_OUT_SETS] if name == "train-all" else [name]
        needed = list(dict.fromkeys(needed))
        return self.source.tables([] if lenient else needed, [*needed, *optional], self.target.staging / "tsv")

    def _sets(self, release: Release, rules: LabelRules) -> SetParts | None:
        """What the splits are made of, where the release's own do not do."""
        chosen = compose(self.settings, release.tsv_files, rules, self._heard())
        if chosen is not None:
            for line in in_words(chosen.facts):
                _say(line)
        return chosen

    def _heard(self) -> Hearings | None:
        settings = self.settings
        if not settings.other_heard:
            return None
        path = fetched(settings.other_heard, self.target.staging / "settings")
        return Hearings.read(path, settings.other_heard, settings.other_max_cer, settings.other_max_loss)

    def _plan(self, release: Release, rules: LabelRules, chosen: SetParts | None, lenient: bool) -> Plan:
        wanted = self.settings.ordered_sets
        parts = chosen.parts if chosen is not None else {}
        made_of = {name: "validated" if name == "train-all" else name for name in wanted}
        present = [name for name in wanted if name in parts or made_of[name] in release.tsv_files]
        if not present or not (lenient or len(present) == len(wanted)):
            raise missing_tables("the release", [made_of[name] for name in wanted], sorted(release.tsv_files))
        beside = self.source.is_folder(self.target.folder / self.target.clip_prefix)
        planner = Planner(tuple(present), rules, in_place=beside and self.settings.layout == "clips")
        plan = planner.build(release.tsv_files, release.durations, parts)
        _say(f"{release.name}: {len(plan):,} rows in {', '.join(present)}; {plan.clip_count:,} clips to import")
        return plan

    def _fingerprint(self, plan: Plan, alphabet: Alphabet | None) -> str:
        """A hash of all that the result depends on."""
        settings = {name: value for name, value in asdict(self.settings).items() if name not in NOT_IN_FINGERPRINT}
        parts = [
            settings, CONVERTER, SHARD_FORMAT, plan.digest(), self.source.identity(), self.target.clip_prefix,
            alphabet.to_text() if alphabet else "",
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _convert(self, plan: Plan, fingerprint: str, pool: Pool[ClipTask, Outcome]) -> tuple[Outcomes, dict[str, Any]]:
        conversion = Conversion(self.settings, self.source, self.target, plan, fingerprint)
        try:
            conversion.start()
            if not conversion.journal.complete:
                conversion.run(pool)
        finally:
            conversion.close()
        outcomes = conversion.outcomes
        if any(outcomes.reused):
            _say(f"{sum(outcomes.reused):,} clips have not changed and were taken from the earlier corpus")
        if outcomes.reasons.count(Reason.NEEDS_FFMPEG):
            _say(
                f"{outcomes.reasons.count(Reason.NEEDS_FFMPEG):,} clips are in formats that only ffmpeg reads: install "
                "ffmpeg and run the import again"
            )
        return outcomes, conversion.journal.notes


def _given_alphabet(settings: ImportSettings, target: CorpusFolder) -> Alphabet | None:
    if settings.alphabet == UTF8:
        return Alphabet.bytes_output_mode()
    value = settings.alphabet_given
    if not value:
        return None
    if "\n" in value:
        return Alphabet.from_text(value, "--filter_alphabet" if settings.filter_alphabet else "--alphabet")
    return Alphabet.load(fetched(value, target.staging / "settings"))


def _proposed(plan: Plan, rules: LabelRules) -> Alphabet:
    counts = SymbolCounts()
    for code, text in zip(plan.reasons, plan.texts, strict=True):
        if code == Reason.ACCEPTED:
            counts.add(plan.sentences[text])
    proposal = counts.propose(rules.rulebook.letters if rules.rulebook is not None else frozenset())
    _say(
        f"the alphabet proposed has {len(proposal.symbols)} symbols; {len(proposal.dropped)} are dropped, with "
        f"{proposal.clips_lost:,} of {proposal.clips:,} sentences: {' '.join(map(repr, list(proposal.dropped)[:20]))}"
    )
    return Alphabet.from_symbols(proposal.symbols or (" ",), "--alphabet propose")


def _validator(settings: ImportSettings) -> Validator | None:
    if not settings.validate_label_locale:
        return None
    return load_validator(settings.validate_label_locale)


def _require_rows(plan: Plan, settings: ImportSettings, alphabet: Alphabet | None) -> None:
    """Raise InputError if no row of train (or of any set, without train) can become a clip."""
    needed = [code for code, name in enumerate(plan.sets) if name == "train" or "train" not in plan.sets]
    reasons: dict[Reason, int] = {}
    for code, reason in zip(plan.set_codes, plan.reasons, strict=True):
        if code in needed:
            if reason == Reason.ACCEPTED:
                return
            reasons[Reason(reason)] = reasons.get(Reason(reason), 0) + 1
    names = [plan.sets[code] for code in needed]
    if alphabet is not None and Reason.OUTSIDE_ALPHABET in reasons:
        lacking: dict[str, int] = {}
        for row in plan.rows():
            if row.reason is Reason.OUTSIDE_ALPHABET and row.set_name in names:
                for character in alphabet.missing(row.text):
                    lacking[character] = lacking.get(character, 0) + 1
        most = sorted(lacking, key=lambda character: (-lacking[character], character))[:10]
        given = settings.alphabet_given
        flag = "--filter_alphabet" if settings.filter_alphabet else "--alphabet"
        where = given if given and "\n" not in given else "the alphabet given"
        raise InputError(
            f"{where} covers no sentence of {' and '.join(names)}: characters it lacks, the most frequent first: "
            f"{' '.join(map(repr, most))}: add them, or leave {flag} out"
        )
    raise InputError(no_clip_message(names, {reason.key: count for reason, count in reasons.items()}))
