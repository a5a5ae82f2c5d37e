"""Train the acoustic model: Corpus or CSVs -> Checkpoint."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.train import identity, preflight, start
from components.train.data import TrainingClips, dev_csvs
from components.train.followed.tracker import TrainingTracker
from components.train.followed.training_curves import TrainingCurves
from components.train.loop import RunState, TrainingRun
from components.train.outcome import keep_best
from components.train.recipes.recipe import Recipe
from components.train.report import PAGE, write_report
from components.train.saving.store import CheckpointStore
from components.train.saving.uploads import patiently
from components.train.settings import TrainSettings
from components.train.start import DataAlphabet, Start
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, Corpus, describe_files, lists_clips, write_sidecar
from speech.augmentation import Augmenter, LegacyFlags
from speech.augmentation.augmentation import SAMPLE, SIGNAL, SPECTROGRAM
from speech.clips.manifest import Manifest
from speech.clips.sources import alphabet_beside, read_corpus, read_source
from speech.clips.tally import Allowance
from speech.features.feature_cache import Cache, FeatureCache, FeatureMemory
from speech.geometry import Geometry
from speech.little_data import transfer_advice
from speech.nn.batches import ClipSet
from speech.nn.devices import LOST, Compute, Devices, compute_on, configure, lost_workers
from speech.nn.dropout import DropoutRates
from speech.nn.input_scaling import InputScaling
from speech.nn.recurrent import recurrence
from speech.nn.training import Adam, Trainer
from speech.storage.files import write_json
from speech.storage.objects import list_keys, local_folder
from speech.tracking.tracking_settings import address

TRANSFER_COMMAND = (
    "--load_checkpoint_dir deepspeech-0.9.3-checkpoint --drop_source_layers 1 (in the pipeline: "
    "--base_checkpoint_uri deepspeech-0.9.3-checkpoint)"
)
FEATURE_BYTES = 1 << 28  # of features in memory: 14 hours of audio


def run_on_corpus(
    settings: TrainSettings, corpus: Path, save_dir: Path, load_dir: Path | None = None, mirror: str = ""
) -> Checkpoint:
    """Train on a Corpus' train and dev sets, from `load_dir` if given; a rerun into the same folder resumes."""
    opened = Corpus.open(corpus)
    for split in ("train", "dev"):
        if lists_clips(opened.csv(split)):
            read_corpus(opened, split)
    return run(settings, [opened.csv("train")], dev_csvs(opened.folder), save_dir, load_dir, mirror=mirror)


def run_in_pipeline(
    settings: TrainSettings, clips: TrainingClips, base_uri: str, checkpoint_uri: str, checkpoint: Path
) -> Checkpoint:
    """Train on the clips of a corpus, from the checkpoint at `base_uri` (a folder or `s3://` prefix) if it is given.

    Running checkpoints go below `checkpoint_uri` (an `s3://` prefix) unless it is empty; a retry goes on from there.
    Their folder is named by all that the run depends on, so that other runs may share the prefix. In `checkpoint` only
    the best one is left.
    """
    if checkpoint_uri:
        settings = identity.with_summaries(checkpoint_uri, settings, clips, base_uri)
        checkpoint_uri = identity.checkpoints_at(checkpoint_uri, settings, clips, base_uri)
    with tempfile.TemporaryDirectory() as scratch:
        base = local_folder(base_uri, Path(scratch, "base")) if base_uri else None
        clips = clips.fetched(Path(scratch, "clips"))
        run(settings, [clips.train_csv], clips.dev_csvs, checkpoint, base, mirror=checkpoint_uri)
    return keep_best(checkpoint)


