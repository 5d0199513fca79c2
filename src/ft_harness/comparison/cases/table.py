"""`cases.csv`: case sheets as a table with a column `why` that a person fills in and that later
reports keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ft_harness.comparison.cases.summary import Case, CaseSummary, change_cases, list_cases
from ft_harness.comparison.cases.traits import join_fields
from ft_harness.comparison.cases.transitions import Transition
from ft_harness.errors import InputError
from ft_harness.records import Record
from ft_harness.storage import redact
from ft_harness.storage.escaping import guard_formula, unguard_formula
from ft_harness.storage.strict_files import no_pipe

CASES_FILE = "cases.csv"
_KEY = ("base", "tuned", "item_key")
_WHY, _IN_SHEET = "why", "in_sheet"
_COLUMNS = (
    "task",
    "split",
    *_KEY,
    _IN_SHEET,
    "transition",
    "gold",
    "base_answer",
    "tuned_answer",
    "base_margin",
    "tuned_margin",
    "input",
    "tags",
    "nearest_training_example",
    "nearest_answer",
    "nearest_similarity",
    _WHY,
)
_TEXT_LIMIT = 2000  # characters of a cell; spreadsheets take 32,767
_LONGEST = 10_000_000  # characters of a cell that is read

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Written:
    """What a cases.csv holds, as a person left it.

    Attributes:
        rows: (base, tuned, item key) -> the row by column.
        columns: in the file's order; those that aren't ours are kept too.
    """

    rows: dict[Key, dict[str, str]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def further(self) -> list[str]:
        """Columns that a person added."""
        return [name for name in self.columns if name not in _COLUMNS]

    def table_columns(self) -> list[str]:
        """The columns of the next table."""
        return [*_COLUMNS[:-1], *self.further(), _WHY]

    def table_rows(self) -> list[list[str]]:
        """The rows that a person wrote in, in the order of `table_columns`."""
        own = (*self.further(), _WHY)
        return [
            [row.get(name, "") for name in self.table_columns()]
            for row in self.rows.values()
            if any(row.get(name, "").strip() for name in own)
        ]

    def items(self, sides: tuple[str, str]) -> list[str]:
        """The keys of the items of two sides."""
        return self._items.get(sides, [])

    @cached_property
    def _items(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for base, tuned, item in self.rows:
            found.setdefault((base, tuned), []).append(item)
        return found

    def why(self, key: Key) -> str | None:
        """What was written of an item; None for nothing but blanks."""
        return self.rows.get(key, {}).get(_WHY, "").strip() or None


@dataclass(frozen=True)
class Sheet:
    """One comparison's rows of `cases.csv`."""

    base: Record
    tuned: Record
    cases: CaseSummary

    def sides(self) -> tuple[str, str]:
        """What the columns base and tuned hold."""
        base, tuned = (f"{side.subject}/{side.eval_id}" for side in (self.base, self.tuned))
        return base, tuned

    def key(self, case: Case) -> Key:
        return (*self.sides(), case.item_key)

    def whys(self, written: Written) -> dict[str, str]:
        """Item key -> what was written of it, in the sheet or not."""
        sides = self.sides()
        keys = ((*sides, item) for item in written.items(sides))
        return {key[2]: why for key in keys if (why := written.why(key))}

    def add_whys(self, written: Written) -> CaseSummary:
        """The cases with what was written of them."""
        return change_cases(
            self.cases, lambda case: case.model_copy(update={"why": written.why(self.key(case))})
        )


