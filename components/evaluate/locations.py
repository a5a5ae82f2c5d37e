"""The `s3://` form of the path flags: what is read is fetched first, what is written goes up when it is complete."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from components.evaluate.settings import EvaluateSettings
from speech.ownership import Place, RemotePlace
from speech.storage.objects import is_remote, local_folder
from speech.storage.stores import fetched, put_file

S = TypeVar("S", bound=EvaluateSettings)


def fetch_model(uri: str, scratch: Path) -> Path:
    """The local path of a model: a folder, or one file (of an IR with the weights beside it)."""
    if "." not in uri.rstrip("/").rsplit("/", 1)[-1]:
        return local_folder(uri, scratch)
    if uri.endswith(".xml"):
        fetched(f"{uri.removesuffix('.xml')}.bin", scratch)
    return fetched(uri, scratch)


def fetch_settings(settings: S, scratch: Path) -> S:
    """The settings with local paths for the files that they name: the alphabet and the scorer."""
    alphabet, scorer = settings.alphabet_config_path, settings.scorer_path
    if alphabet:
        settings = replace(settings, alphabet_config_path=str(fetched(alphabet, scratch)))
    if scorer:
        local = fetched(scorer, scratch) if scorer.endswith(".scorer") else local_folder(scorer, scratch / "scorer")
        settings = replace(settings, scorer_path=str(local))
    return settings


def place(uri: str, scratch: Path) -> Path:
    """Where to write what belongs at `uri`; `deliver` brings it there."""
    return scratch if is_remote(uri) else Path(uri)


def deliver(local: Path, uri: str, target: Place) -> None:
    """Put what was written to `place(uri, local)`, a file or a folder, where it belongs: a folder into `target`, the
    record of which goes up last."""
    if isinstance(target, RemotePlace) and local.is_dir():
        target.upload(local, next(iter(target.records)))
    elif is_remote(uri):
        put_file(local, uri)
