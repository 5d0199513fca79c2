"""Untrusted texts as Markdown: shown as they are. They can't become HTML, a link, an image, a
mention, a formula or an attribute, in GitHub's renderer, in pandoc or in one that makes links of
host names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ft_harness.storage.escaping import visible

_INLINE_LIMIT = 1000
# a host name, which many renderers make a link of by its last part (.com, .md, .rs) alone, up to
# where a name with dots that is none (train.learning_rate) ends
_HOST = r"[\w-](?:[\w-]*\.)+[^\W\d_][^\W_]+\w*"
_LIVE = re.compile(rf"((?:[@$]|://|www\.|{_HOST})+)", re.IGNORECASE)
_DOUBLED = re.compile(r"(?<=([-.:]))\1")  # pandoc makes dashes, ellipses and divisions of these
# what begins an item of a list where a text begins a line, or a definition for pandoc; blanks that
# begin one make code of it
_MARKER = re.compile(r"\s*(?:[-+=:]|\(?\d{1,9}[.)])(?=\s|$)")
_INDENT = re.compile(r"^ (?= )")
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "|": "&#124;",
        "\\": "&#92;",
        "`": "&#96;",
        "\n": "&#92;n",
        "\t": "&#92;t",
        **{character: f"\\{character}" for character in "*_[]{}#!~^"},
    }
)


def inline(text: str) -> str:
    r"""Untrusted text as Markdown for a paragraph, heading or item of a list: on one line (a line
    break is shown as `\n`), cut at 1000 characters.

    Escapes don't stop renderers that look for mentions, addresses and formulas after parsing, so
    what these look for (`@`, `$`, `://`, `www.`, host names) appears in code spans of its own.
    """
    shown = _INDENT.sub("&#32;", _cell(text))
    if marker := _MARKER.match(shown):
        return f"{shown[: marker.end() - 1]}\\{shown[marker.end() - 1 :]}"
    return shown


def _cell(text: str) -> str:
    """The same for a cell of a table, which can't begin a list."""
    parts = _LIVE.split(visible(text, _INLINE_LIMIT))
    return "".join(
        f"`{part}`" if place % 2 else _DOUBLED.sub(r"\\\1", part.translate(_ESCAPES))
        for place, part in enumerate(parts)
    )


def fenced(text: str, limit: int) -> str:
    """Untrusted text as a Markdown block shown letter by letter, in a fence longer than any run of
    backticks in it."""
    shown = visible(text, limit)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}\n{shown}\n{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Untrusted texts as a Markdown table with pipes, every cell escaped; `align` has one letter
    per column: l, r.

    Columns are padded: the source reads as a table too, and pandoc takes the column widths from the
    dashes.
    """
    cells = [[_cell(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = [
        "-" * (width - 1) + (":" if side == "r" else "-")
        for width, side in zip(widths, align, strict=True)
    ]
    sides = [str.rjust if side == "r" else str.ljust for side in align]
    lines = [
        [pad(cell, width) for pad, cell, width in zip(sides, row, widths, strict=True)]
        for row in cells
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
