"""Bars of progress: where there is a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from ft_harness.records.finding import find_records
from ft_harness.storage import progress as bars
from tests.builders.lm_eval_output import make_lines, write_output


def printed(monkeypatch: pytest.MonkeyPatch, ends: tuple[int, int], folder: Path) -> str:
    """What arrives at the other end of standard error."""
    reader, writer = ends
    with os.fdopen(writer, "w") as stream, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stream)
        patched.setattr(bars, "_DELAY", 0.0)
        assert list(bars.progress(range(3), "Counting")) == [0, 1, 2]
        find_records([folder])
        stream.flush()
        text = os.read(reader, 1 << 16).decode() if os.isatty(reader) else ""
    if not os.isatty(reader):
        text = os.read(reader, 1 << 16).decode()
    os.close(reader)
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_output(tmp_path / "out", make_lines([0, 1], [0, 0]))
    return tmp_path


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, folder: Path):
    text = printed(monkeypatch, pty.openpty(), folder)
    assert "Counting: 100%" in text
    assert "3/3" in text
    assert "Reading lm-eval's samples: 100%" in text


def test_nothing_in_a_pipe(monkeypatch: pytest.MonkeyPatch, folder: Path):
    assert printed(monkeypatch, os.pipe(), folder) == ""
