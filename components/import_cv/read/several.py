"""Several releases, read as one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from components.import_cv.plan.merging import TABLES, Merge, PartTables
from components.import_cv.plan.reasons import Refused
from components.import_cv.read.release import Found, Loader, Origin, Release, Source, Wanted, missing_tables
from speech.artifacts import SPLITS
from speech.storage.corpus_uri import CorpusUri, release_date


@dataclass(frozen=True)
class Part:
    """One of the releases: the folder that its clips have in the whole, what the user says of it, and itself."""

    name: str
    given: CorpusUri
    source: Source


@dataclass(frozen=True)
class _PartOfPlan:
    """The clips of one part, under its own names."""

    sources: Sequence[str]

    @property
    def clip_count(self) -> int:
        return len(self.sources)


class SeveralSources:
    """A base release and what comes on top of it: deltas, later releases, other corpora.

    A clip's path is that in its release, below a folder with the release's name.
    """

    kind = "several"

    def __init__(self, sources: Sequence[tuple[CorpusUri, Source]]) -> None:
        self.parts: list[Part] = []
        taken: set[str] = set()
        for given, source in sources:
            name, count = given.name, 1
            while name in taken:
                count += 1
                name = f"{given.name}-{count}"
            taken.add(name)
            self.parts.append(Part(name, given, source))

    @property
    def strange_members(self) -> int:
        """Of all archives."""
        return sum(part.source.strange_members for part in self.parts)

    def tables(self, sets: Sequence[str], optional: Sequence[str], scratch: Path) -> Release:
        """The merged tables; what only some of the releases have is enough."""
        asked = (*sets, *optional)
        needed = tuple(dict.fromkeys((*SPLITS, "validated", *(name for name in asked if name in TABLES))))
        found = {part.name: part.source.tables((), needed, scratch / "parts" / part.name) for part in self.parts}
        dated = in_order([(part, _date(part, found[part.name])) for part in self.parts])
        merge = Merge([_tables(part, found[part.name]) for part, _ in dated])
        files, durations = merge.write(scratch)
        missing = [name for name in sets if name not in files]
        if missing:
            where = " and ".join(part.given.path for part in self.parts)
            raise missing_tables(where, missing, [f"{name}.tsv" for name in files])
        origins = [
            Origin(release.name, date, part.given.license or release.origins[0].license, facts.describe())
            for (part, date), facts in zip(dated, merge.facts, strict=True)
            for release in (found[part.name],)
        ]
        name = " + ".join(found[part.name].name or part.name for part, _ in dated)
        return Release(name, {key: files[key] for key in asked if key in files}, durations, origins)

    def clips(self, plan: Wanted, max_bytes: int) -> Iterator[Found]:
        """Release by release, in the order given, each in its own order."""
        numbers: dict[str, list[int]] = {part.name: [] for part in self.parts}
        names: dict[str, list[str]] = {part.name: [] for part in self.parts}
        for clip, source in enumerate(plan.sources):
            part_name, _, name = source.partition("/")
            numbers[part_name].append(clip)
            names[part_name].append(name)
        for part in self.parts:
            if own := numbers.pop(part.name):
                for found in part.source.clips(_PartOfPlan(names.pop(part.name)), max_bytes):
                    yield found._replace(clip=own[found.clip])

    def loader(self) -> Loader:
        """Each part's own, by the first folder of a path."""
        return PartsLoader({part.name: part.source.loader() for part in self.parts})

    def is_folder(self, folder: Path) -> bool:
        """Never: the clips lie in several places."""
        return False

    def identity(self) -> str:
        """Of all parts, in the order given."""
        return "; ".join(f"{part.name}: {part.source.identity()}" for part in self.parts)

    def revision(self) -> str:
        """Of all parts."""
        return " ".join(part.source.revision() for part in self.parts)


@dataclass
class PartsLoader:
    """Loads each clip from the part that it belongs to."""

    loaders: Mapping[str, Loader]

    def load(self, sources: Sequence[str], max_bytes: int) -> Iterator[bytes | Refused]:
        """The contents of each file, or why it cannot be used, in order."""
        for part, group in groupby(sources, key=lambda source: source.partition("/")[0]):
            yield from self.loaders[part].load([source.partition("/")[2] for source in group], max_bytes)


def in_order(parts: Sequence[tuple[Part, str]]) -> list[tuple[Part, str]]:
    """The parts with their dates, the oldest first; those without a date stay where the command line has them."""
    dated = iter(sorted((one for one in parts if one[1]), key=lambda one: one[1]))
    return [next(dated) if date else (part, "") for part, date in parts]


def _date(part: Part, release: Release) -> str:
    return part.given.date or release_date(part.given.path, release.name)


def _tables(part: Part, release: Release) -> PartTables:
    return PartTables(part.name, release.tsv_files, release.durations, release.own_names)
