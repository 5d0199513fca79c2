"""What may come of an input: one of our errors, or a result; within time and memory."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings

from ft_harness.errors import FtHarnessError
from ft_harness.storage.escaping import one_line
from tests.fuzz.conftest import PROFILE

T = TypeVar("T")
SECONDS = 60  # of a busy machine; ours take a few milliseconds
BYTES = 2 << 30  # on top of what the process has
_TIMES = {"ci": 1, "hour": 30}


class HangError(BaseException):
    """An input took too long. No Exception, so that nothing catches it."""


def examples(count: int) -> Any:
    """A decorator: a test tries so many inputs in CI, thirty times as many in an hour."""
    return settings(max_examples=count * _TIMES[PROFILE])


def _stop(*_: Any) -> None:
    raise HangError(f"more than {SECONDS} seconds")


@contextmanager
def bounded() -> Iterator[None]:
    """Within it time and memory end.

    Raises:
        HangError: the time is over.
        MemoryError: the memory is used up.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + BYTES, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def outcome(act: Callable[[], T]) -> T | None:
    """What comes back; None for one of our errors, of which every line is one that can be shown.
    Everything else that is raised fails the test."""
    with bounded():
        try:
            return act()
        except FtHarnessError as error:
            lines = error.lines()
            kinds = [line.partition(":")[0] for line in lines]
            assert kinds[0] == "error"
            assert kinds[-2:] == ["expected", "do"]
            for line in lines:
                assert one_line(line).isprintable() or "\u00a0" in line or "\u3000" in line
            return None
