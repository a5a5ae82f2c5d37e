"""The artifacts that steps hand each other: folders, with every file name once and what makes each valid.

The file that says "complete" is written last, so a folder without it is unfinished work of an interrupted step.
"""

import contextlib
import json
import re
from collections.abc import Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from speech.alphabet import Alphabet
from speech.clips.manifest import Manifest, read_manifest
from speech.errors import InputError
from speech.geometry import Geometry
from speech.ownership import Names, Place, listed, place_at
from speech.storage.checked_files import AT_ONCE, check_files, listed_files, sealed, unsealed
from speech.storage.files import sha256, write_json

ALPHABET = "alphabet.txt"
SPLITS = ("train", "dev", "test")
ALL_SETS = (*SPLITS, "validated", "other", "train-all")
RUN_FOLDER = re.compile(r"run-([1-9][0-9]*)")  # of a training whose checkpoint folder held files of others


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    return unsealed(path, value)


def _require(folder: Path, name: str, kind: str, maker: str) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: expected the {kind} that `{maker}` makes")
    path = folder / name
    if not path.is_file():
        raise InputError(f"{folder}: not a complete {kind}: {name} is missing; run `{maker}` (again)")
    return path


def lists_clips(csv: Path) -> bool:
    """Whether the CSV of a set is there, and has more than its first line."""
    if not csv.is_file():
        return False
    with csv.open("rb") as file:
        return bool(file.readline() and file.readline().strip())


@dataclass(frozen=True)
class Corpus:
    """What `import_cv` makes: CSVs, WAV clips in tar shards or in a folder, the alphabet, the report."""

    folder: Path
    REPORT: ClassVar[str] = "import_report.json"  # written last: a corpus with it is complete
    HTML_REPORT: ClassVar[str] = "import_report.html"
    INDEX: ClassVar[str] = "import_index.csv"  # what a later import recognises unchanged clips by
    PLACES: ClassVar[str] = "places.json"  # URIs of the clips, where they are artifacts of their own: see Clips
    SHARDS: ClassVar[str] = "shards"
    CLIPS: ClassVar[str] = "clips"
    MAKER: ClassVar[str] = "python -m components.import_cv"

    @classmethod
    def open(cls, folder: str | Path) -> "Corpus":
        """Open a complete corpus; raises InputError for a missing or unfinished one."""
        _require(Path(folder), cls.REPORT, "corpus", cls.MAKER)
        _require(Path(folder), ALPHABET, "corpus", cls.MAKER)
        return cls(Path(folder))

    def csv(self, split: str) -> Path:
        """Where the CSV of a set is."""
        return self.folder / f"{split}.csv"

    def manifest(self, split: str) -> Manifest:
        """The clips of a set."""
        return read_manifest(self.csv(split))

    @cached_property
    def alphabet(self) -> Alphabet:
        """The alphabet that the transcripts are written in."""
        return Alphabet.load(self.folder / ALPHABET)

    def check(self, names: Container[str] | None = None) -> None:
        """Raise InputError unless tables and shards, or those named, are the ones that the import wrote.

        In a corpus whose clips are artifacts of their own, the tables.
        """
        if names is None and self.places:
            names = [name for name in self.report.get("files", ()) if not name.startswith(f"{self.SHARDS}/")]
        check_files(self.folder / self.REPORT, self.report, names)

    @cached_property
    def report(self) -> dict[str, Any]:
        """The import report."""
        return _read_json(self.folder / self.REPORT)

    @cached_property
    def places(self) -> dict[str, str]:
        """Where the clips of train, dev and test are, if not in this folder: set -> URI."""
        path = self.folder / self.PLACES
        places = _read_json(path) if path.is_file() else {}
        if not all(isinstance(place, str) for place in places.values()):
            raise InputError(f"{path}: damaged: expected the place of each set's clips")
        return places


