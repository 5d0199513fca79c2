"""Tables in JSON that are no list of objects: columns, rows by their ids, and a header with lists
of cells, as pandas writes them.

`{"text": {"0": ...}}` and `{"0": {"text": ...}}` look the same, so what the outer keys are is told
by the first of these that says something: one side of whole numbers alone is the ids; one side with
a digit in each key is the ids; rows may have different keys, columns have all rows; a column holds
values of one kind, a row of several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ft_harness.data.values import first_twice, kind_of
from ft_harness.errors import InputError

Row = dict[str, Any]
_CURE = "write a list of objects; with pandas: to_json(..., orient='records')"
_NUMBER = re.compile(r"-?\d+")
_DIGIT = re.compile(r"\d")


def is_list_of_objects(value: Any) -> bool:
    """Whether a JSON value is no table but what most JSON files hold: a list of rows, or of
    none."""
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def read_table(value: Any, place: str) -> list[tuple[str, Row]] | None:
    """(place, row) of each row of a JSON table; None: the value is no table of these forms.

    The id of a row is its field `id`, unless a row has one of its own or the ids only count the
    rows.

    Args:
        place: of the value.

    Raises:
        InputError: columns of different lengths, or more than one reading.
    """
    if not isinstance(value, dict) or not value:
        return None
    parts = list(value.values())
    if set(value) - {"index"} == {"columns", "data"} and _is_header(value):
        return _read_cells(value, place)
    if all(isinstance(part, list) for part in parts):
        return _read_lists(value, place)
    if all(isinstance(part, dict) and part for part in parts):
        return _read_objects(value, place)
    return None


def find_tables(value: Any, path: str, depth: int) -> Iterator[tuple[str, list[tuple[str, Row]]]]:
    """(path, its rows) of each table within a JSON value, the outermost ones.

    Args:
        path: of the value; "" is not looked at itself.
        depth: how many objects within objects are searched.
    """
    table = None
    if path:
        with suppress(InputError):  # what may be one doesn't count
            table = read_table(value, path)
    if table is not None:
        yield path, table
    elif isinstance(value, dict) and depth:
        for name, part in value.items():
            yield from find_tables(part, f"{path}.{name}" if path else name, depth - 1)


def _is_header(value: Mapping[str, Any]) -> bool:
    rows = value["data"]
    return (
        all(isinstance(part, list) for part in value.values())
        and all(isinstance(name, str) for name in value["columns"])
        and bool(rows)
        and all(isinstance(row, list) for row in rows)
    )


def _read_cells(value: Mapping[str, Any], place: str) -> list[tuple[str, Row]]:
    names, cells = value["columns"], value["data"]
    ids = value.get("index", range(len(cells)))
    twice = first_twice(names)
    uneven = next((index for index, row in enumerate(cells) if len(row) != len(names)), None)
    if twice is not None:
        raise InputError(f"{place}: two columns are named {twice}", "distinct names", "rename one")
    if uneven is not None:
        raise InputError(
            f"{place}, row {uneven}: {len(cells[uneven])} cells for {len(names)} columns",
            f"a cell for each of {', '.join(names)[:200]}",
            "fix the row",
        )
    if len(ids) != len(cells):
        raise InputError(
            f"{place}: index has {len(ids)} {'entry' if len(ids) == 1 else 'entries'} for "
            f"{len(cells)} rows",
            "as many entries in index as in data",
            "fix or leave out index",
        )
    rows = [dict(zip(names, row, strict=True)) for row in cells]
    return _place_rows(list(map(str, ids)), rows, place)


def _read_lists(value: Mapping[str, list[Any]], place: str) -> list[tuple[str, Row]] | None:
    sizes = {name: len(part) for name, part in value.items()}
    nested = [name for name, part in value.items() if part and is_list_of_objects(part)]
    if len(nested) == sum(map(bool, sizes.values())) or "data" in nested:
        return None  # lists of rows
    first = next(iter(sizes))
    uneven = next((name for name in sizes if sizes[name] != sizes[first]), None)
    if uneven is None and nested:
        other = next(name for name in sizes if name not in nested)
        raise InputError(
            f"{place}: {nested[0]} may be the list of rows, or a column next to {other}",
            "one reading",
            f"--set data.rows={nested[0]} for the list of rows; else {_CURE}",
        )
    if nested:
        return None
    if uneven is not None:
        raise InputError(
            f"{place}: the column {first} has {sizes[first]} values, but {uneven} has "
            f"{sizes[uneven]}",
            "columns of one length",
            _CURE,
        )
    ids = list(map(str, range(sizes[first])))
    rows = [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    return _place_rows(ids, rows, place)


def _read_objects(value: Mapping[str, Row], place: str) -> list[tuple[str, Row]] | None:
    outer, inner = (
        list(value),
        list(dict.fromkeys(name for part in value.values() for name in part)),
    )
    cells = [cell for part in value.values() for cell in part.values()]
    if all(isinstance(cell, dict) for cell in cells):
        return None  # tables of several splits, or what is no table
    named = not _all_match(_DIGIT.search, outer) and not _all_match(_DIGIT.search, inner)
    if named and any(map(_are_columns, value.values())):
        return None  # the same, of columns
    by_id = _are_ids_outside(value, outer, inner, place)
    if by_id is None:
        return None
    if by_id:
        return _place_rows(outer, list(value.values()), place)
    for name, part in value.items():
        missing = next((each for each in inner if each not in part), None)
        if missing is not None:
            other = next(each for each in value if missing in value[each])
            raise InputError(
                f"{place}: the column {name} has no row {missing}, which {other} has",
                "columns with the same rows",
                _CURE,
            )
    rows = [{name: part[each] for name, part in value.items()} for each in inner]
    return _place_rows(inner, rows, place)


def _are_columns(part: Row) -> bool:
    """Whether an object holds lists of one length, none of them empty."""
    sizes = {len(cell) if isinstance(cell, list) else 0 for cell in part.values()}
    return len(sizes) == 1 and 0 not in sizes


def _are_ids_outside(
    value: Mapping[str, Row], outer: Sequence[str], inner: Sequence[str], place: str
) -> bool | None:
    """Whether the outer keys are ids of rows, and not names of columns; None: it is no table.

    Raises:
        InputError: nothing says which.
    """
    for matches in (_NUMBER.fullmatch, _DIGIT.search):
        sides = _all_match(matches, outer), _all_match(matches, inner)
        if sides[0] != sides[1]:
            return sides[0]
    if any(is_list_of_objects(cell) for part in value.values() for cell in part.values() if cell):
        return None  # rows are further inside
    if any(len(part) < len(inner) for part in value.values()):
        shared = set(inner).intersection(*value.values())
        return True if shared else None
    columns = _are_of_one_kind(part.values() for part in value.values())
    rows = _are_of_one_kind([part[name] for part in value.values()] for name in inner)
    if columns == rows and (rows or len(outer) > 1):
        shown = ", ".join(outer)
        raise InputError(
            f"{place}: {shown[:200]} may be columns or ids of rows",
            "names without digits and numbers as ids, or a list of objects",
            _CURE,
        )
    return None if len(outer) == 1 else rows


def _all_match(matches: Callable[[str], Any], keys: Iterable[str]) -> bool:
    return all(matches(key) for key in keys)


def _are_of_one_kind(groups: Iterable[Iterable[Any]]) -> bool:
    """Whether each group holds values of one kind, next to nulls."""
    kinds = (
        {kind_of(value).split()[0] for value in group if value is not None} for group in groups
    )
    return all(len(found) < 2 for found in kinds)


def _place_rows(ids: Sequence[str], rows: Sequence[Row], place: str) -> list[tuple[str, Row]]:
    counted = [str(number) for number in range(len(rows))]
    if list(ids) == counted or len(set(ids)) < len(ids):
        return [(f"{place}, row {number}", row) for number, row in zip(counted, rows, strict=True)]
    if not any("id" in row for row in rows):
        rows = [{"id": each, **row} for each, row in zip(ids, rows, strict=True)]
    return [(f"{place}, {each}", row) for each, row in zip(ids, rows, strict=True)]
