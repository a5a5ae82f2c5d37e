"""What is fuzzed: for each parser of strangers' files whole files to start from, and a use that may only refuse."""

import contextlib
import io
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from speech.alphabet import Alphabet
from speech.clips.audio import wav_header
from speech.errors import InputError
from speech.geometry import Geometry

GEOMETRY = Geometry(n_hidden=4, n_labels=3)
ALPHABET = Alphabet((" ", "a", "b"))
N_STEPS = 2


class FuzzTarget(NamedTuple):
    """A parser: `seeds(folder)` makes whole files, `use(data, folder)` reads one; InputError is all it may raise."""

    seeds: Callable[[Path], list[bytes]]
    use: Callable[[bytes, Path], object]


def _tone(samples: int = 1600) -> np.ndarray:
    return (np.sin(np.arange(samples) / 5) * 8000).astype(np.int16)


def _wavs(folder: Path) -> list[bytes]:
    plain = wav_header(1600, 16_000) + _tone().tobytes()
    layout = struct.pack("<HHIIHHHHI16s", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4, bytes(16))
    head = struct.pack("<4sI4s4sI", b"RIFF", 124, b"WAVE", b"fmt ", len(layout))
    extensible = head + layout + struct.pack("<4sI", b"data", 64) + _tone(32).tobytes()
    return [plain, extensible]


def _mp3s(folder: Path) -> list[bytes]:
    import soundfile

    found = []
    for rate in (16_000, 44_100):
        buffer = io.BytesIO()
        soundfile.write(buffer, _tone(rate // 5), rate, format="MP3", subtype="MPEG_LAYER_III")
        found.append(buffer.getvalue())
    return [*found, b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + found[0]]


def _use_audio(data: bytes, folder: Path) -> None:
    from components.import_cv.convert import mp3
    from components.import_cv.convert.clip import Decoder
    from components.import_cv.plan.reasons import Refused
    from speech.clips.audio import decode, parse_wav

    with contextlib.suppress(InputError):
        parse_wav(data, "clip")
    stream = mp3.read_stream(data)
    if stream is not None:
        mp3.with_frame_count(data, stream)
    with contextlib.suppress(Refused):
        Decoder(16_000, 10.0)(data)
    with contextlib.suppress(InputError):
        decode(io.BytesIO(data), "clip")


def _tars(folder: Path) -> list[bytes]:
    table = b"client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\na\t1.mp3\tGood.\t2\t0\t\t\t\n"
    wav = wav_header(16, 16_000) + _tone(16).tobytes()
    found = []
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        for names in (("en/train.tsv", "en/dev.tsv", "en/test.tsv", "en/clips/1.mp3"), ("a.wav", "a.txt", "n" * 120)):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
                for name in names:
                    content = table if name.endswith(".tsv") else b"hello" if name.endswith(".txt") else wav
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    if kind == tarfile.PAX_FORMAT:
                        member.pax_headers = {"comment": "é"}
                    tar.addfile(member, io.BytesIO(content))
            found.append(file.getvalue()[:6144])
    return found


def _use_tar(data: bytes, folder: Path) -> None:
    from components.import_cv.read.archives import ArchiveSource
    from speech.clips.webdataset import read_webdataset
    from speech.storage.corpus_uri import CorpusUri

    path = folder / "release.tar"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_webdataset(path)
    source = ArchiveSource(CorpusUri(str(path)))
    with contextlib.suppress(InputError):
        source.tables(["train", "dev", "test"], [], folder)
    for name in (member for member in folder.rglob("*") if member.is_file()):
        assert folder in name.resolve().parents
        assert PurePosixPath(name.name).name == name.name


def _bundles(folder: Path) -> list[bytes]:
    from tests.faults.model_seeds import bundle

    index, data = (bundle(folder / f"whole{ending}") for ending in (".index", ".data-00000-of-00001"))
    return [struct.pack("<I", len(index)) + index + data]


def _use_bundle(data: bytes, folder: Path) -> None:
    """An index and its data in one: four bytes say where the one ends."""
    from speech.model_files import door

    split = int.from_bytes(data[:4], "little") % (len(data) + 1)
    (folder / "model.index").write_bytes(data[4 : 4 + split])
    (folder / "model.data-00000-of-00001").write_bytes(data[4 + split :])
    _use_model(door.open(folder / "model"))


def _model_files(name: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        from tests.faults.model_seeds import model_file

        return [model_file(folder, name)]

    return seeds


def _use_file(name: str) -> Callable[[bytes, Path], None]:
    def use(data: bytes, folder: Path) -> None:
        from speech.model_files import door

        (folder / name).write_bytes(data)
        _use_model(door.open(folder / name))

    return use


def _use_model(model: object) -> None:
    """Everything that a step asks an opened model for."""
    from speech.model_files.door import Model

    assert isinstance(model, Model)
    for name in ("geometry", "alphabet", "weights", "metadata"):
        with contextlib.suppress(InputError):
            getattr(model, name)
    with contextlib.suppress(InputError):
        model.check_finite()


FUZZ_TARGETS: Mapping[str, FuzzTarget] = {
    "wav": FuzzTarget(_wavs, _use_audio),
    "mp3": FuzzTarget(_mp3s, _use_audio),
    "tar": FuzzTarget(_tars, _use_tar),
    "checkpoint": FuzzTarget(_bundles, _use_bundle),
    "pb": FuzzTarget(_model_files("output_graph.pb"), _use_file("output_graph.pb")),
    "pbmm": FuzzTarget(_model_files("output_graph.pbmm"), _use_file("output_graph.pbmm")),
    "tflite": FuzzTarget(_model_files("output_graph.tflite"), _use_file("output_graph.tflite")),
}
