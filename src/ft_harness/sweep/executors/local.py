"""Points one after the other in this process, so that they share what is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ft_harness.errors import ConfigError, FtHarnessError, StorageLostError, first_line
from ft_harness.sweep.outcomes import Outcome
from ft_harness.sweep.points import Point


@dataclass(frozen=True)
class LocalExecutor:
    """This process.

    Attributes:
        work: runs one point.
        max_hours: no point is started later; None: all are.
    """

    work: Callable[[Point], Outcome]
    max_hours: float | None = None
    clock: Callable[[], float] = time.monotonic

    def run(self, points: Sequence[Point]) -> Iterator[Outcome]:
        """One outcome for each point in its order; a point that fails ends no other.

        Raises:
            StorageLostError, ConfigError: the output folder is lost, or full, for every point.
        """
        started = self.clock()
        for point in points:
            hours = (self.clock() - started) / 3600
            if self.max_hours is not None and hours >= self.max_hours:
                reason = f"not started: {self.max_hours:g} hours were over"
                yield Outcome(point=point.name, reason=reason, is_started=False)
                continue
            yield self._attempt(point)

    def _attempt(self, point: Point) -> Outcome:
        try:
            return self.work(point)
        except (StorageLostError, ConfigError):
            raise
        except FtHarnessError as error:
            reason = error.what.partition("\n")[0]
        except Exception as error:  # whatever a library raises of this point's settings
            reason = f"{type(error).__name__}: {first_line(error)}"
        return Outcome(point=point.name, reason=reason)
