"""Why a step failed or waits, in words."""

import re
from dataclasses import dataclass

from speech.errors import EXIT_INPUT, EXIT_RETRY
from speech.kubeflow_runs.workflow import Pod

STATUS = re.compile(r"exit status (\d+)")  # the launcher's last line, or what the step told the pod
EXIT_CODE = re.compile(r"\(exit code (\d+)\)")  # Kubernetes' own; the launcher turns every code of a step into 1
ERROR_LINES = ("error: ", "interrupted: ")
LAUNCHERS = re.compile(r"^([IWEF]\d{4} [\d:.]+ |\[KFP Executor |[\s\[\]{},\"])|^$")  # lines that are not the step's own
STEP_ENDS = re.compile(r"^E\d{4} .*\] Component failed to execute successfully: ", re.MULTILINE)  # what follows is not
FATAL = re.compile(r"^F\d{4} .*?\] (.*)$", re.MULTILINE)  # the launcher's or a driver's last word
STEPS_OWN_END = re.compile(r"^failed to execute component: (exit status|signal)")
EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b.*")
OUT_OF_MEMORY, KILLED = 137, "signal: killed"
STOPPED = "(exit code 143)"  # by SIGTERM: Argo saw the end of the container before that of its pod
GONE = "its pod was deleted: its node was taken away, or somebody deleted it"
IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")


@dataclass(frozen=True)
class FailureReason:
    """Why a step failed."""

    text: str
    exit_code: int  # the step's own; EXIT_RETRY if its pod vanished, 1 if nobody knows it

    @property
    def is_input(self) -> bool:
        """The step refused its input: the same again fails again."""
        return self.exit_code == EXIT_INPUT

    @property
    def is_passing(self) -> bool:
        """Another attempt may help: the step says so itself, or its pod was taken away."""
        return self.exit_code == EXIT_RETRY


def reason(pod: Pod, log: str) -> FailureReason:
    """Why a pod failed, by what Kubernetes knows (the message) and what the step said last (the log)."""
    code = _exit_code(pod.message, log)
    if "OOMKilled" in pod.message or code == OUT_OF_MEMORY or KILLED in _last(log):
        limit = pod.limits.get("memory", "")
        allowed = f"it may use {limit}" if limit and limit != "0" else "its node had no more"
        return FailureReason(f"out of memory (exit code {OUT_OF_MEMORY}): {allowed}: give the step more", OUT_OF_MEMORY)
    if "longer than the specified deadline" in pod.message or "DeadlineExceeded" in pod.message:
        return FailureReason("it ran longer than its timeout_s", code)
    if waits := waits_for_image(pod):
        return FailureReason(waits, code)
    if "pod deleted" in pod.message:
        return FailureReason(GONE, EXIT_RETRY)
    own = _own_line(log) or _told(pod.message)
    if STOPPED in pod.message and not own.startswith(ERROR_LINES):
        return FailureReason(GONE, EXIT_RETRY)
    return FailureReason(own or pod.message or "nobody knows why: its log is gone", code)


def waits_for_image(pod: Pod) -> str:
    """What is wrong with the image that a pod does not get; empty if nothing is."""
    if not any(word in pod.message for word in IMAGE):
        return ""
    return f"its image cannot be pulled: {_short(pod.message)}"


def waits_for_node(pod: Pod) -> str:
    """What a pending pod asks for, and why it does not get it."""
    asked = ", ".join(f"{amount} {name}" for name, amount in sorted(pod.limits.items()) if amount != "0")
    why = f": {_short(pod.message)}" if pod.message else ""
    return f"it asks for {asked or 'nothing in particular'}{why}"


def _exit_code(message: str, log: str) -> int:
    """The step's own exit code; the last of its retries counts."""
    for pattern, text in ((STATUS, log), (STATUS, message), (EXIT_CODE, message)):
        if codes := pattern.findall(text):
            return int(codes[-1])
    return 1


def _own_line(log: str) -> str:
    """The line with which the step ended, the last line of its traceback, or why Kubeflow could not run it."""
    fatal = FATAL.findall(log)
    if fatal and not STEPS_OWN_END.match(fatal[-1]):
        return _short(fatal[-1].partition(" failed: ")[2] or fatal[-1])
    for text, is_it in (
        (log, lambda line: line.startswith(ERROR_LINES)),  # in all of it: the launcher writes into the middle
        (log, EXCEPTION.match),
        (STEP_ENDS.split(log)[0], lambda line: not LAUNCHERS.match(line)),
    ):
        if lines := [line.strip() for line in re.split(r"[\r\n]+", text) if is_it(line.strip())]:
            return lines[-1]
    return ""


def _told(message: str) -> str:
    """What the step wrote for its pod: `main: Error (exit code 1): exit status 2: error: ...`."""
    starts = [message.index(mark) for mark in ERROR_LINES if mark in message]
    return message[min(starts) :].splitlines()[0] if starts else ""


def _last(log: str) -> str:
    return log.rstrip().rpartition("\n")[2]


def _short(text: str) -> str:
    return " ".join(text.split())[:300]
