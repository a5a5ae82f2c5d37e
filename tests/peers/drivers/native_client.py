"""Transcribe WAV files with the native client of this environment: `deepspeech` (.pb, .pbmm, .tflite) or `stt`.

Answers {"sample_rate", "beam_width", "load_s", "loaded_mb", "peak_mb", "stt_s", "clips": [{"wav", "text",
"confidences", "texts", "timesteps", "streamed", "partials"}]}: `text` from one call, `streamed` and the changes in the
intermediate decoding (`partials`: [samples fed, text]) from feeding chunks. Memory is resident MB, growth over the
bare process in `loaded_mb` and the maximum in `peak_mb`.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import wave
from pathlib import Path

import channel
import numpy as np

try:
    import deepspeech as native
except ImportError:
    import stt as native


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def read_wav(path: str) -> tuple:
    with wave.open(path) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2), f"{path} is not 16-bit mono"
        return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()


def load(options: argparse.Namespace) -> native.Model:
    model = native.Model(options.model)
    if options.beam_width:
        model.setBeamWidth(options.beam_width)
    if options.scorer:
        model.enableExternalScorer(options.scorer)
        if options.lm_alpha is not None:
            model.setScorerAlphaBeta(options.lm_alpha, options.lm_beta)
    for hot_word in options.hot_words:
        word, boost = hot_word.rsplit("=", 1)
        model.addHotWord(word, float(boost))
    return model


def stream(model: native.Model, samples: np.ndarray, chunk: int) -> tuple:
    """The final text, and where along the way the intermediate text changed."""
    state = model.createStream()
    partials = []
    for start in range(0, len(samples), chunk):
        state.feedAudioContent(samples[start : start + chunk])
        text = state.intermediateDecode()
        if text != (partials[-1][1] if partials else ""):
            partials.append([min(start + chunk, len(samples)), text])
    return state.finishStream(), partials


def transcribe(model: native.Model, path: str, options: argparse.Namespace) -> dict:
    samples, rate = read_wav(path)
    assert rate == model.sampleRate(), f"{path} has {rate} Hz, the model wants {model.sampleRate()}"
    clip = {"wav": path, "text": model.stt(samples)}
    if options.candidates:
        found = model.sttWithMetadata(samples, options.candidates).transcripts
        clip["confidences"] = [candidate.confidence for candidate in found]
        clip["texts"] = ["".join(token.text for token in candidate.tokens) for candidate in found]
        clip["timesteps"] = [[token.timestep for token in candidate.tokens] for candidate in found]
    if options.chunk_samples:
        clip["streamed"], clip["partials"] = stream(model, samples, options.chunk_samples)
    return clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--scorer")
    parser.add_argument("--lm_alpha", type=float)
    parser.add_argument("--lm_beta", type=float)
    parser.add_argument("--beam_width", type=int)
    parser.add_argument("--hot_words", nargs="*", default=[], metavar="WORD=BOOST")
    parser.add_argument("--candidates", type=int, default=0, help="how many candidates with their timesteps")
    parser.add_argument("--chunk_samples", type=int, default=0, help="stream as well, in chunks of so many samples")
    parser.add_argument("--wavs", nargs="*", default=[])
    options = parser.parse_args()
    bare_mb, begun = resident_mb(), time.perf_counter()
    try:
        model = load(options)
    except RuntimeError as error:
        sys.exit(f"cannot load {options.model}: {error}")
    report = {
        "sample_rate": model.sampleRate(),
        "beam_width": model.beamWidth(),
        "load_s": time.perf_counter() - begun,
        "loaded_mb": resident_mb() - bare_mb,
    }
    begun = time.process_time()
    report["clips"] = [transcribe(model, path, options) for path in options.wavs]
    report["stt_s"] = time.process_time() - begun
    report["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    channel.answer(report)


if __name__ == "__main__":
    main()
