"""Checked before the work: what a training, and what follows it, would stumble over after hours; without TensorFlow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.train.settings import TrainSettings
from speech import model_files
from speech.alphabet import Alphabet
from speech.artifacts import Checkpoint, Corpus, lists_clips
from speech.augmentation import parse_augmentations
from speech.clips.manifest import Clip, Manifest
from speech.clips.selection import readable, trainable
from speech.clips.sources import alphabet_beside, read_source
from speech.clips.tally import FOREIGN, Allowance, Tally
from speech.decoding.scorer import Scorer
from speech.errors import InputError
from speech.findings import Findings
from speech.geometry import Geometry
from speech.model_files import Kind, alphabets
from speech.model_files.variables import MOMENTS, weight_shapes
from speech.storage.objects import is_remote

if TYPE_CHECKING:
    from components.train.__main__ import TrainCommand

READ = ("corpus", "train_files", "dev_files", "metrics_files", "test_files", "one_shot_infer", "scorer_path")
SETS = {"train_files": "train", "dev_files": "dev", "metrics_files": "dev", "test_files": "test"}  # flag -> split
SHOWN_SYMBOLS = 12
BYTES_A_WEIGHT = 4


@dataclass(frozen=True)
class Base:
    """What a run starts from, as far as files without TensorFlow tell."""

    geometry: Geometry
    alphabet: Alphabet | None  # None: the one of the transcripts, or two sources disagree, which the run itself refuses


def check_command(flags: "TrainCommand") -> list[Manifest]:
    """Check all that a command names, in seconds; gives the sets that were read, to be held until the run has them.

    Raises InputError with a line for each finding. Sets behind `s3://` URIs are checked when they are here.
    """
    findings = Findings()
    findings.has_packages("train")
    _check_paths(findings, flags)
    sets = {flag: _read(findings, flag, getattr(flags, flag), split) for flag, split in SETS.items()}
    if flags.corpus and not is_remote(flags.corpus):
        for flag, split in (("train_files", "train"), ("dev_files", "dev")):
            csv = Path(flags.corpus) / f"{split}.csv"
            if split == "train" or lists_clips(csv):
                sets[flag] = _read(findings, "corpus", [flags.corpus], split)
    train, dev, metrics, test = sets.values()
    if flags.trains:
        load = flags.load_checkpoint_dir or flags.checkpoint_dir
        base = base_of(flags, Path(load) if load and not is_remote(load) else None, train, dev)
        _check_sets(findings, flags, train, dev, metrics, base)
    else:
        base = _checkpoint(flags, Path(flags.saved_at)) if not is_remote(flags.saved_at) else None
    _check_test(findings, flags, test, base)
    _check_scorer(findings, flags, base)
    _check_one_shot(findings, flags)
    _check_room(findings, flags, base)
    findings.raise_found()
    return [manifest for manifests in sets.values() for manifest in manifests]


def check_folder(save_dir: Path) -> None:
    """Raise InputError if checkpoints cannot be written into a folder, which need not exist."""
    findings = Findings()
    findings.takes_files("checkpoint_dir", str(save_dir))
    findings.raise_found()


def check_run(
    settings: TrainSettings,
    train: Sequence[Manifest],
    dev: Sequence[Manifest],
    metrics: Sequence[Manifest],
    load_dir: Path | None,
) -> None:
    """The same of a run whose sets are here; of what `check_command` has seen, it costs next to nothing."""
    findings = Findings()
    findings.has_packages("train")
    base = base_of(settings, load_dir, train, dev)
    _check_written(findings, settings)
    _check_sets(findings, settings, train, dev, metrics, base)
    findings.raise_found()


def base_of(
    settings: TrainSettings, load_dir: Path | None, train: Sequence[Manifest], dev: Sequence[Manifest]
) -> Base | None:
    """The geometry and the alphabet that a run will have; None if that cannot be said yet."""
    try:
        bundle = None if load_dir is None or settings.load_train == "init" else _checkpoint(settings, load_dir)
        alphabet = _alphabet(settings, bundle, train, dev)
    except InputError:
        return None  # said by the run, or noted already
    if bundle is not None:
        return Base(bundle.geometry, alphabet)
    if alphabet is None:
        return None
    return Base(settings.fresh_geometry(len(alphabet)), alphabet)


def _alphabet(
    settings: TrainSettings, base: Base | None, train: Sequence[Manifest], dev: Sequence[Manifest]
) -> Alphabet | None:
    if settings.bytes_output_mode:
        return Alphabet.bytes_output_mode()
    if settings.alphabet_config_path:
        return None if is_remote(settings.alphabet_config_path) else Alphabet.load(settings.alphabet_config_path)
    path = alphabet_beside(train[0].path) if train else None
    beside = Alphabet.load(path) if path else None
    if base is not None and base.alphabet is not None:
        return base.alphabet if beside is None or beside.symbols == base.alphabet.symbols else None
    if beside is None and base is None and train:
        return Alphabet.collect(clip.transcript for manifest in (*train, *dev) for clip in manifest)
    return beside


def _checkpoint(settings: TrainSettings, folder: Path) -> Base | None:
    """A checkpoint folder's geometry and alphabet; None if it holds none."""
    if not Checkpoint.is_in(folder):
        return None
    load = settings.load_train if settings.load_train in ("best", "last") else "auto"
    model = model_files.open(folder, kinds=(Kind.CHECKPOINT,), load=load)
    return Base(model.geometry, model.recorded or alphabets.assumed(model.geometry))  # the run says which


