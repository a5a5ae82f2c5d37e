"""From what became of the clips to the corpus's tables: CSVs, alphabet, index and reports."""

import contextlib
import copy
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from components.import_cv.convert.clip import CONVERTER
from components.import_cv.convert.previous import write_index
from components.import_cv.plan.planning import Row, wav_name
from components.import_cv.plan.reasons import Reason
from components.import_cv.plan.sets import OTHER
from components.import_cv.plan.zones import TRAIN
from components.import_cv.report import import_page
from components.import_cv.report.health import Health, excluding
from components.import_cv.report.statistics import Statistics
from components.import_cv.settings import PROPOSE, UTF8, ImportSettings
from components.import_cv.write.corpus_folder import ClipPaths, CorpusFolder
from components.import_cv.write.outcomes import NO_SHARD, Outcomes
from components.import_cv.write.shards import shard_name
from components.import_cv.write.usual_rates import UsualRates
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Corpus, describe_files, serving_alphabet, write_sidecar
from speech.clips.audio import WAV_HEADER_BYTES
from speech.clips.manifest import SPEAKER_COLUMNS, Clip, ManifestWriter
from speech.errors import InputError
from speech.little_data import LITTLE_HOURS, transfer_advice
from speech.storage.files import write_text

FORMAT = 1
TRANSFER_COMMAND = "speechmill run --corpus_uri RELEASE --base_checkpoint_uri deepspeech-0.9.3-checkpoint"
UNREPORTED = (
    "workers", "partition", "previous", "audio_dir", "filter_alphabet", "validate_label_locale", "other_heard", "sets"
)  # fmt: skip
RULES, LETTERS, SPLIT_FACTS = "rules", "letters", "splits"  # notes of the plan


@dataclass
class Results:
    """What an import, or a merge of its parts, has to put together."""

    sets: tuple[str, ...]
    rows: Iterable[Row]
    outcomes: Outcomes
    sources: ClipPaths  # by clip
    settings: ImportSettings
    alphabet: Alphabet | None  # given; None: collected
    release: str
    notes: dict[str, Any]
    origins: list[dict[str, Any]]  # where the clips come from


def write_tables(results: Results, target: CorpusFolder) -> dict[str, Any]:
    """Write everything but the audio into the staging folder; returns the report. Raises InputError without a clip."""
    settings, outcomes = results.settings, results.outcomes
    statistics = Statistics(results.sets, settings.audio_sample_rate, results.alphabet)
    bytes_mode = results.alphabet is not None and results.alphabet.bytes_mode
    health = Health(results.sets, outcomes, results.sources, settings.audio_sample_rate, bytes_mode=bytes_mode)
    folder = target.stage_tables()
    imported: Counter[str] = Counter()  # clips of the sets by the release they are of, where there are several
    usual = UsualRates(settings.other_tails)
    with contextlib.ExitStack() as files:
        writers = {
            name: ManifestWriter(
                files.enter_context((folder / f"{name}.csv").open("w", encoding="utf-8", newline="")),
                SPEAKER_COLUMNS,
            )
            for name in results.sets
        }
        for row in results.rows:
            reason, detail = _verdict(row, outcomes, settings, usual)
            transcript = " ".join(row.text) if settings.space_after_every_character else row.text
            if reason is Reason.ACCEPTED:
                findings = health.findings(row, transcript)
                reason = next(excluding(findings, settings.exclude), reason)
            if reason is Reason.ACCEPTED:
                statistics.accept(row, transcript, outcomes.samples[row.clip])
                if len(results.origins) > 1:
                    imported[row.source.partition("/")[0]] += 1
                clip = _clip(row, transcript, outcomes, settings, target)
                writers[row.set_name].write(clip, row.age, row.gender, row.accent)
            else:
                statistics.refuse(row, reason, detail)
    _require_clips(statistics, results.sets)
    alphabet = results.alphabet or Alphabet.collect(statistics.symbols.times)
    found = serving_alphabet(target.place, alphabet)
    if not found:
        alphabet.save(folder / ALPHABET)
    write_index(folder / Corpus.INDEX, _index(results.sources, outcomes))
    description = _describe(results, statistics, alphabet, target)
    for origin in description["origins"] if imported else ():
        origin["merged"]["imported"] = imported[origin["merged"]["name"]]
    description["health"] = health.describe(settings.exclude, statistics.shared_speakers)
    if found:
        description["alphabet"]["found"] = True
    write_text(folder / Corpus.HTML_REPORT, import_page.to_html(description))
    description["files"] = _files(results, target, found=found)
    write_sidecar(folder, Corpus.REPORT, description)
    return description