def run(
    settings: TrainSettings,
    train_sources: Sequence[Path],
    dev_sources: Sequence[Path],
    save_dir: Path,
    load_dir: Path | None = None,
    metrics_sources: Sequence[Path] = (),
    mirror: str = "",
) -> Checkpoint:
    """Train on CSVs, sample databases, tars or Corpus folders; leave the newest and the best checkpoint in `save_dir`.

    What lies in `save_dir` stays: if it is a checkpoint of others, the run's folder is one inside it. `load_dir` must
    hold a checkpoint, unless it is `save_dir`. With a `mirror` (an `s3://` prefix) every checkpoint is copied there, a
    rerun on another machine goes on from it, and a run that it shows as finished is not run again.
    Raises InputError for unusable input.
    """
    preflight.check_folder(save_dir)
    data = _Data(
        [read_source(path, "train") for path in train_sources],
        [read_source(path, "dev") for path in dev_sources],
        [read_source(path, "dev") for path in metrics_sources],
        _alphabet(settings, train_sources),
    )
    run_key = identity.run_key(settings, data.train, data.dev, data.alphabet.alphabet if data.alphabet else None)
    # Before several workers wait for each other: of those that finished a run, none comes back.
    if mirror and _is_finished(settings, save_dir, mirror, run_key):
        print(f"{mirror} holds this run, finished: nothing to train", flush=True)
        return Checkpoint.open(save_dir)
    preflight.check_run(settings, data.train, data.dev, data.metrics, load_dir)
    threads = (settings.intra_op_parallelism_threads, settings.inter_op_parallelism_threads)
    devices = configure(settings.devices, *threads, settings.log_placement, settings.worker_timeout)
    with lost_workers(devices):
        return _train(settings, data, run_key, devices, save_dir, load_dir, mirror)


@dataclass(frozen=True)
class _Data:
    """What a run reads."""

    train: Sequence[Manifest]
    dev: Sequence[Manifest]
    metrics: Sequence[Manifest]
    alphabet: DataAlphabet | None  # None: the checkpoint's, or collected from the transcripts


def _is_finished(settings: TrainSettings, save_dir: Path, mirror: str, run_key: str) -> bool:
    """Whether the mirror has all of a finished run; if so, `save_dir` has it now, too."""
    patience_s = settings.upload_patience_secs
    keys = patiently(lambda: list_keys(f"{mirror.rstrip('/')}/"), patience_s)
    if not any(key.endswith(f"/{PAGE}") for key, _ in keys):  # what is copied last
        return False
    store = CheckpointStore(save_dir, settings.max_to_keep, mirror, run_key, patience_s)
    return start.is_finished(store) and (store.folder / PAGE).is_file()


