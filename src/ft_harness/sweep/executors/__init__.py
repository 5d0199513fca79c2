"""Where the points of a sweep run: in this process, or elsewhere by the path of the recipe.

An executor is given points and gives back an outcome for each; what a point makes is on disk, so
that an outcome is small and can be sent as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ft_harness.sweep.executors.local import LocalExecutor
from ft_harness.sweep.outcomes import Outcome
from ft_harness.sweep.points import Point

__all__ = ["Executor", "LocalExecutor"]


class Executor(Protocol):
    """What runs points."""

    def run(self, points: Sequence[Point]) -> Iterator[Outcome]:
        """One outcome for each point, as they end; a point that fails ends no other."""
        ...
