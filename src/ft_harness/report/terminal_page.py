"""A study as lines of a terminal: the table of its answers and its sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ft_harness.comparison.aggregator import Comparison, Row, Study
from ft_harness.comparison.amounts import amount
from ft_harness.comparison.features import TITLES, features_of
from ft_harness.comparison.primary import find_primary
from ft_harness.records import Record
from ft_harness.report.answer import state_answer
from ft_harness.report.cells import measured_cells, measured_columns
from ft_harness.report.document import one_line, text_of
from ft_harness.report.sweep_section import sweep_tables
from ft_harness.report.untuned_section import untuned_table
from ft_harness.report.view import View, leading
from ft_harness.storage import escaping

_BORDER = 3  # columns of the terminal that a framed cell takes besides its text
_VERDICT = "Verdict"
_NUMBERS = ("Base", "Tuned", "Difference", "Diff.", "p", "p (Holm)", "n", "Score", "From ref.")
# names of a protocol, which may all be one
_PROTOCOL = ("Model", "Task", "Split", "Metric", "Shots", "Prompt", "Decoding", "n", "Repeats")
_NARROW = 9  # longest word of a verdict
_SHORT = {"Difference": "Diff.", "From reference": "From ref."}  # longer than what is under them
# columns of a sweep that the report has as well, those first that a terminal needs least
_DISPENSABLE = ("SD of seeds", "p", "95 % interval", "Note", "Smallest and largest seed", "Base")


@dataclass(frozen=True)
class Lines:
    """A table before it is fitted to a terminal: lines of cells under their names."""

    header: list[str]
    lines: list[list[str]]

    @property
    def width(self) -> int:
        """In a frame."""
        return 1 + sum(width + _BORDER for width in self.widths())

    def widths(self) -> list[int]:
        every = [self.header, *self.lines]
        return [max(cell_len(line[place]) for line in every) for place in range(len(self.header))]

    @property
    def compact_width(self) -> int:
        """Without a frame."""
        header = [_SHORT.get(name, name) for name in self.header]
        widths = Lines(header, self.lines).widths()
        return sum(
            min(width, _NARROW) if name == _VERDICT else width
            for name, width in zip(header, widths, strict=True)
        ) + (len(widths) - 1)

    def without(self, name: str) -> Lines:
        """The table without the last column of this name."""
        if name not in self.header:
            return self
        place = len(self.header) - 1 - self.header[::-1].index(name)
        header, *lines = (
            [*each[:place], *each[place + 1 :]] for each in (self.header, *self.lines)
        )
        return Lines(header, lines)

    def split_constant(self, names: Sequence[str]) -> tuple[Lines, list[str]]:
        """(the table without the columns that are the same in each line, a text with their
        values)."""
        constant = [
            place
            for place, name in enumerate(self.header)
            if name in names and len({line[place] for line in self.lines}) == 1
        ]
        kept = [place for place in range(len(self.header)) if place not in constant]
        said = [f"{self.header[place]} {self.lines[0][place]}" for place in constant]
        lines = [[line[place] for place in kept] for line in self.lines]
        return Lines([self.header[place] for place in kept], lines), said


def terminal_page(
    study: Study, width: int | None = None, others: str = "other splits are in the report"
) -> list[str]:
    """A study on a terminal: the answer of each comparison, and the sentences of those that decide.

    Args:
        width: columns that a line may have; None: those of the terminal.
        others: where to find the splits that there is no room for.
    """
    console = _console(width)
    if study.sweep is not None:
        return [*_sweep_lines(study, console), *_sentences(study)]
    lines: list[str] = []
    compared = [(each, each.headline) for each in study.comparisons]
    compared.sort(key=lambda pair: pair[0].role == "control task")
    if compared:
        features = leading(study, View())
        names = [*(TITLES[name] for name in features), "n"]
        said: list[str] = []
        table = list_answers(study, compared)
        if table.width > console.width:
            table, said = table.split_constant(names)
        tested = [(each, row) for each, row in compared if row.split == "test"]
        if table.width > console.width and 0 < len(tested) < len(compared):
            table, said = list_answers(study, tested).split_constant(names)
            said.append(others)
        lines += _table_lines(console, table, said)
    if block := untuned_table(study):
        cells = [[one_line(text_of(cell)) for cell in line] for line in block.rows]
        table, said = Lines(block.header, cells), []
        if table.width > console.width:
            table, said = table.split_constant(_PROTOCOL)
        lines += _table_lines(console, table, said)
    return [*lines, *_sentences(study)]


def _sentences(study: Study) -> list[str]:
    """Of what the study answers, with nothing in them that a terminal would act on."""
    return [escaping.one_line(sentence) for sentence in state_answer(study)]


def _console(width: int | None) -> Console:
    # no control sequences, and nothing is written: in a notebook's kernel rich would show it
    return Console(color_system=None, width=width, force_jupyter=False)


def score_page(study: Study, alone: Sequence[Record]) -> list[str]:
    """Evaluations without a report on a terminal: the same, and the scores of those that are
    compared with nothing."""
    lines = terminal_page(study, others="a report shows the other splits")
    if cells := [line for record in alone if (line := _state_score(record))]:
        header = ["Subject", "Task", "Split", "Metric", "Score", "n"]
        lines += _table_lines(_console(None), Lines(header, cells), [])
    return [*lines, *study.notes]


def _state_score(record: Record) -> list[str] | None:
    """The primary score of an evaluation; None: it has none."""
    scores = {score.metric: score for score in record.scores}
    if not scores:
        return None
    metric = find_primary(list(scores), record.primary_metric, [])
    names = record.subject, record.settings.task, record.settings.split, metric
    shown = amount(metric, scores[metric].value), f"{scores[metric].n:,}"
    return [*map(one_line, names), *shown]


def _sweep_lines(study: Study, console: Console) -> list[str]:
    """One line per setting, and per control task and setting."""
    lines: list[str] = []
    for about, table in sweep_tables(study):
        cells = [[one_line(text_of(cell)) for cell in line] for line in table.rows]
        found = Lines(table.header, cells)
        for name in _DISPENSABLE:
            if found.compact_width > console.width:
                found = found.without(name)
        lines += [one_line(about), *_table_lines(console, found, [])]
    return lines


def list_answers(study: Study, compared: Sequence[tuple[Comparison, Row]]) -> Lines:
    """The table of answers on a terminal, one line per comparison: what distinguishes it, and the
    numbers of its row."""
    features = leading(study, View())
    lines: list[list[str]] = []
    measured = measured_columns([row for _, row in compared])
    for comparison, row in compared:
        found, cells = features_of(study, comparison, row), measured_cells(row)
        shown = [*(found[name] for name in features), *(text_of(cells[name]) for name in measured)]
        lines.append([one_line(cell) for cell in shown])
    return Lines([*(TITLES[name] for name in features), *measured], lines)


def _table_lines(console: Console, found: Lines, said: Sequence[str]) -> list[str]:
    """The table with nothing clipped. Where it has no room it loses its frame and verdicts are
    wrapped; where that isn't enough, lines are longer than the terminal."""
    usual, compact = console.width, found.width > console.width
    if compact:
        found = Lines([_SHORT.get(name, name) for name in found.header], found.lines)
    widths = [
        min(width, _NARROW) if compact and name == _VERDICT else width
        for name, width in zip(found.header, found.widths(), strict=True)
    ]
    columns = [
        Column(
            name,
            no_wrap=name != _VERDICT,
            min_width=width,
            max_width=width,
            justify="right" if name in _NUMBERS else "left",
        )
        for name, width in zip(found.header, widths, strict=True)
    ]
    table = Table(*columns)
    if compact:
        table.box, table.padding, table.pad_edge = None, (0, 1, 0, 0), False
    for line in found.lines:
        table.add_row(*map(escape, line))
    # rich would clip what has no room.
    console.width = max(usual, sum(widths) + len(widths) - 1 if compact else found.width)
    with console.capture() as drawn:
        console.print(table)
    console.width = usual
    return [*(["; ".join(said)] if said else []), *drawn.get().splitlines()]