def read_cases(path: Path) -> Written:
    """The content of a cases.csv; nothing where the file is missing. A file that a spreadsheet
    saved with semicolons or tabs is read too; a row that is there twice is one with both texts.

    Raises:
        InputError: the file isn't UTF-8, or has lost one of the columns base, tuned, item_key and
            why. It is left as it is.
    """
    if not path.exists():
        return Written()
    try:
        text = no_pipe(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: can't be read ({type(error).__name__})",
            "the table as UTF-8, with what you wrote",
            "save it as CSV UTF-8, or move it away",
        ) from error
    # Python's own limit of 131,072 characters is less than a long context, and would refuse what a
    # spreadsheet wrote.
    csv.field_size_limit(_LONGEST)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=_find_delimiter(text)))
    except csv.Error as error:
        raise InputError(
            f"{path}: not valid csv ({error})", "closed quotes", "correct the row"
        ) from error
    header = [unguard_formula(name) for name in lines[0]] if lines else []
    missing = [name for name in (*_KEY, _WHY) if name not in header]
    if missing or len(set(header)) < len(header):
        fault = f"no column {', '.join(missing)}" if missing else "a column name is there twice"
        raise InputError(
            f"{path}: {fault}",
            f"the columns {', '.join((*_KEY, _WHY))}, each once",
            "restore the column names, or move the file away",
        )
    rows: dict[Key, dict[str, str]] = {}
    for cells in lines[1:]:
        row = dict(zip(header, map(unguard_formula, cells), strict=False))
        if any(cells):
            _keep(rows, row)
    return Written(rows, tuple(header))


def _find_delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    # Spreadsheets of many languages save csv with semicolons; `csv.Sniffer` also weighs quotes and
    # letters of the cells, which are prose here.
    return max(",;\t", key=first.count)


def _keep(rows: dict[Key, dict[str, str]], row: dict[str, str]) -> None:
    base, tuned, item = (row.get(name, "") for name in _KEY)
    earlier = rows.get((base, tuned, item), {}).get(_WHY, "")
    # What a person wrote is never dropped, even where a row was copied and edited twice.
    texts = [text for text in dict.fromkeys([earlier, row.get(_WHY, "")]) if text.strip()]
    rows[base, tuned, item] = row | {_WHY: "\n".join(texts)}


def write_table(sheets: Sequence[Sheet], written: Written) -> str:
    """The sheets' cases as csv, each with what was written of it before.

    Rows with a text of which the item is in no sheet any more come last, marked `no`; those without
    are dropped. Columns that a person added are kept. Texts that a spreadsheet would take for
    formulas begin with an apostrophe.
    """
    rows: dict[Key, Mapping[str, str]] = {}
    for sheet in sheets:
        for transition, case in list_cases(sheet.cases):
            key = sheet.key(case)
            kept = written.rows.get(key, {})
            rows[key] = _make_row(sheet, transition, case) | {
                name: kept.get(name, "") for name in (*written.further(), _WHY)
            }
    # An item can leave the sheet when an adapter is trained again; its text may be the only note
    # there is.
    left = {
        key: row | {_IN_SHEET: "no"}
        for key, row in written.rows.items()
        if key not in rows and written.why(key)
    }
    return _write(written.table_columns(), [*rows.values(), *left.values()])


def _write(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(
        text, lineterminator="\r\n"
    )  # of RFC 4180; with "\n" alone a "\r" would not be quoted
    writer.writerow([guard_formula(name) for name in columns])
    writer.writerows([guard_formula(row.get(name, "")) for name in columns] for row in rows)
    return "\ufeff" + text.getvalue()  # the mark by which spreadsheets know UTF-8


def _make_row(sheet: Sheet, transition: Transition, case: Case) -> dict[str, str]:
    base_margin, tuned_margin = case.margins()
    base, tuned, item = sheet.key(case)
    nearest = case.nearest
    return {
        "task": sheet.tuned.settings.task,
        "split": sheet.tuned.settings.split,
        "base": base,
        "tuned": tuned,
        "item_key": item,
        _IN_SHEET: "yes",
        "transition": transition,
        "gold": _cut(case.gold),
        "base_answer": _cut(case.base_answer or ""),
        "tuned_answer": _cut(case.tuned_answer or ""),
        "base_margin": _number(base_margin),
        "tuned_margin": _number(tuned_margin),
        "input": _cut(join_fields(case.texts) or case.prompt),
        "tags": "; ".join(case.tags),
        "nearest_training_example": _cut(nearest.text) if nearest else "",
        "nearest_answer": _cut(nearest.answer) if nearest else "",
        "nearest_similarity": _number(nearest.similarity if nearest else None),
    }


def _cut(text: str) -> str:
    text = redact(text)  # before csv writes quotes twice
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]} …"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
