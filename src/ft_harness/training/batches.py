"""Which rows make a step and how a step is cut into batches: rows of like length together, the same
steps however cut.

A step is the effective batch: the rows between two updates of the weights. Its rows depend on the
    seed, the epoch and the effective batch alone, so that another micro-batch, or more processes
    with fewer rows each, learns the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader

_STEPS_SORTED_TOGETHER = 4  # more saves little padding and mixes rows less (decision 016)


@dataclass(frozen=True)
class Share:
    """How the rows of a step are divided into batches.

    Attributes:
        batch: rows that a process reads at once.
        accumulation: batches of a process in a step.
        rank: number of this process, from 0.
    """

    batch: int
    accumulation: int = 1
    processes: int = 1
    rank: int = 0

    @property
    def step(self) -> int:
        """Rows of a whole step."""
        return self.batch * self.accumulation * self.processes


def steps_of_epoch(lengths: Sequence[int], step: int, seed: int, epoch: int) -> list[list[int]]:
    """The row numbers of each step of an epoch, each row once.

    Rows are drawn at random into groups of steps; in a group they are sorted by length and cut into
    steps, the longest row of a step first; the order of the steps is drawn at random. The rows that
    fill no whole step are the last step.
    """
    # Python's own generator from a text: the same rows on every machine and with every release of
    # PyTorch.
    draw = random.Random(f"{seed}/{epoch}")
    rows = list(range(len(lengths)))
    draw.shuffle(rows)
    # Rows that fill no step come last, so that all steps but one are of the same size.
    whole = len(rows) - len(rows) % step
    steps: list[list[int]] = []
    for start in range(0, whole, group := step * _STEPS_SORTED_TOGETHER):
        ranked = _longest_first(rows[start : min(start + group, whole)], lengths)
        steps += [ranked[at : at + step] for at in range(0, len(ranked), step)]
    # Else each group would go from long rows to short ones, and the loss with it.
    draw.shuffle(steps)
    rest = rows[whole:]
    return [*steps, _longest_first(rest, lengths)] if rest else steps


def _longest_first(rows: Sequence[int], lengths: Sequence[int]) -> list[int]:
    # `sorted` is stable: rows of one length stay in the order in which they were drawn.
    return sorted(rows, key=lambda row: lengths[row], reverse=True)


class StepSampler:
    """Batches of row numbers for one process, step after step; PyTorch's `batch_sampler`.

    Each process has the same number of batches. Where rows are fewer than processes, at the end of
    an epoch, a process gets a batch of no rows.
    """

    def __init__(self, lengths: Sequence[int], share: Share, seed: int) -> None:
        self._lengths, self._share, self._seed, self._epoch = lengths, share, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self._lengths), self._share.step)
        return whole * self._share.accumulation + -(
            -rest // (self._share.batch * self._share.processes)
        )

    def __iter__(self) -> Iterator[list[int]]:
        share = self._share
        at_once = share.batch * share.processes
        for rows in steps_of_epoch(self._lengths, share.step, self._seed, self._epoch):
            for start in range(0, len(rows), at_once):
                # Every n-th row: sorted by length, the rows of all processes are alike long, and
                # none waits for another.
                yield rows[start : start + at_once][share.rank :: share.processes]


def step_loader(
    examples: Sequence[Any],
    collate: Callable[[Sequence[Any]], Any],
    sampler: StepSampler,
    *,
    pin: bool,
) -> DataLoader[Any]:
    """The batches of a training on the CPU, in the sampler's order.

    accelerate's own preparation of a loader would repeat rows of the first step where the last one
    can't be shared out evenly.

    Args:
        pin: memory from which a GPU copies quickly.
    """
    return DataLoader(examples, batch_sampler=sampler, collate_fn=collate, pin_memory=pin)  # type: ignore[arg-type]
