"""Convert a DeepSpeech model to OpenVINO: networks built from the weights, written as IRs."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from components.convert_openvino import accuracy, description, names
from components.convert_openvino.description import Description
from components.convert_openvino.front_end import audio_network, portable
from components.convert_openvino.network import ANY, Builder
from components.convert_openvino.settings import OpenVinoSettings
from components.convert_openvino.weights import SourceModel, load
from speech.artifacts import ALPHABET, IntermediateRepresentation, describe_files, write_sidecar
from speech.errors import InputError
from speech.geometry import Geometry
from speech.storage import download_file, download_folder, fsync_folder, is_remote

ENDINGS = (".bin", ".xml")


@dataclass(frozen=True)
class Form:
    """The form of the main IR. Sizes of 0 are free."""

    n_steps: int = 0
    batch: int = 1
    outputs: tuple[str, ...] = names.OUTPUTS


def run(
    settings: OpenVinoSettings,
    input_model: str,
    output_dir: Path,
    dev_files: Sequence[str] = (),
    form_of: Callable[[Geometry], Form] | None = None,
) -> IntermediateRepresentation:
    """Convert `input_model` (a file or folder, local or s3://) into the folder `output_dir`.

    With `dev_files` (CSVs) each IR's WER is measured, and one that lost too much is refused: then nothing is written.
    `form_of` decides the form of the main IR from the model's geometry; the settings do by default.
    """
    _check_folder(output_dir)
    with tempfile.TemporaryDirectory(prefix="speechmill-") as downloads:
        source = load(_local(input_model, Path(downloads)), settings.alphabet_config_path)
        form = form_of(source.geometry) if form_of else Form(settings.n_steps, settings.batch)
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".converting-", dir=output_dir) as scratch:
            conversion = _Conversion(settings, source, form, Path(scratch))
            conversion.write()
            metrics = conversion.measure(dev_files)
            return conversion.install(output_dir, metrics)


class _Conversion:
    """One model on its way to IRs, which take shape in `scratch`."""

    def __init__(self, settings: OpenVinoSettings, source: SourceModel, form: Form, scratch: Path) -> None:
        self.settings, self.source, self.form, self.scratch = settings, source, form, scratch
        self.builder = Builder(source.geometry, source.weights, settings.precision)
        n_steps, batch, name = form.n_steps or ANY, form.batch or ANY, settings.model_name
        self.networks: dict[str, Callable[[], ov.Model]] = {
            name: lambda: self.builder.streaming(n_steps, batch, form.outputs)
        }
        if settings.stateful:
            self.networks[f"{name}_stateful"] = lambda: self.builder.stateful(n_steps, batch)
        if settings.with_features:
            self.networks[f"{name}_audio"] = lambda: audio_network(self.builder)

    def write(self) -> None:
        """Write the IRs that the settings ask for."""
        for name, build in self.networks.items():
            started = time.monotonic()
            self._save(build(), name)
            size = sum((self.scratch / f"{name}{ending}").stat().st_size for ending in ENDINGS)
            print(f"{name}.xml and .bin: {size:,} bytes, {time.monotonic() - started:.1f} s", flush=True)

    def _save(self, network: ov.Model, name: str) -> Path:
        xml = self.scratch / f"{name}.xml"
        description.write(network, Description(self.source.geometry, self.source.alphabet), asdict(self.settings))
        ov.save_model(network, xml, compress_to_fp16=False)  # the builder has done it, where it does no harm
        xml.write_text(portable(xml.read_text(encoding="utf-8")), encoding="utf-8")
        return xml

    def measure(self, dev_files: Sequence[str]) -> dict[str, float]:
        """WER of each IR on the dev set; raises InputError for one that lost too much."""
        if not dev_files:
            print("note: no dev set given, so the WER of the IR was not measured (--dev_files)", flush=True)
            return {}
        dev = accuracy.read_dev_set(dev_files, self.settings.limit_dev, self.source.geometry.audio_sample_rate)
        exact = self._save(Builder(self.source.geometry, self.source.weights).streaming(), ".float32")
        reference = accuracy.word_error_rate(exact, dev, precision="f32")
        metrics = {"dev_clips": len(dev.clips), "dev_wer_float32": round(reference, 6)}
        # In float32 where that was asked for, else in what this CPU prefers, as clients will.
        computed_in = "f32" if self.settings.precision == "f32" else ""
        for name in self.networks:
            rate = accuracy.word_error_rate(self._measurable(name), dev, precision=computed_in)
            print(f"{name}: WER {rate:.2%} on {len(dev.clips)} dev clips, float32 {reference:.2%}", flush=True)
            accuracy.check(name, rate, reference, self.settings.max_wer_increase)
            metrics[name.replace(self.settings.model_name, "dev_wer", 1)] = round(rate, 6)
        return metrics

    def _measurable(self, name: str) -> Path:
        """The IR, or its twin for one utterance at a time and with all outputs."""
        if name.endswith("_audio") or (self.form.batch < 2 and set(self.form.outputs) == set(names.OUTPUTS)):
            return self.scratch / f"{name}.xml"
        return self._save(self.builder.streaming(self.form.n_steps or ANY), ".measured")

    def install(self, folder: Path, metrics: dict[str, float]) -> IntermediateRepresentation:
        """Move the finished files into place, weights before the networks that need them, the sidecar last."""
        main = self.settings.model_name
        files = [f"{name}{ending}" for name in self.networks for ending in ENDINGS]
        _remove_previous(folder, keep=files)
        for file in files:
            _fsync(self.scratch / file)
            (self.scratch / file).replace(folder / file)
        fsync_folder(folder)
        self.source.alphabet.save(folder / ALPHABET)
        megabytes = sum((folder / f"{main}{ending}").stat().st_size for ending in ENDINGS) / 1e6
        sidecar: dict[str, Any] = {
            "geometry": self.source.geometry.to_dict(),
            "xml": f"{main}.xml",
            "n_steps": self.form.n_steps,
            "batch": self.form.batch,
            "converted_from": self.source.origin,
            "settings": asdict(self.settings),
            "metrics": {"megabytes": round(megabytes, 3), **metrics},
            "files": describe_files(folder, [*files, ALPHABET]),
        }
        write_sidecar(folder, IntermediateRepresentation.MODEL, sidecar)
        return IntermediateRepresentation.open(folder)


def _remove_previous(folder: Path, keep: Sequence[str]) -> None:
    """Take the completeness off an earlier IR, and the files that will not be replaced."""
    sidecar = folder / IntermediateRepresentation.MODEL
    if not sidecar.is_file():
        return
    with contextlib.suppress(ValueError, AttributeError):
        previous = json.loads(sidecar.read_text(encoding="utf-8")).get("files", {})
        sidecar.unlink()
        for name in previous:
            if name not in keep and Path(name).suffix in ENDINGS:
                (folder / Path(name).name).unlink(missing_ok=True)
    sidecar.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _check_folder(folder: Path) -> None:
    """Raise InputError if `folder` cannot take an IR: it is a file, or another step's artifact."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output_dir {folder}: it is a file, expected a folder for the IR")
    sidecar = folder / IntermediateRepresentation.MODEL
    if sidecar.is_file() and '.xml"' not in sidecar.read_text(encoding="utf-8", errors="replace"):
        raise InputError(f"--output_dir {folder}: it holds another artifact: give the IR a folder of its own")


def _local(input_model: str, scratch: Path) -> Path:
    """The model as local files."""
    if not is_remote(input_model):
        return Path(input_model)
    name = input_model.rstrip("/").rsplit("/", 1)[-1]
    if Path(name).suffix in (".pb", ".pbmm", ".tflite"):
        download_file(input_model, scratch / name)
        return scratch / name
    download_folder(input_model, scratch / name)
    return scratch / name
