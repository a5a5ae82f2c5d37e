"""Try an IR on audio: python -m components.convert_openvino.transcribe --model output_graph.xml --audio a.wav

`Transcriber` does the same in a program: whole utterances, or a stream of chunks as a microphone gives them.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech import model_files
from speech.alphabet import Alphabet
from speech.clips.audio import decode, parse_wav, resample
from speech.decoding.greedy import best_path
from speech.errors import InputError
from speech.extras import require
from speech.features.mfcc import mfcc
from speech.model_files import Kind
from speech.settings import command, setting, setting_error

Decoder = Callable[[np.ndarray], str]  # probabilities [T, C], blank last -> transcript


class Transcriber:
    """Text from audio by an IR: `Transcriber("output_graph.xml").transcribe(samples)`, int16 at the model's rate.

    Takes every IR that this step writes, and those that the Model Optimizer made of the same graphs (give these an
    alphabet). One transcriber transcribes one utterance at a time.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        alphabet: Alphabet | None = None,
        precision: str = "",
        threads: int = 0,
        scorer: str = "",
        beam_width: int = 0,
    ) -> None:
        """`precision` is what the CPU computes in: f32, bf16, or empty for its own choice.

        Decodes greedily; with a `scorer` file or a `beam_width` by beam search.
        """
        from speech.ir.first_run import try_out
        from speech.ir.runner import IrRunner

        opened = model_files.open(model, kinds=(Kind.IR,), alphabet=alphabet)
        try_out(opened)
        self.alphabet = opened.alphabet
        self.sample_rate = opened.geometry.audio_sample_rate
        self.runner = IrRunner(opened, precision=precision, threads=threads)
        self.decode = _decoder(self.alphabet, scorer, beam_width)

    def transcribe(self, samples: np.ndarray) -> str:
        """The text of a whole utterance, int16 samples `[N]`."""
        return self.decode(self.runner.emissions([samples])[0])

    def stream(self) -> "TranscriptionStream":
        """A new utterance, to be fed chunk by chunk; ends the one before."""
        return TranscriptionStream(self)


class TranscriptionStream:
    """One utterance that arrives in chunks of any size; the text is that of the whole utterance in the end."""

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber
        self._runner = transcriber.runner
        if self._runner.file.takes_samples:
            raise InputError(f"{self._runner.path}: this IR takes whole utterances: stream with one without `_audio`")
        self._runner.reset()
        geometry = self._runner.geometry
        self._samples: np.ndarray = np.zeros(0, np.int16)  # not yet in a frame, or needed for the next one
        self._padding = np.zeros((geometry.n_context, geometry.n_input), np.float32)
        self._features: np.ndarray = self._padding  # of frames that have no context yet, and their left context
        self._emissions: list[np.ndarray] = [np.zeros((0, geometry.n_classes), np.float32)]

    def feed(self, samples: np.ndarray) -> None:
        """Take the next int16 samples `[N]`."""
        geometry = self._runner.geometry
        self._samples = np.concatenate([self._samples, samples])
        self._add(mfcc(self._samples, geometry))
        self._samples = self._samples[geometry.n_frames(len(self._samples)) * geometry.step_samples :]

    def text(self) -> str:
        """The text so far; the last 180 ms wait for the frames behind them."""
        self._emissions = [np.concatenate(self._emissions)]
        return self._transcriber.decode(self._emissions[0])

    def finish(self) -> str:
        """End the utterance; its text."""
        self._add(self._padding, last=True)
        return self.text()

    def _add(self, features: np.ndarray, last: bool = False) -> None:
        """Run the frames whose context is complete; with fixed frames a call, a multiple of them until the last."""
        self._features = np.concatenate([self._features, features])
        context = self._runner.geometry.window_frames - 1
        ready = max(0, len(self._features) - context)
        if self._runner.n_steps and not last:
            ready -= ready % self._runner.n_steps
        if ready:
            windows = np.lib.stride_tricks.sliding_window_view(self._features[: ready + context], context + 1, axis=0)
            self._emissions.append(self._runner.feed(windows.transpose(0, 2, 1)))
            self._features = self._features[ready:]


def _decoder(alphabet: Alphabet, scorer: str, beam_width: int) -> Decoder:
    if not scorer and not beam_width:
        return lambda emissions: best_path(emissions, alphabet)
    from speech.decoding.beam_search import ctc_beam_search_decoder
    from speech.decoding.scorer import Scorer

    opened = Scorer(None, None, scorer, alphabet) if scorer else None

    def decode(emissions: np.ndarray) -> str:
        if not len(emissions):
            return ""
        return ctc_beam_search_decoder(emissions, alphabet, beam_width or 500, scorer=opened)[0].transcript

    return decode


