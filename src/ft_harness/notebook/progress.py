"""A running command's output in the cell that started it: plain text that is replaced, so that a
saved notebook shows the last state without any widget. Outside a notebook it goes to standard
error."""

from __future__ import annotations

import re
import sys
import time

_KEPT = 30  # lines shown
_SECONDS = 0.5  # between two drawings
_ENDS = re.compile(r"([\r\n])")


class Progress:
    """The lines of a running command in a cell; a line that ends in a carriage return is a bar,
    which the next one replaces."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._bar = ""
        self._rest = ""
        self._drawn = 0.0
        shell = sys.modules.get("IPython")
        found = shell.get_ipython() if shell is not None else None
        display = sys.modules.get("IPython.display") if hasattr(found, "kernel") else None
        self._cell = display.display(self._shown(), raw=True, display_id=True) if display else None

    def feed(self, text: str) -> None:
        """More of what the command says."""
        if self._cell is None:
            sys.stderr.write(text)
            sys.stderr.flush()
        *pieces, self._rest = _ENDS.split(self._rest + text)
        for line, end in zip(pieces[::2], pieces[1::2], strict=True):
            self._take(line, end)
        if time.monotonic() - self._drawn > _SECONDS:
            self._draw()

    def _take(self, line: str, end: str) -> None:
        if end == "\r":
            self._bar = line or self._bar
        else:
            self._lines += [line] if line.strip() else []
            self._bar = ""

    def end(self) -> list[str]:
        """Draw the last state; all lines that were said, bars left out."""
        self._take(self._rest, "\n")
        self._rest = ""
        self._draw()
        return self._lines

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._cell is not None:
            self._cell.update(self._shown(), raw=True)

    def _shown(self) -> dict[str, str]:
        left_out = ["..."] if len(self._lines) > _KEPT else []
        bar = [self._bar] if self._bar else []
        return {"text/plain": "\n".join([*left_out, *self._lines[-_KEPT:], *bar])}
