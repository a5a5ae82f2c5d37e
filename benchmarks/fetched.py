"""What Kubeflow's launcher fetches for each step, from the pipeline's graph and the sizes of its artifacts.

    python -m benchmarks.fetched --corpus_gb 300 --held_out 0.05

The launcher fetches every input artifact in full before a step starts. Models are those of n_hidden 2048.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import yaml

from pipelines.cluster import compiled
from pipelines.retrain import retrain

CLIP_BYTES = 150e3  # of a clip of Common Voice: 4.7 s of 16-bit samples at 16 kHz
ROW_BYTES = 600  # of a clip in a CSV, in the index and in the evaluation
MODEL_BYTES = {"model": 189e6, "mapped": 189e6, "tflite": 47e6, "ir": 95e6, "checkpoint": 567e6, "scorer": 1e9}
MODEL_BYTES["tuned_scorer"] = MODEL_BYTES["scorer"]


def sizes(corpus_bytes: float, held_out: float) -> dict[str, float]:
    """Bytes of each artifact, by name; dev and test are each `held_out` / 2 of the corpus."""
    clips = corpus_bytes / CLIP_BYTES
    audio = {
        "train_clips": corpus_bytes * (1 - held_out),
        "dev_clips": corpus_bytes * held_out / 2,
        "test_clips": corpus_bytes * held_out / 2,
    }
    tables = {"corpus": clips * ROW_BYTES, "evaluation": clips * held_out / 2 * ROW_BYTES}
    return {**MODEL_BYTES, **audio, **tables}


def fetched(spec: Mapping[str, Any], bytes_of: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Step -> input -> bytes."""
    return {
        step: {
            name: bytes_of[source["taskOutputArtifact"]["outputArtifactKey"]]
            for name, source in task.get("inputs", {}).get("artifacts", {}).items()
        }
        for step, task in spec["root"]["dag"]["tasks"].items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus_gb", type=float, default=300.0)
    parser.add_argument("--held_out", type=float, default=0.05, help="share of dev and test together")
    options = parser.parse_args()
    spec = next(yaml.safe_load_all(compiled.to_yaml(retrain)))
    table = fetched(spec, sizes(options.corpus_gb * 1e9, options.held_out))
    print("| step | GB | of which clips and tables |")
    print("|---|---:|---:|")
    total = of_corpus = 0.0
    for step, inputs in table.items():
        data = sum(size for name, size in inputs.items() if name.endswith("_clips") or name == "corpus")
        total, of_corpus = total + sum(inputs.values()), of_corpus + data
        print(f"| {step} | {sum(inputs.values()) / 1e9:.2f} | {data / 1e9:.2f} |")
    print(f"| all | {total / 1e9:.2f} | {of_corpus / 1e9:.2f} |")


if __name__ == "__main__":
    main()
