"""What every user error looks like on the command line."""

from __future__ import annotations

import re


def assert_three_lines(error: str, *words: str) -> None:
    """The last three lines are a user error, without a traceback, that names `words`."""
    lines = [line for line in error.strip().splitlines() if line]
    assert [line.partition(":")[0] for line in lines[-3:]] == ["error", "expected", "do"], error
    assert "Traceback" not in error
    for word in words:
        assert word in error, error


def first_error(output: str) -> str:
    """The first of several errors; a progress bar, which ends no line of its own, may precede it."""
    _, first, *_ = re.split(r"^(?=error: )", output, flags=re.MULTILINE)
    assert "Traceback" not in output
    return first
