"""Steps of rows: each row once, like lengths together, the same rows however a step is cut or continued."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from accelerate import skip_first_batches
from torch.utils.data import DataLoader

from ft_harness.training.batches import Share, StepSampler, step_loader, steps_of_epoch

LENGTHS = [5, 9, 5, 7, 9, 6, 7, 8, 5, 6, 9, 8, 7, 6, 5, 8, 9, 7, 6, 5]  # 20 rows


def batches(
    share: Share, *, epoch: int = 0, seed: int = 3, lengths=tuple(LENGTHS)
) -> list[list[int]]:
    sampler = StepSampler(lengths, share, seed)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


@pytest.mark.parametrize(("rows", "step"), [(20, 8), (16, 8), (3, 8), (18, 1)])
def test_an_epoch_holds_each_row_once_in_whole_steps_and_a_rest(rows: int, step: int):
    steps = steps_of_epoch(LENGTHS[:rows], step, seed=0, epoch=0)
    assert sorted(row for each in steps for row in each) == list(range(rows))
    rest = rows % step
    assert [len(each) for each in steps] == [step] * (rows // step) + [rest] * bool(rest)


def test_seed_and_epoch_decide_the_order():
    first = steps_of_epoch(LENGTHS, 4, seed=0, epoch=0)
    assert first == steps_of_epoch(LENGTHS, 4, seed=0, epoch=0)
    others = [
        steps_of_epoch(LENGTHS, 4, seed, epoch)
        for seed, epoch in ((0, 1), (1, 0), (1, 1), (11, 1), (1, 11))
    ]
    assert len({str(order) for order in [first, *others]}) == 6


def test_rows_of_a_step_are_of_like_length_and_the_steps_in_no_order_of_length():
    """16 rows of each length 1 to 4 are 4 steps of 16, which are sorted together: a step of each length."""
    lengths = [1 + row % 4 for row in range(64)]
    orders = []
    for seed in range(10):
        steps = [
            [lengths[row] for row in step] for step in steps_of_epoch(lengths, 16, seed, epoch=0)
        ]
        assert sorted(steps) == [[length] * 16 for length in range(1, 5)]
        orders.append(steps)
    assert any(order != sorted(order) and order != sorted(order, reverse=True) for order in orders)


def test_the_longest_row_of_a_step_comes_first():
    for step in steps_of_epoch(LENGTHS, 8, seed=0, epoch=0):
        assert all(LENGTHS[a] >= LENGTHS[b] for a, b in pairwise(step))


@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (4, 2), (2, 4), (1, 8)])
def test_a_step_has_the_same_rows_however_it_is_cut(batch: int, accumulation: int):
    """20 rows: two steps of 8 and one of 4."""
    whole = steps_of_epoch(LENGTHS, 8, seed=3, epoch=0)
    found = batches(Share(batch, accumulation))
    windows = [found[at : at + accumulation] for at in range(0, len(found), accumulation)]
    assert [[row for each in window for row in each] for window in windows] == whole
    assert len(windows) == 3


@pytest.mark.parametrize(
    "rows", [20, 17, 19]
)  # 17 and 19 leave one row and three for the last step
def test_processes_share_a_step_without_a_row_twice(rows: int):
    lengths = LENGTHS[:rows]
    whole = steps_of_epoch(lengths, 8, seed=3, epoch=0)
    ranks = [batches(Share(2, 2, processes=2, rank=rank), lengths=lengths) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1])  # else one would wait for the other for ever
    for number, step in enumerate(whole):
        shared = [
            row for rank in ranks for each in rank[2 * number : 2 * number + 2] for row in each
        ]
        assert sorted(shared) == sorted(step)
    assert all(len(each) <= 2 for rank in ranks for each in rank)


def test_a_process_without_a_row_of_its_own_has_an_empty_batch():
    assert (
        batches(Share(2, 1, processes=4, rank=3), lengths=LENGTHS[:9])[-1] == []
    )  # 9 = 8 + 1 row for rank 0


@pytest.mark.parametrize("epoch", [0, 2])
def test_the_loader_goes_on_where_it_was_left(epoch: int):
    """Batches that were done are left out by accelerate's `skip_first_batches`, which reads none of them."""
    read: list[int] = []

    class Rows(Sequence[int]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, number: int) -> int:
            read.append(number)
            return number

    def loader() -> DataLoader:
        sampler = StepSampler(LENGTHS[:20], Share(2, 2), seed=3)
        sampler.set_epoch(epoch)
        return step_loader(Rows(), list, sampler, pin=False)

    whole = list(loader())
    steps = steps_of_epoch(LENGTHS[:20], 4, seed=3, epoch=epoch)
    assert whole == [step[at : at + 2] for step in steps for at in (0, 2)]
    read.clear()
    assert list(skip_first_batches(loader(), 4)) == whole[4:]
    assert read == [row for batch in whole[4:] for row in batch]
