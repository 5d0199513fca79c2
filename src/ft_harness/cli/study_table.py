"""A study in the terminal: the table of its main metrics, its sentences and the report's path."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.features import TITLES, features_of
from ft_harness.comparison.sentences import state_study
from ft_harness.report import View, headline, leading, measured_cells, one_line, text_of

_NUMBERS = ["Base", "Tuned", "Difference", "95 % interval", "p", "n", "Verdict"]


def print_study(study: Study, path: Path) -> None:
    """The main metric of each comparison, the sentences of the primary ones, and the report's
    path."""
    features = leading(study, View())
    table = Table(
        *(TITLES[name] for name in features), *(Column(name, no_wrap=True) for name in _NUMBERS)
    )
    for comparison in study.comparisons:
        row = headline(comparison.rows)
        found, cells = features_of(study, comparison, row), measured_cells(row)
        if row.p_adjusted is not None:
            cells["p"] = cells["p (Holm)"]
        shown = [*(found[name] for name in features), *(text_of(cells[name]) for name in _NUMBERS)]
        table.add_row(*(escape(one_line(cell)) for cell in shown))
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)
    print("\n".join([*map(one_line, state_study(study)), str(path)]))
