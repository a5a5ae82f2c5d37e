"""The decoder beside ds_ctcdecoder 0.9.3 and flashlight-text, on the same emissions.

    python benchmarks/decoding.py [--clips 60] [--beam_widths 100 500] [--repeats 3] [--flashlight_python PYTHON]

Synthetic emissions of about 300 frames and 29 classes, of two qualities, and the scorer of the tests. Utterances a CPU
second are of one thread, the best of the repeats, the decoders taking turns; then utterances a second by threads.
ds_ctcdecoder gets an environment of its own (Python 3.9 or older is needed); `--flashlight_python` is an interpreter
with `flashlight-text` and `kenlm` installed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from speech.decoding import beam_search  # noqa: E402
from speech.decoding.scorer import Scorer  # noqa: E402
from speech.metrics import ErrorCount, word_errors  # noqa: E402
from tests.fixtures.decoding import cases  # noqa: E402
from tests.fixtures.decoding.emissions import EASY, HARD, synthesize  # noqa: E402
from tests.fixtures.decoding.texts import make_sentences  # noqa: E402
from tests.peers.environments import Peer, PeerUnavailable, find  # noqa: E402

PRUNED = (0.9999, 300)  # cutoff_prob, cutoff_top_n
UNPRUNED = (1.0, 300)

FLASHLIGHT = """
import json, sys, time
import numpy as np
from flashlight.lib.text.decoder import (
    CriterionType, LexiconDecoder, LexiconDecoderOptions, SmearingMode, Trie)
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary
job = json.load(open(sys.argv[1]))
words, symbols = Dictionary(), job["symbols"]
for word in [*job["words"], "<unk>"]:
    words.add_entry(word)
lm = KenLM(job["scorer"], words)
silence, blank = symbols.index(" "), len(symbols)
trie = Trie(blank + 1, silence)
start = lm.start(False)
for word in job["words"]:
    index = words.get_index(word)
    trie.insert([symbols.index(letter) for letter in word] + [silence], index, lm.score(start, index)[1])
trie.smear(SmearingMode.MAX)
options = LexiconDecoderOptions(
    beam_size=job["beam_width"], beam_size_token=blank + 1, beam_threshold=50.0, lm_weight=job["alpha"] / 0.4342944819,
    word_score=job["beta"], unk_score=-float("inf"), sil_score=0.0, log_add=True, criterion_type=CriterionType.CTC)
decoder = LexiconDecoder(options, trie, lm, silence, blank, words.get_index("<unk>"), [], False)
with np.load(job["emissions"]) as file:
    emissions = [np.ascontiguousarray(np.log(file[key] + 1e-38)) for key in sorted(file.files)]
began, texts = time.process_time(), []
for clip in emissions:
    best = decoder.decode(clip.ctypes.data, *clip.shape)[0]
    texts.append(" ".join(words.get_entry(word) for word in best.words if word >= 0))
print(json.dumps({"cpu_s": time.process_time() - began, "texts": texts}))
"""


@dataclass(frozen=True)
class EmissionSet:
    """Emissions of one quality, in memory and on disk."""

    name: str
    transcripts: list[str]
    emissions: list[np.ndarray]
    path: Path


@dataclass(frozen=True)
class DecodingRun:
    """One decoding of all clips."""

    cpu_s: float
    texts: list[str]


Decoder = Callable[
    [EmissionSet, int, tuple[float, int], bool], DecodingRun
]  # clips, beam width, cutoffs, with the scorer


def make_clips(name: str, count: int, noise: float, seed: int, folder: Path) -> EmissionSet:
    """About 300 frames each."""
    transcripts = [" ".join(words) for words in make_sentences(cases.vocabulary(), count, (9, 12), seed)]
    emissions = [
        synthesize(cases.ALPHABET.encode(text).tolist(), len(cases.ALPHABET) + 1, noise, 10_000 * seed + number)
        for number, text in enumerate(transcripts)
    ]
    path = folder / f"{name}.npz"
    np.savez(path, **{f"{number:05d}": clip for number, clip in enumerate(emissions)})
    return EmissionSet(name, transcripts, emissions, path)


def ours(clips: EmissionSet, beam_width: int, cutoffs: tuple[float, int], with_scorer: bool) -> DecodingRun:
    """This project's decoder, one thread."""
    scorer = Scorer(cases.ALPHA, cases.BETA, cases.WORDS, cases.ALPHABET) if with_scorer else None
    began = time.process_time()
    results = beam_search.ctc_beam_search_decoder_batch(
        clips.emissions, None, cases.ALPHABET, beam_width, 1, *cutoffs, scorer
    )
    return DecodingRun(time.process_time() - began, [clip[0].transcript for clip in results])


def ds_ctcdecoder(peer: Peer, folder: Path) -> Decoder:
    """The reference, one thread."""
    alphabet = folder / "alphabet.txt"
    cases.ALPHABET.save(alphabet)

    def decode(clips: EmissionSet, beam_width: int, cutoffs: tuple[float, int], with_scorer: bool) -> DecodingRun:
        scorer = ["--scorer", cases.WORDS, "--lm_alpha", cases.ALPHA, "--lm_beta", cases.BETA] if with_scorer else []
        answer = peer.drive(
            "ctc_decoder", "--emissions", clips.path, "--alphabet", alphabet, "--beam_width", beam_width,
            "--cutoff_prob", cutoffs[0], "--cutoff_top_n", cutoffs[1], *scorer, timeout_s=3600,
        )  # fmt: skip
        return DecodingRun(answer["decode_s"], [answer["results"][key][0]["text"] for key in sorted(answer["results"])])

    return decode


