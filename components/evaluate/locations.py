"""The `s3://` form of the path flags: what is read is fetched first, what is written goes up when it is complete."""

from pathlib import Path

from speech.errors import InputError
from speech.storage import download_file, download_folder, is_remote, upload_file, upload_folder, write_bytes


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


def deliver_folder(folder: Path, uri: str, last: str) -> None:
    """Put a finished folder where it belongs, the file `last` after all others."""
    if is_remote(uri):
        upload_folder(folder, uri, last=last)


def deliver_file(path: Path, uri: str) -> None:
    """Put a copy of a file at a path or URI."""
    if is_remote(uri):
        upload_file(path, uri)
    else:
        write_bytes(uri, path.read_bytes())
