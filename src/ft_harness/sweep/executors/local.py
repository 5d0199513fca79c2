"""Points one after the other in this process, so that they share what is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ft_harness.sweep.executors.executor import Executor
from ft_harness.sweep.orders import Order, Work
from ft_harness.sweep.outcomes import Outcome


class LocalExecutor(Executor):
    """The executor in this process."""

    is_here = True

    def __init__(self, work: Work) -> None:
        self.work = work

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        for order in orders:
            yield from self.work(order)
