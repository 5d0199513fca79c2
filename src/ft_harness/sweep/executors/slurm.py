"""Points as jobs of a Slurm array, through submitit.

What a job asks for besides memory is set by Slurm's own variables, which sbatch reads:
SBATCH_PARTITION, SBATCH_GPUS_PER_NODE, SBATCH_TIMELIMIT, SBATCH_ACCOUNT.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError, UncompletedJobError
from submitit.helpers import Checkpointable, as_completed

from ft_harness.errors import ConfigError, first_line
from ft_harness.sweep.executors.executor import Executor
from ft_harness.sweep.orders import Order, Work
from ft_harness.sweep.outcomes import Outcome

ATTEMPTS = 4  # of an order whose job ended without a result
CLUSTER = "slurm"  # "local" for processes of this machine
_DAY = 24 * 60  # minutes, unless SBATCH_TIMELIMIT says otherwise
_POLL = 1.0  # seconds between two looks at the folder; Slurm itself is asked less often
_GIB = 2**30
_ASK_FOR_GPUS = ("SBATCH_GPUS", "SBATCH_GPUS_PER_NODE", "SBATCH_GPUS_PER_TASK", "SBATCH_GRES")


def make(work: Work, logs: Path) -> SlurmExecutor:
    """Make the executor on Slurm."""
    return SlurmExecutor(work, logs)


class _Job(Checkpointable):  # type: ignore[misc]
    """Works off an order; Slurm may stop it for another job, or for its time, and goes on later."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, order: Order) -> list[Outcome]:
        return list(self.work(order))


class SlurmExecutor(Executor):
    """The executor on a Slurm cluster; `logs` has what its jobs print."""

    reserves = True

    def __init__(self, work: Work, logs: Path) -> None:
        self.work, self.logs = work, logs
        self.has_gpus = any(os.environ.get(name) for name in _ASK_FOR_GPUS)
        self._jobs: list[submitit.Job[list[Outcome]]] = []

    def __enter__(self) -> SlurmExecutor:
        """Find Slurm.

        Raises:
            ConfigError: its commands are not here.
        """
        try:
            self._executor = submitit.AutoExecutor(self.logs, cluster=CLUSTER)
        except RuntimeError as error:
            raise ConfigError(
                f"--executor slurm: {first_line(error)}",
                "Slurm's commands sbatch and srun",
                "start the sweep where jobs are submitted, or leave --executor out",
            ) from error
        return self

    def close(self) -> None:
        for job in self._jobs:
            if not job.done():
                job.cancel()

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        left = list(orders)
        for _ in range(ATTEMPTS):
            sent = dict(zip(self._submit(left), left, strict=True))
            left = []
            for job in as_completed(list(sent), poll_frequency=_POLL):
                try:
                    yield from job.result()
                except FailedJobError as error:  # the code itself can't be loaded there
                    yield from sent[job].fail(f"job {job.job_id}: {first_line(error)}")
                except UncompletedJobError:  # killed
                    left.append(sent[job])
            if not left:
                return
        for order in left:
            yield from order.lose()

    def _submit(self, orders: Sequence[Order]) -> list[submitit.Job[list[Outcome]]]:
        """The orders as one array, whose jobs all have the memory of the largest."""
        known = [order.memory for order in orders if order.memory is not None]
        memory = {"mem_gb": max(known) / _GIB} if known else {}
        self._executor.update_parameters(name="ft-harness", timeout_min=_DAY, **memory)
        with self._executor.batch():
            self._jobs = [self._executor.submit(_Job(self.work), order) for order in orders]
        return self._jobs
