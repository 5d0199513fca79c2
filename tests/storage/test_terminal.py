"""What is printed and logged: no secret, nothing that a terminal would act on, faults of the stream
with a code of their own."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from tqdm import tqdm

from ft_harness.errors import ResourceError, StorageLostError
from ft_harness.storage.terminal import OutputClosedError, gated_output, inert

SECRET = "canary-0123456789"


@contextmanager
def printing() -> Iterator[io.StringIO]:
    """What arrives behind the gate."""
    stream = io.StringIO()
    with redirect_stdout(stream), redirect_stderr(stream), gated_output():
        yield stream


HOSTILE = {
    "\x1b]0;title\x07": "\\x1b]0;title\\x07",
    "\x1b[2J": "\\x1b[2J",
    "a\rb": "a\\x0db",
    "\u202etxt": "\\u202etxt",
    "\u200b": "\\u200b",
    "\x9b31m": "\\x9b31m",
    "\ud83d": "\\ud83d",
    "two\nlines\t": "two\nlines\t",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_acts_on_the_terminal(text: str):
    with printing() as printed:
        sys.stdout.write(text)
    assert printed.getvalue() == HOSTILE[text]


def test_no_secret_is_printed_or_logged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_TOKEN", SECRET)
    with printing() as printed:
        handler = logging.StreamHandler()
        logger = logging.getLogger("gate")
        logger.addHandler(handler)
        sys.stdout.write(f"x {SECRET}")
        sys.stderr.write(SECRET)
        logger.error("at %s", SECRET)
        logger.removeHandler(handler)
    assert SECRET not in printed.getvalue()
    assert printed.getvalue().count("[redacted]") == 3


def test_a_progress_bar_still_moves_and_its_name_does_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_TOKEN", SECRET)
    with printing() as printed:
        for _ in tqdm(range(2), desc=f"a\nb\x1b[2J {SECRET}", mininterval=0, delay=0):
            pass
        for _ in tqdm(range(1), position=1, leave=False, mininterval=0, delay=0):
            pass
    text = printed.getvalue()
    assert "\ra\\nb\\x1b[2J [redacted]: 100%" in text
    assert "\x1b[A" in text  # tqdm's own, of the second bar
    assert "\x1b[2J" not in text
    assert SECRET not in text


@pytest.mark.parametrize("text", ["\x1b[A\x1b[2J", "\n\x1b[Ax", "\r \x1b"])
def test_moves_alone_are_let_through(text: str):
    assert "\\x1b" in inert(text)


class Failing(io.StringIO):
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), ResourceError),
        (OSError(5, "Input/output error"), StorageLostError),
        (BrokenPipeError(32, "Broken pipe"), OutputClosedError),
    ],
)
def test_a_stream_that_fails(error: OSError, expected: type):
    with redirect_stdout(Failing(error)), gated_output(), pytest.raises(expected):
        sys.stdout.write("x")


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ft_harness", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_help_on_a_full_standard_output():
    """click tries a stream before it writes, and catches what that raises."""
    command = [sys.executable, "-m", "ft_harness", "--help"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 5, done.stderr


def test_a_full_standard_output_is_a_full_disk():
    with open("/dev/full", "w") as full:
        done = run("tasks", "path", stdout=full)
    assert done.returncode == 5, done.stderr
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "error", "expected", "do",
    ]  # fmt: skip
    assert "standard output: the disk is full" in done.stderr


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_was_closed_before_leads_nowhere(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, name, None)
    with gated_output():
        print("x", file=getattr(sys, name), flush=True)


def test_a_reader_that_leaves_is_told_nothing():
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    done = run("tasks", "list", stdout=reader.stdin)
    assert (done.returncode, done.stderr) == (141, "")
