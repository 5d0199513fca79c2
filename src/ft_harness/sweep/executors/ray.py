"""Points as tasks of a Ray cluster: the one that RAY_ADDRESS names, else this machine alone."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# Read when Ray is imported: a cluster of our own is not to be reached from other machines. On
# Windows and macOS that is Ray's default.
if "RAY_ADDRESS" not in os.environ:
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)

from ft_harness.errors import ConfigError, first_line
from ft_harness.sweep.executors.executor import Executor
from ft_harness.sweep.orders import Order, Work
from ft_harness.sweep.outcomes import Outcome

RETRIES = 3  # of an order whose worker or machine died
_SECONDS = 10.0  # for a cluster to answer
_LOST = (WorkerCrashedError, NodeDiedError, OutOfMemoryError, LocalRayletDiedError)
# What the command has set for good neighbours and without telemetry holds for workers as well;
# nothing that may hold a secret: Ray keeps these in plain text
_PASSED_ON = (
    "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM",
    "TRANSFORMERS_VERBOSITY", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY",
    "HF_DATASETS_DISABLE_PROGRESS_BARS",
)  # fmt: skip


def make(work: Work, logs: Path) -> RayExecutor:
    """The executor; Ray keeps what workers print in its own folder."""
    return RayExecutor(work)


class RayExecutor(Executor):
    """A Ray cluster; a point has a GPU where there are some, else a share of the cores."""

    reserves = True

    def __init__(self, work: Work) -> None:
        self.work = work

    def __enter__(self) -> RayExecutor:
        """Connect.

        Raises:
            ConfigError: no cluster answers.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # else a task that was killed for memory is tried again for ever
        os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
        address = os.environ.get("RAY_ADDRESS", "local")
        host, _, port = address.removeprefix("ray://").rpartition(":")
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        stops = signal.getsignal(signal.SIGTERM)
        try:
            if host:  # Ray itself tries for many minutes
                socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
            ray.init(
                address,
                runtime_env={"env_vars": passed},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({"include_dashboard": False} if address == "local" else {}),
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"no Ray cluster answers at {address}: {first_line(error)}",
                "the address of a running cluster in RAY_ADDRESS",
                "start one with ray start, or unset RAY_ADDRESS for this machine alone",
            ) from error
        signal.signal(signal.SIGTERM, stops)  # Ray has put its own in place
        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.has_gpus = any(node.get("GPU") for node in self._nodes)
        self.room = round(max(node.get("memory", 0) for node in self._nodes))
        return self

    def close(self) -> None:
        ray.shutdown()

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        task = ray.remote(max_retries=RETRIES)(self.work)
        cores = self._cores(orders)
        sent: dict[Any, Order] = {}
        for order in orders:
            memory = {} if order.memory is None else {"memory": order.memory}
            asked = task.options(num_cpus=cores, num_gpus=int(self.has_gpus), **memory)
            sent[asked.remote(order)] = order
        while sent:
            try:
                (done,), _ = ray.wait(list(sent))
            except SystemError as error:  # of Python, for a signal that came within Ray's own code
                raise error.__cause__ or error from None
            order = sent.pop(done)
            try:
                yield from ray.get(done)
            except _LOST:
                yield from order.lose()
            except RayError as error:
                yield from order.fail(f"Ray: {first_line(error)}")

    def _cores(self, orders: Sequence[Order]) -> int:
        """Of one point: those that belong to a GPU, else its share of all that run at a time."""
        if self.has_gpus:
            return max(1, *(int(n.get("CPU", 1) // n["GPU"]) for n in self._nodes if n.get("GPU")))
        need = max((order.memory or 1 for order in orders), default=1)
        at_once = sum(max(1, int(node.get("memory", 0) // need)) for node in self._nodes)
        total = sum(node.get("CPU", 0) for node in self._nodes)
        share = int(total // min(len(orders) or 1, at_once))
        return max(1, min(share, *(int(node.get("CPU", 1)) for node in self._nodes)))