@dataclass(frozen=True)
class Clips:
    """The clips of some sets of a corpus, with their CSVs and the alphabet: what one reader of a corpus fetches."""

    folder: Path
    SETS: ClassVar[str] = "sets.json"  # written last: which sets, of which release
    MAKER: ClassVar[str] = "import_cv"

    @classmethod
    def open(cls, folder: str | Path) -> "Clips":
        """Open complete clips whose files are those that the import wrote; raises InputError for any other."""
        record, clips = (
            _require(Path(folder), cls.SETS, "artifact with the clips of a set", cls.MAKER),
            cls(Path(folder)),
        )
        check_files(record, clips.record)
        return clips

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the import wrote last: the sets, their release, and the files."""
        return _read_json(self.folder / self.SETS)

    @cached_property
    def sets(self) -> list[str]:
        """The names of the sets."""
        sets = self.record.get("sets")
        if not (isinstance(sets, list) and all(isinstance(name, str) for name in sets)):
            raise InputError(f"{self.folder / self.SETS}: damaged: expected the names of `sets`")
        return sets

    def csv(self, name: str) -> Path:
        """Where the CSV of a set is."""
        return self.folder / f"{name}.csv"

    def has_clips(self, name: str) -> bool:
        """Whether a set has any: the dev set of a small release may be empty."""
        return name in self.sets and lists_clips(self.csv(name))

    @cached_property
    def alphabet(self) -> Alphabet:
        """The alphabet that the transcripts of the whole corpus are written in."""
        return Alphabet.load(self.folder / ALPHABET)


@dataclass(frozen=True)
class CorpusPart:
    """What `import_cv --partition i/n` makes: some of a corpus's shards, and what is known of their clips."""

    folder: Path
    PART: ClassVar[str] = "part.json"  # written last
    ROWS: ClassVar[str] = "rows.jsonl"
    OUTCOMES: ClassVar[str] = "clips.jsonl"
    MAKER: ClassVar[str] = "python -m components.import_cv --partition"

    @classmethod
    def open(cls, folder: str | Path) -> "CorpusPart":
        """Open a complete part; raises InputError for a missing or unfinished one."""
        _require(Path(folder), cls.PART, "part of a corpus", cls.MAKER)
        return cls(Path(folder))

    @cached_property
    def description(self) -> dict[str, Any]:
        """Which part of what it is."""
        return _read_json(self.folder / self.PART)


@dataclass(frozen=True)
class Checkpoint:
    """What `train` makes: TensorFlow V2 bundles with DeepSpeech's variable names, and their state files."""

    folder: Path
    LAST: ClassVar[str] = "checkpoint"  # state file of the newest bundle
    BEST: ClassVar[str] = "best_dev_checkpoint"  # state file of the bundle with the lowest dev loss
    MODEL: ClassVar[str] = "model.json"  # geometry and training settings
    FLAGS: ClassVar[str] = "flags.txt"  # the same, as Coqui STT reads it
    HISTORY: ClassVar[str] = "history.json"  # losses by epoch
    RECORD: ClassVar[str] = "speechmill_run.json"  # which run wrote here, and which files are its own
    MAKER: ClassVar[str] = "python -m components.train"

    @classmethod
    def open(cls, folder: str | Path) -> "Checkpoint":
        """Open a folder with at least one bundle (ours, DeepSpeech's or Coqui STT's); raises InputError otherwise.

        Where our runs wrote into folders of their own inside it, it is that of the newest run with a bundle.
        """
        path = Path(folder)
        if not path.is_dir():
            state = "a file" if path.exists() else "no such folder"
            raise InputError(f"{path}: {state}: expected the checkpoint folder that `{cls.MAKER}` makes")
        for place in (*cls.runs(path), path):
            if any(place.glob("*.index")):
                return cls(place)
        inside = sorted({index.parent for index in path.glob("*/*.index")})
        hint = f"; {inside[0]} holds one" if inside else ""
        raise InputError(
            f"{path}: no checkpoint in it: expected *.index and *.data-* files and a `checkpoint` state file{hint}"
        )

    @classmethod
    def is_in(cls, folder: Path) -> bool:
        """Whether `open` would find a checkpoint there."""
        return any(any(place.glob("*.index")) for place in (folder, *cls.runs(folder)))

    @classmethod
    def runs(cls, folder: Path) -> list[Path]:
        """The folders of our runs, the newest first: `run-N` inside `folder`, then `folder` itself."""
        matches = ((RUN_FOLDER.fullmatch(path.name), path) for path in folder.glob("run-*"))
        numbered = sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)
        return [path for path in (*(path for _, path in numbered), folder) if (path / cls.RECORD).is_file()]