def _train(
    settings: TrainSettings,
    data: _Data,
    run_key: str,
    devices: Devices,
    save_dir: Path,
    load_dir: Path | None,
    mirror: str,
) -> Checkpoint:
    store = CheckpointStore(save_dir, settings.max_to_keep, mirror, run_key, settings.upload_patience_secs)
    transcripts = (clip.transcript for manifest in (*data.train, *data.dev) for clip in manifest)
    begin = start.choose(settings, load_dir, store, data.alphabet, lambda: Alphabet.collect(transcripts))
    _print_start(begin, store, save_dir, mirror)
    sets = _clip_sets(settings, data, begin)
    recipe = _recipe(settings, begin, sets.train)
    settings = recipe.completed(settings)
    store.keep_epochs = settings.average_checkpoints
    print(recipe.describe(settings), flush=True)
    scaling = _input_scaling(settings, begin, sets.train)
    if scaling and not (begin.resumed or begin.snapshot.prefix):
        weights = scaling.of_windows(begin.snapshot.geometry).of_fresh(begin.snapshot.weights)
        begin = replace(begin, snapshot=replace(begin.snapshot, weights=weights))
    compute, precision = compute_on(devices, settings.mixed_precision)
    compute = replace(compute, plain_lstm=settings.lstm == "plain")
    trainer = _trainer(settings, begin, compute, devices, scaling)
    state = _run_state(run_key, begin, recipe, scaling)
    if devices.is_chief:
        store.begin()
        _write_sidecars(store.folder, begin, state.origin, settings, _run_facts(data, sets))
    _print_sets(sets)
    _print_advice(begin, sets)
    by = "" if compute.cudnn else f", {recurrence.describe(compute.dtype, compute.plain_lstm)}"
    print(f"{devices.describe()}, {precision}{by}", flush=True)

    started = time.monotonic()
    augmenter = _augmenter(settings, begin.snapshot.geometry)
    cache = _feature_cache(settings, data.train, begin, augmenter, devices)
    curves = _curves(settings, begin, trainer, devices)
    tracker = _tracker(settings, state, store, _run_facts(data, sets), devices)
    training = TrainingRun(
        settings,
        trainer,
        sets.train,
        sets.dev,
        sets.metrics,
        augmenter,
        store,
        state,
        curves,
        cache,
        begin.base,
        tracker,
    )
    with store.uploading(settings.upload_secs) if devices.is_chief else contextlib.nullcontext():
        if devices.is_chief:
            store.publish(before=[ALPHABET, Checkpoint.FLAGS, Checkpoint.MODEL])
        with curves, tracker or contextlib.nullcontext():
            training.run()
        if devices.is_chief:
            _write_report(store, training, time.monotonic() - started)
            if tracker:
                tracker.finish(store.folder)
        with devices.waiting_for("worker 0 to store everything", settings.upload_patience_secs):
            _leave_together(trainer)
    return Checkpoint.open(store.folder) if devices.is_chief else Checkpoint(store.folder)


def _print_start(begin: Start, store: CheckpointStore, save_dir: Path, mirror: str) -> None:
    print(begin.explanation, flush=True)
    if store.folder != save_dir:
        where, own = (mirror, store.mirror) if mirror else (save_dir, store.folder)
        print(f"{where} holds files of others, which stay as they are: this run's go to {own}", flush=True)


@dataclass(frozen=True)
class _Sets:
    """The clips of a run's data that can be used."""

    train: ClipSet
    dev: list[ClipSet]
    metrics: list[ClipSet]


def _clip_sets(settings: TrainSettings, data: _Data, begin: Start) -> _Sets:
    def clip_set(manifests: Sequence[Manifest], limit: int = 0) -> ClipSet:
        allowance = Allowance(settings.allow_skipped)
        geometry, resampling = begin.snapshot.geometry, settings.normalize_sample_rate
        return ClipSet(manifests, begin.alphabet, geometry, limit, resampling, allowance)

    return _Sets(
        train=clip_set(data.train, settings.limit_train),
        dev=[clip_set([manifest], settings.limit_dev) for manifest in data.dev],
        metrics=[clip_set([manifest]) for manifest in data.metrics],
    )


def _print_sets(sets: _Sets) -> None:
    print(f"{len(sets.train)} training clips, {sum(map(len, sets.dev))} dev clips", flush=True)
    for name, clips in (("train", sets.train), *(("dev", dev_set) for dev_set in sets.dev)):
        if clips.tally.skipped:
            print(f"{name}: {clips.tally}", flush=True)


def _print_advice(begin: Start, sets: _Sets) -> None:
    """Where there is too little to train on from scratch."""
    advice = transfer_advice(_hours(sets.train), TRANSFER_COMMAND)
    if advice and not (begin.resumed or begin.base or begin.dropped):
        print(f"note: {advice}", file=sys.stderr, flush=True)


def _hours(clips: ClipSet) -> float:
    return float(clips.n_samples.sum()) / clips.geometry.audio_sample_rate / 3600


def _input_scaling(settings: TrainSettings, begin: Start, train_set: ClipSet) -> InputScaling | None:
    """What layer 1 learns with; a run that goes on keeps what it began with, to the last digit."""
    if settings.input_scaling != "features":
        return None
    kept = begin.snapshot.training_state.get("origin", {}).get("input_scaling") if begin.resumed else None
    return InputScaling.from_dict(kept) if kept else InputScaling.of(train_set)


