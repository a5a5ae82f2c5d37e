"""Parts of a corpus: what one of several machines imported, and how the parts become one corpus."""

import dataclasses
import heapq
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.import_cv.plan.planning import Row, wav_name
from components.import_cv.plan.reasons import Reason
from components.import_cv.settings import ImportSettings
from components.import_cv.write.corpus_folder import CorpusFolder, link
from components.import_cv.write.finish import Results, summary, tables, write_tables
from components.import_cv.write.outcomes import NO_SHARD, Outcomes
from components.import_cv.write.repeats import refuse_repeats
from components.import_cv.write.shards import shard_name
from speech.alphabet import Alphabet
from speech.artifacts import Corpus, CorpusPart
from speech.errors import InputError
from speech.storage.files import write_json
from speech.storage.objects import local_folder


def write_part(results: Results, target: CorpusFolder, fingerprint: str) -> None:
    """Leave a part in the target's folder. The last part also has the rows that need no clip."""
    settings, outcomes, last = results.settings, results.outcomes, results.settings.part == results.settings.parts
    (target.folder / CorpusPart.PART).unlink(missing_ok=True)
    target.publish_audio(results.sources, outcomes)
    folder = target.stage_tables()
    with (folder / CorpusPart.ROWS).open("w", encoding="utf-8") as file:
        for number, row in enumerate(results.rows):
            if outcomes.recorded[row.clip] if row.clip >= 0 else last:
                file.write(json.dumps((number, *row)) + "\n")
    with (folder / CorpusPart.OUTCOMES).open("w", encoding="utf-8") as file:
        for clip, source in enumerate(results.sources):
            if outcomes.recorded[clip]:
                file.write(json.dumps((source, *outcomes.fields(clip))) + "\n")
    write_json(
        folder / CorpusPart.PART,
        {
            "part": settings.part,
            "parts": settings.parts,
            "fingerprint": fingerprint,
            "sets": list(results.sets),
            "settings": dataclasses.asdict(settings),
            "alphabet": results.alphabet.to_text() if results.alphabet else None,
            "release": results.release,
            "notes": results.notes,
            "origins": results.origins,
            "clips": outcomes.count,
        },
    )
    target.publish_staged(last=CorpusPart.PART)


def merge(folders: Sequence[str | Path], corpus: Path) -> Corpus:
    """Make one corpus of all parts of an import; each may be a folder or an s3:// prefix. Raises InputError.

    The CSVs are byte for byte those of an import without partitions.
    """
    target = CorpusFolder(Path(corpus))
    with target.locked():
        target.clear()
        parts = [
            CorpusPart.open(local_folder(str(folder), target.staging / "parts" / str(number)))
            for number, folder in enumerate(folders)
        ]
        described = _check(parts)
        values: dict[str, Any] = {**described["settings"], "partition": ""}
        for name in ("sets", "exclude"):
            values[name] = tuple(values[name])
        settings = ImportSettings(**values)
        outcomes = Outcomes(described["clips"])
        sources = [""] * outcomes.count
        for part in parts:
            _take(part, outcomes, sources, target)
        if len(described.get("origins", [])) > 1:
            found = ((row.set_name, row.clip) for part in parts for _, row in _rows(part))
            refuse_repeats(found, outcomes, sources)
        alphabet = Alphabet.from_text(described["alphabet"]) if described["alphabet"] else None
        rows = (row for _, row in heapq.merge(*map(_rows, parts)))
        results = Results(
            tuple(described["sets"]),
            rows,
            outcomes,
            sources,
            settings,
            alphabet,
            described["release"],
            described["notes"],
            described.get("origins", []),
        )
        with target.place.writing([*tables(results.sets, alphabet, target), *target.published(sources, outcomes)]):
            description = write_tables(results, target)
            target.publish_audio(sources, outcomes)
            target.publish_tables(results.sets)
        print(f"import: {summary(description)}", file=sys.stderr)
        target.discard()
    return Corpus.open(corpus)


def _check(parts: Sequence[CorpusPart]) -> dict[str, Any]:
    """The description of the last part; raises InputError unless these are all parts of one import."""
    if not parts:
        raise InputError("no parts to merge: expected the folders that --partition 1/n ... n/n made")
    first = parts[0].description
    for part in parts:
        for key in ("fingerprint", "parts"):
            if part.description[key] != first[key]:
                raise InputError(
                    f"{part.folder} and {parts[0].folder} are not parts of the same import: the release and all "
                    "settings but --partition must be the same"
                )
    numbers = sorted(part.description["part"] for part in parts)
    expected = list(range(1, first["parts"] + 1))
    if numbers != expected:
        raise InputError(f"expected the parts {expected} of {first['parts']}, found {numbers}")
    return next(part.description for part in parts if part.description["part"] == first["parts"])


def _rows(part: CorpusPart) -> Iterator[tuple[int, Row]]:
    with (part.folder / CorpusPart.ROWS).open(encoding="utf-8") as file:
        for line in file:
            number, set_name, line_number, reason, *rest = json.loads(line)
            yield number, Row(set_name, line_number, Reason(reason), *rest)


def _take(part: CorpusPart, outcomes: Outcomes, sources: list[str], target: CorpusFolder) -> None:
    """Record a part's clips and put their audio into the staging folder."""
    shards: set[str] = set()
    with (part.folder / CorpusPart.OUTCOMES).open(encoding="utf-8") as file:
        for line in file:
            source, clip, reason, samples, digest, *rest = json.loads(line)
            shard = rest[-3]
            sources[clip] = source
            outcomes.record(clip, reason, samples, bytes.fromhex(digest), *rest)
            if reason:
                continue
            if shard == NO_SHARD:
                wav = wav_name(source)
                _link(part.folder / Corpus.CLIPS / wav, target.staged_clips / wav)
            else:
                shards.add(shard_name(shard))
    for name in sorted(shards):
        _link(part.folder / name, target.staging / name)


def _link(source: Path, place: Path) -> None:
    try:
        link(source, place)
    except FileNotFoundError as error:
        raise InputError(f"{source}: missing from its part: import that part again") from error
