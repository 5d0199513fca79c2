"""The process that looks at a template's time, and a metric's, is no part of what a terminal
interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.builders.command import assert_three_lines

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


METRIC = """\
import sys, time
from ft_harness.models import watcher
from ft_harness.cli.app import Stopped, _stop
import signal
for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, _stop)
watcher.NOTICE_SECONDS, watcher.ITEM_SECONDS, watcher.GRACE_SECONDS = LIMITS
def python():
    while True:
        time.sleep(0.01)
def stubborn():
    while True:
        try:
            python()
        except BaseException:
            pass
def compiled():
    ("a" * 9999999).rfind("ab" + "a" * 4999999)
try:
    print("ready", flush=True)
    with watcher.scoring("doc 7 of odd"):
        FAULT()
except watcher.OverdueError as error:
    print(f"failed alone: {error}", flush=True)
except Stopped:
    print("stopped", flush=True)
"""


@pytest.fixture
def score() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process in which a metric has a fault, with limits of these seconds."""
    started: list[subprocess.Popen[str]] = []

    def start(fault: str, limits: tuple[float, float, float]) -> subprocess.Popen[str]:
        script = METRIC.replace("LIMITS", str(limits)).replace("FAULT", fault)
        running = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(running)
        assert running.stdout.readline() == "ready\n"
        return running

    yield start
    for running in started:
        running.kill()
        running.communicate()


def test_a_metric_that_hangs_is_named_and_then_fails_its_doc(score: Any):
    running = score("python", (1, 3, 60))
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (0, "failed alone: it took more than 3 seconds\n")
    assert "the metric of doc 7 of odd has run for " in err
    assert "it is stopped after 3" in err


@pytest.mark.parametrize("fault", ["compiled", "stubborn"])
def test_a_metric_that_cannot_be_stopped_ends_the_command(fault: str, score: Any):
    running = score(fault, (1, 2, 2))
    _, err = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL
    assert_three_lines(err, "the metric of doc 7 of odd took more than 2 seconds")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("fault", ["python", "compiled", "stubborn"])
def test_ctrl_c_while_a_metric_hangs(fault: str, signum: signal.Signals, score: Any):
    """At once where Python runs, else after two seconds of no sign of it."""
    running = score(fault, (60, 60, 60))
    time.sleep(0.5)
    started = time.monotonic()
    os.kill(running.pid, signum)
    out, err = running.communicate(timeout=60)
    assert time.monotonic() - started < 15  # of a busy machine
    if fault == "python":
        assert (running.returncode, out) == (0, "stopped\n")
    else:
        assert running.returncode == -signal.SIGKILL
        assert "interrupted: the metric of doc 7 of odd did not stop" in err


def test_a_metric_that_is_slow_is_left_alone(score: Any):
    running = score("(lambda: time.sleep(5))", (1, 60, 60))
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (0, "")
    assert "has run for" in err
