"""A corpus as the steps of a pipeline fetch it: its tables, and the clips of train, dev and test each by themselves.

Kubeflow hands a step every file of an artifact, so what different steps need are different artifacts.
"""

import csv
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from components.import_cv.write.corpus_folder import link
from speech.artifacts import ALL_SETS, ALPHABET, SPLITS, Clips, Corpus, write_sidecar
from speech.storage.files import write_json

TRAIN, DEV, TEST = SPLITS


def split(corpus: Corpus, folders: Mapping[str, Path], uris: Mapping[str, str]) -> None:
    """Move the clips of a corpus to `folders` of train, dev and test, each with its CSV; `uris` is where they will be.

    The clips of further sets go to those of test, because only an evaluation reads them. A shard that two of the
    folders need is in both.
    """
    corpus = Corpus.open(corpus.folder)
    for place, folder in folders.items():
        sets = [name for name in ALL_SETS if _place_of(name) == place and corpus.csv(name).is_file()]
        audio = sorted({name for set_name in sets for name in _audio_files(corpus.csv(set_name))})
        names = (*audio, ALPHABET, *(f"{set_name}.csv" for set_name in sets))
        for name in names:
            link(corpus.folder / name, folder / name)
        wanted = set(names)
        files = {name: about for name, about in corpus.report["files"].items() if name in wanted}
        write_sidecar(folder, Clips.SETS, {"sets": sets, "release": corpus.report["release"], "files": files})
    write_json(corpus.folder / Corpus.PLACES, dict(uris))
    for moved in (Corpus.SHARDS, Corpus.CLIPS):
        shutil.rmtree(corpus.folder / moved, ignore_errors=True)


def _place_of(set_name: str) -> str:
    return set_name if set_name in (TRAIN, DEV) else TEST


def _audio_files(path: Path) -> Iterator[str]:
    """The files that a CSV's clips lie in."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        wav, shard = header.index("wav_filename"), header.index("shard")
        for row in reader:
            yield row[shard] or row[wav]
