"""Where training runs: processors and GPUs, one or several, on one machine or on many; and how it computes there."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from speech.doctor.gpu import gpu_names, why_unseen
from speech.errors import InputError, RetryError
from speech.native.processors import cores
from speech.nn import rendezvous

BFLOAT16_PROCESSOR_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # x86; Linux on Arm calls it bf16
BFLOAT16_GPU = (8, 0)  # compute capability from which tensor cores multiply bfloat16
HALF_GPU = (7, 0)  # and float16

# Where no TF_CONFIG says it: all workers' HOST:PORT with commas between, as components.train.cluster.jobs sets it, and
# which of them this is, as Kubernetes counts the pods of an indexed job.
WORKERS_VARIABLE = "SPEECHMILL_WORKERS"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
# What TensorFlow raises when a worker was killed, when its machine is gone, and when it is not heard from.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.InternalError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


@dataclass(frozen=True)
class Compute:
    """How the layers compute: the type of matrix products, and whether the LSTM is cuDNN's.

    `plain_lstm`: on a processor the LSTM is TensorFlow's operators, also where there are faster ones in C++.
    """

    dtype: tf.DType = tf.float32
    cudnn: bool = False
    plain_lstm: bool = False


@dataclass(frozen=True)
class Devices:
    """The devices of this worker, and its place among the workers."""

    strategy: tf.distribute.Strategy
    on_gpu: bool = False
    worker: int = 0
    n_workers: int = 1
    addresses: tuple[str, ...] = ()  # of all workers, HOST:PORT
    worker_timeout_s: float = 0.0

    @property
    def n_local(self) -> int:
        """Devices that this worker computes on."""
        return self.strategy.num_replicas_in_sync // self.n_workers

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the checkpoints."""
        return self.worker == 0

    def describe(self) -> str:
        """One line for the log."""
        local = f"{self.n_local} {'GPU' if self.on_gpu else 'CPU'}{'s' if self.n_local > 1 else ''}"
        if self.n_workers == 1:
            return local
        return f"{local} on each of {self.n_workers} workers, this is worker {self.worker}"

    @contextlib.contextmanager
    def waiting_for(self, what: str, more_s: float = 0.0) -> Iterator[None]:
        """While the block waits for the other workers, say every 15 s for what.

        After the workers' timeout and `more_s` the process ends with exit code 75.
        """
        limit = self.worker_timeout_s and self.worker_timeout_s + more_s
        with rendezvous.watched(self.addresses, self.worker, what, limit):
            yield


def parse_devices(value: str) -> tuple[str, int]:
    """`auto`, `cpu`, `gpu`, `cpu:2`, `gpu:8` -> the kind and how many (0: all there are); ValueError otherwise."""
    match = re.fullmatch(r"(auto|cpu|gpu)(?::([1-9]\d*))?", value)
    if not match or (match[1] == "auto" and match[2]):
        raise ValueError(value)
    return match[1], int(match[2] or 0)


def single() -> Devices:
    """One device, the one that TensorFlow takes by itself."""
    return Devices(tf.distribute.get_strategy())


def configure(
    devices: str, intra_op_threads: int, inter_op_threads: int, log_placement: bool, worker_timeout_s: float = 0.0
) -> Devices:
    """Set up TensorFlow, before its first operation: threads (0: as many as there are cores), devices, workers.

    `devices` is what `parse_devices` takes. Where the variable TF_CONFIG or SPEECHMILL_WORKERS describes a cluster, all
    its workers train together; the first to come waits for the others, at most `worker_timeout_s` (0: for ever). Raises
    RetryError for GPUs that are asked for and not there, as another node may have them, and where the workers do not
    find each other.
    """
    _set_threads(intra_op_threads, inter_op_threads)
    if log_placement:
        tf.debugging.set_log_device_placement(True)
    gpus = _choose_gpus(devices)
    n_processors = 0 if gpus else _choose_processors(devices)
    resolver = _resolver()
    worker, n_workers = _place(resolver)
    if n_workers > 1:
        addresses = _addresses(resolver)
        strategy = _connect(resolver, addresses, worker, worker_timeout_s)
        return Devices(strategy, bool(gpus), worker, n_workers, addresses, worker_timeout_s)
    names = [f"GPU:{k}" for k in range(len(gpus))] or [f"CPU:{k}" for k in range(n_processors)]
    strategy = tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()
    return Devices(strategy, bool(gpus))


def _set_threads(intra_op_threads: int, inter_op_threads: int) -> None:
    if intra_op_threads:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
    elif cores() < (os.cpu_count() or 1):  # TensorFlow knows no quota, and more threads than it allows stop each other
        with contextlib.suppress(RuntimeError):  # it has begun to compute: too late
            tf.config.threading.set_intra_op_parallelism_threads(cores())
    if inter_op_threads:
        tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)