def _check_paths(findings: Findings, flags: "TrainCommand") -> None:
    for flag in (*READ, "alphabet_config_path"):
        value = getattr(flags, flag)
        for path in (value,) if isinstance(value, str) else value:
            if path:
                findings.exists(flag, path)
    if flags.alphabet_config_path and Path(flags.alphabet_config_path).exists():
        with findings.noting():
            Alphabet.load(flags.alphabet_config_path)
    for augmentation in parse_augmentations(flags.augment):
        if source := getattr(augmentation, "source", ""):
            findings.exists("augment: the source", source)
    if flags.trains:
        findings.takes_files("save_checkpoint_dir" if flags.save_checkpoint_dir else "checkpoint_dir", flags.saved_at)
    elif not is_remote(flags.saved_at) and not Checkpoint.is_in(Path(flags.saved_at)):
        findings.add(f"--checkpoint_dir {flags.saved_at}: no checkpoint in it to test, export or infer with")
    _check_written(findings, flags)
    if flags.export_dir:
        findings.takes_files("export_dir", flags.export_dir)
    if flags.test_files and flags.evaluation:
        findings.takes_files("evaluation", flags.evaluation)
    if flags.test_files and flags.test_output_file:
        findings.takes_file("test_output_file", flags.test_output_file)


def _check_written(findings: Findings, settings: TrainSettings) -> None:
    if settings.summary_dir and not is_remote(settings.summary_dir):  # curves never stop a training
        findings.takes_files("summary_dir", settings.summary_dir)
    if settings.feature_cache:
        findings.takes_file("feature_cache", settings.feature_cache)


def _read(findings: Findings, flag: str, paths: Sequence[str], split: str) -> list[Manifest]:
    manifests = []
    for path in paths:
        if not is_remote(path) and Path(path).exists():
            with findings.noting():
                if Path(path).is_dir() and not Corpus.open(path).csv(split).is_file():
                    raise InputError(f"--{flag} {path}: the corpus has no {split}.csv")
                manifests.append(read_source(path, split))
    return manifests


def _check_sets(
    findings: Findings,
    settings: TrainSettings,
    train: Sequence[Manifest],
    dev: Sequence[Manifest],
    metrics: Sequence[Manifest],
    base: Base | None,
) -> None:
    """Whether enough of each set can be used, as the run will count it; the training sets count as one."""
    if base is None:
        return
    for manifests in (train, *([manifest] for manifest in (*dev, *metrics))):
        if not manifests:
            continue
        tally = Tally(", ".join(str(manifest.path) for manifest in manifests))
        alphabet = base.alphabet or Alphabet.collect(clip.transcript for manifest in manifests for clip in manifest)
        for manifest in manifests:
            trainable(manifest, alphabet, base.geometry, tally, resampling=settings.normalize_sample_rate)
        problem = tally.finding(Allowance(settings.allow_skipped))
        if problem and FOREIGN in tally.counts:
            problem += f"; the alphabet lacks {_foreign(manifests, alphabet)}"
        findings.add(problem)


