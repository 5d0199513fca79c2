"""A document as Markdown, for GitHub and for pandoc."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from ft_harness.report.document import (
    Block,
    Bullets,
    Document,
    Figure,
    Heading,
    Table,
    Verbatim,
    text_of,
)
from ft_harness.storage.markdown import fenced, inline, table


def markdown_page(document: Document, figures: Mapping[str, str]) -> str:
    """The part of the document that a write-up prints; `figures` gives the files by key, relative
    to the page. A missing one is left out."""
    parts = [f"# {inline(document.title)}", *(_render(block, figures) for block in document.paper)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _render(block: Block, figures: Mapping[str, str]) -> str:
    match block:
        case Heading(level=level, text=text):
            return f"{'#' * level} {inline(text)}"
        case Bullets(items=items):
            return "\n".join(f"- {inline(item)}" for item in items)
        case Verbatim(text=text, limit=limit):
            return fenced(text, limit)
        case Figure(key=key, caption=caption):
            return f"![{inline(caption)}]({quote(figures[key])})" if key in figures else ""
        case Table():
            rows = [[text_of(cell) for cell in row] for row in block.rows]
            return table(
                block.header, rows, "".join("l" if kind == "t" else "r" for kind in block.kinds)
            )
        case _:
            return inline(block.text)