def _files(results: Results, target: CorpusFolder, *, found: bool) -> dict[str, Any]:
    """Size and SHA-256 of tables and shards; WAV files are known by their sizes in the tables."""
    tables_of = [f"{name}.csv" for name in results.sets] + ([] if found else [ALPHABET])
    files = describe_files(target.staged_tables, [*tables_of, Corpus.INDEX])
    shards = [name for name in target.published(results.sources, results.outcomes) if name.endswith(".tar")]
    for folder in (target.staging, target.folder):  # staged, or in place since an attempt that was interrupted
        there = [name for name in shards if name not in files and (folder / name).is_file()]
        files |= describe_files(folder, there)
    return {name: files[name] for name in (*tables_of, Corpus.INDEX, *shards) if name in files}


def tables(sets: Iterable[str], alphabet: Alphabet | None, target: CorpusFolder) -> list[str]:
    """The names of what `write_tables` writes; `alphabet` is the one given, if there is one."""
    found = alphabet is not None and serving_alphabet(target.place, alphabet)
    names = [f"{name}.csv" for name in sets] + ([] if found else [ALPHABET])
    return [*names, Corpus.INDEX, Corpus.HTML_REPORT, Corpus.REPORT]


def _verdict(row: Row, outcomes: Outcomes, settings: ImportSettings, usual: UsualRates) -> tuple[Reason, str]:
    if row.reason is not Reason.ACCEPTED:
        return row.reason, ""
    reason = Reason(outcomes.reasons[row.clip])
    if reason is not Reason.ACCEPTED:
        return reason, outcomes.details.get(row.clip, "")
    samples = outcomes.samples[row.clip]
    if settings.too_short(samples, len(row.text)):  # another row has a shorter transcript for the same clip
        return Reason.TOO_SHORT, f"{len(row.text)} characters in {samples / settings.audio_sample_rate:.2f} s"
    rate = len(row.text) * settings.audio_sample_rate / max(samples, 1)
    if row.set_name == TRAIN and row.table == OTHER and not usual.has(rate):
        return Reason.UNUSUAL_RATE, ""
    if row.set_name == TRAIN and row.table != OTHER:
        usual.add(rate)
    return Reason.ACCEPTED, ""


def _clip(row: Row, transcript: str, outcomes: Outcomes, settings: ImportSettings, target: CorpusFolder) -> Clip:
    samples, shard = outcomes.samples[row.clip], outcomes.shards[row.clip]
    return Clip(
        wav_filename=target.clip_prefix + wav_name(row.source),
        wav_filesize=WAV_HEADER_BYTES + 2 * samples,
        transcript=transcript,
        duration_s=samples / settings.audio_sample_rate,
        client_id=row.client_id,
        shard="" if shard == NO_SHARD else shard_name(shard),
        offset=outcomes.offsets[row.clip],
    )


def _require_clips(statistics: Statistics, sets: tuple[str, ...]) -> None:
    needed = ("train",) if "train" in sets else sets
    if any(statistics.sets[name].clips for name in needed):
        return
    counted: dict[str, int] = {}
    for name in needed:
        for reason, count in statistics.sets[name].reasons.items():
            counted[reason.key] = counted.get(reason.key, 0) + count
    raise InputError(no_clip_message(needed, counted))


def no_clip_message(sets: Iterable[str], reasons: dict[str, int]) -> str:
    """The error of an import that would give nothing to train on."""
    why = ", ".join(f"{count} {key}" for key, count in sorted(reasons.items(), key=lambda item: -item[1]))
    names = " and ".join(f"{name}.tsv" for name in sets)
    return f"no usable clip in {names}: {f'refused: {why}' if why else 'there are no rows'}: nothing to import"


