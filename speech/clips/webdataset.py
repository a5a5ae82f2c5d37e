"""WebDataset tars: `KEY.wav` (flac, mp3, opus, ogg) beside `KEY.txt` (or `KEY.transcript`), as Coqui STT takes them."""

import re
import tarfile
from pathlib import Path
from typing import IO, cast

from speech.clips.audio import duration_s
from speech.clips.manifest import Clip, Manifest
from speech.clips.tar_headers import next_member, open_tar
from speech.errors import InputError

SUFFIX = ".tar"
AUDIO_EXTENSIONS = ("wav", "flac", "mp3", "opus", "ogg")
TEXT_EXTENSIONS = ("txt", "transcript")
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)")  # the key ends at the first dot of the file's name


def read_webdataset(path: str | Path, *, labeled: bool = True) -> Manifest:
    """The clips of a tar, in its order: `shard` is the tar itself, and a slice of it is the audio file.

    Raises InputError for a file that is no uncompressed tar, or (with `labeled`) a recording without a transcript.
    """
    path = Path(path)
    audio: dict[str, tarfile.TarInfo] = {}
    texts: dict[str, tarfile.TarInfo] = {}
    try:
        with open_tar(name=path, mode="r:") as archive:
            while (member := next_member(archive)) is not None:
                matched = _NAME.fullmatch(member.name) if member.isfile() else None
                if matched and matched[2].lower() in AUDIO_EXTENSIONS:
                    audio[matched[1]] = member
                elif matched and matched[2].lower() in TEXT_EXTENSIONS:
                    texts[matched[1]] = member
            clips = [_clip(path, archive, member, texts.get(key), labeled) for key, member in audio.items()]
    except (OSError, ValueError, tarfile.TarError) as error:
        raise InputError(f"{path}: not a readable, uncompressed tar: {error}") from error
    if not clips:
        raise InputError(f"{path}: no recordings: expected KEY.wav (or {', '.join(AUDIO_EXTENSIONS[1:])}) and KEY.txt")
    return Manifest(path, clips)


def _clip(
    path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, text: tarfile.TarInfo | None, labeled: bool
) -> Clip:
    if labeled and text is None:
        key = member.name.rsplit(".", 1)[0]
        raise InputError(f"{path}: {member.name} has no transcript: expected {key}.txt in the tar")
    transcript = "" if text is None else _text(path, archive, text)
    seconds = duration_s(_content(archive, member))
    return Clip(member.name, member.size, transcript, seconds, "", path.name, member.offset_data)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], archive.extractfile(member))  # None only for what is no file


def _text(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    try:
        return _content(archive, member).read().decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {member.name} is not UTF-8: save the transcript as UTF-8") from error