def read_audio(path: Path, sample_rate: int) -> np.ndarray:
    """int16 samples `[N]` of an audio file at `sample_rate` Hz."""
    if not path.is_file():
        raise InputError(f"{path}: no such audio file")
    try:
        samples, rate = parse_wav(path.read_bytes(), str(path))
    except InputError:
        samples, rate = decode(path, str(path))  # not mono 16-bit PCM: libsndfile knows more
    return samples if rate == sample_rate else resample(samples, rate, sample_rate)


@dataclass(frozen=True)
class TranscribeCommand:
    """What to transcribe, with what, and how."""

    model: str = setting("", "the IR's .xml file", metavar="FILE", group="Input and output")
    audio: tuple[str, ...] = setting(
        (), "audio files; - is raw 16-bit mono PCM at the model's rate on standard input", metavar="FILE"
    )
    chunk_ms: int = setting(0, "feed the audio in chunks, as a microphone does, and show the text grow", unit="ms")
    scorer: str = setting("", "scorer for beam search; empty: greedy decoding", metavar="FILE")
    beam_width: int = setting(0, "beams of the search; 0: 500 with a scorer, greedy decoding without")
    precision: str = setting("", "what the CPU computes in; empty: its own choice", choices=("", "f32", "bf16"))
    threads: int = setting(0, "threads to compute with; 0: all")
    alphabet_config_path: str = setting("", "alphabet, for an IR that carries none")
    timing: bool = setting(False, "also say how long it took")

    def __post_init__(self) -> None:
        for name in ("chunk_ms", "beam_width", "threads"):
            if getattr(self, name) < 0:
                raise setting_error(name, getattr(self, name), "0 or more")


def run(settings: TranscribeCommand) -> None:
    """Print one line of text a file."""
    if not settings.model or not settings.audio:
        raise InputError("--model and --audio are needed: --model output_graph.xml --audio a.wav")
    require("convert-openvino")
    transcriber = Transcriber(
        settings.model,
        alphabet=Alphabet.load(settings.alphabet_config_path) if settings.alphabet_config_path else None,
        precision=settings.precision,
        threads=settings.threads,
        scorer=settings.scorer,
        beam_width=settings.beam_width,
    )
    for name in settings.audio:
        started = time.perf_counter()
        chunks = _chunks(name, settings.chunk_ms, transcriber.sample_rate)
        listen = _streamed if settings.chunk_ms or name == "-" else _whole
        text, seconds = listen(transcriber, chunks)
        print(text if len(settings.audio) == 1 else f"{name}: {text}", flush=True)
        if settings.timing:
            took = time.perf_counter() - started
            print(f"{seconds:.2f} s of audio in {took:.3f} s (real-time factor {took / max(seconds, 1e-9):.3f})")


def _whole(transcriber: Transcriber, chunks: Iterator[np.ndarray]) -> tuple[str, float]:
    samples = np.concatenate([np.zeros(0, np.int16), *chunks])
    return transcriber.transcribe(samples), len(samples) / transcriber.sample_rate


def _streamed(transcriber: Transcriber, chunks: Iterator[np.ndarray]) -> tuple[str, float]:
    """Feed chunk by chunk; on standard error a line whenever the text has changed."""
    stream, shown, samples = transcriber.stream(), "", 0
    for chunk in chunks:
        stream.feed(chunk)
        samples += len(chunk)
        text = stream.text()
        if text != shown:
            shown = text
            print(f"{samples / transcriber.sample_rate:8.2f} s  {text}", file=sys.stderr, flush=True)
    return stream.finish(), samples / transcriber.sample_rate


def _chunks(name: str, chunk_ms: int, sample_rate: int) -> Iterator[np.ndarray]:
    """The audio in pieces of `chunk_ms` (a fifth of a second from standard input, if not said otherwise)."""
    if name == "-":
        size = 2 * sample_rate * (chunk_ms or 200) // 1000
        while data := sys.stdin.buffer.read(size):
            yield np.frombuffer(data[: len(data) // 2 * 2], "<i2")
        return
    samples = read_audio(Path(name), sample_rate)
    size = sample_rate * chunk_ms // 1000 or max(1, len(samples))
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    command(
        TranscribeCommand,
        run,
        prog="python -m components.convert_openvino.transcribe",
        description="Transcribe audio with an OpenVINO IR of a DeepSpeech model.",
        argv=argv,
    )


if __name__ == "__main__":
    main()
