"""Emissions on disk."""

from pathlib import Path

import numpy as np

from components.evaluate.model.emission_cache import EmissionCache, clip_key


def emissions(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((frames, 3)).astype(np.float32)


def test_what_was_put_is_found_again_by_others(tmp_path: Path) -> None:
    first, second = emissions(4, 1), emissions(0, 2)
    EmissionCache(tmp_path, "ab" * 32, "batch", 3).put(["k1", "k2"], [first, second])
    EmissionCache(tmp_path, "ab" * 32, "batch", 3).put(["k3"], [emissions(2, 3)])
    cache = EmissionCache(tmp_path, "ab" * 32, "batch", 3)
    found = cache.get("k1", 4), cache.get("k2", 0), cache.get("k3", 2)
    assert all(one is not None for one in found)
    assert np.array_equal(found[0], first)
    assert found[1].shape == (0, 3)
    assert np.array_equal(found[2], emissions(2, 3))


def test_other_clips_models_engines_and_lengths_are_not_found(tmp_path: Path) -> None:
    EmissionCache(tmp_path, "ab" * 32, "batch", 3).put(["k1"], [emissions(4, 1)])
    assert EmissionCache(tmp_path, "ab" * 32, "batch", 3).get("k2", 4) is None
    assert EmissionCache(tmp_path, "ab" * 32, "batch", 3).get("k1", 5) is None
    assert EmissionCache(tmp_path, "cd" * 32, "batch", 3).get("k1", 4) is None
    assert EmissionCache(tmp_path, "ab" * 32, "file", 3).get("k1", 4) is None
    assert EmissionCache(tmp_path, "ab" * 32, "batch", 4).get("k1", 4) is None


def test_damaged_blocks_count_as_absent(tmp_path: Path) -> None:
    for number in range(4):
        EmissionCache(tmp_path, "ab" * 32, "batch", 3).put([f"k{number}"], [emissions(9, number)])
    blocks = sorted(tmp_path.rglob("*.npy"))
    blocks[0].write_bytes(blocks[0].read_bytes()[:-20])
    blocks[1].unlink()
    blocks[2].with_suffix(".json").write_text("[1]")
    cache = EmissionCache(tmp_path, "ab" * 32, "batch", 3)
    assert sum(cache.get(f"k{number}", 9) is not None for number in range(4)) == 1


def test_a_clip_is_known_by_its_audio() -> None:
    samples = np.arange(100, dtype=np.int16)
    assert clip_key(samples) == clip_key(np.arange(200, dtype=np.int16)[:100])
    assert clip_key(samples) != clip_key(samples[:99])
    assert clip_key(samples) != clip_key(samples[::-1])
