"""How clips are grouped, and which are checked."""

from components.evaluate.model.emissions import MOST_BATCH_FRAMES, batches, sample_by_length


def test_batches_hold_every_clip_once_in_the_order_of_length() -> None:
    lengths = [30, 10, 20, 10, 50, 0]
    groups = batches(lengths, 4)
    assert groups == [[5, 1, 3, 2], [0, 4]]
    assert batches([], 4) == []


def test_long_clips_make_smaller_batches() -> None:
    long = MOST_BATCH_FRAMES // 3
    assert [len(group) for group in batches([long] * 7, 64)] == [3, 3, 1]
    assert batches([MOST_BATCH_FRAMES * 2], 64) == [[0]]  # one clip always goes
    padded = max(max([100, long * 2][number] for number in group) * len(group) for group in batches([100, long * 2], 9))
    assert padded <= MOST_BATCH_FRAMES


def test_checked_clips_are_spread_over_the_lengths() -> None:
    lengths = list(range(100, 0, -1))
    chosen = [lengths[number] for number in sample_by_length(lengths, 4)]
    assert chosen == [13, 38, 63, 88]
    assert sorted(sample_by_length([5, 6], 9)) == [0, 1]
    assert sample_by_length([], 3) == []
    assert sample_by_length([1, 2], 0) == []
