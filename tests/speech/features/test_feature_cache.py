"""The cache of features: kept over runs, dropped with other data, whole after a kill."""

from pathlib import Path

import numpy as np
import pytest

from speech.errors import InputError
from speech.features.feature_cache import FeatureCache, FeatureMemory


def features(seed: int, frames: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 26)).astype(np.float32)


def filled(prefix: Path, key: str = "abc") -> FeatureCache:
    cache = FeatureCache(str(prefix), key, 26)
    for position, frames in ((7, 3), (0, 0), (2, 9)):
        cache.put(position, features(position, frames))
    return cache


def test_what_was_put_comes_back_also_in_the_next_run(tmp_path: Path) -> None:
    first = filled(tmp_path / "deep" / "c")
    assert first.get(1) is None
    first.close()
    for cache in (FeatureCache(str(tmp_path / "deep" / "c"), "abc", 26),):
        assert len(cache) == 3
        for position, frames in ((7, 3), (0, 0), (2, 9)):
            np.testing.assert_array_equal(cache.get(position), features(position, frames))
        cache.put(1, features(1, 4))
        np.testing.assert_array_equal(cache.get(1), features(1, 4))


def test_a_file_that_is_no_cache_stays(tmp_path: Path) -> None:
    (tmp_path / "c.features").write_text("frame;pitch;energy\n")
    with pytest.raises(InputError, match=r"c\.features: not a cache of features, so it stays"):
        FeatureCache(str(tmp_path / "c"), "abc", 26)
    assert (tmp_path / "c.features").read_text() == "frame;pitch;energy\n"
    (tmp_path / "d.features").write_bytes(b"ab")  # a kill in its first write
    assert len(filled(tmp_path / "d")) == 3


def test_other_data_start_anew(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    cache = FeatureCache(str(tmp_path / "c"), "abd", 26)
    assert len(cache) == 0
    cache.put(7, features(1, 2))
    cache.close()
    np.testing.assert_array_equal(FeatureCache(str(tmp_path / "c"), "abd", 26).get(7), features(1, 2))


@pytest.mark.parametrize("cut", [1, 9 * 26 * 4, 9 * 26 * 4 + 3])
def test_a_record_that_was_cut_off_is_dropped(tmp_path: Path, cut: int) -> None:
    filled(tmp_path / "c").close()
    path = tmp_path / "c.features"
    path.write_bytes(path.read_bytes()[:-cut])
    cache = FeatureCache(str(tmp_path / "c"), "abc", 26)
    assert (len(cache), cache.get(2)) == (2, None)
    cache.put(2, features(5, 1))
    cache.close()
    np.testing.assert_array_equal(FeatureCache(str(tmp_path / "c"), "abc", 26).get(2), features(5, 1))


def test_a_flipped_bit_is_dropped(tmp_path: Path) -> None:
    filled(tmp_path / "c").close()
    path = tmp_path / "c.features"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert len(FeatureCache(str(tmp_path / "c"), "abc", 26)) == 2


def test_clear(tmp_path: Path) -> None:
    cache = filled(tmp_path / "c")
    cache.clear()
    assert (len(cache), cache.get(7)) == (0, None)
    cache.put(7, features(1, 2))
    np.testing.assert_array_equal(cache.get(7), features(1, 2))


def test_memory_holds_what_fits() -> None:
    memory = FeatureMemory(26 * 4 * 5)
    for position, frames in ((7, 3), (2, 9), (1, 2), (0, 1), (7, 3)):
        memory.put(position, features(position, frames))
    assert len(memory) == 2
    np.testing.assert_array_equal(memory.get(7), features(7, 3))
    assert memory.get(2) is None
    memory.clear()
    assert memory.get(7) is None
    memory.put(3, features(3, 5))
    assert len(memory) == 1