@dataclass(frozen=True)
class ExportedModel:
    """What `export` makes: one model in one or several client formats, and the sidecar that describes it."""

    folder: Path
    FROZEN: ClassVar[str] = "output_graph.pb"
    MAPPED: ClassVar[str] = "output_graph.pbmm"
    TFLITE: ClassVar[str] = "output_graph.tflite"
    ONNX: ClassVar[str] = "output_graph.onnx"
    MODEL: ClassVar[str] = "model.json"  # written last: geometry, settings, size and sha256 of each file
    MAKER: ClassVar[str] = "python -m components.export"

    @classmethod
    def open(cls, folder: str | Path) -> "ExportedModel":
        """Open a complete exported model whose files are those that the sidecar records."""
        model = _require(Path(folder), cls.MODEL, "exported model", cls.MAKER)
        check_files(model, _read_json(model))
        return cls(Path(folder))

    def file(self, name: str) -> Path:
        """The path of one of the formats; raises InputError if this artifact does not hold it."""
        path = self.folder / name
        if not path.is_file():
            raise InputError(f"{self.folder}: this exported model holds no {name}")
        return path

    @cached_property
    def sidecar(self) -> dict[str, Any]:
        """Geometry, export settings, provenance, and the files."""
        return _read_json(self.folder / self.MODEL)

    @property
    def geometry(self) -> Geometry:
        """The model's geometry."""
        return Geometry.from_dict(self.sidecar.get("geometry", {}), str(self.folder / self.MODEL))

    @cached_property
    def alphabet(self) -> Alphabet:
        """The model's alphabet."""
        return read_alphabet(self.folder, self.geometry)


@dataclass(frozen=True)
class IntermediateRepresentation:
    """What `convert_openvino` makes."""

    folder: Path
    XML: ClassVar[str] = "output_graph.xml"
    BIN: ClassVar[str] = "output_graph.bin"
    MODEL: ClassVar[str] = "openvino.json"  # written last; beside an exported model's own sidecar if need be
    OLDER: ClassVar[str] = "model.json"  # its name in IRs of earlier versions
    MAKER: ClassVar[str] = "python -m components.convert_openvino"

    @classmethod
    def open(cls, folder: str | Path) -> "IntermediateRepresentation":
        """Open a complete IR whose files are those that the sidecar records."""
        model = cls.sidecar_in(Path(folder)) or _require(Path(folder), cls.MODEL, "OpenVINO IR", cls.MAKER)
        check_files(model, _read_json(model))
        return cls(Path(folder))

    @classmethod
    def sidecar_in(cls, folder: Path) -> Path | None:
        """Where the sidecar of an IR is in a folder; None if there is none."""
        older = folder / cls.OLDER
        if (folder / cls.MODEL).is_file():
            return folder / cls.MODEL
        return older if older.is_file() and names_of_ir(_read_json(older)) else None

    @property
    def xml(self) -> Path:
        """The network; its weights lie beside it."""
        files = listed_files(self.sidecar_path, self.sidecar)
        name = self.sidecar.get("xml", self.XML)
        if not isinstance(name, str) or (files and name not in files):
            raise InputError(f"{self.sidecar_path}: damaged: its network {str(name)[:80]!r} is not among its files")
        return self.folder / name

    @property
    def sidecar_path(self) -> Path:
        """Where the sidecar is."""
        return self.sidecar_in(self.folder) or self.folder / self.MODEL

    @cached_property
    def sidecar(self) -> dict[str, Any]:
        """Geometry, conversion settings, and the files."""
        return _read_json(self.sidecar_path)

    @property
    def geometry(self) -> Geometry:
        """The model's geometry."""
        return Geometry.from_dict(self.sidecar.get("geometry", {}), str(self.sidecar_path))

    @cached_property
    def alphabet(self) -> Alphabet:
        """The model's alphabet."""
        return read_alphabet(self.folder, self.geometry)


