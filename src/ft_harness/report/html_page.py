"""A document as one HTML file that needs no network and no other file, and that can be read with
scripts off.

The template escapes every text itself. A policy in the page allows our own script and style sheet,
by their hashes, and nothing else: no style attribute, no address, no markup made from text. Figures
are shapes in the page; what the case explorer shows is inert JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from ft_harness.report.document import (
    Block,
    Cell,
    Document,
    Figure,
    Heading,
    Number,
    Span,
    Table,
    one_line,
    several_lines,
    text_of,
)
from ft_harness.report.explorer import Explorer
from ft_harness.report.inline_svg import inline_svg

if TYPE_CHECKING:
    from jinja2 import Template

_FEWEST_SORTED = 3  # rows of a table that is worth sorting
_BEFORE_EXPLORER = "Cases"
_EXPLORER = Heading(2, "Case explorer")


def html_page(
    document: Document, figures: Mapping[str, bytes], explorer: Explorer | None = None
) -> str:
    """The page; `figures` gives svg images by key. A missing one is left out, and so is the
    explorer."""
    style, script = _read("page.css"), _read("page.js")
    blocks = _with_explorer(document.blocks, explorer)
    shown = [block for block in blocks if isinstance(block, Figure) and block.key in figures]
    images = {
        block.key: inline_svg(figures[block.key], number, one_line(block.caption))
        for number, block in enumerate(shown, 1)
    }
    contents = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    page = _template().render(
        title=document.title,
        blocks=blocks,
        contents=contents,
        images=images,
        style=style,
        script=script,
        hashes={"style": _hash(style), "script": _hash(script)},
    )
    return page + "\n"


def _with_explorer(blocks: list[Block], explorer: Explorer | None) -> list[Block | Explorer]:
    """The blocks with the explorer in a section of its own: after the cases, or at the end."""
    if explorer is None:
        return [*blocks]
    sections = [
        place
        for place, block in enumerate(blocks)
        if isinstance(block, Heading) and block.level == 2
    ]
    titles = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    after = titles.index(_BEFORE_EXPLORER) + 1 if _BEFORE_EXPLORER in titles else len(titles)
    place = [*sections, len(blocks)][after]
    return [*blocks[:place], _EXPLORER, explorer, *blocks[place:]]


def _hash(text: str) -> str:
    """A source of the policy: the hash of the very bytes between the tags."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return files("ft_harness.report").joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "one_line": one_line,
        "several_lines": several_lines,
        "text_of": text_of,
        "slug": slug,
    }
    environment.filters |= {"value_of": value_of, "is_sortable": is_sortable}
    return environment.from_string(_read("page.html"))


def slug(heading: str) -> str:
    """The id of a section's heading, which is ours: lower-case words joined by hyphens."""
    return "-".join(heading.lower().split())


def value_of(cell: Cell) -> float | None:
    """What a column is sorted by: the unrounded number, the lower end of an interval; None: no
    number."""
    if isinstance(cell, Span):
        return cell.low
    return cell.value if isinstance(cell, Number) else None


def is_sortable(table: Table) -> bool:
    """Whether each column holds one kind of thing; where a column has no name, each line holds
    another quantity."""
    return len(table.rows) >= _FEWEST_SORTED and all(table.header)
