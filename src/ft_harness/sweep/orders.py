"""What a worker is sent: an order, which has the path of a recipe, and which of its points to
run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ft_harness.data.files import Split
from ft_harness.sweep.outcomes import Outcome
from ft_harness.sweep.points import Point
from ft_harness.sweep.request import Request


@dataclass(frozen=True)
class Order:
    """What a worker is sent: points that it runs one after the other; small, and without a model.

    Attributes:
        request: the recipe by its path, with what the command line changes.
        points: their names.
        out: the working folder, which whoever runs this shares.
        here: the folder that relative paths start from.
        splits: what points are scored on; None: what their recipes say.
        folders: adapter's name -> its folder, of those that are finished.
        base_only: the points' bases are scored, and nothing else is done.
        until: no point starts after this time, in seconds since 1970; None: no limit.
        identity: of all points, as the recipe's file may change meanwhile.
        memory: forecast bytes of main memory of a point; None: not known.
    """

    request: Request
    points: tuple[str, ...]
    out: Path
    here: Path
    command: str
    identity: str
    trust_task_code: bool = False
    splits: tuple[Split, ...] | None = None
    folders: Mapping[str, str] = field(default_factory=dict)
    base_only: bool = False
    until: float | None = None
    memory: int | None = None

    def fail(self, reason: str) -> list[Outcome]:
        """An outcome for each point, with the reason why there is nothing else."""
        return [Outcome(point=name, reason=reason) for name in self.points]

    def lose(self) -> list[Outcome]:
        """As `fail`, where the process ended in the middle of one of the points."""
        reason = "the process that ran it ended (killed, perhaps for memory)"
        return [Outcome(point=name, reason=reason, is_lost=True) for name in self.points]


Work = Callable[[Order], Iterable[Outcome]]


def arrange(points: Sequence[Point], *, trains: bool) -> list[list[Point]]:
    """Points as orders, in groups each for one process: those that score one adapter, and
    stretches, can't run at the same time. A group is where its first point is."""
    first: dict[str, str] = {}
    groups: dict[str, list[Point]] = {}
    for point in points:  # a stretch comes after the one that it goes on from
        own = point.adapter if trains else point.name
        first[own] = first.get(point.follows or own, own)
        groups.setdefault(first[own], []).append(point)
    return list(groups.values())