def flashlight(python: str, folder: Path) -> Decoder:
    """flashlight-text's decoder with the same language model and vocabulary."""

    def decode(clips: EmissionSet, beam_width: int, cutoffs: tuple[float, int], with_scorer: bool) -> DecodingRun:
        job = {
            "symbols": cases.ALPHABET.symbols, "words": cases.vocabulary(), "scorer": str(cases.WORDS),
            "alpha": cases.ALPHA, "beta": cases.BETA, "beam_width": beam_width, "emissions": str(clips.path),
        }  # fmt: skip
        path = folder / "job.json"
        path.write_text(json.dumps(job))
        result = subprocess.run([python, "-c", FLASHLIGHT, str(path)], capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"flashlight-text failed: {result.stderr[-1000:]}")
        answer = json.loads(result.stdout.strip().splitlines()[-1])
        return DecodingRun(answer["cpu_s"], answer["texts"])

    return decode


def word_error_rate(transcripts: Sequence[str], texts: Sequence[str]) -> float:
    """All edits over all words."""
    return sum((word_errors(*pair) for pair in zip(transcripts, texts, strict=True)), ErrorCount(0, 0)).rate


def compare(decoders: dict[str, Decoder], sets: list[EmissionSet], beam_widths: Sequence[int], repeats: int) -> None:
    """Print the table of speeds and error rates."""
    settings = [(beam, UNPRUNED, True) for beam in beam_widths] + [(beam, PRUNED, True) for beam in beam_widths]
    settings += [(beam_widths[0], UNPRUNED, False)]
    print("| scorer | beam | cutoffs | clips | decoder | utterances a CPU second | times ds | WER | same as ds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for beam, cutoffs, with_scorer in settings:
        for clips in sets:
            wanted = {
                name: decode
                for name, decode in decoders.items()
                if name != "flashlight-text" or (with_scorer and cutoffs == UNPRUNED)
            }
            runs: dict[str, list[DecodingRun]] = {name: [] for name in wanted}
            for _ in range(repeats):
                for name, decode in wanted.items():
                    runs[name].append(decode(clips, beam, cutoffs, with_scorer))
            reference = runs.get("ds_ctcdecoder")
            for name, repetitions in runs.items():
                print(row(name, repetitions, reference, clips, beam, cutoffs, with_scorer), flush=True)


def row(
    name: str, runs: list[DecodingRun], reference: list[DecodingRun] | None,
    clips: EmissionSet, beam: int, cutoffs: tuple[float, int], with_scorer: bool,
) -> str:  # fmt: skip
    """One line of the table."""
    speed = len(clips.emissions) / min(run.cpu_s for run in runs)
    ratio = same = "-"
    if reference is not None:
        ratio = f"{min(run.cpu_s for run in reference) / min(run.cpu_s for run in runs):.2f}"
        agreeing = sum(ours == theirs for ours, theirs in zip(runs[0].texts, reference[0].texts, strict=True))
        same = f"{agreeing}/{len(clips.emissions)}"
    shown = "none" if cutoffs == UNPRUNED else f"{cutoffs[0]:g}, {cutoffs[1]}"
    rate = word_error_rate(clips.transcripts, runs[0].texts)
    scorer = "yes" if with_scorer else "no"
    return f"| {scorer} | {beam} | {shown} | {clips.name} | {name} | {speed:.1f} | {ratio} | {rate:.4f} | {same} |"


def scale(clips: EmissionSet, beam_width: int, repeats: int) -> None:
    """Print utterances a second by the number of threads."""
    scorer = Scorer(cases.ALPHA, cases.BETA, cases.WORDS, cases.ALPHABET)
    emissions = clips.emissions * 4
    cores = os.cpu_count() or 1
    print("\n| threads | utterances a second | times one thread | utterances a CPU second |")
    print("|---|---|---|---|")
    single = 0.0
    for threads in sorted({1, 2, *(n for n in (4, 8, 16, 32) if n < cores), cores}):
        best_wall, best_cpu = float("inf"), float("inf")
        for _ in range(repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            beam_search.ctc_beam_search_decoder_batch(
                emissions, None, cases.ALPHABET, beam_width, threads, *UNPRUNED, scorer
            )
            best_wall = min(best_wall, time.perf_counter() - wall)
            best_cpu = min(best_cpu, time.process_time() - cpu)
        speed = len(emissions) / best_wall
        single = single or speed
        print(f"| {threads} | {speed:.1f} | {speed / single:.2f} | {len(emissions) / best_cpu:.1f} |", flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--beam_widths", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flashlight_python", default="")
    options = parser.parse_args()
    if not beam_search.is_compiled():
        sys.exit("the decoder cannot be compiled here: there is nothing to measure")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = [make_clips("easy", options.clips, EASY, 1, folder), make_clips("hard", options.clips, HARD, 2, folder)]
        frames = np.mean([len(clip) for clips in sets for clip in clips.emissions])
        print(f"{options.clips} clips a set, {frames:.0f} frames on average, {os.cpu_count()} cores\n")
        decoders: dict[str, Decoder] = {"this decoder": ours}
        try:
            decoders["ds_ctcdecoder"] = ds_ctcdecoder(find("deepspeech"), folder)
        except PeerUnavailable as error:
            print(f"without ds_ctcdecoder: {error}\n")
        if options.flashlight_python:
            decoders["flashlight-text"] = flashlight(options.flashlight_python, folder)
        compare(decoders, sets, options.beam_widths, options.repeats)
        scale(sets[0], options.beam_widths[-1], options.repeats)


if __name__ == "__main__":
    main()
