"""Training on several machines from the pipeline: this pod starts a TrainJob, waits for it and fetches the result.

The job outlives this pod. It is named by its checkpoints, so the retry of a preempted launcher finds it and goes on
waiting, and so does another run, which it then belongs to. Only a launcher whose run is terminated deletes it.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.train.cluster import jobs, watch
from components.train.cluster.jobs import Nodes
from components.train.cluster.kubernetes_api import ApiError, KubernetesApi
from components.train.data import DEV, TRAIN, TrainingClips
from components.train.identity import checkpoints_at, clips_copy_at, with_summaries
from components.train.interruption import Interruption
from components.train.outcome import keep_best
from components.train.report import PAGE
from components.train.settings import LAUNCHER_VARIABLE, TrainSettings
from speech.artifacts import Checkpoint, Clips
from speech.errors import InputError, RetryError
from speech.settings import flags
from speech.storage.objects import download_folder, is_remote, list_keys, of_artifact_store, upload_folder

ADOPTIONS = 5  # attempts; the Trainer writes to a job, too, and a job that it has changed has to be read again


@dataclass(frozen=True)
class TrainingTask:
    """What is to be trained on what."""

    settings: TrainSettings
    clips: TrainingClips
    base_uri: str
    checkpoint_uri: str


def is_wanted(nodes: Nodes) -> bool:
    """Whether a TrainJob trains, and not this process."""
    return nodes.count > 1 or bool(os.environ.get(LAUNCHER_VARIABLE))


def with_gpus(settings: TrainSettings, nodes: Nodes) -> TrainSettings:
    """The settings on a cluster: what is to have GPUs must not train on its processor where they are missing."""
    if nodes.has_gpus and settings.devices == "auto" and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return replace(settings, devices="gpu")
    return settings


def train(work: TrainingTask, nodes: Nodes, checkpoint: Path, cluster: KubernetesApi | None = None) -> Checkpoint:
    """Train on several machines; the checkpoint that they left in object storage is in `checkpoint` afterwards.

    Raises InputError for what another attempt would fail with, too, and RetryError otherwise.
    """
    cluster = cluster or KubernetesApi.of_this_pod()
    _check(work)
    save_uri = checkpoints_at(work.checkpoint_uri, work.settings, work.clips, work.base_uri)
    if list_keys(f"{save_uri}/{PAGE}"):  # what a run leaves last
        print(f"{save_uri} holds this run, finished: nothing to train", flush=True)
    else:
        name = jobs.name_of(save_uri)
        with Interruption().armed() as interruption:
            mine = _start(cluster, name, work, save_uri, nodes)
            watch.until_done(cluster, name, nodes.count, interruption, mine)
    download_folder(save_uri, checkpoint)
    return keep_best(checkpoint)


def _check(work: TrainingTask) -> None:
    """Refuse what the nodes could not reach."""
    if not is_remote(work.checkpoint_uri):
        raise InputError(
            f"checkpoint_uri {work.checkpoint_uri!r}: training on several machines needs an s3:// prefix there, by "
            "which its result comes back"
        )
    if work.base_uri and not is_remote(work.base_uri):
        raise InputError(f"base_checkpoint_uri {work.base_uri!r}: several machines can only reach an s3:// prefix")


def _start(cluster: KubernetesApi, name: str, work: TrainingTask, save_uri: str, nodes: Nodes) -> list[dict[str, Any]]:
    """Create the job, unless it is there and running; returns the workflow that this pod belongs to."""
    with watch.explained(name):
        pod = cluster.own_pod()
        job = cluster.job(name)
        if job is not None and watch.state(job) in ("Complete", "Failed"):
            cluster.delete_job(name)
            watch.until_gone(cluster, name)
            job = None
        if job is None:
            arguments = _arguments(work, save_uri)
            try:
                cluster.create_job(jobs.train_job(name, nodes, arguments, pod))
            except ApiError as error:
                if error.status != 409:
                    raise
                job = cluster.job(name)  # another launcher of the same training was faster
    if job is None:
        print(f"TrainJob {name}: created, {nodes.count} nodes, checkpoints at {save_uri}", flush=True)
        return jobs.owners_of(pod)
    count = job["spec"].get("trainer", {}).get("numNodes", 1)
    print(f"TrainJob {name}: runs already, on {count} nodes; waiting for it", flush=True)
    with watch.explained(name):
        _adopt(cluster, job, jobs.owners_of(pod))
    return jobs.owners_of(pod)


def _adopt(cluster: KubernetesApi, job: dict[str, Any], mine: list[dict[str, Any]]) -> None:
    """Have the job belong to this run, as it would be deleted together with the workflow of the run that started it."""
    for _ in range(ADOPTIONS):
        before = jobs.owners_of(job)
        if not before or not mine or before == mine:  # one that belongs to no run is somebody's own
            return
        try:
            cluster.own_job(job, mine)
        except ApiError as error:
            if error.status != 409:
                raise
        else:
            print(
                f"TrainJob {job['metadata']['name']}: belongs to this run now, not to {before[0]['name']}", flush=True
            )
            return
        job = cluster.job(job["metadata"]["name"]) or job


def _arguments(work: TrainingTask, save_uri: str) -> list[str]:
    base = [f"--load_checkpoint_dir={work.base_uri}"] if work.base_uri else []
    clips = work.clips
    copies = clips_copy_at(work.checkpoint_uri, clips)
    files = [f"--train_files={_reachable(clips.train, clips.train_uri, f'{copies}/{TRAIN}')}/{clips.train_csv.name}"]
    for csv in clips.dev_csvs:
        files.append(f"--dev_files={_reachable(clips.dev, clips.dev_uri, f'{copies}/{DEV}')}/{csv.name}")
    settings = with_summaries(work.checkpoint_uri, work.settings, clips, work.base_uri)
    return ["-m", "components.train", *files, f"--checkpoint_dir={save_uri}", *base, *flags(settings)]


def _reachable(folder: Path, artifact_uri: str, copy_uri: str) -> str:
    """The s3:// prefix that every node can read the clips in `folder` from: their own place, or else a copy."""
    uri = of_artifact_store(artifact_uri)
    if is_remote(uri):
        try:
            if list_keys(f"{uri}/{Clips.SETS}"):
                return uri
        except (InputError, RetryError):
            pass  # the store of the pipelines may be another one, or closed to the steps
    if not (folder / Clips.SETS).is_file():
        raise InputError(
            f"{artifact_uri} cannot be read with the credentials of this step, which has the tables alone: "
            "give it credentials for the pipeline's root, or compile without `streams` in [steps.train]"
        )
    if not list_keys(f"{copy_uri}/{Clips.SETS}"):
        print(f"{artifact_uri} cannot be read with the credentials of this step: copying to {copy_uri}", flush=True)
        upload_folder(folder, copy_uri, last=Clips.SETS)
    return copy_uri
