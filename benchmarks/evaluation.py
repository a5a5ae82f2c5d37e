"""What the evaluation costs beside the acoustic model's own batch time.

`python benchmarks/evaluation.py [CLIPS] [N_HIDDEN]`: random weights and noise, so the texts mean nothing.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.evaluate import step
from components.evaluate.model.emissions import batches
from components.evaluate.settings import EvaluateSettings
from speech.alphabet import Alphabet
from speech.artifacts import Evaluation
from speech.clips.audio import wav_header
from speech.clips.manifest import Clip, write_manifest
from speech.geometry import Geometry
from speech.model_files.variables import weight_shapes
from speech.nn.graph import Metadata, streaming_graph
from speech.nn.runners.checkpoint_model import BatchedModel

CLIP_S = 3.0
ALPHABET = Alphabet(tuple(" abcdefghijklmnopqrstuvwxyz'"))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Make a model and a corpus, measure, print the table."""
    n_clips, n_hidden = (int(argument) for argument in (sys.argv[1:] + ["1000", "2048"][len(sys.argv) - 1 :])[:2])
    geometry = Geometry(n_hidden=n_hidden, n_labels=len(ALPHABET))
    generator = np.random.default_rng(0)
    shapes = weight_shapes(geometry).items()
    weights = {name: generator.normal(0, shape[0] ** -0.5, shape).astype(np.float32) for name, shape in shapes}
    noise = generator.normal(0, 2000, int(CLIP_S * geometry.audio_sample_rate) + n_clips).astype(np.int16)
    samples = [noise[start : start + int(CLIP_S * geometry.audio_sample_rate)] for start in range(n_clips)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        graph = streaming_graph(weights, geometry, ALPHABET, 16, Metadata())
        (folder / "output_graph.pb").write_bytes(graph.SerializeToString())
        clips = []
        for number, clip in enumerate(samples):
            data = wav_header(len(clip), geometry.audio_sample_rate) + clip.tobytes()
            (folder / f"{number}.wav").write_bytes(data)
            words = ["".join(generator.choice(list("abcdefgh"), 5)) for _ in range(6)]
            clips.append(Clip(f"{number}.wav", len(data), " ".join(words), CLIP_S))
        write_manifest(folder / "test.csv", clips)

        settings = EvaluateSettings(report_count=0)
        model = BatchedModel(geometry, weights)
        model.emissions(samples[:2])
        frames = [geometry.n_frames(len(clip)) for clip in samples]

        def model_alone() -> None:
            for batch in batches(frames, settings.test_batch_size):
                model.emissions([samples[number] for number in batch])

        alone = timed(model_alone)
        whole = timed(lambda: step.run(settings, folder / "output_graph.pb", [folder / "test.csv"], folder / "out"))
        inside_s = Evaluation.open(folder / "out").scores["emissions"]["emissions_s"]
    print(f"{n_clips} clips of {CLIP_S:g} s, n_hidden {n_hidden}, batches of {settings.test_batch_size}")
    print(f"{'':38}{'clock s':>10}{'CPU s':>10}")
    print(f"{'the model alone':38}{alone[0]:10.1f}{alone[1]:10.1f}")
    print(f"{'the evaluate step':38}{whole[0]:10.1f}{whole[1]:10.1f}")
    print(f"{'  of which the model on all clips':38}{inside_s:10.1f}")
    print(f"{'more than the model alone':38}{whole[0] / alone[0] - 1:10.1%}{whole[1] / alone[1] - 1:10.1%}")
    print(f"{'more than the model in the same run':38}{whole[0] / inside_s - 1:10.1%}")


if __name__ == "__main__":
    main()
