"""Ask the scorer of ds_ctcdecoder or coqui_stt_ctcdecoder for conditional probabilities.

Queries are a JSON list of [words, from the sentence's beginning, with the sentence's end]. Answers the list of
ln p(last word | the others), -1000 where a word is unknown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import channel

try:
    import ds_ctcdecoder as package
except ImportError:
    import coqui_stt_ctcdecoder as package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scorer", required=True)
    parser.add_argument("--alphabet")
    parser.add_argument("--bytes_output_mode", action="store_true")
    parser.add_argument("--queries", required=True)
    options = parser.parse_args()
    alphabet = package.UTF8Alphabet() if options.bytes_output_mode else package.Alphabet(options.alphabet)
    scorer = package.Scorer(1.0, 1.0, options.scorer, alphabet)
    channel.answer(
        [
            scorer.get_log_cond_prob([word.encode() for word in words], bos, eos)
            for words, bos, eos in json.loads(Path(options.queries).read_text(encoding="utf-8"))
        ]
    )


if __name__ == "__main__":
    main()
