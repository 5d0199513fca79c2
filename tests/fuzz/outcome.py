"""What may come of an input: one of our errors, or a result; within time and memory."""

from __future__ import annotations

import os
import re
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
# control characters, those that turn the order of text, those without width, halves
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
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
            assert not any(UNSEEN.search(one_line(line)) for line in lines)
            return None
