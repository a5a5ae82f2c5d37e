"""Which version is the champion, and how that changes: by numbered records of which each can be created only once.

`champions/00000001.json`, `00000002.json`, ... are the truth: the one with the highest number is in force. Whoever
wants to move the champion creates the next number, and of many writers at once one alone can. `champion.json` is a copy
of the record in force, for clients. This needs nothing of the store but an atomic create.
"""

from datetime import datetime, timezone
from typing import Any

from components.publish.contents import to_json
from components.publish.model_bucket import DamagedRecord, ModelBucket
from components.publish.settings import RESERVED
from speech.errors import InputError

POINTER = "champion.json"
MOVE_ATTEMPTS = 100
RECORDS, RELEASES = RESERVED
PROMOTED, ROLLED_BACK = "promoted", "rolled back"


class Champions:
    """The champions of a place for versions, past and present."""

    def __init__(self, place: ModelBucket) -> None:
        self.place = place

    def current(self) -> dict[str, Any] | None:
        """The record in force, or None before the first."""
        number = self._newest()
        return self.record(number) if number else None

    def record(self, number: int) -> dict[str, Any]:
        """The record with a number; raises InputError if it is lost."""
        record = self.place.get(_name(number))
        if not (isinstance(record, dict) and _is_record(record)):
            raise InputError(f"{self.place.locate(_name(number))} is missing or damaged: it says who was champion")
        return record

    def history(self) -> list[dict[str, Any]]:
        """All records, the one in force last."""
        return [self.record(number) for number in range(1, self._newest() + 1)]

    def move(self, version: str, after: dict[str, Any] | None, **facts: Any) -> dict[str, Any] | None:
        """Make `version` the champion in the place of the record `after`; None if that is no longer in force."""
        number = after["number"] + 1 if after else 1
        record = {
            "version": version,
            "number": number,
            "uri": self.place.locate(version),
            "since": now(),
            "action": PROMOTED,
            "previous": after["number"] if after else 0,  # what a rollback goes back to
            **facts,
        }
        if not self.place.create(_name(number), to_json(record)):
            return None
        self.settle()
        return record

    def settle(self) -> None:
        """Make `champion.json` the copy of the record in force.

        Each writer looks again after it wrote, so the last one to write leaves the newest record, whatever the order.
        """
        self.check()
        written = 0
        while (newest := self._newest()) > written:
            self.place.put(POINTER, to_json(self.record(newest)))
            written = newest

    def check(self) -> None:
        """Raise InputError if `champion.json` is somebody else's."""
        try:
            pointer = self.place.get(POINTER)
        except DamagedRecord:
            pointer = ()
        if pointer is not None and not (isinstance(pointer, dict) and isinstance(pointer.get("number"), int)):
            raise InputError(
                f"{self.place.locate(POINTER)} would be replaced, but it is no record of a champion: give another "
                "--publish_uri, or move the file away"
            )

    def rolled_back(self, version: str) -> str:
        """When `version` was last taken back, or empty if it never was."""
        times = [
            record["since"]
            for record in self.history()
            if record["action"] == ROLLED_BACK and record["from"] == version
        ]
        return times[-1] if times else ""

    def roll_back(self, version: str = "") -> dict[str, Any]:
        """Make the champion before this one (or `version`) the champion again; raises InputError if there is none."""
        for _ in range(MOVE_ATTEMPTS):
            current = self.current()
            if current is None:
                raise InputError(f"{self.place.locate(POINTER)}: there is no champion yet, so nothing to roll back")
            target, previous = self._rollback_target(current, version)
            if self.place.read(target) is None:
                raise InputError(f"{self.place.locate(target)} is not a complete version: name another")
            facts = {"action": ROLLED_BACK, "from": current["version"], "previous": previous}
            moved = self.move(target, current, **facts)
            if moved is not None:
                return moved
        raise InputError(f"{self.place.locate(POINTER)} keeps being moved by other runs: try again")

    def _rollback_target(self, current: dict[str, Any], version: str) -> tuple[str, int]:
        """The version to go back to, and the record that a further rollback would go back to."""
        if version:
            if version == current["version"]:
                raise InputError(f"{version} is the champion already")
            return version, current["previous"]
        if not current["previous"]:
            raise InputError(
                f"{current['version']} has been the champion from the start: name the version to go back to"
            )
        before = self.record(current["previous"])
        return before["version"], before["previous"]

    def _newest(self) -> int:
        names = self.place.names(RECORDS)
        numbers = [int(name.partition(".")[0]) for name in names if name.partition(".")[0].isdigit()]
        return max(numbers, default=0)


def now() -> str:
    """The time as it stands in records."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def _is_record(record: dict[str, Any]) -> bool:
    kinds = {"version": str, "number": int, "uri": str, "since": str, "action": str, "previous": int}
    if record.get("action") == ROLLED_BACK:
        kinds["from"] = str
    return all(isinstance(record.get(name), kind) for name, kind in kinds.items())


def _name(number: int) -> str:
    return f"{RECORDS}/{number:08}.json"