def summary(description: dict[str, Any]) -> str:
    """What was imported and refused, on one line a set."""
    lines = []
    for name, counted in description["sets"].items():
        refused = ", ".join(f"{count} {reason}" for reason, count in counted["reasons"].items())
        lines.append(
            f"{name}: {counted['clips']:,} clips, {counted['hours']:.2f} h"
            + (f"; refused {counted['refused']:,}: {refused}" if refused else "")
            + (f"; left out {counted['held_out']:,}" if counted["held_out"] else "")
            + (f"; {_by_table(counted['tables'])}" if len(counted["tables"]) > 1 else "")
        )
    if "little_data" in description:
        lines.append(description["little_data"])
    return "\n        ".join(lines)


def _by_table(tables: dict[str, Any]) -> str:
    return ", ".join(f"{found['clips']:,} ({found['hours']:.2f} h) of {name}.tsv" for name, found in tables.items())


def _index(sources: Iterable[str], outcomes: Outcomes) -> Iterator[tuple[str, bytes, int, str, int, int]]:
    for clip, source in enumerate(sources):
        if outcomes.reasons[clip] == Reason.ACCEPTED and outcomes.recorded[clip]:
            shard = outcomes.shards[clip]
            name = "" if shard == NO_SHARD else shard_name(shard)
            yield (
                source,
                outcomes.digest(clip),
                outcomes.samples[clip],
                name,
                outcomes.offsets[clip],
                outcomes.checksums[clip],
            )


def _alphabet_source(results: Results) -> str:
    if results.alphabet is None:
        return "collected from the transcripts"
    if results.settings.alphabet in (PROPOSE, UTF8):
        return "proposed" if results.settings.alphabet == PROPOSE else "bytes of UTF-8"
    return "given"


def _describe(results: Results, statistics: Statistics, alphabet: Alphabet, target: CorpusFolder) -> dict[str, Any]:
    settings, outcomes = results.settings, results.outcomes
    clips = samples = reused = 0
    for reason, recorded, count, taken in zip(
        outcomes.reasons, outcomes.recorded, outcomes.samples, outcomes.reused, strict=True
    ):
        if recorded and reason == Reason.ACCEPTED:
            clips, samples, reused = clips + 1, samples + count, reused + taken
    shown = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(settings).items()
        if key not in UNREPORTED
    }
    shown["alphabet"] = settings.alphabet if settings.alphabet in (PROPOSE, UTF8) else ""
    audio: dict[str, Any] = {
        "clips": clips,
        "hours": round(samples / settings.audio_sample_rate / 3600, 4),
        "bytes": 2 * samples + WAV_HEADER_BYTES * clips,
    }
    if settings.previous:
        audio |= {"from_previous": reused, "converted": clips - reused}
    counted = statistics.describe()
    hours = counted["sets"].get(TRAIN, {}).get("hours", LITTLE_HOURS)
    advice = transfer_advice(hours, TRANSFER_COMMAND)
    return {
        "format": FORMAT,
        "release": results.release,
        "origins": copy.deepcopy(results.origins),
        "converter": {
            "version": CONVERTER,
            "sample_rate_hz": settings.audio_sample_rate,
            "clip_prefix": target.clip_prefix,
        },
        "settings": shown,
        "alphabet": {
            "given": results.alphabet is not None,
            "source": _alphabet_source(results),
            "labels": len(alphabet),
            "symbols": [] if alphabet.bytes_mode else list(alphabet.symbols),
            "proposal": statistics.symbols.propose(frozenset(results.notes.get(LETTERS, ""))).describe(
                statistics.symbols
            ),
        },
        "audio": audio,
        **({"splits": results.notes[SPLIT_FACTS]} if SPLIT_FACTS in results.notes else {}),
        **({"little_data": advice} if advice else {}),
        **counted,
        "rules": results.notes.get(RULES),
        "notes": {name: value for name, value in results.notes.items() if name not in (RULES, LETTERS, SPLIT_FACTS)},
    }
