"""Run exported files in the native clients that are at hand: the last word on whether a client hears something.

A client may load a file and then hear nothing, or crash. So each file is given to it in a process of its own, and the
confidence of its best transcript of the probe signal is compared with what the file's own emissions give.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.export.selfcheck import probe_signal
from speech import model_files
from speech.artifacts import ExportedModel
from speech.decoding import portable
from speech.errors import InputError

BEAM_WIDTH, TOP_LABELS = 20, 40  # the clients always cut at 40 labels
TOLERANCE = 0.02  # of a confidence, as a part of it and in all
TIMEOUT_S = 300
EXIT_NO_CLIENT, EXIT_OTHER_FORMAT = 3, 4

# For Python 3.5 and later, in which deepspeech or stt is installed. The package deepspeech is one of two clients.
_SCRIPT = f"""
import glob, json, os, sys
import numpy as np
try:
    import deepspeech as native
except ImportError:
    try:
        import stt as native
    except ImportError:
        sys.exit({EXIT_NO_CLIENT})
packages = os.path.dirname(os.path.dirname(native.__file__))
tflite = native.__name__ == "stt" or bool(glob.glob(os.path.join(packages, "deepspeech_tflite-*")))
if tflite != sys.argv[1].endswith(".tflite"):
    sys.exit({EXIT_OTHER_FORMAT})
model = native.Model(sys.argv[1])
model.setBeamWidth({BEAM_WIDTH})
best = model.sttWithMetadata(np.load(sys.argv[2]), 1).transcripts[0]
text = "".join(token.text for token in best.tokens)
answer = [native.__name__, native.version(), model.sampleRate(), best.confidence, text]
with open(sys.argv[3], "w") as file:
    json.dump(answer, file)
"""


def installed() -> list[str]:
    """This interpreter, if it has a client."""
    return [sys.executable] if any(map(importlib.util.find_spec, ("deepspeech", "stt"))) else []


def check(model: ExportedModel, interpreters: Sequence[str]) -> list[str]:
    """Run the model's files in the clients of Python `interpreters`; returns a line for each file that was heard.

    Raises InputError if a client crashes, refuses a file of its format, or hears something else than is in it.
    """
    rate = model.geometry.audio_sample_rate
    # Silence at the end, because the clients fill up the last window differently.
    signal = np.concatenate([probe_signal(model.geometry), np.zeros(2 * model.geometry.window_samples, np.int16)])
    heard: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        samples, answer = Path(scratch) / "probe.npy", Path(scratch) / "answer.json"
        np.save(samples, signal)
        for name in (ExportedModel.FROZEN, ExportedModel.MAPPED, ExportedModel.TFLITE):
            if name not in model.sidecar["files"]:
                continue
            path = model.file(name)
            expected = None
            for interpreter in interpreters:
                if not _run(interpreter, path, samples, answer):
                    continue
                client, version, sample_rate, confidence, text = json.loads(answer.read_text(encoding="utf-8"))
                expected = _confidence(path, signal) if expected is None else expected
                if sample_rate != rate or not abs(confidence - expected) <= TOLERANCE * (1 + abs(expected)):
                    raise InputError(
                        f"{path}: {client} {version} ({interpreter}) hears {text!r} in the probe signal, at "
                        f"{sample_rate} Hz and with confidence {confidence:.4g}; expected {rate} Hz and {expected:.4g}"
                    )
                heard.append(f"{name}: heard by {client} {version} with confidence {confidence:.4f} ({expected:.4f})")
    return heard


def _run(interpreter: str, path: Path, samples: Path, answer: Path) -> bool:
    """Whether the interpreter has a client of this format; it has left its answer then."""
    command = [interpreter, "-c", _SCRIPT, str(path), str(samples), str(answer)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except OSError as error:
        raise InputError(f"--client_python {interpreter}: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{path}: the client of {interpreter} did not end within {TIMEOUT_S} s") from error
    if done.returncode == EXIT_NO_CLIENT:
        raise InputError(f"--client_python {interpreter}: neither deepspeech nor stt is installed there")
    if done.returncode == EXIT_OTHER_FORMAT:
        return False
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise InputError(f"{path}: the client of {interpreter} ended with {done.returncode}: {last}")
    return True


def _confidence(path: Path, signal: np.ndarray) -> float:
    """What the client's decoder makes of the file's own emissions, which end a frame later in clients."""
    from speech.nn.runners.runtimes import open_runner

    model = model_files.open(path)
    geometry = model.geometry
    rest = (len(signal) - geometry.window_samples) % geometry.step_samples
    padded = np.concatenate([signal, np.zeros(geometry.step_samples - rest, np.int16)])
    (emissions,) = open_runner(model).emissions([padded])
    settings = portable.SearchSettings(BEAM_WIDTH, 1.0, TOP_LABELS, 1)
    ((confidence, _, _),) = portable.decode(emissions, model.alphabet, settings, None, {})
    return confidence