def _choose_gpus(devices: str) -> list[tf.config.PhysicalDevice]:
    """Show TensorFlow the GPUs that are asked for and no others; RetryError if they are not there."""
    kind, count = parse_devices(devices)
    there = tf.config.list_physical_devices("GPU")
    if kind == "gpu" and len(there) < max(1, count):
        reason = "`nvidia-smi` lists them" if there else _why_no_gpu()
        raise RetryError(
            f"--devices {devices}: this machine has {len(there)} GPUs that TensorFlow can use ({reason}); "
            "--devices cpu trains without"
        )
    if kind == "auto" and not there and (cards := gpu_names()):
        print(f"warning: training on the CPU, although there is {'; '.join(cards)}: {_why_no_gpu()}", file=sys.stderr)
    chosen = [] if kind == "cpu" else there[: count or None]
    if there:
        tf.config.set_visible_devices(chosen, "GPU")
    for gpu in chosen:
        tf.config.experimental.set_memory_growth(gpu, True)
    return chosen


def _why_no_gpu() -> str:
    build = tf.sysconfig.get_build_info()
    found, advice = why_unseen(build.get("cuda_version", "") if build.get("is_cuda_build") else "")
    return f"{found}: {advice}"


def _choose_processors(devices: str) -> int:
    """Divide the processor into as many devices as are asked for, and return how many there are."""
    kind, count = parse_devices(devices)
    if kind == "cpu" and count > 1:
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    return max(1, count)


def _connect(
    resolver: tf.distribute.cluster_resolver.ClusterResolver,
    addresses: tuple[str, ...],
    worker: int,
    timeout_s: float,
) -> tf.distribute.Strategy:
    """Wait for the other workers and join them; RetryError if they do not find each other."""
    rendezvous.meet(addresses, worker, timeout_s)
    try:
        with rendezvous.watched(addresses, worker, "a connection of all workers", timeout_s):
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except LOST as error:
        raise RetryError(f"the {len(addresses)} workers did not find each other: {_reason(error)}") from error


def is_chief() -> bool:
    """Whether this process writes checkpoints: the only worker, or the first of several."""
    return _place(_resolver())[0] == 0


def _resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    """Who the workers are, by TF_CONFIG or else by SPEECHMILL_WORKERS; InputError if the latter has no such worker."""
    workers = [address for address in os.environ.get(WORKERS_VARIABLE, "").split(",") if address]
    if os.environ.get("TF_CONFIG") or not workers:
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    index = os.environ.get(INDEX_VARIABLE, "")
    if not index.isdigit() or int(index) >= len(workers):
        raise InputError(
            f"{INDEX_VARIABLE} is {index!r}: expected 0 to {len(workers) - 1}, which of the workers in "
            f"{WORKERS_VARIABLE} this is; an indexed job of Kubernetes sets it"
        )
    cluster = tf.train.ClusterSpec({"worker": workers})
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=int(index), rpc_layer="grpc"
    )


def _place(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> tuple[int, int]:
    """The number of this worker, the chief being 0, and how many there are."""
    cluster = resolver.cluster_spec()
    chiefs, workers = (cluster.num_tasks(job) if job in cluster.jobs else 0 for job in ("chief", "worker"))
    if chiefs + workers < 2:
        return 0, 1
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0), chiefs + workers


def _addresses(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> tuple[str, ...]:
    """The workers' HOST:PORT, in the order of their numbers."""
    jobs = resolver.cluster_spec().as_dict()
    return tuple(address for job in ("chief", "worker") for address in jobs.get(job, ()))


@contextlib.contextmanager
def lost_workers(devices: Devices) -> Iterator[None]:
    """Turn the loss of another worker into a RetryError: all of them have to start again, from the last checkpoint."""
    try:
        yield
    except LOST as error:
        if devices.n_workers == 1:
            raise
        raise RetryError(
            f"another worker is gone ({_reason(error)}): start all workers again, they go on together"
        ) from error


def _reason(error: tf.errors.OpError) -> str:
    """The line of TensorFlow's many that says what happened."""
    message = str(error.message or "")
    match = re.search(r"aborted by: *(.+)", message)
    return match[1].strip() if match else (message.splitlines() or [type(error).__name__])[0]


def compute_on(devices: Devices, mixed_precision: bool) -> tuple[Compute, str]:
    """How to compute on these devices, and a line that says why; weights, loss and states are float32 in any case."""
    if not mixed_precision:
        return Compute(tf.float32, devices.on_gpu), "float32"
    if devices.on_gpu:
        return _mixed_on_gpus()
    if processor_has_bfloat16():
        return Compute(tf.bfloat16), "mixed precision: bfloat16 products"
    return Compute(), "float32: this processor has no bfloat16 instructions, which mixed precision needs"


def _mixed_on_gpus() -> tuple[Compute, str]:
    """The type whose products the tensor cores of all GPUs compute."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    capability = min(tuple(detail.get("compute_capability", (0, 0))) for detail in details)
    shown = ".".join(map(str, capability))
    if capability >= BFLOAT16_GPU:
        return Compute(tf.bfloat16, True), f"mixed precision: bfloat16 products (compute capability {shown})"
    if capability >= HALF_GPU:
        return Compute(tf.float16, True), f"mixed precision: float16 products (compute capability {shown})"
    return Compute(tf.float32, True), f"float32: GPUs of compute capability {shown} gain nothing by mixed precision"


def processor_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 in hardware, as Linux tells it."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not set(flags.split()).isdisjoint(BFLOAT16_PROCESSOR_FLAGS)
