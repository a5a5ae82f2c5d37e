"""The noise of dropout: its rate, and that it belongs to clips and not to devices."""

import numpy as np
import pytest
import tensorflow as tf

from speech.nn.dropout import Noise

FRAMES, BATCH, WIDTH = 11, 6, 50


def kept(step: int = 3, first_clip: int = 0, batch: int = BATCH, *, rate: float = 0.3, layer: int = 1, seed: int = 5):
    noise = Noise(tf.constant(seed), tf.constant(step, tf.int64), tf.constant(first_clip))
    drawn = noise.kept(rate, layer, tf.constant(FRAMES), tf.constant(batch), WIDTH)
    return drawn.numpy().reshape(FRAMES, batch, WIDTH)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_the_rate_is_kept(rate: float) -> None:
    noise = Noise(tf.constant(1), tf.constant(1), tf.constant(0))
    drawn = noise.kept(rate, 0, tf.constant(200), tf.constant(10), 256).numpy()
    assert drawn.shape == (2000, 256)
    assert drawn.mean() == pytest.approx(1 - rate, abs=0.002)
    assert drawn.mean(0).std() < 0.02  # no column is favoured


def test_any_part_of_a_batch_draws_what_the_whole_draws() -> None:
    whole = kept()
    for first, count in ((0, 2), (2, 3), (5, 1)):
        np.testing.assert_array_equal(kept(first_clip=first, batch=count), whole[:, first : first + count])


def test_steps_layers_seeds_and_clips_differ() -> None:
    draws = [kept(), kept(step=4), kept(layer=2), kept(seed=6), kept(first_clip=1)]
    for number, one in enumerate(draws):
        for two in draws[:number]:
            assert 0.4 < np.mean(one == two) < 0.7  # 0.58 is chance
    assert not (draws[0][:, 0] == draws[0][:, 1]).all()
