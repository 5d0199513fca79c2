"""Text and tables as Markdown, with nothing in them that a renderer would act on.

Names, notes and sample texts come from data, models and strangers. They pass through `inline`,
`fenced` or `table`, the only places where such text becomes Markdown: it is shown as it is and
can't become HTML, a link, an image, a mention, a formula or an attribute, in GitHub's renderer or
in pandoc.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_INLINE_LIMIT = 1000
_FORMULA = re.compile(r"[\s\ufeff'\"]*[=+\-@\t\r]")
_LIVE = re.compile(r"(?:[@$]|://|www\.)+", re.IGNORECASE)
_DOUBLED = re.compile(r"(?<=([-.:]))\1")  # pandoc makes dashes, ellipses and divisions of these
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


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs"


def _code(character: str) -> str:
    number = ord(character)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def visible(text: str, limit: int) -> str:
    r"""The first `limit` characters; control, bidi and zero-width characters as `\x1b`, `\u202e`; a
    mark where cut."""
    shown = "".join(
        character if _is_shown(character) else _code(character) for character in text[:limit]
    )
    return shown if len(text) <= limit else f"{shown} … [cut at {limit} of {len(text)} characters]"


def inline(text: str) -> str:
    r"""Text for a paragraph, heading or cell: on one line (a line break is shown as `\n`), cut at
    1000 characters.

    Escapes don't stop renderers that look for mentions, addresses and formulas after parsing, so
    the characters these need (`@`, `$`, `://`, `www.`) appear in code spans of their own.
    """
    escaped = _DOUBLED.sub(r"\\\1", visible(text, _INLINE_LIMIT).translate(_ESCAPES))
    return _LIVE.sub(r"`\g<0>`", escaped)


def fenced(text: str, limit: int) -> str:
    """Text as a block shown letter by letter, in a fence longer than any run of backticks in it."""
    shown = visible(text, limit)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}\n{shown}\n{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A pipe table of plain texts, every cell escaped; `align` has one letter a column, `l` or `r`.

    Columns are padded: the source reads as a table too, and pandoc takes the column widths from the
    dashes.
    """
    cells = [[inline(cell) for cell in row] for row in (header, *rows)]
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


def guard_formula(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_formula(text: str) -> str:
    """The text that was guarded; any other as it is."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
