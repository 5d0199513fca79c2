"""Points as tasks of a Ray cluster: the one that RAY_ADDRESS names, else this machine alone."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
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

from ft_harness.errors import ConfigError, ResourceError, first_line
from ft_harness.sweep.executors.executor import Executor
from ft_harness.sweep.orders import Order, Work
from ft_harness.sweep.outcomes import Outcome

RETRIES = 3  # of an order whose worker or machine died
_NAMES = ("local", "auto")  # of a cluster of our own, and of the one that runs here
_SECONDS = 10.0  # for a cluster to answer
_LOOK = 5.0  # seconds between two looks at its head
_GONE = 20.0  # seconds without an answer of the head; after 60 Ray ends this process
_LOST = (WorkerCrashedError, NodeDiedError, OutOfMemoryError, LocalRayletDiedError)
# What the command has set for good neighbours and without telemetry holds for workers as well;
# nothing that may hold a secret: Ray keeps these in plain text
_PASSED_ON = (
    "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM",
    "TRANSFORMERS_VERBOSITY", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY",
    "HF_DATASETS_DISABLE_PROGRESS_BARS",
)  # fmt: skip


def make(work: Work, logs: Path) -> RayExecutor:
    """Make the executor on Ray; Ray keeps what workers print in its own folder."""
    return RayExecutor(work)


def _split(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or ray://HOST:PORT.

    Raises:
        ConfigError: one of them is missing.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(
            f"RAY_ADDRESS is {address}",
            "HOST:PORT, like head:6379, or that of Ray's client, like ray://HOST:10001",
            "add what is missing",
        )
    return host.strip("[]"), int(port)


def _connect(address: str) -> None:
    """Look whether an address answers.

    Raises:
        OSError: it doesn't.
        ConfigError: as `_split`.
    """
    socket.create_connection(_split(address), _SECONDS).close()


class RayExecutor(Executor):
    """The executor on a Ray cluster; a point has a GPU where there are some, else a share of the
    cores."""

    reserves = True

    def __init__(self, work: Work) -> None:
        self.work = work

    def __enter__(self) -> RayExecutor:
        """Connect.

        Raises:
            ConfigError: no cluster answers, or it has no machine for a point.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # else a task that was killed for memory is tried again for ever
        os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
        address = os.environ.get("RAY_ADDRESS", "local")
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        stops = signal.getsignal(signal.SIGTERM)
        try:
            if address not in _NAMES:  # Ray itself tries for many minutes
                _connect(address)
            ray.init(
                address,
                runtime_env={"env_vars": passed},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({"include_dashboard": False} if address == "local" else {}),
            )
        except (OSError, RuntimeError, ValueError, OverflowError) as error:
            if "InvalidAuthToken" in str(error.__cause__):
                raise ConfigError(
                    f"the Ray cluster at {address} asks for a token",
                    "RAY_AUTH_MODE=token, with the token in ~/.ray/auth_token or the file that "
                    "RAY_AUTH_TOKEN_PATH names",
                    "set them, see ray get-auth-token",
                ) from error
            raise ConfigError(
                f"no Ray cluster answers at {address}: {first_line(error)}",
                "the address of a running cluster in RAY_ADDRESS",
                "start one with ray start, or unset RAY_ADDRESS for this machine alone",
            ) from error
        signal.signal(signal.SIGTERM, stops)  # Ray has put its own in place
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.has_gpus = any(node.get("GPU") for node in nodes)
        needed = "GPU" if self.has_gpus else "CPU"  # a head may have none, and runs no point
        self._nodes = [node for node in nodes if node.get(needed, 0) >= 1]
        if not self._nodes:
            ray.shutdown()
            raise ConfigError(
                f"no machine of the Ray cluster at {address} has cores for a point",
                "a machine with one CPU at least, which a cluster that scales itself keeps with "
                "min_workers: 1",
                "add one with ray start --address, or unset RAY_ADDRESS for this machine alone",
            )
        self.room = round(max(node.get("memory", 0) for node in self._nodes))
        self._address = address
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
            done = self._wait(list(sent))
            order = sent.pop(done)
            try:
                yield from ray.get(done)
            except _LOST:
                yield from order.lose()
            except RayError as error:
                yield from order.fail(f"Ray: {first_line(error)}")

    def _wait(self, sent: list[Any]) -> Any:
        """What has ended of what was sent.

        Raises:
            ResourceError: the head has died.
        """
        is_client, answered = self._address.startswith("ray://"), time.monotonic()
        head = self._address if is_client else ray.get_runtime_context().gcs_address
        while True:
            try:
                done, _ = ray.wait(sent, timeout=_LOOK)
            except SystemError as error:  # of Python, for a signal that came within Ray's own code
                raise error.__cause__ or error from None
            if done:
                return done[0]
            try:
                _connect(head)
                answered = time.monotonic()
            except OSError as error:
                if time.monotonic() - answered > _GONE:
                    raise ResourceError(
                        f"the Ray cluster at {head} is gone: {first_line(error)}",
                        "a head that runs until the sweep is done",
                        "start the cluster again and run the same command again, which goes on",
                    ) from error

    def _cores(self, orders: Sequence[Order]) -> int:
        """Of one point: those that belong to a GPU, else its share of all that run at a time."""
        if self.has_gpus:
            # of the machine with the fewest: one with less than is asked for would stay idle
            return max(1, min(int(node.get("CPU", 1) // node["GPU"]) for node in self._nodes))
        need = max((order.memory or 1 for order in orders), default=1)
        at_once = sum(max(1, int(node.get("memory", 0) // need)) for node in self._nodes)
        total = sum(node["CPU"] for node in self._nodes)
        share = int(total // min(len(orders) or 1, at_once))
        return max(1, min(share, *(int(node["CPU"]) for node in self._nodes)))
