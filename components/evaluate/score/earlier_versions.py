"""The versions that were published before this evaluation, as far as their scores go."""

import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluate.score.against_champion import POINTER
from speech.artifacts import Evaluation
from speech.errors import InputError, RetryError
from speech.storage.objects import is_remote, list_keys, split_uri
from speech.storage.stores import Store, store_at

DESCRIPTION = "version.json"  # of a published version
MOST_VERSIONS = 40  # the newest
READERS = 8


@dataclass(frozen=True)
class EarlierVersion:
    """A published version and its rates, on the test clips that it was measured on."""

    name: str
    created: str  # ISO 8601
    rates: Mapping[str, float]  # wer and cer
    intervals: Mapping[str, Sequence[float]]
    is_champion: bool = False


def earlier_versions(publish_uri: str) -> list[EarlierVersion]:
    """The newest versions at a place, the oldest of them first; none where there is no place or it cannot be read."""
    if not publish_uri:
        return []
    try:
        store = store_at(publish_uri)
        champion = _json(store, POINTER).get("version", "")
        names = sorted(_names(publish_uri))[-MOST_VERSIONS:]  # as a rule they begin with the date
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(lambda name: _version(store, name, champion), names))
    except (InputError, RetryError, OSError) as error:
        print(f"note: the report shows no earlier versions: {error}", file=sys.stderr)
        return []
    return sorted((one for one in found if one is not None), key=lambda one: (one.created, one.name))


def _names(publish_uri: str) -> list[str]:
    """The names of the complete versions."""
    if is_remote(publish_uri):
        prefix = f"{publish_uri.rstrip('/')}/"
        start = len(split_uri(prefix)[1])
        files = [key[start:] for key, _ in list_keys(prefix)]
    else:
        files = [f"{path.parent.name}/{path.name}" for path in Path(publish_uri).glob(f"*/{DESCRIPTION}")]
    found = [name.removesuffix(f"/{DESCRIPTION}") for name in files if name.endswith(f"/{DESCRIPTION}")]
    return [name for name in found if "/" not in name and not name.startswith(".")]


def _version(store: Store, name: str, champion: str) -> EarlierVersion | None:
    description = _json(store, f"{name}/{DESCRIPTION}")
    if not description:
        return None
    scores = _json(store, f"{name}/{Evaluation.SCORES}") or description.get("scores", {})
    rates = {rate: float(scores[rate]) for rate in ("wer", "cer") if isinstance(scores.get(rate), int | float)}
    intervals = {rate: scores[f"{rate}_interval"] for rate in rates if scores.get(f"{rate}_interval")}
    return EarlierVersion(name, str(description.get("created", "")), rates, intervals, name == champion)


def _json(store: Store, name: str) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none, or another content."""
    try:
        content = json.loads(store.read(name) or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
