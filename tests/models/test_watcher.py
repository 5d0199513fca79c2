"""The process that looks at a template's time is no part of what a terminal interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil

SCRIPT = (
    "import signal, sys\nfrom ft_harness.models import watcher\n"
    "signal.signal(signal.SIGINT, lambda *_: None)\nwatcher.begin()\nwatcher.end()\n"
    "print('ready', flush=True)\nsys.stdin.read()"
)


def test_ctrl_c_shows_no_traceback_and_leaves_the_watcher_where_the_command_goes_on():
    """As a training does, which saves its step first."""
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert running.stdout.readline() == "ready\n"
    (watcher,) = psutil.Process(running.pid).children()
    os.killpg(running.pid, signal.SIGINT)
    time.sleep(1)
    assert watcher.status() != psutil.STATUS_ZOMBIE
    _, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (0, "")
    assert psutil.wait_procs([watcher], timeout=5)[1] == []