def _trainer(
    settings: TrainSettings, begin: Start, compute: Compute, devices: Devices, scaling: InputScaling | None
) -> Trainer:
    return Trainer(
        begin.snapshot if begin.resumed else start.with_learning_rate(begin.snapshot, settings),
        _adam(settings),
        _dropout(settings),
        settings.learning_rate,
        settings.random_seed,
        compute=compute,
        devices=devices,
        parts=settings.gradient_accumulation_steps,
        scaling=scaling,
    )


def _curves(settings: TrainSettings, begin: Start, trainer: Trainer, devices: Devices) -> TrainingCurves:
    """The curves, of one worker; a run that goes on takes back the points behind its checkpoint."""
    if not devices.is_chief:
        return TrainingCurves(replace(settings, summary_dir=""), 0)
    unwritten = begin.snapshot.training_state.get("unwritten_curves", ()) if begin.resumed else ()
    if settings.summary_dir:
        print(f"curves: {settings.summary_dir} (TensorBoard and `speechmill watch` follow them)", flush=True)
    # What was loaded from elsewhere is measured before the first step.
    return TrainingCurves(settings, trainer.global_step + begin.resumed, unwritten)


def _tracker(
    settings: TrainSettings, state: RunState, store: CheckpointStore, facts: dict[str, Any], devices: Devices
) -> TrainingTracker | None:
    """The record in a tracking server, by one worker; a run that goes on brings the name that it began with along."""
    if not devices.is_chief or not address(settings.tracking_uri):
        return None
    own = f"{store.mirror or store.folder.absolute()}#{state.run_key[:16]}"
    name = settings.tracking_run or state.tracked_as or own
    state.tracked_as = state.tracked_as or name
    parameters = {**asdict(settings), **facts, "start": state.origin["start"]}
    tracker = TrainingTracker(settings, [name, state.tracked_as], parameters)
    tracker.show(state.history)
    return tracker


def _recipe(settings: TrainSettings, begin: Start, train_set: ClipSet) -> Recipe:
    """The run's recipe; one that goes on keeps what it began with."""
    kept = begin.snapshot.training_state.get("origin", {}).get("recipe") if begin.resumed else None
    if kept:
        return Recipe(**kept)
    hours = float(train_set.n_samples.sum()) / train_set.geometry.audio_sample_rate / 3600
    return Recipe.chosen(
        settings.recipe,
        fine_tuning=bool(begin.base),
        transfer=bool(begin.dropped),
        hours=hours,
        n_hidden=begin.snapshot.geometry.n_hidden,
        heard_clips=len(train_set) * settings.epochs,
    )


def _run_state(run_key: str, begin: Start, recipe: Recipe, scaling: InputScaling | None) -> RunState:
    """Where the run stands: at its beginning, or where the bundle says that it was interrupted."""
    origin = {"start": begin.explanation, "dropped_layers": list(begin.dropped), "recipe": recipe.to_dict()}
    origin |= {"input_scaling": scaling.to_dict()} if scaling else {}
    if not begin.resumed:
        return RunState(run_key, origin=origin)
    state = RunState.from_dict(begin.snapshot.training_state)
    state.origin = state.origin or origin
    return state


def _write_report(store: CheckpointStore, run: TrainingRun, seconds: float) -> None:
    tallies = {
        "train": run.train_set.tally.to_dict(),
        "dev": [clips.tally.to_dict() for clips in run.dev_sets],
        "metrics": [clips.tally.to_dict() for clips in run.metrics_sets],
    }
    state = run.state
    base = {"base": {**state.base, "is_best": state.base_is_best}} if state.base else {}
    best = {f"best_{name}": value for name, value in (state.best or {"dev_loss": None}).items()}
    average = {"average": state.average} if state.average else {}
    chosen = {"best_by": run.settings.best_by, "recipe": run.settings.recipe}
    history = {"epochs": state.history, **best, **chosen, **base, **average, "clips": tallies}
    write_json(store.folder / Checkpoint.HISTORY, {**history, "seconds": round(seconds, 2)})
    write_report(store.folder, state.origin["start"], history)
    store.publish(after=[Checkpoint.HISTORY, PAGE])
    store.flush()


