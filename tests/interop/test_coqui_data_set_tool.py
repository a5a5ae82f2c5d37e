"""Sample databases made here, sample by sample by Coqui STT's own reader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.train.peers import data_set_tool
from speech.clips.audio import ClipReader
from speech.clips.sample_database import read_sample_database
from tests.fixtures import system
from tests.peers.environments import Peer

needs_libopus = system.needs("libopus")  # which the peer's own reader and writer load


@pytest.mark.parametrize("kind", ["wav", pytest.param("opus", marks=needs_libopus)])
def test_the_peer_reads_ours(peer: Callable[[str], Peer], tones: Path, tmp_path: Path, kind: str) -> None:
    ours = tmp_path / "x.sdb"
    data_set_tool.main([str(tones / "dev.csv"), str(ours), "--audio_type", kind])
    theirs = peer("coqui-training").drive("sample_database", "read", ours, tmp_path / "x.npz")["clips"]
    manifest = read_sample_database(ours)
    assert [(clip["transcript"], clip["rate"]) for clip in theirs] == [(clip.transcript, 16_000) for clip in manifest]
    samples, reader = np.load(tmp_path / "x.npz"), ClipReader(manifest, 16_000)
    for number, clip in enumerate(manifest):
        heard = samples[f"samples_{number}"]
        assert len(heard) == round(clip.duration_s * 16_000)
        assert np.abs(reader.samples(clip).astype(int) - heard).max() <= 1