@dataclass(frozen=True)
class ExternalScorer:
    """What `build_scorer` makes: a language model and vocabulary for the decoder and the clients."""

    folder: Path
    SCORER: ClassVar[str] = "kenlm.scorer"
    LANGUAGE_MODEL: ClassVar[str] = "lm.binary"  # kept on demand
    MODEL: ClassVar[str] = "scorer.json"  # written last: settings, counts, size and sha256
    NONE: ClassVar[str] = "none.txt"  # alone in the folder: the run is one without a scorer
    NONE_TEXT: ClassVar[str] = "This run has no scorer.\n"
    MAKER: ClassVar[str] = "python -m components.build_scorer"

    @classmethod
    def open(cls, folder: str | Path) -> "ExternalScorer":
        """Open a complete scorer whose file is the one that the sidecar records."""
        model = _require(Path(folder), cls.MODEL, "scorer", cls.MAKER)
        check_files(model, _read_json(model))
        return cls(Path(folder))

    @classmethod
    def find(cls, folder: str | Path) -> "ExternalScorer | None":
        """The same; None for the artifact of a run that builds no scorer."""
        return None if (Path(folder) / cls.NONE).is_file() else cls.open(folder)

    @property
    def path(self) -> Path:
        """The scorer itself."""
        return self.folder / self.SCORER

    @cached_property
    def description(self) -> dict[str, Any]:
        """How it was made: settings, counts, coverage of the text."""
        return _read_json(self.folder / self.MODEL)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` makes: the scores, every transcript, and the HTML report."""

    folder: Path
    SCORES: ClassVar[str] = "scores.json"  # written last
    SAMPLES: ClassVar[str] = "samples.json"
    HTML_REPORT: ClassVar[str] = "report.html"
    MAKER: ClassVar[str] = "python -m components.evaluate"

    @classmethod
    def open(cls, folder: str | Path) -> "Evaluation":
        """Open a complete evaluation whose files are those that the scores record."""
        record, evaluation = _require(Path(folder), cls.SCORES, "evaluation", cls.MAKER), cls(Path(folder))
        check_files(record, evaluation.scores)
        return evaluation

    @cached_property
    def scores(self) -> dict[str, Any]:
        """WER, CER, loss and the counts behind them."""
        return _read_json(self.folder / self.SCORES)


def names_of_scorer(description: Mapping[str, Any]) -> list[str]:
    """What the sidecar of a scorer lists as written by its step; nothing for one of another kind."""
    return listed(description) if "default_alpha" in description else []


def place_of_scorer(where: str | Path, flag: str, more: Names = names_of_scorer) -> Place:
    """A folder or prefix that takes a scorer, or the note of a run without one, beside whatever else it holds."""
    place = place_at(where, {ExternalScorer.MODEL: more}, flag)
    if place.read(ExternalScorer.NONE) == ExternalScorer.NONE_TEXT.encode("ascii"):
        place.records = {**place.records, ExternalScorer.NONE: lambda _: [ExternalScorer.NONE]}
    return place


def read_alphabet(folder: Path, geometry: Geometry) -> Alphabet:
    """The alphabet beside a model; bytes output mode is recognised by its marker file."""
    path = folder / ALPHABET
    if path.is_file() and path.read_bytes() == Alphabet.bytes_output_mode().to_text().encode("utf-8"):
        alphabet = Alphabet.bytes_output_mode()
    else:
        alphabet = Alphabet.load(path)
    if len(alphabet) != geometry.n_labels:
        raise InputError(f"{path}: {len(alphabet)} symbols, but the model beside it has {geometry.n_labels} labels")
    return alphabet


def describe_files(folder: Path, names: list[str], reused: Container[str] = ()) -> dict[str, dict[str, Any]]:
    """Size and checksum of each file, for a sidecar; those in `reused` are marked as not written by the step."""
    with ThreadPoolExecutor(min(AT_ONCE, len(names)) or 1) as pool:
        digests = list(pool.map(sha256, (folder / name for name in names)))
    files: dict[str, dict[str, Any]] = {}
    for name, digest in zip(names, digests, strict=True):
        files[name] = {"bytes": (folder / name).stat().st_size, "sha256": digest}
        if name in reused:
            files[name]["found"] = True
    return files


def serving_alphabet(place: Place, alphabet: Alphabet) -> bool:
    """Whether somebody else's alphabet file lies there and has the same symbols: it stays, and serves."""
    path = place.foreign(ALPHABET)
    if path is None:
        return False
    with contextlib.suppress(InputError):
        return Alphabet.load(path) == alphabet
    return alphabet.bytes_mode and path.is_file() and path.read_bytes() == alphabet.to_text().encode("utf-8")


def names_of_export(sidecar: Mapping[str, Any]) -> list[str]:
    """What the sidecar of an exported model lists as written by the export; nothing for one of another kind."""
    return listed(sidecar) if "geometry" in sidecar and not names_of_ir(sidecar) else []


def names_of_ir(sidecar: Mapping[str, Any]) -> list[str]:
    """The same for an OpenVINO IR."""
    names = listed(sidecar)
    return names if any(name.endswith(".xml") for name in names) else []


def write_sidecar(folder: Path, name: str, description: dict[str, Any]) -> None:
    """Write the file that completes an artifact."""
    write_json(folder / name, sealed(description))
