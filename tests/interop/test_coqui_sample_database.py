"""Sample databases that Coqui STT's own writer made, sample by sample against its own reader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech.clips.audio import ClipReader
from speech.clips.sample_database import read_sample_database
from speech.errors import InputError
from tests.fixtures import system
from tests.peers.environments import Peer

needs_libopus = system.needs("libopus")  # which the peer's own reader and writer load


@pytest.mark.parametrize("kind", ["wav", pytest.param("opus", marks=needs_libopus)])
def test_the_peers_samples(peer: Callable[[str], Peer], tones: Path, tmp_path: Path, kind: str) -> None:
    coqui, sdb = peer("coqui-training"), tmp_path / "x.sdb"
    assert coqui.drive("sample_database", "write", tones / "dev.csv", sdb, kind) == {"clips": 6}
    theirs = coqui.drive("sample_database", "read", sdb, tmp_path / "x.npz")["clips"]
    manifest = read_sample_database(sdb)
    assert [clip.transcript for clip in manifest] == [clip["transcript"] for clip in theirs]
    samples, reader = np.load(tmp_path / "x.npz"), ClipReader(manifest, 16_000)
    for number, clip in enumerate(manifest):
        ours = reader.samples(clip)
        assert round(clip.duration_s * 16_000) == len(ours) == len(samples[f"samples_{number}"])
        assert np.abs(ours.astype(int) - samples[f"samples_{number}"]).max() <= 1


@needs_libopus
def test_without_transcripts(peer: Callable[[str], Peer], tones: Path, tmp_path: Path) -> None:
    sdb = tmp_path / "noise.sdb"
    peer("coqui-training").drive("sample_database", "write", tones / "dev.csv", sdb, "opus", "--unlabeled")
    assert len(read_sample_database(sdb, labeled=False)) == 6
    with pytest.raises(InputError, match="no transcripts"):
        read_sample_database(sdb)
