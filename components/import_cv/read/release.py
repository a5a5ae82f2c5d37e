"""What every source of a release has in common: tables, clips, and a way to load them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from components.import_cv.plan.reasons import Reason, Refused
from speech.errors import InputError
from speech.storage.corpus_uri import release_date

DURATIONS = "clip_durations.tsv"
CLIPS = "clips"


class Found(NamedTuple):
    """A clip that the source holds, in the source's order."""

    clip: int
    data: bytes | None  # None: the workers load it
    refused: Reason


class Loader(Protocol):
    """Loads clips in a worker process."""

    def load(self, sources: Sequence[str], max_bytes: int) -> Iterator[bytes | Refused]:
        """The contents of each file, or why it cannot be used, in order."""
        ...


class Wanted(Protocol):
    """The clips that a plan needs, by number."""

    @property
    def sources(self) -> Iterable[str]:
        """The path of each."""
        ...

    @property
    def clip_count(self) -> int:
        """How many there are."""
        ...


@dataclass(frozen=True)
class Origin:
    """Where clips come from, as the report and the model card say it."""

    release: str
    date: str = ""
    license: str = ""
    merged: dict[str, Any] = field(default_factory=dict)  # of several: what became of its clips

    def describe(self) -> dict[str, Any]:
        """The report's form, without what is not known."""
        return {key: value for key, value in asdict(self).items() if value}


@dataclass
class Release:
    """The tables of a release, on this disk."""

    name: str  # of the innermost folders, such as cv-corpus-17.0-2024-03-15/en
    tsv_files: dict[str, Path]
    durations: Path | None
    origins: list[Origin] = field(default_factory=list)
    own_names: bool = False  # its clips' names say nothing outside it

    def __post_init__(self) -> None:
        self.origins = self.origins or [Origin(self.name, release_date(self.name))]


class Source(Protocol):
    """A place that a release is read from."""

    kind: str

    @property
    def strange_members(self) -> int:
        """Members of an archive that are links or name a place outside it; they are never unpacked."""
        ...

    def tables(self, sets: Sequence[str], optional: Sequence[str], scratch: Path) -> Release:
        """Find the TSV files of the sets, and those of the optional ones that exist."""
        ...

    def clips(self, plan: Wanted, max_bytes: int) -> Iterator[Found]:
        """Every clip of the plan that the source holds or should hold."""
        ...

    def loader(self) -> Loader:
        """What loads the clips in a worker."""
        ...

    def is_folder(self, folder: Path) -> bool:
        """Whether the clips lie in this folder."""
        ...

    def identity(self) -> str:
        """What the order of its clips depends on, wherever it lies."""
        ...

    def revision(self) -> str:
        """What changes when the source does: an interrupted import does not go on with another one."""
        ...


def missing_tables(where: str, missing: Sequence[str], names: Sequence[str]) -> InputError:
    """The error of a release without the TSV files of the sets asked for."""
    return InputError(
        f"{where}: no {', '.join(f'{name}.tsv' for name in missing)}: expected the TSV files of a Common Voice "
        f"release, found {', '.join(sorted(names)) or 'none'}"
    )
