"""Work off an order of a sweep's points, in this process or in a worker process."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Iterator
from contextlib import chdir
from functools import lru_cache
from pathlib import Path

from ft_harness.errors import ConfigError, FtHarnessError, InputError, StorageLostError, first_line
from ft_harness.paths import results_dir
from ft_harness.pipeline.point_runner import PointRunner, read_sweep
from ft_harness.storage import InUseError
from ft_harness.storage.escaping import one_line
from ft_harness.storage.terminal import worker_output
from ft_harness.sweep import Point, Request
from ft_harness.sweep.orders import Order
from ft_harness.sweep.outcomes import Outcome

_PATIENCE = 180.0  # seconds for a worker that is taken for dead to let its folder go
logger = logging.getLogger(__name__)


def work_off(runner: PointRunner, order: Order) -> Iterator[Outcome]:
    """One outcome for each point of an order; a point that fails ends no other.

    Raises:
        StorageLostError, ConfigError: the output folder is lost, or full, for every point.
    """
    runner.score_on(order.splits)
    runner.folders |= {name: Path(folder) for name, folder in order.folders.items()}
    points = {point.name: point for point in runner.sweep.grid.points}
    for name in order.points:
        if order.until is not None and time.time() >= order.until:
            yield Outcome(point=name, reason="not started: --max-hours had passed")
        else:
            yield _attempt(runner, points[name], base_only=order.base_only)


def _attempt(runner: PointRunner, point: Point, *, base_only: bool) -> Outcome:
    started = time.monotonic()
    while True:
        try:
            return runner.run(point, base_only=base_only)
        except (StorageLostError, ConfigError):
            raise
        except InUseError as error:
            if runner.is_alone or time.monotonic() - started > _PATIENCE:
                return Outcome(point=point.name, reason=_reason(error))
            time.sleep(1.0)
        except Exception as error:  # whatever a library raises of this point's settings
            return Outcome(point=point.name, reason=_reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, FtHarnessError):
        return error.what.partition("\n")[0]
    return f"{type(error).__name__}: {first_line(error)}"


def run_order(order: Order) -> list[Outcome]:
    """One outcome for each point of an order, whatever happens: for a process, perhaps on another
    machine, that shares nothing with the sender."""
    with worker_output(logger):
        return _run_order(order)


def _run_order(order: Order) -> list[Outcome]:
    try:
        for folder in (order.here, order.here / results_dir(order.out)):
            if not folder.is_dir():
                return order.fail(
                    f"{platform.node()} has no folder {folder}, which all machines of a sweep share"
                )
        with chdir(order.here):
            given = (order.request, order.out, order.command, order.trust_task_code)
            return list(work_off(_open_runner(*given, order.identity), order))
    except Exception as error:
        return order.fail(_reason(error))


@lru_cache(maxsize=1)  # the base that the last order has loaded serves the next one
def _open_runner(
    request: Request, out: Path, command: str, trust_task_code: bool, identity: str
) -> PointRunner:
    """A runner of points of the sweep that this identity was made of.

    Raises:
        InputError: the recipe makes other points by now.
    """
    sweep = read_sweep(request, out, command, trust_task_code)
    if sweep.grid.identity() != identity:
        raise InputError(
            f"{sweep.source}: changed since the sweep began",
            "the recipe as it was then",
            "run the same command again",
        )
    return PointRunner(sweep, lambda line: logger.info("%s", one_line(line)), is_alone=False)
