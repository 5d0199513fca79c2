"""The demo: the bundled recipes, several at the same time where there are cores for it, in one
report."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from concurrent.futures import wait
from contextlib import redirect_stderr
from pathlib import Path

from ft_harness import processes
from ft_harness.comparison.aggregator import Study
from ft_harness.paths import bundled_recipe
from ft_harness.pipeline.experiment import Experiment, Say
from ft_harness.pipeline.finished import find_finished
from ft_harness.pipeline.identity import gpu_devices
from ft_harness.pipeline.report_files import open_folder
from ft_harness.pipeline.run_or_reuse import run
from ft_harness.recipe import load_recipe
from ft_harness.storage.escaping import one_line
from ft_harness.storage.terminal import WholeLines, worker_output
from ft_harness.sweep.executors.processes import end_processes, start_processes

COMMAND = "ft-harness demo"
# in the order of the report; the last one takes longest
NAMES = ("demo-sentiment", "demo-nli", "demo-qa")
_AT_ONCE = 2
logger = logging.getLogger(__name__)


def demo(out: Path, say: Say) -> tuple[Study, Path]:
    """The bundled experiments: one adapter for each task on the bundled model, in one report."""
    experiments = [_experiment(name, out) for name in NAMES]
    left = [each for each in experiments if find_finished(each) is None]
    # A core alone trains a model of this size nearly as quickly as two cores together.
    is_shared = processes.count() == 1 and processes.core_count() >= _AT_ONCE
    if len(left) > 1 and is_shared and not gpu_devices():
        open_folder(out, "demo")  # its faults come before anything is run
        _run_at_once(left, say)
        # whatever went wrong in there is met again, and reported, by the run below
        if all(find_finished(each) for each in left):
            return run(experiments, "demo", lambda line: None, command=COMMAND)
    return run(experiments, "demo", say, command=COMMAND)


def _experiment(name: str, out: Path) -> Experiment:
    file = bundled_recipe(name)
    return Experiment(name, load_recipe(file), file, out, COMMAND)


def _run_at_once(experiments: Sequence[Experiment], say: Say) -> None:
    """Run experiments in processes with their share of the cores, each with a report of its own."""
    names = [each.name for each in reversed(experiments)]
    say(f"{', '.join(names)}: {_AT_ONCE} of them at the same time")
    threads = {processes.THREADS: str(processes.core_count() // _AT_ONCE)}
    with start_processes(_AT_ONCE, threads) as pool:
        try:
            wait([pool.submit(_run_alone, name, experiments[0].out) for name in names])
        except BaseException:  # a signal, too
            end_processes()
            raise


def _run_alone(name: str, out: Path) -> None:
    """Run one experiment in a process that knows nothing of the one that started it."""
    with redirect_stderr(WholeLines(sys.stderr)), worker_output(logger):
        run([_experiment(name, out)], name, lambda line: logger.info("%s", one_line(line)))
