"""One reading of data that a task is to be made of: its columns, and the values of the answer's
column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ft_harness.data.files import Rows
from ft_harness.data.labels import plain_label
from ft_harness.data.values import ABSENT, find_value, is_blank, read_value
from ft_harness.errors import ConfigError, InputError, raise_problems, suggest

_SHOWN = 3  # rows that a message names


@dataclass
class Survey:
    """What one reading of data found: columns, how often each value of the answer's column occurs,
    whether all of these are texts, and names that the file states for them; `classes`: the answer
    is a label."""

    where: str
    classes: bool = False
    columns: dict[str, None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    texts: bool = True
    stated: list[str] = field(default_factory=list)
    empty: dict[str, list[str]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


def read_survey(survey: Survey, source: Mapping[Any, Rows], wanted: Sequence[str]) -> None:
    """Read the data once; every row has a value in each of the columns, the answer's last."""
    where, answer = survey.where, wanted[-1]
    for rows in source.values():
        survey.stated = survey.stated or list(rows.label_names().get(answer, ()))
        for place, row in rows:
            survey.columns |= dict.fromkeys(map(str, row))
            _count_row(survey, row, place, wanted)
    if not survey.columns:
        raise InputError(f"{where}: no rows", "at least one row", "check the file")
    _check_columns(survey, wanted)
    raise_problems([_empty_cells(name, places) for name, places in survey.empty.items()])


def _count_row(survey: Survey, row: Mapping[str, Any], place: str, wanted: Sequence[str]) -> None:
    values = {name: find_value(row, name) for name in wanted}
    survey.seen |= {name for name, value in values.items() if value is not ABSENT}
    for name, raw in values.items():
        value = values[name] = None if raw is ABSENT else read_value(raw, place, name)
        if isinstance(value, dict | list) and (name != wanted[-1] or survey.classes):
            _refuse_nested(name, value, place)
        if value is None or is_blank(str(value)):
            survey.empty.setdefault(name, []).append(place)
    value = values[wanted[-1]]
    survey.texts = survey.texts and isinstance(value, str)
    is_stated = type(value) is int and 0 <= value < len(survey.stated)
    survey.counts[survey.stated[value] if is_stated else _plain(value)] += 1


def _refuse_nested(name: str, value: dict[str, Any] | list[Any], place: str) -> None:
    inner = next(iter(value), "") if isinstance(value, dict) else 0
    first = value[0] if isinstance(value, list) and value else None
    path = f"{name}.{inner}" + (f".{next(iter(first), '')}" if isinstance(first, dict) else "")
    kind = "an object" if isinstance(value, dict) else "a list"
    raise InputError(
        f"{place}: the column {name} holds {kind}",
        "a text or a number",
        f"name what is within it, such as {path}",
    )


def _check_columns(survey: Survey, wanted: Sequence[str]) -> None:
    present = list(survey.columns)
    cure = "name a column of the file"
    if present == ["text"]:  # lines of text that nothing takes apart
        cure = "name the fields of a line: --columns label,text, or --line-format '{label} {text}'"
    raise_problems(
        [
            InputError(
                f"{survey.where}: no column {column}{suggest(column, present)}",
                f"one of {', '.join(present)[:500]}",
                cure,
            )
            for column in dict.fromkeys(wanted)
            if column not in survey.seen
        ]
    )
    if not wanted[:-1]:
        raise ConfigError(
            f"{survey.where}: no column for the model to read is named",
            f"--text with one or more of {', '.join(present)[:500]}",
            "name a column with --text",
        )
    if wanted[-1] in wanted[:-1]:
        raise InputError(
            f"{survey.where}: {wanted[-1]} would be question and answer",
            "two columns",
            "name another one",
        )
    if len(set(wanted)) < len(wanted):
        raise ConfigError(
            f"{survey.where}: a column is given twice with --text",
            "each column once",
            "leave one out",
        )


def _empty_cells(column: str, places: Sequence[str]) -> InputError:
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return InputError(
        f"{', '.join(places[:_SHOWN])}{more}: the column {column} is empty",
        "a value in every row",
        "fix or remove the rows",
    )


def _plain(value: Any) -> str:
    """A value as text; whole numbers without decimals, as the loader reads labels."""
    return str(value) if isinstance(value, str) and value != value.strip() else plain_label(value)
