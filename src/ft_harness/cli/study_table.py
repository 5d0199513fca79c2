"""A study in the terminal: the table of its answers, its sentences and the report's paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ft_harness.cli.app import show
from ft_harness.comparison.aggregator import Comparison, Row, Study
from ft_harness.comparison.amounts import amount, counted
from ft_harness.comparison.answers import state_sweep
from ft_harness.comparison.features import TITLES, features_of
from ft_harness.comparison.primary import find_primary
from ft_harness.comparison.sentences import state_study
from ft_harness.comparison.settings import SweepStudy
from ft_harness.pipeline.report_files import FORMATS, list_files
from ft_harness.records import Record
from ft_harness.report import (
    View,
    leading,
    measured_cells,
    measured_columns,
    one_line,
    state_untuned,
    sweep_table,
    text_of,
    untuned_table,
)

_BORDER = 3  # columns of the terminal that a framed cell takes besides its text
_PAGES = [f"report.{name}" for name in FORMATS]
_VERDICT = "Verdict"
_NUMBERS = ("Base", "Tuned", "Difference", "Diff.", "p", "p (Holm)", "n", "Score")
# names of a protocol, which may all be one
_PROTOCOL = ("Model", "Task", "Split", "Metric", "Shots", "Prompt", "Decoding", "n", "Repeats")
_NARROW = 9  # longest word of a verdict
_SHORT = {"Difference": "Diff."}  # names that are longer than what is under them


@dataclass(frozen=True)
class _Lines:
    """A table before it is fitted: lines of cells under their names."""

    header: list[str]
    lines: list[list[str]]

    @property
    def width(self) -> int:
        """In a frame."""
        return 1 + sum(width + _BORDER for width in self.widths())

    def widths(self) -> list[int]:
        every = [self.header, *self.lines]
        return [max(cell_len(line[place]) for line in every) for place in range(len(self.header))]

    def split_constant(self, names: Sequence[str]) -> tuple[_Lines, list[str]]:
        """(the table without those of its columns that say the same in each line, what they
        say)."""
        constant = [
            place
            for place, name in enumerate(self.header)
            if name in names and len({line[place] for line in self.lines}) == 1
        ]
        kept = [place for place in range(len(self.header)) if place not in constant]
        said = [f"{self.header[place]} {self.lines[0][place]}" for place in constant]
        lines = [[line[place] for place in kept] for line in self.lines]
        return _Lines([self.header[place] for place in kept], lines), said


def print_study(study: Study, path: Path) -> None:
    """The answer of each comparison, the sentences of those that decide, and all files of the
    report."""
    _print_answers(study)
    for line in _name_files(path):
        show(line)


def print_scores(study: Study, alone: Sequence[Record], folders: Sequence[Path]) -> None:
    """The same of evaluations without a report, and the scores of those that are compared with
    nothing.

    Args:
        folders: where the evaluations are.
    """
    _print_answers(study, "a report shows the other splits")
    lines = [line for record in alone if (line := _state_score(record))]
    if lines:
        header = ["Subject", "Task", "Split", "Metric", "Score", "n"]
        _print_table(Console(color_system=None), _Lines(header, lines), [])
    for note in study.notes:
        show(note)
    for subject, found in groupby(folders, key=lambda folder: folder.parent):
        show(f"{subject}: {', '.join(folder.name for folder in found)}")


def _print_answers(study: Study, others: str = "other splits are in the report") -> None:
    """Tables and sentences; `others` says where splits are for which there is no room."""
    console = Console(color_system=None)  # no control sequences: the gate would show them
    if study.sweep is not None:
        _print_sweep(console, study.sweep)
        return
    compared = [(each, each.headline) for each in study.comparisons]
    compared.sort(key=lambda pair: pair[0].role == "control task")
    if compared:
        features = leading(study, View())
        names = [*(TITLES[name] for name in features), "n"]
        said: list[str] = []
        table = _list_rows(study, compared)
        if table.width > console.width:
            table, said = table.split_constant(names)
        tested = [(each, row) for each, row in compared if row.split == "test"]
        if table.width > console.width and 0 < len(tested) < len(compared):
            table, said = _list_rows(study, tested).split_constant(names)
            said.append(others)
        _print_table(console, table, said)
    if block := untuned_table(study):
        lines = [[one_line(text_of(cell)) for cell in line] for line in block.rows]
        table, said = _Lines(block.header, lines), []
        if table.width > console.width:
            table, said = table.split_constant(_PROTOCOL)
        _print_table(console, table, said)
    for sentence in [*state_study(study), *state_untuned(study)]:
        show(sentence)


def _print_sweep(console: Console, sweep: SweepStudy) -> None:
    """A line a setting, the answers."""
    if table := sweep_table(sweep):
        lines = [[one_line(text_of(cell)) for cell in line] for line in table.rows]
        _print_table(console, _Lines(table.header, lines), [])
    for line in state_sweep(sweep):
        show(line)


def _state_score(record: Record) -> list[str] | None:
    """The primary score of an evaluation; None: it has none."""
    scores = {score.metric: score for score in record.scores}
    if not scores:
        return None
    metric = find_primary(list(scores), record.primary_metric, [])
    shown = amount(metric, scores[metric].value), f"{scores[metric].n:,}"
    settings = record.settings
    return [one_line(each) for each in (record.subject, settings.task, settings.split, metric)] + [
        *shown
    ]


def _name_files(path: Path) -> list[str]:
    """The pages of a report, each in a line, then its other files by kind."""
    folder = path.parent
    files = list_files(folder)
    pages = dict.fromkeys([path, *(folder / name for name in files if name in _PAGES)])
    kinds: dict[str, list[str]] = {}
    for name in files:
        if folder / name not in pages:
            stem, _, ending = name.rpartition(".")
            kinds.setdefault(stem, []).append(ending)
    folders: dict[str, list[list[str]]] = {}
    for stem in [each for each in kinds if "/" in each]:
        folders.setdefault(stem.partition("/")[0], []).append(kinds.pop(stem))
    others = [_join_endings(stem, endings) for stem, endings in kinds.items()]
    for name, stems in folders.items():
        endings = dict.fromkeys(each for found in stems for each in found)
        others.append(f"{counted(len(stems), 'file')} as {_join_endings(f'{name}/*', [*endings])}")
    return [*map(str, pages), *([f"{folder}: {', '.join(others)}"] if others else [])]


def _join_endings(stem: str, endings: Sequence[str]) -> str:
    return f"{stem}.{endings[0]}" if len(endings) == 1 else f"{stem}.{{{','.join(endings)}}}"


def _list_rows(study: Study, compared: Sequence[tuple[Comparison, Row]]) -> _Lines:
    features = leading(study, View())
    lines: list[list[str]] = []
    measured = measured_columns([row for _, row in compared])
    for comparison, row in compared:
        found, cells = features_of(study, comparison, row), measured_cells(row)
        shown = [*(found[name] for name in features), *(text_of(cells[name]) for name in measured)]
        lines.append([one_line(cell) for cell in shown])
    return _Lines([*(TITLES[name] for name in features), *measured], lines)


def _print_table(console: Console, found: _Lines, said: Sequence[str]) -> None:
    """The table with nothing clipped. Where it has no room it loses its frame and verdicts are
    wrapped; where that isn't enough, lines are longer than the terminal."""
    usual, compact = console.width, found.width > console.width
    if compact:
        found = _Lines([_SHORT.get(name, name) for name in found.header], found.lines)
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
    if said:
        show("; ".join(said))
    console.width = max(usual, sum(widths) + len(widths) - 1 if compact else found.width)
    console.print(table)
    console.width = usual
