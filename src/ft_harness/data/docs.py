"""A source's rows -> docs: the task's fields, labels as indices, and the checks of every row, with
its place."""

from __future__ import annotations

import logging
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.data.files import Row, Rows
from ft_harness.data.options import DataOptions
from ft_harness.errors import InputError

_log = logging.getLogger(__name__)
LABEL, LABEL_NAMES, LABEL_WORDS, LANGUAGE, ANSWERS, ID = (
    "label", "label_names", "label_words", "language", "answers", "id",
)  # fmt: skip
_KINDS = {
    str: "text",
    bool: "true/false",
    int: "number",
    float: "number",
    dict: "object",
    type(None): "null",
}
_HALF = re.compile("[\ud800-\udfff]")
_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")
_MOST_DIGITS = 9
_LISTED = 5


@dataclass(frozen=True)
class RowLoss:
    """Rows of one part of a source, and how many of them did not become docs.

    Attributes:
        where: the file, or the hub's data set and split.
        rows: rows read.
        dropped: rows left out for their label (`drop_labels`).
        bad: rows left out for a null or empty field (`skip_bad_rows`).
    """

    where: str
    rows: int
    dropped: int
    bad: int


class Codes:
    """A value for each row, kept as a number (8 bytes a row): the index of the value in `names`."""

    def __init__(self, names: Sequence[Any] = ()) -> None:
        self.names: list[Any] = list(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._rows = array("q")

    def add(self, value: Any) -> None:
        name = value if isinstance(value, str | int | float) else repr(value)
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        self._rows.append(self._numbers[name])

    def of_rows(self) -> NDArray[np.int64]:
        """The number of each row [N]."""
        return np.array(self._rows, dtype=np.int64)


@dataclass(frozen=True)
class _Layout:
    """Where the values of a doc stand in the rows of one part of the source; no fields: all columns
    are taken."""

    fields: dict[str, str]
    group: str | None


@dataclass
class _Tally:
    """Counts of one part of a source, taken while its rows are read."""

    rows: int = 0
    dropped: int = 0
    bad: int = 0
    bad_places: list[str] = field(default_factory=list)
    fault: str = ""


class DocReader:
    """Turns rows into docs, one part of a source after another, and keeps what sampling needs of
    each doc.

    Attributes:
        labels: label of each doc, kept for `stratified` and `balanced`.
        groups: group of each doc, kept for `group_by`.
        losses: what each part lost.
    """

    def __init__(self, options: DataOptions) -> None:
        self.labels = Codes(options.labels or ())
        self.groups = Codes()
        self.losses: list[RowLoss] = []
        self._options = options
        self._dropped = {_plain_label(label) for label in options.drop_labels}
        self._kinds: dict[str, tuple[str, str]] = {}

    def read(self, rows: Rows) -> Iterator[tuple[str, Row]]:
        """(place, doc) of each row that is kept, in order.

        Raises:
            InputError: a missing column, null or empty fields (all counted, the first ones named),
                half characters, a label outside the choices, values of different kinds in a field,
                or a duplicate id.
        """
        tally = _Tally()
        ids = array("q")
        for place, row, doc in self._kept(rows, tally):
            if row.get(ID) is not None:
                ids.append(hash(_hashable(row[ID])))
            self._check_kinds(doc, place)
            yield place, doc
        if not tally.rows:
            raise InputError(f"{rows.where}: no rows", "at least one row", "check the file")
        if tally.bad and not self._options.skip_bad_rows:
            raise InputError(
                _first_fault(tally),
                "a value in every field",
                "fix or remove the rows, or leave them out and count them: data.skip_bad_rows=true",
            )
        hashes = np.array(ids)
        hashes.sort()  # in place: no second array of a row's size
        if (hashes[1:] == hashes[:-1]).any() and self._options.group_by != ID:
            self._check_ids(rows)
        self._note_losses(rows.where, tally)

    def _note_losses(self, where: str, tally: _Tally) -> None:
        self.losses.append(RowLoss(where, tally.rows, tally.dropped, tally.bad))
        if tally.dropped:
            _log.info("%s: %d of %d rows dropped for their label", where, tally.dropped, tally.rows)
        if tally.bad:
            _log.warning(
                "%s: %d of %d rows left out (%s)", where, tally.bad, tally.rows, _first_fault(tally)
            )
        if tally.dropped + tally.bad == tally.rows:
            reason = "is whole" if tally.bad else "has a label to keep"
            _log.warning("%s: no row %s; this split is taken from another one", where, reason)

    def _kept(self, rows: Rows, tally: _Tally) -> Iterator[tuple[str, Row, Row]]:
        """(place, row, doc) of the rows that become docs; after a bad row only faults are looked
        for."""
        layout: _Layout | None = None
        for place, row in rows:
            layout = layout or self._lay_out(rows.where, row)
            tally.rows += 1
            doc = (
                {name: row.get(column) for name, column in layout.fields.items()}
                if layout.fields
                else dict(row)
            )
            if LABEL in doc and self._dropped and _plain_label(doc[LABEL]) in self._dropped:
                tally.dropped += 1
                continue
            extras = {name: doc.pop(name, None) or "" for name in self._options.optional}
            fault = _missing_value(
                doc if layout.group is None else {**doc, layout.group: row.get(layout.group)}
            )
            if fault:
                tally.bad += 1
                tally.fault = tally.fault or fault
                tally.bad_places += [place] if len(tally.bad_places) < _LISTED else []
            if fault or (tally.bad and not self._options.skip_bad_rows):
                continue
            doc |= extras
            self._complete(doc, place)
            if layout.group is not None:
                self.groups.add(row[layout.group])
            yield place, row, doc

    def _complete(self, doc: Row, place: str) -> None:
        """Check the texts of a doc, make its label an index and its answers a list, add what the
        options add."""
        for name, value in doc.items():
            if _has_half(value):
                raise InputError(
                    f"{place}: the field {name} holds half a character (a lone surrogate)",
                    "whole Unicode characters",
                    "fix the escapes like \\ud83d of the row",
                )
        options = self._options
        if isinstance(doc.get(ANSWERS), dict):
            doc[ANSWERS] = list(dict.fromkeys(doc[ANSWERS].get("text") or []))
        if options.labels is not None:
            doc[LABEL] = label_index(doc[LABEL], options.labels, place)
            doc[LABEL_NAMES] = options.labels
        if options.label_words is not None:
            doc[LABEL_WORDS] = options.label_words
        if options.language is not None:
            doc[LANGUAGE] = options.language
        if options.stratified or options.balanced:
            self.labels.add(doc[LABEL] if options.labels is None else options.labels[doc[LABEL]])

    def _lay_out(self, where: str, row: Row) -> _Layout:
        """Field -> column for the fields that the task declares, and the group's column."""
        options = self._options
        fields = _match_columns(where, row, options)
        if (options.stratified or options.balanced) and LABEL not in (fields or row):
            raise InputError(
                f"{where}: no label to sample by (fields: {', '.join(map(str, fields or row))})",
                "a field named label",
                "--set 'data.columns={label: [column]}', or drop data.stratified and data.balanced",
            )
        group = options.group_by
        if group is not None and group not in row:
            group = fields.get(group)
            if group is None:
                raise InputError(
                    f"{where}: no column {options.group_by} to group by "
                    f"(columns: {', '.join(map(str, row))})",
                    "a column of the source",
                    "change data.group_by, or leave it out",
                )
        return _Layout(fields, group)

    def _check_kinds(self, doc: Row, place: str) -> None:
        """Refuse a field that is a text here and a number there: one of the two is a mistake."""
        for name, value in doc.items():
            kind = _kind(value)
            known, first = self._kinds.get(name, ("null", place))
            if " and " in kind:
                raise InputError(
                    f"{place}: the field {name} is a {kind}", "one kind a list", "fix the row"
                )
            if kind == known or known.startswith(kind):
                continue
            if known != "null" and not kind.startswith(known):
                raise InputError(
                    f"{place}: the field {name} is a {kind}, but a {known} at {first}",
                    'values of one kind in a field (1 and "1" are two)',
                    "write them all the same way",
                )
            self._kinds[name] = kind, place

    def _check_ids(self, rows: Rows) -> None:
        """Read the rows again and name the duplicate ids; equal hashes alone prove nothing."""
        places: dict[Any, str] = {}
        twice: list[str] = []
        again = DocReader(self._options)
        for place, row, _ in again._kept(rows, _Tally()):
            if row.get(ID) is None:
                continue
            name = _hashable(row[ID])
            if name in places:
                twice.append(
                    f"{place}: duplicate id {str(name)[:80]!r}, first used at {places[name]}"
                )
            places.setdefault(name, place)
        if twice:
            raise InputError(
                f"{twice[0]} ({len(twice)} rows repeat an id)",
                "an id of its own for each row",
                "fix the ids, or rename the column; if it names groups of rows: data.group_by=id",
            )


def _first_fault(tally: _Tally) -> str:
    """`file:2: the field text is null`, and how many rows have such a fault, with the first of
    their places."""
    places = ", ".join(tally.bad_places) + ", ..." * (tally.bad > len(tally.bad_places))
    more = f" ({tally.bad} rows with null or empty fields: {places})" if tally.bad > 1 else ""
    return f"{tally.bad_places[0]}: {tally.fault}{more}"


def _match_columns(where: str, row: Row, options: DataOptions) -> dict[str, str]:
    """Field -> the source's column, for the fields that the task declares; {} where it declares
    none."""
    matched: dict[str, str] = {}
    wanted = dict(options.columns or {})
    if options.labels is not None:
        wanted.setdefault(LABEL, [])
    for name, accepted in wanted.items():
        column = next((known for known in (name, *accepted) if known in row), None)
        if column is None and name in options.optional:
            continue
        if column is None:
            raise InputError(
                f"{where}: no column for the field {name} (columns: {', '.join(map(str, row))})",
                f"one of {', '.join(dict.fromkeys((name, *accepted)))}",
                "--set 'data.columns={field: [column]}', or data.column_names without a header",
            )
        matched[name] = column
    return matched if options.columns else {}


def _missing_value(doc: Mapping[str, Any]) -> str:
    """The first field that is null or holds nothing but white space, in words; "" if there is none.

    An empty list is a value: a question without an answer.
    """
    for name, value in doc.items():
        if value is None:
            return f"the field {name} is null"
        if isinstance(value, str) and (not value or value.isspace()):
            return f"the field {name} is empty"
    return ""


def _has_half(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isascii() and _HALF.search(value) is not None
    if isinstance(value, dict):
        return any(map(_has_half, value)) or any(map(_has_half, value.values()))
    return isinstance(value, list) and any(map(_has_half, value))


def _kind(value: Any) -> str:
    """What a value is, in words; an empty list is a "list", which any list may follow."""
    known = _KINDS.get(type(value))
    if known is not None:
        return known
    if not isinstance(value, list):
        return type(value).__name__
    kinds = {_kind(item) for item in value if item is not None}
    widest = sorted(
        kind
        for kind in kinds
        if not any(other != kind and other.startswith(kind) for other in kinds)
    )
    return f"list of {' and '.join(widest)}" if widest else "list"


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else repr(value)


def _plain_label(raw: Any) -> str:
    """A raw label as text; 1.0 and "1.0", as pandas writes whole numbers beside gaps, are "1"."""
    text = str(raw)
    whole = _WHOLE_NUMBER.fullmatch(text)
    return whole.group(1) if whole else text


def label_index(raw: Any, labels: Sequence[str], place: str) -> int:
    """Index of a label given as its name, its number, or (two labels only) as false and true.

    Raises:
        InputError: none of these.
    """
    for text in dict.fromkeys((str(raw), _plain_label(raw))):
        if text in labels:
            return labels.index(text)
    truth = str(raw).casefold()
    if truth in ("false", "true"):
        names = [label.casefold() for label in labels]
        if truth in names:
            return names.index(truth)
        if len(labels) == 2:
            return int(truth == "true")
    number = _plain_label(raw)
    if number.isdecimal() and len(number) <= _MOST_DIGITS and int(number) < len(labels):
        return int(number)
    raise InputError(
        f"{place}: label {str(raw)[:80]!r} is not among the choices",
        f"one of {', '.join(labels)}, or 0 to {len(labels) - 1}",
        "fix the row, or leave such rows out with data.drop_labels",
    )
