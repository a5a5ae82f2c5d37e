"""Which clips make a batch: complete, reproducible, of like lengths, and as large as they may be."""

from itertools import pairwise

import numpy as np
import pytest

from speech.nn.plans import BatchSize, padding, plan_shuffled, plan_sorted

SIZES = [BatchSize(32), BatchSize(frames=6400), BatchSize(16, 6400)]


def test_sorted_plans_go_from_short_to_long() -> None:
    n_frames = np.random.default_rng(0).integers(20, 400, 103)
    by_length = plan_sorted(n_frames, BatchSize(8))
    assert [len(batch) for batch in by_length] == [8] * 12 + [7]
    assert (np.diff(n_frames[np.concatenate(by_length)]) >= 0).all()


@pytest.mark.parametrize("size", SIZES)
def test_shuffled_plans_are_complete_and_follow_seed_and_epoch(size: BatchSize) -> None:
    n_frames = np.random.default_rng(0).integers(20, 400, 1003)
    plans = [plan_shuffled(n_frames, size, *key) for key in ((1, 1), (1, 1), (1, 2), (2, 1))]
    for plan in plans:
        assert sorted(np.concatenate(plan)) == list(range(1003))
    assert all((one == two).all() for one, two in zip(plans[0], plans[1], strict=True))
    for other in plans[2:]:
        same = {frozenset(batch) for batch in plans[0]} & {frozenset(batch) for batch in other}
        assert len(same) <= 2  # the shortest clips and the longest have few neighbours
    longest = [n_frames[batch].max() for batch in plans[0]]
    assert np.abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.5  # batches come in no order of length


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lengths", ["uniform", "lognormal"])
@pytest.mark.parametrize("clips", [700, 1000, 5000])
def test_padding_is_below_five_percent(size: BatchSize, lengths: str, clips: int) -> None:
    generator = np.random.default_rng(0)
    drawn = generator.uniform(50, 500, clips) if lengths == "uniform" else generator.lognormal(5.4, 0.4, clips)
    n_frames = np.clip(drawn, 30, 500).astype(int)  # up to 10 s, what an import keeps
    plan = plan_shuffled(n_frames, size, 1, 1)
    padded = np.sum([n_frames[batch].max() * len(batch) for batch in plan])
    assert padding(n_frames, plan) == pytest.approx(1 - n_frames.sum() / padded)
    assert 0 < padding(n_frames, plan) < 0.05


@pytest.mark.parametrize("clips", [200, 300, 500, 700])
def test_few_clips_are_shuffled_as_well(clips: int) -> None:
    n_frames = np.random.default_rng(0).integers(50, 500, clips)
    plans = [plan_shuffled(n_frames, BatchSize(32), 1, epoch) for epoch in (1, 2)]
    same = {frozenset(batch) for batch in plans[0]} & {frozenset(batch) for batch in plans[1]}
    assert len(same) <= 2


def test_batches_by_frames_are_full_and_not_too_large() -> None:
    n_frames = np.random.default_rng(0).integers(20, 400, 500)
    plan = plan_sorted(n_frames, BatchSize(frames=2000))
    costs = [n_frames[batch].max() * len(batch) for batch in plan]
    assert max(costs) <= 2000
    for batch, after in pairwise(plan):
        assert (len(batch) + 1) * n_frames[after[0]] > 2000
    assert max(len(batch) for batch in plan_sorted(n_frames, BatchSize(7, 2000))) == 7


def test_a_clip_longer_than_a_batch_is_alone() -> None:
    plan = plan_sorted(np.array([10, 5000, 10, 6000]), BatchSize(frames=100))
    assert [batch.tolist() for batch in plan] == [[0, 2], [1], [3]]
