"""Trains a small model for a few steps and prints what came of it: `DEVICES PARTS`; TF_CONFIG for several workers."""

import json
import sys

import numpy as np
import tensorflow as tf

from speech.geometry import Geometry
from speech.model_files.variables import initial_weights
from speech.nn import devices
from speech.nn.batches import Batch, Worker
from speech.nn.dropout import DropoutRates
from speech.nn.input_scaling import InputScaling
from speech.nn.snapshots import Snapshot
from speech.nn.training import Adam, Trainer

STEPS, CLIPS, FRAMES = 6, 5, 20
SCALING = InputScaling(np.linspace(-2, 2, 26), np.linspace(0.5, 3, 26))


def batch(number: int, share: range) -> Batch:
    """The worker's share of a batch that is the same for all."""
    generator = np.random.default_rng(number)
    features = generator.normal(0, 2, (CLIPS, FRAMES, 26)).astype(np.float32)
    labels = generator.integers(0, 5, (CLIPS, 6)).astype(np.int32)
    rows = slice(share.start, share.stop)
    counts = tf.fill([len(share)], FRAMES), tf.fill([len(share)], 6)
    tensors = tf.constant(features[rows]), counts[0], tf.constant(labels[rows]), counts[1]
    return Batch(number, np.arange(CLIPS)[rows], *tensors, first_clip=share.start)


def main() -> None:
    here = devices.configure(sys.argv[1], 1, 1, False)
    share = Worker(here.worker, here.n_workers).share(CLIPS)
    geometry = Geometry(16, 5)
    start = Snapshot(geometry, initial_weights(geometry, 1))
    dropout = DropoutRates(0.2, 0.1, 0.1, 0.3)
    trainer = Trainer(start, Adam(), dropout, 0.01, 3, devices=here, parts=int(sys.argv[2]), scaling=SCALING)
    results = [trainer.train(batch(number, share), stop=here.worker == 1 and number == 3) for number in range(STEPS)]
    weights = {name: value.ravel()[:50].tolist() for name, value in trainer.snapshot({}).weights.items()}
    trainer.restore(known_checkpoint(trainer) if here.is_chief else None)
    answer = {
        "devices": here.strategy.num_replicas_in_sync,
        "chief": here.is_chief,
        "mean_losses": [result.mean_loss for result in results],
        "stops": [result.stop for result in results],
        "clips": [result.n_clips for result in results],
        "global_step": trainer.global_step,
        "sum": trainer.sum_of_workers(np.array([1.0, here.worker])).tolist(),
        "weights": weights,
        "restored": float(trainer.snapshot({}).weights["layer_1/bias"].sum()),
    }
    print(json.dumps(answer), flush=True)


def known_checkpoint(trainer: Trainer) -> Snapshot:
    """A checkpoint to go back to, whose first bias is known."""
    snapshot = trainer.snapshot({})
    snapshot.weights["layer_1/bias"] = np.full(16, 0.25, np.float32)
    return snapshot


if __name__ == "__main__":
    main()
