"""A process that ends this one if a single operation of a template, or a regular expression of a
task, never ends.

A template looks at the clock between its operations. Within one (a sort of huge equal texts, a
regular expression that backtracks without end) Python runs nothing else, no other thread and no
handler of a signal: only another process can end it.
"""

from __future__ import annotations

import atexit
import mmap
import os
import subprocess
import sys
import time
from functools import cache

from ft_harness.errors import PolicyError

MOST_SECONDS = 60.0  # of one operation, of which ours take microseconds
# Looks once a second at the end that this process has set itself, and twice before it acts: one
# that was stopped for a while goes on first. Its input ends with this process.
_SCRIPT = """
import mmap, os, select, signal, sys, time
parent, seen = os.getppid(), 0.0
end = memoryview(mmap.mmap(int(sys.argv[1]), 8)).cast("d")
while not select.select([0], [], [], 1)[0]:
    if end[0] and end[0] == seen and time.monotonic() > seen:
        os.write(2, sys.argv[2].encode())
        os.kill(parent, signal.SIGKILL)
        break
    seen = end[0]
"""


@cache
def _start(_process: int) -> memoryview[float]:
    """Shared memory with the deadline of the current operation; 0: there is none."""
    if not hasattr(os, "memfd_create"):  # another system than Linux: nobody looks
        return memoryview(bytearray(8)).cast("d")
    shared = os.memfd_create("ft-harness")
    os.truncate(shared, 8)
    message = PolicyError(
        f"a template or a regular expression of a task took more than {MOST_SECONDS:g} seconds",
        "templates and filters that finish each doc quickly; no flag allows more",
        "fix filter_list, metric_list and the templates of the task, or the model's chat template",
    )
    command = [sys.executable, "-ISc", _SCRIPT, str(shared), f"{message}\n"]
    # A terminal's Ctrl-C is for this process alone, which may go on for a while.
    watcher = subprocess.Popen(
        command, stdin=subprocess.PIPE, pass_fds=[shared], start_new_session=True
    )
    atexit.register(watcher.communicate)
    return memoryview(mmap.mmap(shared, 8)).cast("d")


def begin() -> None:
    """Tell the watching process that an operation begins."""
    _start(os.getpid())[0] = time.monotonic() + MOST_SECONDS


def end() -> None:
    """Tell the watching process that no operation is running."""
    _start(os.getpid())[0] = 0.0
