"""`speechmill watch`: a training in a terminal while it runs, from the curves that it writes."""

import math
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speech.curves import reader
from speech.curves.reader import CurveFiles, Curves
from speech.errors import InputError, RetryError
from speech.extras import require
from speech.progress import LOG_INTERVAL_S, format_duration
from speech.settings import command, setting, setting_error
from speech.storage.objects import is_remote

BARS = "▁▂▃▄▅▆▇█"
SILENT_S = 300.0  # a training that was heard of before that may not run any more
HOW = "train with --summary_dir, or with checkpoint_uri in the pipeline"
NAME_WIDTH, VALUE_WIDTH, MOST_WIDTH = 22, 12, 100
# A line each: the curve, its name, how its values are written.
LINES = (
    ("train/step_loss", "loss", "{:.3f}"),
    ("epoch_loss/dev", "dev loss", "{:.3f}"),
    ("epoch_wer/dev", "dev WER", "{:.2%}"),
    ("epoch_cer/dev", "dev CER", "{:.2%}"),
    ("train/learning_rate", "learning rate", "{:.3g}"),
    ("train/gradient_norm", "gradient norm", "{:.3g}"),
    ("train/clips_per_second", "clips a second", "{:.1f}"),
    ("train/seconds_waited_for_clips", "waited for clips, s", "{:.3f}"),
)
SMOOTHED = {"train/step_loss", "train/gradient_norm", "train/clips_per_second", "train/seconds_waited_for_clips"}
SMOOTHED_STEPS = 20


@dataclass(frozen=True)
class WatchFlags:
    """What to watch, and how often to look."""

    what: str = setting(
        "",
        "--summary_dir of a training, a folder or s3:// prefix above it (the youngest training is shown), or the id of "
        "a run on Kubeflow",
        positional=True,
        metavar="RUN|URI|FOLDER",
        group="Training",
    )
    once: bool = setting(False, "print what there is and end")
    every_s: float = setting(5.0, "time between looks", unit="s")
    endpoint: str = setting(
        "",
        "of a run on Kubeflow: address of Kubeflow Pipelines; empty: KF_PIPELINES_ENDPOINT, or the cluster around",
        group="Server",
        metavar="URL",
    )
    namespace: str = setting("", "namespace (profile) of a multi-user installation")
    token_file: str = setting("", "file with the bearer token, if the server wants one")
    ssl_ca_cert: str = setting("", "file with the certificates of a private authority", metavar="FILE")

    def __post_init__(self) -> None:
        if not self.every_s > 0:
            raise setting_error("every_s", self.every_s, "above 0")


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    command(
        WatchFlags,
        watch,
        prog="speechmill watch",
        description="Follow a training in the terminal: its losses and error rates, its speed, and the time left.",
        usage="RUN|URI|FOLDER",
        argv=argv,
    )


def watch(flags: WatchFlags) -> None:
    """Show the curves again and again until the training is at its end; Ctrl-C ends the looking alone."""
    if not flags.what:
        raise InputError("what to watch is missing: a folder, an s3:// prefix, or the id of a run on Kubeflow")
    place = _place(flags)
    terminal = sys.stdout.isatty() and not flags.once
    try:
        for files in _looks(place, flags):
            view = "\n".join(page(files.place, files.curves, time.time(), _width()))
            print(f"\x1b[H\x1b[J{view}" if terminal else view, flush=True)
    except KeyboardInterrupt:
        print()


def _looks(place: str, flags: WatchFlags) -> Iterator[CurveFiles]:
    """The curves as they are, after each look that is to be shown; ends with the training."""
    files: CurveFiles | None = None
    shown_s, every_s = -math.inf, flags.every_s if sys.stdout.isatty() else max(flags.every_s, LOG_INTERVAL_S)
    while True:
        try:
            found = reader.newest(place)
            if found and (files is None or files.place != found):
                files = CurveFiles(found)
            if files is not None:
                files.look()
        except RetryError as error:  # it may come back
            if flags.once:
                raise
            print(f"note: {error}", file=sys.stderr, flush=True)
        if files is None and flags.once:
            raise InputError(f"{place}: no curves there: {HOW}")
        finished = files is not None and is_finished(files.curves)
        if files is None:
            print(f"{place}: no curves yet", file=sys.stderr, flush=True)
        elif finished or flags.once or time.monotonic() - shown_s >= every_s:
            shown_s = time.monotonic()
            yield files
        if finished or flags.once:
            return
        time.sleep(flags.every_s)


