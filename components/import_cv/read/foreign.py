"""Folders of corpora that are not laid out as Common Voice is, and DeepSpeech's sample databases."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from components.import_cv.plan.reasons import Reason, Refused
from components.import_cv.read.folders import FileLoader
from components.import_cv.read.layouts import (
    COLUMNS,
    TEXT_SUFFIXES,
    Listing,
    chosen,
    is_audio,
    set_of,
    write_tables,
)
from components.import_cv.read.release import Found, Loader, Release, Wanted
from components.import_cv.read.remote import RemoteLoader
from speech.clips import opus_packets
from speech.clips.manifest import Clip
from speech.clips.sample_database import read_sample_database
from speech.errors import InputError
from speech.storage.objects import download_file, list_keys, local_names, split_uri


class ForeignFolder:
    """A corpus in a folder, on this machine or in an object store, whose text files lie anywhere in it."""

    kind = "foreign folder"
    strange_members = 0

    def __init__(self, uri: str, *, stored: bool) -> None:
        self.uri = uri
        self._stored = stored

    def tables(self, sets: Sequence[str], optional: Sequence[str], scratch: Path) -> Release:
        """Common Voice's tables of it, for the sets that it has."""
        listing = self._list_objects(scratch / "texts") if self._stored else self._list_files()
        return chosen(write_tables(listing, self.uri, scratch), sets, optional)

    def _list_files(self) -> Listing:
        root = Path(self.uri)
        listing = Listing(root.resolve().name)
        for folder, folders, names in os.walk(root):
            folders.sort()
            place = Path(folder).relative_to(root)
            for name in sorted(names):
                path = (place / name).as_posix()
                if is_audio(name):
                    listing.add_audio(path)
                elif name.endswith(TEXT_SUFFIXES) and not (Path(folder) / name).is_symlink():
                    listing.texts[path] = Path(folder) / name
        return listing

    def _list_objects(self, scratch: Path) -> Listing:
        _, prefix = split_uri(f"{self.uri}/")
        listing = Listing(self.uri.rsplit("/", 1)[-1])
        for name in local_names(self.uri, [key[len(prefix) :] for key, _ in list_keys(f"{self.uri}/")]):
            if is_audio(name):
                listing.add_audio(name)
            elif name.endswith(TEXT_SUFFIXES):
                listing.texts[name] = scratch / name
                download_file(f"{self.uri}/{name}", scratch / name)
        return listing

    def clips(self, plan: Wanted, max_bytes: int) -> Iterator[Found]:
        """Every one, for the workers to load."""
        return (Found(clip, None, Reason.ACCEPTED) for clip in range(plan.clip_count))

    def loader(self) -> Loader:
        """Of files or of objects."""
        return RemoteLoader(self.uri) if self._stored else FileLoader(Path(self.uri))

    def is_folder(self, folder: Path) -> bool:
        """Whether the clips lie there, so that WAV files would lie beside them."""
        return False

    def identity(self) -> str:
        """What the order of its clips depends on."""
        return self.kind

    def revision(self) -> str:
        """The plan tells: it changes with the tables."""
        return ""


class DatabaseSource(ForeignFolder):
    """One of DeepSpeech's .sdb files; its name says which set it is."""

    kind = "sample database"

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), stored=False)

    def tables(self, sets: Sequence[str], optional: Sequence[str], scratch: Path) -> Release:
        path = Path(self.uri)
        name = set_of(path.stem)
        scratch.mkdir(parents=True, exist_ok=True)
        with (scratch / f"{name}.tsv").open("w", encoding="utf-8") as file:
            file.write("\t".join(COLUMNS) + "\n")
            for number, clip in enumerate(read_sample_database(path).clips):
                file.write(f"\t{number:08d}.wav\t{' '.join(clip.transcript.split())}\n")
        return chosen(Release(path.stem, {name: scratch / f"{name}.tsv"}, None, own_names=True), sets, optional)

    def loader(self) -> Loader:
        return _Recordings(Path(self.uri))

    def revision(self) -> str:
        status = Path(self.uri).stat()
        return f"{status.st_size} {status.st_mtime_ns}"


@dataclass
class _Recordings:
    """Reads the recordings of a sample database by their numbers."""

    path: Path
    _clips: list[Clip] = field(default_factory=list)

    @cached_property
    def _file(self) -> int:
        self._clips = list(read_sample_database(self.path).clips)
        return os.open(self.path, os.O_RDONLY)

    def load(self, sources: Sequence[str], max_bytes: int) -> Iterator[bytes | Refused]:
        """The WAV or Ogg file of each."""
        file = self._file
        for source in sources:
            clip = self._clips[int(source.partition(".")[0])]
            if clip.wav_filesize > max_bytes:
                yield Refused(Reason.TOO_BIG, f"{clip.wav_filesize / 1e6:.1f} MB")
                continue
            data = os.pread(file, clip.wav_filesize, clip.offset)
            try:
                yield data if data[:4] == b"RIFF" else opus_packets.to_ogg(opus_packets.parse(data, source))
            except InputError as error:
                yield Refused(Reason.NOT_AUDIO, str(error))
