"""Decode emissions with the reference decoder of this environment: ds_ctcdecoder or coqui_stt_ctcdecoder.

The emissions are the arrays of an .npz file: [T, A + 1] probabilities each, the blank last. Answers {"version",
"decode_s" (CPU), "wall_s", "results": {key: [{"confidence", "text", "tokens", "timesteps"}, best first]}}.
"""

from __future__ import annotations

import argparse
import time

import channel
import numpy as np

try:
    import ds_ctcdecoder as package
except ImportError:
    import coqui_stt_ctcdecoder as package


def decode_all(emissions: dict, options: argparse.Namespace) -> dict:
    # The packages' own wrappers decode strictly to text, and ds_ctcdecoder's drop tokens and timesteps.
    alphabet = package.UTF8Alphabet() if options.bytes_output_mode else package.Alphabet(options.alphabet)
    scorer = None
    if options.scorer:
        scorer = package.Scorer(options.lm_alpha, options.lm_beta, options.scorer, alphabet)
    hot_words = {word.encode(): float(boost) for word, boost in (pair.rsplit("=", 1) for pair in options.hot_words)}
    keys = sorted(emissions)
    lengths = [len(emissions[key]) for key in keys]
    batch = np.zeros([len(keys), max(lengths), emissions[keys[0]].shape[1]])  # [B, T, A + 1]
    for row, key in enumerate(keys):
        batch[row, : lengths[row]] = emissions[key]
    wall, cpu = time.perf_counter(), time.process_time()
    found = package.swigwrapper.ctc_beam_search_decoder_batch(
        batch,
        lengths,
        alphabet,
        options.beam_width,
        options.num_processes,
        options.cutoff_prob,
        options.cutoff_top_n,
        scorer,
        hot_words,
        options.num_results,
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    results = {keys[row]: [describe(candidate, alphabet) for candidate in found[row]] for row in range(len(keys))}
    return {"version": package.__version__, "decode_s": cpu, "wall_s": wall, "results": results}


def describe(candidate: object, alphabet: object) -> dict:
    spelled = super(type(alphabet), alphabet).Decode(candidate.tokens)
    return {
        "confidence": candidate.confidence,
        "text": spelled.decode("utf-8", "replace"),
        "tokens": [int(token) for token in candidate.tokens],
        "timesteps": [int(step) for step in candidate.timesteps],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emissions", required=True)
    parser.add_argument("--alphabet")
    parser.add_argument("--bytes_output_mode", action="store_true")
    parser.add_argument("--scorer")
    parser.add_argument("--lm_alpha", type=float, default=0.931289039105002)
    parser.add_argument("--lm_beta", type=float, default=1.1834137581510284)
    parser.add_argument("--beam_width", type=int, default=500)
    parser.add_argument("--cutoff_prob", type=float, default=1.0)
    parser.add_argument("--cutoff_top_n", type=int, default=300)
    parser.add_argument("--num_results", type=int, default=1)
    parser.add_argument("--num_processes", type=int, default=1)
    parser.add_argument("--hot_words", nargs="*", default=[], metavar="WORD=BOOST")
    options = parser.parse_args()
    with np.load(options.emissions) as file:
        emissions = {key: file[key] for key in file.files}
    channel.answer(decode_all(emissions, options))


if __name__ == "__main__":
    main()
