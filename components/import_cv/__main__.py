"""The import step from a shell: `python -m components.import_cv`."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from components.import_cv.settings import LAYOUTS, NO_RULES, RULES, SPLIT_SOURCES, ImportSettings
from speech.artifacts import ALL_SETS, ALPHABET, SPLITS, Corpus, CorpusPart
from speech.errors import InputError
from speech.extras import require
from speech.settings import command, setting

DESCRIPTION = (
    "Import a Common Voice release: MP3s and TSV files become WAV clips and the CSVs that training reads. With "
    "--corpus_dir a corpus is made, with --merge of the parts of a partitioned import. Without it, all is done as "
    "DeepSpeech's bin/import_cv2.py does it: all sets, with CSVs and WAV files in RELEASE/clips or --audio_dir."
)
USAGE = """RELEASE --corpus_dir FOLDER
--merge PART PART ... --corpus_dir FOLDER
RELEASE"""

TABLES = (ALPHABET, Corpus.INDEX, Corpus.HTML_REPORT, Corpus.REPORT)
PART = (CorpusPart.ROWS, CorpusPart.OUTCOMES, CorpusPart.PART)


@dataclass(frozen=True)
class Command(ImportSettings):
    """Settings of the import, and where from and where to."""

    tsv_dir: str = setting(
        "",
        "the release: its folder, .tar.gz, .tar or .zip, local, s3://, gs:// or https://; several with commas",
        positional=True,
        metavar="RELEASE",
        group="Input and output",
    )
    corpus_dir: str = setting("", "the corpus to make: folder or s3:// prefix")
    merge: tuple[str, ...] = setting((), "make the corpus of these parts, which --partition made", metavar="PART")
    sets: tuple[str, ...] = setting(
        (), "sets to write; none given: train dev test, without --corpus_dir all six", group="Corpus", metavar="SET"
    )
    splits: str = setting(
        "",
        f"{', '.join(SPLIT_SOURCES)}: where train, dev and test come from; none given: auto, without --corpus_dir "
        "release",
        metavar="SPLITS",
    )
    layout: str = setting(
        "",
        f"{' or '.join(LAYOUTS)}: tar files of many WAV clips, or a WAV file a clip; none given: shards, without "
        "--corpus_dir clips",
        metavar="LAYOUT",
    )
    rules: str = setting(
        "",
        f"what makes a transcript of a sentence ({', '.join(RULES)}); none given: generic, without --corpus_dir none",
        group="Transcripts",
        metavar="RULES",
    )

    def __post_init__(self) -> None:
        self.settings  # noqa: B018 - checks

    @property
    def as_peer(self) -> bool:
        """Whether to write what DeepSpeech's importer would have written, where it would."""
        return not self.corpus_dir

    @property
    def settings(self) -> ImportSettings:
        """The step's own settings."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(ImportSettings)}
        values["sets"] = self.sets or (ALL_SETS if self.as_peer else SPLITS)
        values["rules"] = self.rules or (NO_RULES if self.as_peer else ImportSettings.rules)
        values["splits"] = self.splits or ("release" if self.as_peer else "auto")
        values["layout"] = self.layout or ("clips" if self.as_peer else "shards")
        return ImportSettings(**values)


def run(given: Command) -> None:
    """Import or merge, as the flags say."""
    require("import-cv")
    from components.import_cv import step
    from components.import_cv.write import parts
    from speech.storage.corpus_uri import is_source, split_corpora

    if given.merge:
        if given.as_peer or given.tsv_dir:
            raise InputError("--merge takes the parts and --corpus_dir, and no release")
        _to_place(given.corpus_dir, TABLES, lambda folder: parts.merge(given.merge, folder))
    elif not given.tsv_dir:
        raise InputError("no release given: expected the folder or the .tar.gz of a Common Voice release")
    elif not given.as_peer:
        names = PART if given.partition else (*(f"{name}.csv" for name in given.settings.sets), *TABLES)
        _to_place(given.corpus_dir, names, lambda folder: step.run(given.settings, given.tsv_dir, folder))
    elif is_source(given.tsv_dir) or Path(given.tsv_dir).is_file() or len(split_corpora(given.tsv_dir)) > 1:
        raise InputError(f"--corpus_dir is missing: where does the corpus of {given.tsv_dir} go?")
    elif given.partition or given.settings.layout != "clips":
        raise InputError("--partition and --layout shards make parts of a corpus: they need --corpus_dir")
    else:
        _run_as_peer(given)


def _run_as_peer(given: Command) -> None:
    from components.import_cv import step
    from components.import_cv.read.folders import Folder
    from components.import_cv.write.corpus_folder import CorpusFolder

    audio = Folder(Path(given.tsv_dir), Path(given.audio_dir) if given.audio_dir else None).audio_dir
    step.run_to(given.settings, given.tsv_dir, CorpusFolder(audio, clip_prefix=""), lenient=True)


def _to_place(uri: str, names: Iterable[str], make: Callable[[Path], object]) -> None:
    """Make a corpus in a local folder, or in a scratch folder that is uploaded and then removed.

    Raises InputError for objects of others that have one of its `names`, before the work.
    """
    from components.import_cv.write.corpus_folder import remote_place
    from speech.storage.objects import is_remote

    if not is_remote(uri):
        make(Path(uri))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = remote_place(uri, Path(folder))
        place.check(names)
        scratch = _scratch_folder(uri)
        try:
            make(scratch)
        except InputError:
            with contextlib.suppress(OSError):  # unless there is work to go on with
                scratch.rmdir()
            raise
        last = CorpusPart.PART if (scratch / CorpusPart.PART).is_file() else Corpus.REPORT
        place.upload(scratch, last)
    shutil.rmtree(scratch)


def _scratch_folder(uri: str) -> Path:
    """Where the corpus for `uri` is made: always the same, so that an interrupted import goes on there.

    Others may write into the folder around it. So it is ours alone, or InputError: what another user put there in
    advance is neither filled nor uploaded.
    """
    name = f"speechmill-import-{os.getuid()}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"
    folder = Path(tempfile.gettempdir()) / name
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InputError(
            f"{folder}: not a folder that this user ({os.getuid()}) made for itself alone: remove it, or name another "
            "folder for temporary files in TMPDIR"
        )
    return folder


if __name__ == "__main__":
    command(Command, run, prog="python -m components.import_cv", description=DESCRIPTION, usage=USAGE)
