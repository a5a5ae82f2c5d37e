"""The artifacts that steps hand each other: folders, with every file name once and what makes each valid.

The file that says "complete" is written last, so a folder without it is unfinished work of an interrupted step.
"""

import contextlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.manifest import Manifest, read_manifest
from speech.ownership import Names, Place, listed
from speech.storage import sha256, write_json

ALPHABET = "alphabet.txt"
SPLITS = ("train", "dev", "test")
ALL_SETS = (*SPLITS, "validated", "other", "train-all")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    return value


def _require(folder: Path, name: str, kind: str, maker: str) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: expected the {kind} that `{maker}` makes")
    path = folder / name
    if not path.is_file():
        raise InputError(f"{folder}: not a complete {kind}: {name} is missing; run `{maker}` (again)")
    return path


@dataclass(frozen=True)
class Corpus:
    """What `import_cv` makes: CSVs, WAV clips in tar shards or in a folder, the alphabet, the report."""

    folder: Path
    REPORT: ClassVar[str] = "import_report.json"  # written last: a corpus with it is complete
    HTML_REPORT: ClassVar[str] = "import_report.html"
    INDEX: ClassVar[str] = "import_index.csv"  # what a later import recognises unchanged clips by
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

    @cached_property
    def report(self) -> dict[str, Any]:
        """The import report."""
        return _read_json(self.folder / self.REPORT)


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
    MAKER: ClassVar[str] = "python -m components.train"

    @classmethod
    def open(cls, folder: str | Path) -> "Checkpoint":
        """Open a folder with at least one bundle (ours, DeepSpeech's or Coqui STT's); raises InputError otherwise."""
        path = Path(folder)
        if not path.is_dir():
            raise InputError(f"{path}: no such folder: expected the checkpoint that `{cls.MAKER}` makes")
        if not any(path.glob("*.index")):
            raise InputError(
                f"{path}: no checkpoint in it: expected *.index and *.data-* files and a `checkpoint` state file"
            )
        return cls(path)


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
        """Open a complete exported model whose files have the sizes that the sidecar records."""
        model = _require(Path(folder), cls.MODEL, "exported model", cls.MAKER)
        _check_files(Path(folder), _read_json(model).get("files", {}))
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
        """Open a complete IR whose files have the sizes that the sidecar records."""
        model = cls.sidecar_in(Path(folder)) or _require(Path(folder), cls.MODEL, "OpenVINO IR", cls.MAKER)
        _check_files(Path(folder), _read_json(model).get("files", {}))
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
        return self.folder / self.sidecar.get("xml", self.XML)

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
        """Open a complete scorer whose file has the size that the sidecar records."""
        model = _require(Path(folder), cls.MODEL, "scorer", cls.MAKER)
        _check_files(Path(folder), _read_json(model).get("files", {}))
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
        """Open a complete evaluation."""
        _require(Path(folder), cls.SCORES, "evaluation", cls.MAKER)
        return cls(Path(folder))

    @cached_property
    def scores(self) -> dict[str, Any]:
        """WER, CER, loss and the counts behind them."""
        return _read_json(self.folder / self.SCORES)


def names_of_scorer(description: Mapping[str, Any]) -> list[str]:
    """What the sidecar of a scorer lists as written by its step; nothing for one of another kind."""
    return listed(description) if "default_alpha" in description else []


def place_of_scorer(folder: Path, flag: str, more: Names = names_of_scorer) -> Place:
    """A folder that takes a scorer, or the note of a run without one, beside whatever else it holds."""
    note = folder / ExternalScorer.NONE
    records: dict[str, Names] = {ExternalScorer.MODEL: more}
    if note.is_file() and note.read_bytes() == ExternalScorer.NONE_TEXT.encode("ascii"):
        records[ExternalScorer.NONE] = lambda _: [ExternalScorer.NONE]
    return Place(folder, records, flag)


def read_alphabet(folder: Path, geometry: Geometry) -> Alphabet:
    """The alphabet beside a model; bytes output mode is recognised by its marker file."""
    path = folder / ALPHABET
    if path.is_file() and path.read_text(encoding="utf-8") == Alphabet.bytes_output_mode().to_text():
        alphabet = Alphabet.bytes_output_mode()
    else:
        alphabet = Alphabet.load(path)
    if len(alphabet) != geometry.n_labels:
        raise InputError(f"{path}: {len(alphabet)} symbols, but the model beside it has {geometry.n_labels} labels")
    return alphabet


def describe_files(folder: Path, names: list[str], found: Container[str] = ()) -> dict[str, dict[str, Any]]:
    """Size and checksum of each file, for a sidecar; those in `found` are marked as not written by the step."""
    files: dict[str, dict[str, Any]] = {}
    for name in names:
        files[name] = {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        if name in found:
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
    write_json(folder / name, description)


def _check_files(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, recorded in files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else -1
        if size != recorded["bytes"]:
            found = "is missing" if size < 0 else f"has {size} bytes"
            raise InputError(f"{path} {found}, but its sidecar records {recorded['bytes']}: make the artifact again")
