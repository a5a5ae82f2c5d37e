"""Run by `reference_decoder` in an interpreter that has ds_ctcdecoder (Python 3.6 to 3.9): no other module of this
project is importable there. Reads the path of an .npz file a line, answers with the hypotheses as JSON.
"""

import json
import multiprocessing
import os
import sys
from pathlib import Path

import ds_ctcdecoder  # type: ignore[import-not-found]
import numpy as np


def main():  # type: ignore[no-untyped-def]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the package prints is no answer
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    alphabet = ds_ctcdecoder.Alphabet(job["alphabet"]) if job["alphabet"] else ds_ctcdecoder.UTF8Alphabet()
    scorer = ds_ctcdecoder.Scorer(*job["scorer"], alphabet) if job["scorer"] else None
    hot_words = {word.encode("utf-8"): boost for word, boost in job["hot_words"].items()}
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        with np.load(line.strip()) as arrays:
            clips = [arrays[name] for name in sorted(arrays.files)]
        batch = np.zeros([len(clips), max(1, max(map(len, clips))), clips[0].shape[1]])  # [B, T, C]
        for row, clip in enumerate(clips):
            batch[row, : len(clip)] = clip
        results = ds_ctcdecoder.swigwrapper.ctc_beam_search_decoder_batch(
            batch,
            [len(clip) for clip in clips],
            alphabet,
            job["beam_width"],
            job["num_processes"] or multiprocessing.cpu_count(),
            job["cutoff_prob"],
            job["cutoff_top_n"],
            scorer,
            hot_words,
            job["num_results"],
        )
        decode = super(type(alphabet), alphabet).Decode  # the package's own decodes strictly
        texts = [
            [(hypothesis.confidence, decode(hypothesis.tokens).decode("utf-8", "replace")) for hypothesis in hypotheses]
            for hypotheses in results
        ]
        print(json.dumps(texts), file=answers, flush=True)


if __name__ == "__main__":
    main()
