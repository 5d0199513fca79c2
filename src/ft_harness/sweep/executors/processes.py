"""Processes of this machine that share its cores: one for each GPU, which keeps the base that it
has loaded."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from threading import Thread

from ft_harness import processes
from ft_harness.sweep.executors.executor import Executor
from ft_harness.sweep.orders import Order, Work
from ft_harness.sweep.outcomes import Outcome


class ProcessExecutor(Executor):
    """The executor with one process for each GPU, which takes the next order when it is done with
    one."""

    has_gpus = True

    def __init__(self, work: Work, gpus: Sequence[str]) -> None:
        self.work, self.gpus = work, gpus

    def __enter__(self) -> ProcessExecutor:
        self._pools = {gpu: self._start(gpu) for gpu in self.gpus}
        return self

    def close(self) -> None:
        end_processes()
        for pool in self._pools.values():
            pool.shutdown()

    def run(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        waiting, idle = deque(orders), deque(self.gpus)
        running: dict[Future[Iterable[Outcome]], tuple[str, Order]] = {}
        while waiting or running:
            while waiting and idle:
                gpu, order = idle.popleft(), waiting.popleft()
                running[self._pools[gpu].submit(self.work, order)] = gpu, order
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                gpu, order = running.pop(future)
                idle.append(gpu)
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    self._pools[gpu] = self._start(gpu)
                    yield from order.lose()

    def _start(self, gpu: str) -> ProcessPoolExecutor:
        """A pool of one process that sees this GPU alone."""
        threads = max(1, len(os.sched_getaffinity(0)) // len(self.gpus))
        asked = os.environ.get(processes.THREADS, str(threads))
        return start_processes(1, {"CUDA_VISIBLE_DEVICES": gpu, processes.THREADS: asked})


def start_processes(count: int, variables: Mapping[str, str]) -> ProcessPoolExecutor:
    """A pool of processes of this machine that end with this one.

    Args:
        variables: of their environment, set before anything else is loaded.
    """
    begin = partial(_begin, variables)
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=begin)


def end_processes() -> None:
    """End all child processes, in the middle of what they do; else the end of this one waits."""
    for child in multiprocessing.active_children():
        child.terminate()


def _begin(variables: Mapping[str, str]) -> None:
    """What such a process does before torch is loaded."""
    os.environ.update(variables)
    processes.share_cores()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process where the one that started it was killed: its adapter's folder is free for
    the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
