"""Send the points of a sweep to where they run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ft_harness.data.files import Split
from ft_harness.models.memory import find_gpus, rss_bytes
from ft_harness.paths import results_dir
from ft_harness.pipeline.foresight import Foresight
from ft_harness.pipeline.point_runner import PointRunner, describe_lack
from ft_harness.pipeline.work import run_order, work_off
from ft_harness.storage import canonical_json
from ft_harness.sweep import Point
from ft_harness.sweep.executors import make_executor
from ft_harness.sweep.orders import Order, arrange
from ft_harness.sweep.outcomes import Outcome

_HOUR = 3600


class Dispatch:
    """Sends points of one sweep, once or several times, to an executor, which is a context.

    Args:
        runner: of this process, whose points were checked.
        executor: local, ray or slurm.
    """

    def __init__(self, runner: PointRunner, executor: str) -> None:
        self.runner, self.sweep = runner, runner.sweep
        self.identity = self.sweep.grid.identity()
        logs = results_dir(self.sweep.out) / "jobs" / self.sweep.grid.name
        here = partial(work_off, runner)
        self.executor = make_executor(executor, here, run_order, gpus=find_gpus(), logs=logs)
        self.memory: dict[str, int] = {}  # bytes of main memory that points are foreseen to take

    def run(
        self,
        points: Sequence[Point],
        splits: tuple[Split, ...] | None,
        max_hours: float | None = None,
    ) -> list[Outcome]:
        """An outcome for each point, in their order.

        Args:
            splits: what they are scored on; None: what their recipes say.
            max_hours: no point starts after this many hours; None: no limit.
        """
        until = None if max_hours is None else time.time() + max_hours * _HOUR
        found = {} if self.executor.is_here else self._leave_out(points)
        left = [point for point in points if point.name not in found]
        # in this process points keep their order, so that a sweep that is stopped is balanced
        groups = [left] if self.executor.is_here else arrange(left, trains=self.sweep.trains)
        if len(groups) > 1 and self.sweep.trains:
            self.runner.say(f"{self.sweep.grid.name}: bases are scored before the points are sent")
            bases = [self._order(group, splits, until) for group in _bases(left)]
            # what fails here is a reason of each point again
            list(self.executor.run([replace(each, base_only=True) for each in bases]))
        adapters = {point.name: point.adapter for point in points}
        for outcome in self._send([self._order(group, splits, until) for group in groups]):
            found[outcome.point] = outcome
            if outcome.adapter is not None:
                self.runner.folders[adapters[outcome.point]] = Path(outcome.adapter)
            said = "done" if outcome.reason is None else outcome.reason
            self.runner.say(f"point {len(found)} of {len(points)}, {outcome.point}: {said}")
        return [found[point.name] for point in points]

    def _leave_out(self, points: Sequence[Point]) -> dict[str, Outcome]:
        """Outcomes of the points that no machine has the main memory for; of the others it is known
        from now on, as far as it can be foreseen."""
        left_out: dict[str, Outcome] = {}
        if not (self.executor.reserves and self.sweep.trains):
            return left_out
        gpu, room = self.executor.has_gpus, self.executor.room
        on_gpu = sys.maxsize if gpu else None  # its memory is not known here
        foresight = Foresight(self.sweep, self.runner.reading, gpu=gpu, room=on_gpu)
        for point in points:
            memory = foresight.forecast(point, self.runner.checked[point.name]).memory
            if memory is None:
                continue
            # a GPU holds the rest: weights pass through main memory when they are loaded
            need = rss_bytes() + memory.footprint.weights if gpu else memory.need
            self.memory[point.name] = need
            if room is not None and need > room:
                reason = describe_lack(need, room)
                left_out[point.name] = Outcome(point=point.name, reason=reason)
        return left_out

    def _send(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        """Outcomes as they end. Where a process ended with several points, each is sent again
        alone, as some of them are finished."""
        whole = {name: order for order in orders for name in order.points}
        lost: list[str] = []
        for outcome in self.executor.run(orders):
            if outcome.is_lost and len(whole[outcome.point].points) > 1:
                lost.append(outcome.point)
            else:
                yield outcome
        for name in lost:
            folders = {adapter: str(path) for adapter, path in self.runner.folders.items()}
            yield from self.executor.run([replace(whole[name], points=(name,), folders=folders)])

    def _order(
        self, points: Sequence[Point], splits: tuple[Split, ...] | None, until: float | None
    ) -> Order:
        known = [self.memory[each.name] for each in points if each.name in self.memory]
        return Order(
            self.sweep.request,
            tuple(point.name for point in points),
            self.sweep.out,
            Path.cwd(),
            self.sweep.command,
            self.identity,
            self.sweep.trust_task_code,
            splits,
            {adapter: str(folder) for adapter, folder in self.runner.folders.items()},
            until=until,
            memory=max(known, default=None),
        )


def _bases(points: Sequence[Point]) -> list[list[Point]]:
    """A group for each base: points that together need all of its scores. Otherwise several
    machines would score it at the same time, each for itself."""
    groups: dict[str, dict[str, Point]] = {}
    for point in points:
        recipe, asked = point.recipe, point.recipe.resolved()
        drawn = recipe.train.seed if recipe.adapter.has_head else None  # a head is part of its base
        del asked["adapter"], asked["train"]
        base = canonical_json([asked["model"], drawn])
        groups.setdefault(base, {}).setdefault(canonical_json(asked), point)
    return [list(each.values()) for each in groups.values()]
