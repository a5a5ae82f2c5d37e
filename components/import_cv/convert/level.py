"""How loud a clip is, and whether its recording was overdriven: two small numbers, measured where it is decoded."""

import math
from typing import NamedTuple

import numpy as np

FULL_SCALE = 32768.0
CLIPPED_FROM = 32700  # of a sample's 32767
FRAME_S = 0.05
EVERY = 4  # samples: enough for a power, and a quarter of the work
QUIETEST_DB = -120


class AudioLevel(NamedTuple):
    """The loudest 50 ms in dB of full scale (RMS), and how many of 10,000 samples are at full scale."""

    loudest_db: int
    clipped: int


SILENCE = AudioLevel(QUIETEST_DB, 0)


def level_of(samples: np.ndarray, sample_rate: int) -> AudioLevel:
    """The level of int16 samples `[N]`."""
    if not len(samples):
        return SILENCE
    some = samples[::EVERY].astype(np.float32)
    frame = min(len(some), max(1, round(FRAME_S * sample_rate / EVERY)))
    frames = some[: len(some) // frame * frame].reshape(-1, frame)  # [frames, samples]
    power = float(np.einsum("ij,ij->i", frames, frames).max()) / frame
    loudest_db = round(10 * math.log10(power / FULL_SCALE**2)) if power else QUIETEST_DB
    clipped = 0
    if power > 1e6 and (samples.max() >= CLIPPED_FROM or samples.min() <= -CLIPPED_FROM):  # nothing quiet gets there
        clipped = int(np.count_nonzero((samples >= CLIPPED_FROM) | (samples <= -CLIPPED_FROM)))
    return AudioLevel(max(loudest_db, QUIETEST_DB), round(10_000 * clipped / len(samples)))
