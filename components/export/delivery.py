"""Where an export goes from the shell: its file names, the folder or `s3://` prefix, the zip archive."""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.export.step import place
from speech.artifacts import (
    ALPHABET,
    ExportedModel,
    describe_files,
    names_of_export,
    serving_alphabet,
    write_sidecar,
)
from speech.errors import InputError
from speech.ownership import RemotePlace, place_at
from speech.storage.objects import is_remote
from speech.storage.stores import put_file

STEM = Path(ExportedModel.FROZEN).stem


def rename(model: ExportedModel, stem: str) -> ExportedModel:
    """Call the model's files `stem.pb`, `stem.pbmm`, ..."""
    if stem == STEM:
        return model
    names = {name: stem + Path(name).suffix for name in model.sidecar["files"] if Path(name).stem == STEM}
    for old, new in names.items():
        (model.folder / old).replace(model.folder / new)
    files = {names.get(name, name): about for name, about in model.sidecar["files"].items()}
    write_sidecar(model.folder, ExportedModel.MODEL, {**model.sidecar, "files": files})
    return ExportedModel.open(model.folder)


def check_destination(destination: str, names: Iterable[str], remove: bool, packed: bool) -> None:
    """Raises InputError for a folder that an export of these files must not be put into, or packed beside."""
    if packed:
        _check_archive(destination)
    if is_remote(destination):
        if remove:
            raise InputError(
                f"--remove_export removes local folders only: remove the objects under {destination} yourself"
            )
        place(destination).check([*names, ALPHABET])
        return
    folder = Path(destination)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--export_dir {folder} is a file: give a folder")
    if any(folder.glob("*.index")):
        raise InputError(
            f"--export_dir {folder} holds a checkpoint, whose alphabet and sidecar an export would replace"
        )
    place(folder).check(names)


def deliver(model: ExportedModel, destination: str, remove: bool) -> None:
    """Put the finished export in its place, the file that completes it last; the files of an earlier one go.

    What else lies there stays; with `remove` a note says so. The model's own folder must be on the same disk.
    """
    target = place(destination)
    if isinstance(target, RemotePlace):
        target.upload(model.folder, ExportedModel.MODEL)
        return
    folder = Path(destination)
    reused = [ALPHABET] if serving_alphabet(target, model.alphabet) else []
    names = [name for name in (*model.sidecar["files"], *model.sidecar.get("also", ())) if name not in reused]
    with target.writing([*names, ExportedModel.MODEL]):
        target.remove([ExportedModel.MODEL, *sorted(target.own - {ExportedModel.MODEL, *names})])
        for name in reused:
            files = {**model.sidecar["files"], **describe_files(folder, [name], reused)}
            write_sidecar(model.folder, ExportedModel.MODEL, {**model.sidecar, "files": files})
        for name in (*names, ExportedModel.MODEL):
            (model.folder / name).replace(folder / name)
    n_foreign = sum(not path.name.startswith(".") for path in folder.iterdir()) - len(names) - 1
    if remove and n_foreign:
        print(f"note: --remove_export left alone what no export made: {n_foreign} in {folder}", flush=True)


def archive(model: ExportedModel, scorer: str) -> Path:
    """Pack the export, and the scorer if there is one, beside the model's folder, whose record then says so."""
    write_sidecar(model.folder, ExportedModel.MODEL, {**model.sidecar, "packed": True})
    packed = model.folder.with_name("archive.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for path in sorted(model.folder.iterdir()):
            file.write(path, path.name)
        if scorer:
            file.write(scorer, Path(scorer).name)
    return packed


def deliver_archive(packed: Path, destination: str) -> str:
    """Put the archive to where the export is, which records it by now: `destination.zip`; returns that."""
    folder, name = _parted(destination)
    _check_archive(destination)
    if is_remote(folder):
        put_file(packed, f"{folder}/{name}.zip")
    else:
        packed.replace(f"{folder}/{name}.zip")
    return f"{folder}/{name}.zip"


def _check_archive(destination: str) -> None:
    folder, name = _parted(destination)
    record = f"{name}/{ExportedModel.MODEL}"
    place_at(folder, {record: lambda sidecar: _archive_of(sidecar, name)}, "--export_dir").check([f"{name}.zip"])


def _archive_of(sidecar: Mapping[str, Any], name: str) -> list[str]:
    return [f"{name}.zip"] if names_of_export(sidecar) and sidecar.get("packed") is True else []


def _parted(destination: str) -> tuple[str, str]:
    """The folder or prefix that holds the destination, and its name."""
    whole = destination.rstrip("/") if is_remote(destination) else str(Path(destination).resolve())
    folder, _, name = whole.rpartition("/")
    return folder, name
