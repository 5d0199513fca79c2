"""The tables of a report as files for programs: CSV for spreadsheets, JSON. Numbers are unrounded,
undefined is empty.

Scores and differences between 0 and 1 stay so, as in `rows.json`; intervals are two columns.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ft_harness.comparison.amounts import NONE
from ft_harness.report.document import (
    Bullets,
    Cell,
    Document,
    Number,
    Span,
    Table,
    one_line,
    text_of,
)
from ft_harness.storage.escaping import guard_formula

Value = str | float | None


def table_names(document: Document) -> list[tuple[str, Table]]:
    """The names of tables' files: (stem, table) for each table with a file; the second of a name is
    numbered 2."""
    seen: dict[str, int] = {}
    named: list[tuple[str, Table]] = []
    for table in document.tables():
        assert table.name
        seen[table.name] = seen.get(table.name, 0) + 1
        named.append(
            (table.name if seen[table.name] == 1 else f"{table.name}_{seen[table.name]}", table)
        )
    return named


def csv_table(table: Table) -> str:
    """One table of a report as a CSV file: a header, then one line per row; text that a spreadsheet
    would compute starts with `'`."""
    return csv_text(data_header(table), data_rows(table))


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    """Plain values as a CSV file: safe text, numbers as numbers, nothing for None."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([[_safe(value) for value in row] for row in (header, *rows)])
    return stream.getvalue()


def _safe(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    shown = one_line(value)
    # A tab or another sign that a formula may begin with is shown by its number: look before too.
    return guard_formula(shown) if guard_formula(value) == value else f"'{shown}"


def data_header(table: Table) -> list[str]:
    """The columns of a table's file: an interval has two."""
    pairs = zip(table.header, table.kinds, strict=True)
    return [
        name
        for title, kind in pairs
        for name in ([f"{title}, low", f"{title}, high"] if kind == "i" else [title])
    ]


def data_rows(table: Table) -> list[list[Value]]:
    """The rows of a table's file: unrounded values, an interval as two."""
    return [
        [
            value
            for cell, kind in zip(row, table.kinds, strict=True)
            for value in _values(cell, kind)
        ]
        for row in table.rows
    ]


def _values(cell: Cell, kind: str) -> list[Value]:
    """One value, or the two of an interval, whatever its column holds."""
    if kind == "i":
        return [cell.low, cell.high] if isinstance(cell, Span) else [None, None]
    if isinstance(cell, Number):
        return [cell.value]
    text = text_of(cell)
    return [None if kind == "n" and text == NONE else text]


def json_page(document: Document) -> str:
    """The JSON file of a report: the sentences and all tables as data, in the order of the report;
    strict JSON."""
    first = document.blocks[0] if document.blocks else None
    found: dict[str, Any] = {
        "title": document.title,
        "sentences": first.items if isinstance(first, Bullets) else [],
        "tables": [
            {
                "name": name,
                "title": table.title,
                "header": data_header(table),
                "rows": data_rows(table),
            }
            for name, table in table_names(document)
        ],
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"