def _place(flags: WatchFlags) -> str:
    """Where the curves are."""
    if is_remote(flags.what):
        return flags.what
    if Path(flags.what).is_dir():
        return flags.what
    if "/" in flags.what or Path(flags.what).exists():
        raise InputError(f"{flags.what}: no such folder: {HOW}, and give that folder")
    require("pipeline")
    from pipelines.cluster.api import KubeflowApi

    api = KubeflowApi(flags.endpoint, flags.namespace, flags.token_file, flags.ssl_ca_cert)
    uri = str(api.parameters(flags.what).get("checkpoint_uri") or "")
    if not uri:
        raise InputError(
            f"run {flags.what} has no checkpoint_uri, so its curves are nowhere: `speechmill submit` follows its "
            "steps, and its training's log has a line an epoch"
        )
    return f"{uri.rstrip('/')}/summaries"


def is_finished(curves: Curves) -> bool:
    """Whether the training is at its end."""
    return curves.last("progress/finished") is not None


def page(place: str, curves: Curves, now_s: float, width: int) -> list[str]:
    """The lines of a look: where the training is, and a line a curve."""
    return [place, progress(curves, now_s), "", *(line for line in _curve_lines(curves, width) if line), ""]


def progress(curves: Curves, now_s: float) -> str:
    """How far the training is, in one line."""
    epoch, epochs, left_s = (curves.last(f"progress/{name}") for name in ("epoch", "epochs", "seconds_left"))
    if epoch is None:
        return "the first step is not done yet"
    steps = max(curves.series["progress/epoch"])
    parts = [f"epoch {epoch:.2f}{f' of {epochs:.0f}' if epochs else ''}, step {steps:,}"]
    silent_s = max(0.0, now_s - curves.newest_s)
    if is_finished(curves):
        parts.append(f"finished after {format_duration(curves.newest_s - curves.began_s)}")
    elif silent_s > SILENT_S:
        parts.append(f"not heard of for {format_duration(silent_s)}: interrupted, or its store is away")
    else:
        left = f"{format_duration(max(0.0, left_s - silent_s))} left at most" if left_s is not None else ""
        parts += [left, f"heard of {format_duration(silent_s)} ago"]
    return ", ".join(part for part in parts if part)


def _curve_lines(curves: Curves, width: int) -> Iterator[str]:
    shown = [tag for tag, _, _ in LINES]
    sets = sorted(tag for tag in curves.series if tag.startswith("epoch_loss/") and tag not in shown)
    for tag, name, form in (*LINES, *((tag, f"loss of {tag.partition('/')[2]}", "{:.3f}") for tag in sets)):
        points = [(step, value) for step, value in curves.line(tag) if math.isfinite(value)]
        if points:
            tail = [value for _, value in points[-SMOOTHED_STEPS if tag in SMOOTHED else -1 :]]
            value = form.format(sum(tail) / len(tail))
            drawing = sparkline(points, max(8, width - NAME_WIDTH - VALUE_WIDTH - 2))
            yield f"{_short(name):{NAME_WIDTH}}{value:>{VALUE_WIDTH}}  {drawing}"


def sparkline(points: Sequence[tuple[int, float]], width: int) -> str:
    """The curve in one line of bars, from its first step to its last one; a bar is the mean of what falls to it."""
    first, last = points[0][0], points[-1][0]
    width = min(width, last - first + 1, len(points))
    sums, counts = [0.0] * width, [0] * width
    for step, value in points:
        place = (step - first) * width // (last - first + 1)
        sums[place] += value
        counts[place] += 1
    means = [total / count if count else None for total, count in zip(sums, counts, strict=True)]
    known = [mean for mean in means if mean is not None]
    low, high = min(known), max(known)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if mean is None else BARS[round((mean - low) * scale)] for mean in means)


def _short(name: str) -> str:
    return name if len(name) < NAME_WIDTH else f"{name[: NAME_WIDTH - 2]}…"


def _width() -> int:
    return min(MOST_WIDTH, shutil.get_terminal_size().columns)
