"""Where an export goes from the shell: its file names, the folder or `s3://` prefix, the zip archive."""

import zipfile
from pathlib import Path

from speech.artifacts import ExportedModel, write_sidecar
from speech.errors import InputError
from speech.storage import atomic_path, is_remote, replace_folder, upload_file, upload_folder

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


def check_destination(destination: str, stem: str, remove: bool) -> None:
    """Raises InputError for a folder that an export must not be put into, or must not take the place of."""
    if is_remote(destination):
        if remove:
            raise InputError(
                f"--remove_export removes local folders only: remove the objects under {destination} yourself"
            )
        return
    folder = Path(destination)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--export_dir {folder} is a file: give a folder")
    if any(folder.glob("*.index")):
        raise InputError(
            f"--export_dir {folder} holds a checkpoint, whose alphabet and sidecar an export would replace"
        )
    if remove and any(folder.glob("*")) and not _is_export(folder, stem):
        raise InputError(f"--remove_export: {folder} holds no export but other files: remove it yourself")


def _is_export(folder: Path, stem: str) -> bool:
    return any((folder / name).is_file() for name in (ExportedModel.MODEL, f"{stem}.pb", f"{stem}.tflite"))


def deliver(model: ExportedModel, destination: str, remove: bool) -> None:
    """Put the finished export in its place, the file that completes it last; the files of an earlier one go.

    With `remove` everything else in the folder goes as well. The model's own folder must be on the same disk.
    """
    if is_remote(destination):
        upload_folder(model.folder, destination, last=ExportedModel.MODEL)
        return
    folder = Path(destination)
    if remove:
        replace_folder(model.folder, folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    before = _recorded(folder)
    (folder / ExportedModel.MODEL).unlink(missing_ok=True)
    for name in before - set(model.sidecar["files"]):
        (folder / name).unlink(missing_ok=True)
    for name in (*model.sidecar["files"], ExportedModel.MODEL):
        (model.folder / name).replace(folder / name)


def _recorded(folder: Path) -> set[str]:
    """The files of the export that the folder holds now."""
    if not (folder / ExportedModel.MODEL).is_file():
        return set()
    names = ExportedModel(folder).sidecar.get("files", {})
    return {name for name in names if Path(name).name == name}


def archive(model: ExportedModel, scorer: str, destination: str) -> str:
    """Pack the export, and the scorer if there is one, into `destination.zip`; returns where it is."""
    name = f"{destination.rstrip('/') if is_remote(destination) else Path(destination).resolve()}.zip"
    local = model.folder.parent / "archive.zip" if is_remote(destination) else Path(name)
    with (
        atomic_path(local) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
    ):
        for path in sorted(model.folder.iterdir()):
            file.write(path, path.name)
        if scorer:
            file.write(scorer, Path(scorer).name)
    if is_remote(destination):
        upload_file(local, name)
    return name