def _leave_together(trainer: Trainer) -> None:
    """Wait until the chief has stored everything: a chief that fails there needs the others for another attempt.

    Raises RetryError where it did fail. The second sum keeps the chief until the others know that it did not.
    """
    trainer.sum_of_workers(np.zeros(1))
    with contextlib.suppress(*LOST):
        trainer.sum_of_workers(np.zeros(1))


def _alphabet(settings: TrainSettings, sources: Sequence[Path]) -> DataAlphabet | None:
    """The alphabet that a flag names, else the one that lies beside the first source."""
    if settings.bytes_output_mode:
        return DataAlphabet(Alphabet.bytes_output_mode(), "--bytes_output_mode", asked_for=True)
    if path := settings.alphabet_config_path:
        return DataAlphabet(Alphabet.load(path), path, asked_for=True)
    beside = alphabet_beside(sources[0]) if sources else None
    return DataAlphabet(Alphabet.load(beside), str(beside)) if beside else None


def _feature_cache(
    settings: TrainSettings, manifests: Sequence[Manifest], begin: Start, augmenter: Augmenter, devices: Devices
) -> Cache | None:
    """Where the training set's features are kept, as far as they are the same in every epoch; for each worker."""
    if augmenter.acts_on(SAMPLE, SIGNAL, SPECTROGRAM):
        if settings.feature_cache:
            print("note: --feature_cache is not used: augmented features differ each time", file=sys.stderr, flush=True)
        return None
    if not settings.feature_cache:
        return FeatureMemory(FEATURE_BYTES)
    geometry = begin.snapshot.geometry
    chosen = (settings.limit_train, settings.normalize_sample_rate, begin.alphabet.symbols)
    prefix = settings.feature_cache + (f"-{devices.worker}" if devices.n_workers > 1 else "")
    return FeatureCache(prefix, identity.of_clips(repr((geometry, chosen)), manifests), geometry.n_input)


def _augmenter(settings: TrainSettings, geometry: Geometry) -> Augmenter:
    return Augmenter(
        settings.augment,
        legacy=LegacyFlags.of(settings),
        seed=settings.random_seed,
        sample_rate=geometry.audio_sample_rate,
        frame_ms=float(geometry.feature_win_step),
    )


def _adam(settings: TrainSettings) -> Adam:
    return Adam(settings.beta1, settings.beta2, settings.epsilon)


def _dropout(settings: TrainSettings) -> DropoutRates:
    rates = (settings.dropout_rate, settings.dropout_rate2, settings.dropout_rate3, settings.dropout_rate6)
    return DropoutRates(*(settings.dropout_rate if rate < 0 else rate for rate in rates))


def _run_facts(data: _Data, sets: _Sets) -> dict[str, Any]:
    return {
        "train_files": [str(manifest.path) for manifest in data.train],
        "dev_files": [str(manifest.path) for manifest in data.dev],
        "train_clips": len(sets.train),
        "dev_clips": sum(map(len, sets.dev)),
        "train_hours": round(_hours(sets.train), 4),
    }


def _write_sidecars(
    folder: Path, begin: Start, origin: dict[str, Any], settings: TrainSettings, facts: dict[str, Any]
) -> None:
    begin.alphabet.save(folder / ALPHABET)
    write_json(folder / Checkpoint.FLAGS, start.flags_of_peer(begin, settings))
    files = describe_files(folder, [ALPHABET, Checkpoint.FLAGS])
    write_sidecar(folder, Checkpoint.MODEL, {**start.describe(begin, origin, settings, facts), "files": files})
