"""Bars of progress: where there is a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from ft_harness.records.finding import find_records
from ft_harness.storage import progress as bars
from tests.builders.lm_eval_output import make_lines, write_output


def printed(monkeypatch: pytest.MonkeyPatch, ends: tuple[int, int], folder: Path) -> str:
    """What arrives at the other end of standard error."""
    reader, writer = ends
    os.set_blocking(reader, False)
    with os.fdopen(writer, "w") as stream, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stream)
        patched.setattr(bars, "_DELAY", 0.0)
        assert list(bars.progress(range(3), "Counting")) == [0, 1, 2]
        find_records([folder])
        stream.flush()
        found = b""
        with suppress(BlockingIOError):  # nothing more is there
            while part := os.read(reader, 1 << 16):
                found += part
    os.close(reader)
    return found.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_output(tmp_path / "out", make_lines([0, 1], [0, 0]))
    return tmp_path


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, folder: Path):
    terminal = pty.openpty()
    termios.tcsetwinsize(terminal[1], (24, 100))
    text = printed(monkeypatch, terminal, folder)
    assert "Counting: 100%" in text
    assert "3/3" in text
    assert "Reading lm-eval's samples: 100%" in text


def test_nothing_in_a_pipe(monkeypatch: pytest.MonkeyPatch, folder: Path):
    assert printed(monkeypatch, os.pipe(), folder) == ""
