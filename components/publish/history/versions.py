"""The versions of a place, with what their files say of them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from components.publish.champion import PROMOTED, ROLLED_BACK, Champions
from components.publish.gate import DECISION, KEPT
from components.publish.model_bucket import DESCRIPTION, ModelBucket
from speech.artifacts import Evaluation, ExportedModel
from speech.errors import InputError

CARD = "model_card.json"
CHAMPION, FORMER, TAKEN_BACK, NOT_BETTER = "champion", "former", "rolled back", "not better"
READERS = 8  # files fetched at a time: a version is four small ones


@dataclass(frozen=True)
class StoredVersion:
    """A complete version and its own files, each empty where the version has none; `standing` is what became of it."""

    name: str
    description: Mapping[str, Any]
    scores: Mapping[str, Any]
    sidecar: Mapping[str, Any]
    card: Mapping[str, Any]
    decision: Mapping[str, Any]
    standing: str

    @property
    def training(self) -> Mapping[str, Any]:
        """What the training left in the model's sidecar."""
        return self.sidecar.get("training") or self.card.get("training") or {}

    @property
    def release(self) -> str:
        """The release that it was trained on, as a name where one is known."""
        source = self.description.get("source", {}).get("corpus_uri", "")
        return str(self.card.get("data", {}).get("release") or source.rstrip("/").rsplit("/", 1)[-1])

    @property
    def size_bytes(self) -> int:
        """All its files together."""
        return sum(file["bytes"] for file in self.description.get("files", {}).values())

    def row(self) -> dict[str, Any]:
        """Its line in the table of versions, in JSON's types; None for what is not known."""
        return {
            "version": self.name,
            "created": self.description.get("created"),
            "standing": self.standing,
            "champion": self.standing == CHAMPION,
            "corpus": self.release or None,
            "train_clips": self.training.get("train_clips"),
            "train_hours": self.training.get("train_hours"),
            **{name: self.scores.get(name) for name in ("wer", "wer_interval", "cer", "cer_interval", "test_clips")},
            "bytes": self.size_bytes,
        }


class Versions:
    """What a place holds. Raises InputError for a name that is no version there, and for a damaged file."""

    def __init__(self, place: ModelBucket) -> None:
        self.place = place
        self.names = sorted(place.complete())
        self.history = Champions(place).history()

    @property
    def champion(self) -> str:
        """The name of the version in force; empty if there is none."""
        return str(self.history[-1]["version"]) if self.history else ""

    @property
    def former_champion(self) -> str:
        """The one that a rollback would go back to; empty if there is none."""
        number = self.history[-1]["previous"] if self.history else 0
        return str(self.history[number - 1]["version"]) if number else ""

    def all(self) -> list[StoredVersion]:
        """Every version, the oldest first."""
        with ThreadPoolExecutor(READERS) as pool:
            return sorted(
                pool.map(self.read, self.names), key=lambda one: (one.description.get("created", ""), one.name)
            )

    def read(self, name: str) -> StoredVersion:
        """One version."""
        description = self.file(name, DESCRIPTION) if name in self.names else None
        if description is None:
            known = f"there are {', '.join(self.names)}" if self.names else "there is none yet"
            raise InputError(f"{self.place.locate(name)} is not a complete version: {known}")
        decision = self.file(name, DECISION)
        return StoredVersion(
            name,
            description,
            self.file(name, Evaluation.SCORES) or description.get("scores", {}),
            self.file(name, ExportedModel.MODEL) or {},
            self.file(name, CARD) or {},
            decision or {},
            self._standing(name, decision or {}),
        )

    def samples(self, name: str) -> Sequence[dict[str, Any]]:
        """What a version heard in each test clip; empty if that is not published with it."""
        rows = self.file(name, Evaluation.SAMPLES, list)
        return rows or []

    def file(self, name: str, file: str, kind: type = dict) -> Any:
        """The content of one of a version's JSON files; None if it has no such file."""
        try:
            content = self.place.get(f"{name}/{file}")
        except ValueError as error:
            raise InputError(f"{self.place.locate(name)}/{file} is damaged: not readable as JSON: {error}") from error
        if content is not None and not isinstance(content, kind):
            raise InputError(f"{self.place.locate(name)}/{file} is damaged: expected a JSON {kind.__name__}")
        return content

    def _standing(self, name: str, decision: Mapping[str, Any]) -> str:
        if name == self.champion:
            return CHAMPION
        for record in reversed(self.history):
            if record["action"] == ROLLED_BACK and record["from"] == name:
                return TAKEN_BACK
            if record["action"] in (PROMOTED, ROLLED_BACK) and record["version"] == name:
                return FORMER
        return NOT_BETTER if decision.get("decision") == KEPT else ""
