"""Convert a DeepSpeech model to OpenVINO: networks built from the weights, written as IRs."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from components.convert_openvino import accuracy
from components.convert_openvino.ir.front_end import audio_network, portable
from components.convert_openvino.ir.network import ANY, Builder
from components.convert_openvino.settings import OpenVinoSettings
from speech import model_files
from speech.alphabet import Alphabet
from speech.artifacts import (
    ALPHABET,
    IntermediateRepresentation,
    describe_files,
    names_of_ir,
    serving_alphabet,
    write_sidecar,
)
from speech.errors import InputError
from speech.geometry import Geometry
from speech.ir import ir_file, names
from speech.model_files.door import WITH_WEIGHTS, Model
from speech.ownership import Place, place_at
from speech.storage.files import fsync_folder
from speech.storage.objects import local_folder
from speech.storage.scratch import scratch_in
from speech.storage.stores import fetched

LITTLE_BYTES = 1 << 20  # of room on a disk that counts as full
ENDINGS = (".bin", ".xml")
RECORDS = {IntermediateRepresentation.MODEL: names_of_ir, IntermediateRepresentation.OLDER: names_of_ir}


@dataclass(frozen=True)
class IrShape:
    """The form of the main IR. Sizes of 0 are free."""

    n_steps: int = 0
    batch: int = 1
    outputs: tuple[str, ...] = names.OUTPUTS


def run(
    settings: OpenVinoSettings,
    input_model: str,
    output_dir: Path,
    dev_files: Sequence[str] = (),
    form_of: Callable[[Geometry], IrShape] | None = None,
) -> IntermediateRepresentation:
    """Convert `input_model` (a file or folder, local or s3://) into the folder `output_dir`.

    With `dev_files` (CSVs) each IR's WER is measured, and one that lost too much is refused: then nothing is written.
    `form_of` decides the form of the main IR from the model's geometry; the settings do by default.
    """
    place = place_of(output_dir)
    place.check([IntermediateRepresentation.MODEL])
    with tempfile.TemporaryDirectory(prefix="speechmill-") as downloads:
        named = Alphabet.load(settings.alphabet_config_path) if settings.alphabet_config_path else None
        source = model_files.open(_local(input_model, Path(downloads)), kinds=WITH_WEIGHTS, alphabet=named)
        source.check_finite()
        form = form_of(source.geometry) if form_of else IrShape(settings.n_steps, settings.batch)
        there = [ALPHABET] if serving_alphabet(place, source.alphabet) else []
        place.check([*files_of(settings), *(() if there else (ALPHABET,))])
        output_dir.mkdir(parents=True, exist_ok=True)
        with scratch_in(output_dir, ".converting-") as scratch:
            conversion = _Conversion(settings, source, form, scratch)
            conversion.write()
            metrics = conversion.measure(dev_files)
            return conversion.install(place, there, metrics)


def place_of(where: str | Path) -> Place:
    """A folder or `s3://` prefix that takes an IR, beside whatever else it holds."""
    return place_at(where, RECORDS, "--output_dir")


class _Conversion:
    """One model on its way to IRs, which take shape in `scratch`."""

    def __init__(self, settings: OpenVinoSettings, source: Model, form: IrShape, scratch: Path) -> None:
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
        facts = ir_file.rt_info(self.source.geometry, self.source.alphabet, asdict(self.settings))
        for fact, text in facts.items():
            network.set_rt_info(text, [ir_file.SECTION, fact])
        try:
            ov.save_model(network, xml, compress_to_fp16=False)  # the builder has done it, where it does no harm
        except RuntimeError as error:  # it does not say why
            if shutil.disk_usage(self.scratch).free < LITTLE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(xml)) from error
            raise InputError(f"{xml}: OpenVINO could not write it: {str(error).strip().splitlines()[-1]}") from error
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

    def install(self, place: Place, there: Sequence[str], metrics: dict[str, float]) -> IntermediateRepresentation:
        """Move the finished files into place, weights before the networks that need them, the sidecar last.

        What `there` names lies in it already and stays.
        """
        files = files_of(self.settings)
        folder, names = place.folder, [name for name in (*files, ALPHABET) if name not in there]
        with place.writing([*names, IntermediateRepresentation.MODEL]):
            place.remove([*RECORDS, *sorted(place.own - {*RECORDS, *names})])
            for file in files:
                _fsync(self.scratch / file)
                (self.scratch / file).replace(folder / file)
            fsync_folder(folder)
            if not there:
                self.source.alphabet.save(folder / ALPHABET)
            sidecar = self._sidecar(folder, describe_files(folder, [*files, ALPHABET], there), metrics)
            write_sidecar(folder, IntermediateRepresentation.MODEL, sidecar)
        return IntermediateRepresentation.open(folder)

    def _sidecar(self, folder: Path, files: dict[str, Any], metrics: dict[str, float]) -> dict[str, Any]:
        main = self.settings.model_name
        megabytes = sum((folder / f"{main}{ending}").stat().st_size for ending in ENDINGS) / 1e6
        return {
            "geometry": self.source.geometry.to_dict(),
            "xml": f"{main}.xml",
            "n_steps": self.form.n_steps,
            "batch": self.form.batch,
            "converted_from": self.source.path.name,
            "settings": asdict(self.settings),
            "metrics": {"megabytes": round(megabytes, 3), **metrics},
            "files": files,
        }


def files_of(settings: OpenVinoSettings) -> list[str]:
    """The files of the IRs that the settings ask for."""
    name = settings.model_name
    forms = [name, *([f"{name}_stateful"] if settings.stateful else ())]
    forms += [f"{name}_audio"] if settings.with_features else []
    return [f"{form}{ending}" for form in forms for ending in ENDINGS]


def _fsync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _local(input_model: str, scratch: Path) -> Path:
    """The model as local files."""
    name = input_model.rstrip("/").rsplit("/", 1)[-1]
    if Path(name).suffix in (".pb", ".pbmm", ".tflite"):
        return fetched(input_model, scratch)
    return local_folder(input_model, scratch / name)