def _check_test(findings: Findings, flags: "TrainCommand", test: Sequence[Manifest], base: Base | None) -> None:
    """Whether the test sets can be heard and written, as the evaluation will count them: each alone, from its start."""
    for manifest in test if base is not None else ():
        assert base is not None
        clips = manifest.clips[::-1] if flags.reverse_test else manifest.clips
        chosen = Manifest(manifest.path, clips[: flags.limit_test]) if flags.limit_test else manifest
        allowance, tally = Allowance(flags.allow_skipped), Tally(str(manifest.path))
        readable(chosen, base.geometry.audio_sample_rate, tally, resampling=flags.normalize_sample_rate)
        findings.add(tally.finding(allowance))
        if base.alphabet is not None:
            foreign = sum(bool(base.alphabet.missing(clip.transcript)) for clip in chosen)
            if foreign > allowance.clips(len(chosen)):
                findings.add(
                    f"{manifest.path}: the model could not write {foreign} of {len(chosen)} transcripts, its alphabet "
                    f"lacks {_foreign([chosen], base.alphabet)}: --allow_skipped {flags.allow_skipped} allows "
                    f"{allowance.clips(len(chosen))}"
                )


def _foreign(manifests: Sequence[Manifest], alphabet: Alphabet) -> str:
    """The characters that the alphabet lacks, the most frequent first: `'é' (12 transcripts, such as a.wav)`."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for manifest in manifests:
        for clip in manifest:
            for symbol in alphabet.missing(clip.transcript):
                counts[symbol] += 1
                first.setdefault(symbol, clip.wav_filename)
    shown = [
        f"{symbol!r} ({count} transcript{'s' if count > 1 else ''}, such as {first[symbol]})"
        for symbol, count in counts.most_common(SHOWN_SYMBOLS)
    ]
    return ", ".join(shown) + (f" and {len(counts) - SHOWN_SYMBOLS} more" if len(counts) > SHOWN_SYMBOLS else "")


def _check_scorer(findings: Findings, flags: "TrainCommand", base: Base | None) -> None:
    if not flags.scorer_path or is_remote(flags.scorer_path) or not Path(flags.scorer_path).is_file():
        return
    if base is not None and base.alphabet is not None:
        with findings.noting("scorer_path"):
            Scorer(flags.lm_alpha, flags.lm_beta, flags.scorer_path, base.alphabet)


def _check_one_shot(findings: Findings, flags: "TrainCommand") -> None:
    path = Path(flags.one_shot_infer)
    if flags.one_shot_infer and path.exists():
        for reason in Manifest(path, [Clip(path.name, 0, "")]).survey.reasons.values():
            findings.add(f"--one_shot_infer {path}: {reason}")


def _check_room(findings: Findings, flags: "TrainCommand", base: Base | None) -> None:
    """Disk space for the checkpoints: those that are kept, the best one, and the one that is just being written."""
    if base is None:
        return
    weights = 0
    for shape in weight_shapes(base.geometry).values():
        size = BYTES_A_WEIGHT
        for length in shape:
            size *= length
        weights += size
    if flags.trains and not is_remote(flags.saved_at):
        kept = max(flags.max_to_keep, flags.average_checkpoints) + 2
        there = sum(path.stat().st_size for path in Path(flags.saved_at).glob("*.data-*"))  # some of which will go
        needed = weights * (1 + len(MOMENTS)) * kept - there
        what = f"{kept} checkpoints of n_hidden {base.geometry.n_hidden} (--max_to_keep, the best, and a new one)"
        findings.has_room("checkpoint_dir", flags.saved_at, needed, what)
    if flags.export_dir:
        findings.has_room("export_dir", flags.export_dir, 3 * weights, "the files of the export")
