"""The gate of everything that leaves the program: `visible` takes secrets out of a text and shows
what can't be seen in it.

Names, notes and sample texts come from data, models and strangers. Where they become Markdown they
pass through `inline`, `fenced` or `table` too: they are shown as they are and can't become HTML, a
link, an image, a mention, a formula or an attribute, in GitHub's renderer, in pandoc or in one that
makes links of host names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ft_harness.storage.redaction import redact

_INLINE_LIMIT = 1000
_FORMULA = re.compile(r"[\s\ufeff'\"]*[=+\-@\t\r]")
# a host name, which many renderers make a link of by its last part (.com, .md, .rs) alone, up to
# where a name with dots that is none (train.learning_rate) ends
_HOST = r"[^\W_](?:[\w-]*\.)+[^\W\d_][^\W_]+\w*"
_LIVE = re.compile(rf"((?:[@$]|://|www\.|{_HOST})+)", re.IGNORECASE)
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
_BLANKS = str.maketrans("", "", "\n\t")


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


def visible(text: str, limit: int | None = None) -> str:
    r"""The first `limit` characters (None: all) without secrets; control, bidi and zero-width
    characters as `\x1b`, `\u202e`; a mark where cut."""
    text = redact(text)
    kept = text[:limit]
    shown = (
        kept
        if kept.translate(_BLANKS).isprintable()
        else "".join(character if _is_shown(character) else _code(character) for character in kept)
    )
    if limit is None or len(text) <= limit:
        return shown
    return f"{shown} … [cut at {limit} of {len(text)} characters]"


def one_line(text: str, limit: int | None = None) -> str:
    r"""`visible` on one line: a line break is shown as `\n`."""
    return visible(text, limit).replace("\n", "\\n").replace("\t", "\\t")


def inline(text: str) -> str:
    r"""Text for a paragraph, heading or cell: on one line (a line break is shown as `\n`), cut at
    1000 characters.

    Escapes don't stop renderers that look for mentions, addresses and formulas after parsing, so
    what these look for (`@`, `$`, `://`, `www.`, host names) appears in code spans of its own.
    """
    parts = _LIVE.split(visible(text, _INLINE_LIMIT))
    return "".join(
        f"`{part}`" if place % 2 else _DOUBLED.sub(r"\\\1", part.translate(_ESCAPES))
        for place, part in enumerate(parts)
    )


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
