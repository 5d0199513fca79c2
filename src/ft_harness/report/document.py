"""A report before it has a format: the types of its blocks and cells, which every renderer
understands, with all text still as it came.

A section is a function of the study that gives a list of blocks. No block holds markup: renderers
escape every text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ft_harness.storage import escaping
from ft_harness.storage.escaping import visible

TEXT_LIMIT = 1000  # characters of a text on one line; more are cut, with a mark
VERBATIM_LIMIT = 1200
FOLDED_ROWS = 25  # longer tables are folded where a format can do that


@dataclass(frozen=True)
class Number:
    """A type of cell: a number as a reader sees it, and the unrounded one behind it (None:
    undefined).

    `share` is its part of a whole, 0 to 1, for formats that draw it: a shade in a matrix, else a
    bar.
    """

    text: str
    value: float | None
    share: float | None = None


@dataclass(frozen=True)
class Span:
    """A type of cell: an interval as a reader sees it, and its unrounded ends."""

    text: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Marked:
    """A type of cell: text with parts, given as (start, end), that a format may mark.

    `side`: which of the two compared texts this is.
    """

    text: str
    ranges: tuple[tuple[int, int], ...]
    side: Literal["base", "tuned"]


Cell = str | Number | Span | Marked


@dataclass(frozen=True)
class Heading:
    """A block: a heading. Level 2 opens a section and appears in the contents; its text is ours.
    Lower levels may hold any text; a heading of level 5 opens a card, which lasts until the next
    heading."""

    kind: ClassVar[str] = "heading"
    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A block: one paragraph of text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Bullets:
    """A block: a list with bullets."""

    kind: ClassVar[str] = "bullets"
    items: list[str]


@dataclass(frozen=True)
class Verbatim:
    """A block: text shown letter by letter, over several lines; more than `limit` characters are
    cut, with a mark."""

    kind: ClassVar[str] = "verbatim"
    text: str
    limit: int = VERBATIM_LIMIT


@dataclass(frozen=True)
class Figure:
    """A block: a figure by its key; left out where the renderer is not given it."""

    kind: ClassVar[str] = "figure"
    key: str
    caption: str


@dataclass(frozen=True)
class Table:
    """A block: rows of cells.

    Attributes:
        name: stem of the table's own file; None: it appears in the page only.
        title: what it shows, for readers who meet it without its surroundings.
        kinds: one letter per column, t text, n numbers, i intervals.
        appendix: only looked up; folded where a format can do that, as long tables are.
        is_matrix: the numbers with a share are shaded by it.
    """

    kind: ClassVar[str] = "table"
    name: str | None
    title: str
    header: list[str]
    rows: Sequence[Sequence[Cell]]
    kinds: str
    appendix: bool = False
    is_matrix: bool = False

    @property
    def folded(self) -> bool:
        return self.appendix or len(self.rows) > FOLDED_ROWS


Block = Heading | Paragraph | Bullets | Verbatim | Figure | Table


@dataclass(frozen=True)
class Document:
    """A report as blocks.

    Attributes:
        blocks: all of it, as the page and the files of tables hold it.
        paper: what a write-up prints of it, as Markdown and LaTeX hold it.
    """

    title: str
    blocks: list[Block]
    paper: list[Block] = field(default_factory=list)

    def tables(self) -> list[Table]:
        """The tables that have files of their own; a name that comes again is numbered."""
        return [block for block in self.blocks if isinstance(block, Table) and block.name]


def section(title: str, blocks: Sequence[Block]) -> list[Block]:
    """Blocks under a heading; nothing where there are none."""
    return [Heading(2, title), *blocks] if blocks else []


def titled(table: Table) -> list[Block]:
    """A table as blocks, under its title; nothing where it has no rows."""
    return [Heading(3, table.title), table] if table.rows else []


def bullets(items: Sequence[str]) -> list[Block]:
    """Texts as a block with bullets; nothing where there are none."""
    return [Bullets(list(items))] if items else []


def text_of(cell: Cell) -> str:
    """The text of a cell of any type."""
    return cell if isinstance(cell, str) else cell.text


def one_line(text: str) -> str:
    r"""Text for a heading, a sentence or a cell of a document, on one line: a line break is `\n`,
    what can't be seen is shown by its number."""
    return escaping.one_line(text, TEXT_LIMIT)


def several_lines(text: str, limit: int = VERBATIM_LIMIT) -> str:
    """Text for a block of a document, shown letter by letter with its line breaks."""
    return visible(text, limit)
