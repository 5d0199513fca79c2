"""What all executors have in common: their base class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from ft_harness.sweep.orders import Order
from ft_harness.sweep.outcomes import Outcome


class Executor(AbstractContextManager["Executor"], ABC):
    """The base class of executors, which run orders; as a context manager it keeps the connection
    to where they run.

    Attributes:
        is_here: everything runs in this process, one point after the other.
        has_gpus: a point has a GPU.
        reserves: a point is given its forecast main memory.
        room: bytes of main memory that the largest machine has for a point; None: not known.
    """

    is_here = False
    has_gpus = False
    reserves = False
    room: int | None = None

    @abstractmethod
    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        """One outcome for each point, as they end; a point that fails ends no other."""

    def __exit__(self, *caught: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything that runs: each interrupted process saves its own state."""
