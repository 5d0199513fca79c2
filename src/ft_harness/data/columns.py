"""Read rows to docs by column: hundreds at a time, where no row needs individual treatment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ft_harness.data.values import has_half_character, is_blank

Columns = dict[str, list[Any]]
CHARACTERS = 1 << 22  # of the texts that are held at a time
_WHOLE = (int, bool)


@dataclass(frozen=True)
class Docs:
    """Several docs, by column: field -> its values, None where a doc lacks it."""

    number: int
    columns: Columns

    @cached_property
    def characters(self) -> int:
        """Of their texts."""
        return sum(map(_count_characters, self.columns.values()))


def _count_characters(values: Sequence[Any]) -> int:
    if set(map(type, values)) == {str}:
        return sum(map(len, values))
    return sum(len(value) for value in values if type(value) is str)


def make_docs(docs: Sequence[Mapping[str, Any]]) -> Docs:
    """Docs by row, of docs by column."""
    names = dict.fromkeys(name for doc in docs for name in doc)
    return Docs(len(docs), {name: [doc.get(name) for doc in docs] for name in names})


def read_columns(
    rows: Sequence[Mapping[str, Any]], plan: Iterable[tuple[str, str]]
) -> Columns | None:
    """The fields of rows, each (name, column) of the plan; None if a row has other keys than the
    first one, or if a column holds anything but values of one type that are what a doc holds:
    texts that show something and are of whole characters, whole numbers, or truth values."""
    if len(set(map(tuple, rows))) > 1:
        return None
    columns = {name: [row[column] for row in rows] for name, column in plan}
    return columns if all(map(_is_plain, columns.values())) else None


def _is_plain(values: Sequence[Any]) -> bool:
    kinds = set(map(type, values))
    if len(kinds) > 1:
        return False
    if kinds <= set(_WHOLE):
        return True
    if kinds != {str} or any(map(is_blank, values)):
        return False
    return all(map(str.isascii, values)) or not any(map(has_half_character, values))
