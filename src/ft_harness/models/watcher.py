"""A process that ends this one if a single operation of a template, or a regular expression of a
task, never ends; and that says when the metric of a doc takes long.

A template looks at the clock between its operations. Within one (a sort of huge equal texts, a
regular expression that backtracks without end) Python runs nothing else, no other thread and no
handler of a signal: only another process can end it. The same goes for what a metric calls.
"""

from __future__ import annotations

import atexit
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import FrameType

from ft_harness.errors import PolicyError

MOST_SECONDS = 60.0  # of one operation, of which ours take microseconds
NOTICE_SECONDS = 30.0  # after which a doc whose metric still runs is named
ITEM_SECONDS = 600.0  # of a doc's metrics; a stranger's may load a model of its own first
GRACE_SECONDS = 30.0  # for a metric that was told to stop
STOP_SECONDS = 2.0  # for what runs when the command is interrupted
_NAME_BYTES = 480
_DO = "do: fix the task's metric, then run the same command again: what was finished is kept"
# Looks once a second at the ends that this process has set itself, and twice before it acts: one
# that was stopped for a while goes on first. Its input ends with this process, and brings the
# numbers of signals that arrive here.
_SCRIPT = """
import mmap, os, select, signal, sys, time
shared, message, do = sys.argv[1:4]
notice, most, grace, wait = map(float, sys.argv[4:])
parent, memory = os.getppid(), memoryview(mmap.mmap(int(shared), 512))
ends = memory[:32].cast("d")  # of the operation and of the item, when the item began, name's length
seen, said, told, stop = [0.0, 0.0], 0.0, 0.0, None
def name():
    return bytes(memory[32:32 + int(ends[3])]).decode(errors="replace")
def kill(text):
    os.write(2, text.encode())
    os.kill(parent, signal.SIGKILL)
    raise SystemExit
while True:
    if select.select([0], [], [], 1)[0]:
        signals = os.read(0, 64)
        if not signals:
            break
        if stop is None and {signal.SIGINT, signal.SIGTERM} & set(signals):
            stop = time.monotonic(), ends[0], ends[2]
    now, began = time.monotonic(), ends[2]
    if ends[0] and ends[0] == seen[0] and now > seen[0]:
        kill(message)
    if stop and now > stop[0] + wait:
        if ends[0] and ends[0] == stop[1]:
            kill("interrupted: a template or a regular expression did not stop\\n" + do)
        if began and began == stop[2]:
            kill("interrupted: the metric of " + name() + " did not stop\\n" + do)
        stop = None
    if began and began == seen[1]:
        if now > began + notice and said != began:
            text = "the metric of {} has run for {:.0f} seconds; it is stopped after {:g}"
            os.write(2, (text.format(name(), now - began, most) + "\\n").encode())
            said = began
        if now > ends[1] and told != began:
            os.kill(parent, signal.SIGALRM)
            told = began
        if now > ends[1] + grace:
            kill("error: the metric of {} took more than {:g} seconds\\n".format(name(), most)
                 + "expected: metrics that end for every doc\\n" + do)
    seen = [ends[0], began]
"""


class OverdueError(TimeoutError):
    """The metrics of a doc ran too long."""


class _EndError(BaseException):
    """Raised within a metric that ran too long. No Exception, so that it does not catch this."""


@dataclass(frozen=True)
class _Shared:
    """Memory that both processes see: ends of the current operation and item (0: there is none),
    when the item began, the length of its name; the name."""

    ends: memoryview[float]
    name: memoryview[int]


@cache
def _start(_process: int) -> _Shared:
    """The shared memory, with the process that looks at it."""
    if not hasattr(os, "memfd_create"):  # another system than Linux: nobody looks
        return _parts(memoryview(bytearray(512)))
    shared = os.memfd_create("ft-harness")
    os.truncate(shared, 512)
    message = PolicyError(
        f"a template or a regular expression of a task took more than {MOST_SECONDS:g} seconds",
        "templates and filters that finish each doc quickly; no flag allows more",
        "fix filter_list, metric_list and the templates of the task, or the model's chat template",
    )
    limits = map(str, (NOTICE_SECONDS, ITEM_SECONDS, GRACE_SECONDS, STOP_SECONDS))
    command = [sys.executable, "-ISc", _SCRIPT, str(shared), f"{message}\n", f"{_DO}\n", *limits]
    # A terminal's Ctrl-C is for this process alone, which may go on for a while.
    watcher = subprocess.Popen(
        command, stdin=subprocess.PIPE, pass_fds=[shared], start_new_session=True
    )
    atexit.register(watcher.communicate)
    if watcher.stdin is not None:
        _send_signals(watcher.stdin.fileno())
    return _parts(memoryview(mmap.mmap(shared, 512)))


def _parts(memory: memoryview[int]) -> _Shared:
    return _Shared(memory[:32].cast("d"), memory[32:])


def _send_signals(pipe: int) -> None:
    """Let the watcher know of each signal as it arrives, whatever this process is busy with."""
    if not _is_main():
        return
    os.set_blocking(pipe, False)
    before = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    if before != -1:  # somebody else's, such as an event loop's
        signal.set_wakeup_fd(before)
    else:
        atexit.register(signal.set_wakeup_fd, -1)
        # signals of processes that this one makes are none of its own
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def begin() -> None:
    """Tell the watching process that an operation begins."""
    _start(os.getpid()).ends[0] = time.monotonic() + MOST_SECONDS


def end() -> None:
    """Tell the watching process that no operation is running."""
    _start(os.getpid()).ends[0] = 0.0


@contextmanager
def scoring(name: str) -> Iterator[None]:
    """Context in which the metrics of one doc run: named if they take long, stopped at last.

    Args:
        name: of the doc, as it may be shown.

    Raises:
        OverdueError: they took more than `ITEM_SECONDS`.
    """
    shared = _start(os.getpid())
    text = name.encode()[:_NAME_BYTES]
    shared.name[: len(text)] = text
    shared.ends[3] = len(text)
    began = time.monotonic()
    shared.ends[1] = began + ITEM_SECONDS
    before = signal.getsignal(signal.SIGALRM)

    def stop(signum: int, frame: FrameType | None) -> None:
        if shared.ends[2] == began and time.monotonic() > shared.ends[1]:
            raise _EndError
        if callable(before):
            before(signum, frame)

    # Python has signals handled in the main thread; elsewhere only the watcher acts.
    handled = _is_main() and before is not None
    if handled:
        signal.signal(signal.SIGALRM, stop)
    shared.ends[2] = began
    try:
        yield
    except _EndError as error:
        raise OverdueError(f"it took more than {ITEM_SECONDS:g} seconds") from error
    finally:
        shared.ends[2] = 0.0
        if handled:
            signal.signal(signal.SIGALRM, before)
