"""The `s3://` form of the path flags: what is read is fetched first, what is written goes up when it is complete."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from components.evaluate.settings import EvaluateSettings
from speech.errors import InputError
from speech.ownership import Place, RemotePlace
from speech.storage.files import write_bytes
from speech.storage.objects import download_file, download_folder, is_remote, upload_file

S = TypeVar("S", bound=EvaluateSettings)


def fetch_model(uri: str, scratch: Path) -> Path:
    """The local path of a model: a folder, or one file (of an IR with the weights beside it)."""
    if not is_remote(uri):
        return Path(uri)
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    if "." not in name:
        download_folder(uri, scratch)
        return scratch
    download_file(uri, scratch / name)
    if name.endswith(".xml"):
        download_file(f"{uri.removesuffix('.xml')}.bin", (scratch / name).with_suffix(".bin"))
    return scratch / name


def fetch_set(uri: str, scratch: Path) -> Path:
    """The local path of a CSV or of a corpus; the folder of a CSV comes with it, as that is where its clips are."""
    if not is_remote(uri):
        return Path(uri)
    if not uri.endswith(".csv"):
        download_folder(uri, scratch)
        return scratch
    folder, _, name = uri.rpartition("/")
    download_folder(folder, scratch)
    if not (scratch / name).is_file():
        raise InputError(f"{uri}: no such object")
    return scratch / name


def fetch_file(uri: str, scratch: Path) -> Path:
    """The local path of one file."""
    if not is_remote(uri):
        return Path(uri)
    path = scratch / uri.rsplit("/", 1)[-1]
    download_file(uri, path)
    return path


def fetch_settings(settings: S, scratch: Path) -> S:
    """The settings with local paths for the files that they name: the alphabet and the scorer."""
    alphabet, scorer = settings.alphabet_config_path, settings.scorer_path
    if is_remote(alphabet):
        settings = replace(settings, alphabet_config_path=str(fetch_file(alphabet, scratch)))
    if is_remote(scorer) and scorer.endswith(".scorer"):
        settings = replace(settings, scorer_path=str(fetch_file(scorer, scratch)))
    elif is_remote(scorer):
        download_folder(scorer, scratch / "scorer")
        settings = replace(settings, scorer_path=str(scratch / "scorer"))
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
        upload_file(local, uri)


def deliver_file(path: Path, uri: str) -> None:
    """Put a copy of a file at a path or URI."""
    if is_remote(uri):
        upload_file(path, uri)
    else:
        write_bytes(uri, path.read_bytes())
