"""A document as one HTML file that needs no network and no other file, and that can be read with
scripts off.

The template escapes every text itself. A policy in the page allows our own script and style sheet,
by their hashes, and nothing else: no style attribute, no address, no markup made from text. Figures
are shapes in the page; what the case explorer shows is packed into letters and digits.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar

from ft_harness.report.document import (
    TEXT_LIMIT,
    Block,
    Cell,
    Document,
    Figure,
    Heading,
    Marked,
    Number,
    Span,
    Table,
    one_line,
    several_lines,
    text_of,
)
from ft_harness.report.explorer import Explorer
from ft_harness.report.inline_svg import inline_svg
from ft_harness.report.verdict_card import Verdicts

if TYPE_CHECKING:
    from jinja2 import Template

_FEWEST_SORTED = 3  # rows of a table that is worth sorting
_MOST_STACKED = 12  # rows that a narrow screen shows as a list each; it scrolls longer tables
_FEWEST_STACKED = 5  # columns
_SHADES = 10  # of a matrix
_SCRIPTS = ("elements.js", "page.js", "answers.js", "case_file.js", "explorer.js")
_SUMMARY = "before_after"  # the figure that follows the answer
_CARD = 5  # level of the headings that open a card
_BEFORE_EXPLORER = "Cases"
_EXPLORER = Heading(2, "Case explorer")


@dataclass(frozen=True)
class _Cards:
    """Cards that follow each other, each a heading and what it heads."""

    kind: ClassVar[str] = "cards"
    cards: list[list[Block]]


_Shown = Block | _Cards | Explorer


def html_page(
    document: Document,
    figures: Mapping[str, bytes],
    explorer: Explorer | None = None,
    verdicts: Verdicts | None = None,
) -> str:
    """The HTML page: the verdicts, the sentences, the figure of all scores, then the other blocks.

    `figures` gives svg images by key. Missing images are left out, and so are a missing explorer
    and verdicts."""
    # What the policy allows is known by its hash, so both are put in letter by letter.
    style, script = _read("page.css"), "".join(_read(name) for name in _SCRIPTS)
    blocks = _with_explorer(_gather_cards(_answer_first(document.blocks)), explorer)
    shown = [block for block in blocks if isinstance(block, Figure) and block.key in figures]
    images = {
        block.key: inline_svg(figures[block.key], number, one_line(block.caption))
        for number, block in enumerate(shown, 1)
    }
    contents = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    page = _template().render(
        title=document.title,
        verdicts=verdicts if verdicts and verdicts.cards else None,
        blocks=blocks,
        contents=contents,
        images=images,
        style=style,
        script=script,
        hashes={"style": _hash(style), "script": _hash(script)},
    )
    return page + "\n"


def _answer_first(blocks: Sequence[Block]) -> list[Block]:
    """The blocks with the figure of all scores before the first section."""
    figures = [block for block in blocks if isinstance(block, Figure) and block.key == _SUMMARY]
    others = [block for block in blocks if block not in figures]
    first = next(
        (place for place, block in enumerate(others) if isinstance(block, Heading)), len(others)
    )
    return [*others[:first], *figures, *others[first:]]


def _gather_cards(blocks: Sequence[Block]) -> list[_Shown]:
    """Headings that open a card, with what follows up to the next heading, as cards."""
    shown: list[_Shown] = []
    is_open = False
    for block in blocks:
        if isinstance(block, Heading):
            is_open = block.level == _CARD
        if not is_open:
            shown.append(block)
            continue
        if not shown or not isinstance(shown[-1], _Cards):
            shown.append(_Cards([]))
        cards = shown[-1]
        assert isinstance(cards, _Cards)
        if isinstance(block, Heading):
            cards.cards.append([])
        cards.cards[-1].append(block)
    return shown


def _with_explorer(blocks: list[_Shown], explorer: Explorer | None) -> list[_Shown]:
    """The blocks with the explorer in a section of its own: after the cases, or at the end."""
    if explorer is None:
        return blocks
    sections = [
        (place, block.text)
        for place, block in enumerate(blocks)
        if isinstance(block, Heading) and block.level == 2
    ]
    titles = [text for _, text in sections]
    after = titles.index(_BEFORE_EXPLORER) + 1 if _BEFORE_EXPLORER in titles else len(titles)
    place = [*(place for place, _ in sections), len(blocks)][after]
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
    environment.globals["zip"] = zip
    environment.tests["marked"] = lambda cell: isinstance(cell, Marked)
    environment.filters |= {"pieces": pieces_of, "shade": shade_of, "is_stacked": is_stacked}
    return environment.from_string(_read("page.html"))


def slug(heading: str) -> str:
    """The id of a section's heading on the HTML page, which is ours: lower-case words joined by
    hyphens."""
    return "-".join(heading.lower().split())


def value_of(cell: Cell) -> float | None:
    """The value by which the HTML page sorts a column: the unrounded number, or the lower end of an
    interval; None: neither."""
    if isinstance(cell, Span):
        return cell.low
    return cell.value if isinstance(cell, Number) else None


def is_sortable(table: Table) -> bool:
    """Whether the HTML page can sort each column, as it holds one kind of thing; where a column has
    no name, each line holds another quantity."""
    return len(table.rows) >= _FEWEST_SORTED and all(table.header)


def pieces_of(cell: Marked) -> list[tuple[str, bool]]:
    """A text of the HTML page in pieces, and whether each is marked; of a text that is cut, none
    is."""
    if len(cell.text) > TEXT_LIMIT:
        return [(one_line(cell.text), False)]
    found: list[tuple[str, bool]] = []
    end = 0
    for start, stop in cell.ranges:
        found += [(cell.text[end:start], False), (cell.text[start:stop], True)]
        end = stop
    found.append((cell.text[end:], False))
    return [(one_line(text), is_marked) for text, is_marked in found if text]


def shade_of(cell: Cell) -> int | None:
    """How dark the HTML page shows a number of a matrix, 0 to 10."""
    share = cell.share if isinstance(cell, Number) else None
    return None if share is None else round(_SHADES * share)


def is_stacked(table: Table) -> bool:
    """Whether a narrow screen shows each row of the HTML page's table as a list of names and
    values, instead of a table that is moved sideways."""
    return (
        len(table.header) >= _FEWEST_STACKED
        and len(table.rows) <= _MOST_STACKED
        and not table.folded
        and not table.is_matrix
    )
