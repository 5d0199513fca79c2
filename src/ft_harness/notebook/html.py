"""Results as HTML that a notebook shows and a code host's renderer leaves alone: tables and words,
no script, no style sheet, every text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.sentences import state_repeats
from ft_harness.report import (
    find_verdicts,
    one_line,
    state_answer,
    state_untuned,
    sweep_table,
    text_of,
    untuned_table,
)
from ft_harness.report.document import Table
from ft_harness.report.terminal_page import list_answers
from ft_harness.report.verdict_card import Line, VerdictCard

_COLOURS = {"better": "#1a7f37", "worse": "#cf222e", "vain": "#9a6700", "none": "#57606a"}
_UNBROKEN = "white-space:nowrap"  # "50.2 %", "+12.7 to +26.6"
_CARD = "border-left:4px solid {0};padding:2px 10px;margin:6px 0"


def study_html(study: Study, path: Path) -> str:
    """A study in a notebook's cell: the verdict cards of the report's page, the table of answers,
    and where the report is."""
    if study.sweep is not None:
        table = sweep_table(study.sweep)
        parts = [words_html(state_answer(study)), _block(table)]
    else:
        cards = "".join(map(_card, find_verdicts(study).cards))
        seeds = [state_repeats(each) for each in study.repeats]
        parts = [cards, words_html([*seeds, *state_untuned(study)]), _answers(study)]
        parts += [_block(untuned_table(study))]
    return f"<div>{''.join(parts)}<p>Report: <code>{_text(str(path))}</code></p></div>"


def adapter_html(name: str, facts: Mapping[str, str]) -> str:
    """An adapter in a notebook's cell: its name above what is known about it."""
    return f"<div><b>{_text(name)}</b>{_table(['', ''], list(facts.items()))}</div>"


def _card(card: VerdictCard) -> str:
    title = f"<b>{_text(card.title)}</b> {_text(card.place)}"
    colour = _COLOURS[card.lines[0].tone if len(card.lines) == 1 else "none"]
    lines = "".join(map(_line, card.lines))
    cautions = [": ".join(filter(None, pair)) for pair in card.cautions]
    listed = "".join(f"<li>{_text(caution)}</li>" for caution in cautions)
    notes = f"<ul>{listed}</ul>" if cautions else ""
    return f'<div style="{_CARD.format(colour)}">{title}{lines}{notes}</div>'


def _line(line: Line) -> str:
    badge = f'<b style="color:{_COLOURS[line.tone]}">{_text(line.verdict)}</b>'
    name = f"{_text(line.name)}: " if line.name else ""
    numbers = f"{_text(line.base)} &rarr; {_text(line.tuned)} ({_text(line.change)})"
    return f"<div>{name}{badge} {numbers}, {_text(line.certainty)}</div>"


def _answers(study: Study) -> str:
    compared = [(each, each.headline) for each in study.comparisons]
    if not compared:
        return ""
    found = list_answers(study, compared)
    return _table(found.header, found.lines)


def _block(table: Table | None) -> str:
    if table is None:
        return ""
    return _table(table.header, [[text_of(cell) for cell in line] for line in table.rows])


def words_html(lines: Sequence[str]) -> str:
    """Sentences in a notebook's cell, a paragraph each."""
    return "".join(f"<p>{_text(line)}</p>" for line in lines)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    names = "".join(f"<th>{_text(name)}</th>" for name in header)
    cells = "".join(
        f'<tr style="{_UNBROKEN}">{"".join(f"<td>{_text(cell)}</td>" for cell in line)}</tr>'
        for line in lines
    )
    return f"<table><thead><tr>{names}</tr></thead><tbody>{cells}</tbody></table>"


def _text(text: str) -> str:
    return escape(one_line(text))
