"""A source's rows -> docs: the task's fields, labels as indices, and the checks of every row, with
its place."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.data.answer_pairs import PROMPT, read_pair
from ft_harness.data.files import Row, Rows
from ft_harness.data.labels import LabelIndex, plain_label
from ft_harness.data.options import DataOptions
from ft_harness.data.values import (
    ABSENT,
    find_value,
    kind_of,
    missing,
    read_answers,
    read_fields,
    read_value,
)
from ft_harness.errors import InputError

_log = logging.getLogger(__name__)
LABEL, LABEL_NAMES, LABEL_WORDS, LANGUAGE, ANSWERS, ID = (
    "label", "label_names", "label_words", "language", "answers", "id",
)  # fmt: skip
_LISTED = 5
_SCALARS = (str, int, float, bool)
_SEARCHED = 1000  # rows after which a field that none of them has is called missing


@dataclass(frozen=True)
class RowLoss:
    """Rows of one part of a source, and how many of them did not become docs.

    Attributes:
        where: the file, or the hub's data set and split.
        rows: rows read.
        dropped: rows left out for their label (`drop_labels`).
        bad: rows left out for a null or empty field, or equal answers (`skip_bad_rows`).
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


@dataclass
class _Part:
    """One part of a source while its rows are read: counts, and what its rows showed.

    Attributes:
        labels: finds the index of a label; None without `data.labels`.
        stated: names that the part states for the numbers in its label column.
        sources: field -> its column, and the place where that was first read.
        absent: fields that no row has had yet.
        row: the latest.
        plans: keys of a row -> the columns of all fields.
    """

    where: str
    rows: int = 0
    dropped: int = 0
    bad: int = 0
    bad_places: list[str] = field(default_factory=list)
    fault: str = ""
    labels: LabelIndex | None = None
    stated: Sequence[str] = ()
    sources: dict[str, tuple[str, str]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    row: Row = field(default_factory=dict)
    plans: dict[tuple[str, ...], list[tuple[str, str]]] = field(default_factory=dict)

    def first_fault(self) -> str:
        """`file:2: the field text is null`, and how many rows have such a fault, with the first
        of their places."""
        places = ", ".join(self.bad_places) + ", ..." * (self.bad > len(self.bad_places))
        more = f" ({self.bad} rows with such a fault: {places})" if self.bad > 1 else ""
        return f"{self.bad_places[0]}: {self.fault}{more}"


class DocReader:
    """Turns rows into docs, one part of a source after another, and keeps what sampling needs of
    each doc.

    Args:
        replaced: options that the recipe or the command line gave, not the task's YAML.

    Attributes:
        labels: label of each doc, kept for `stratified` and `balanced`.
        groups: group of each doc, kept for `group_by`.
        losses: what each part lost.
    """

    def __init__(self, options: DataOptions, replaced: Sequence[str] = ()) -> None:
        self.labels = Codes(options.labels or ())
        self.groups = Codes()
        self.losses: list[RowLoss] = []
        self._options = options
        self._replaced = replaced
        self._dropped = {plain_label(label) for label in options.drop_labels}
        self._kinds: dict[str, tuple[str, str]] = {}
        self._settled: dict[str, Any] = {}  # type or object last found to fit, by field
        wanted = {name: [*columns] for name, columns in (options.columns or {}).items()}
        for name in options.optional if wanted else ():
            wanted.setdefault(name, [])
        if options.labels is not None and wanted:
            wanted.setdefault(LABEL, [])
        # a mapping that is given comes before a column that has the field's own name
        self._accepted = {
            name: list(dict.fromkeys((*columns, name))) for name, columns in wanted.items()
        }

    def read(self, rows: Rows) -> Iterator[tuple[str, Row]]:
        """(place, doc) of each row that is kept, in order.

        Raises:
            InputError: a missing column, null or empty fields (all counted, the first ones named),
                half characters, a label outside the choices, values of different kinds in a field,
                or a duplicate id.
        """
        part = self._start(rows)
        ids = array("q")
        for place, row, doc in self._kept(rows, part):
            if row.get(ID) is not None:
                ids.append(hash(_hashable(row[ID])))
            self._check_kinds(doc, place)
            yield place, doc
        if not part.rows:
            raise InputError(f"{rows.where}: no rows", "at least one row", "check the file")
        self._check_absent(part)
        self._warn_of_unused(part)
        if part.bad and not self._options.skip_bad_rows:
            raise InputError(
                part.first_fault(),
                "a value in every field",
                "fix or remove the rows, leave them out and count them (data.skip_bad_rows=true), "
                "or say which fields may be missing (data.optional)",
            )
        hashes = np.array(ids)
        hashes.sort()  # in place: no second array of a row's size
        if (hashes[1:] == hashes[:-1]).any() and self._options.group_by != ID:
            self._check_ids(rows)
        self._note_losses(part)

    def _start(self, rows: Rows) -> _Part:
        part = _Part(rows.where)
        required = set(self._accepted or ([LABEL] if self._options.labels is not None else []))
        part.absent = required - set(self._options.optional)
        stated = rows.label_names()
        column = next((name for name in self._accepted.get(LABEL, [LABEL]) if name in stated), None)
        part.stated = stated[column] if column is not None else ()
        if self._options.labels is not None:
            part.labels = LabelIndex(self._options.labels, part.stated)
        return part

    def _note_losses(self, part: _Part) -> None:
        self.losses.append(RowLoss(part.where, part.rows, part.dropped, part.bad))
        if part.dropped:
            _log.info(
                "%s: %d of %d rows dropped for their label", part.where, part.dropped, part.rows
            )
        if part.bad:
            lost = part.first_fault()
            _log.warning("%s: %d of %d rows left out (%s)", part.where, part.bad, part.rows, lost)
        if part.dropped + part.bad == part.rows:
            reason = "is complete" if part.bad else "has a label to keep"
            _log.warning("%s: no row %s; this split is taken from another one", part.where, reason)

    def _kept(self, rows: Rows, part: _Part) -> Iterator[tuple[str, Row, Row]]:
        """(place, row, doc) of the rows that become docs; after a bad row only faults are looked
        for."""
        options = self._options
        for place, row in rows:
            part.rows, part.row = part.rows + 1, row
            doc = self._fields_of(row, place, part)
            if part.absent:
                part.absent -= doc.keys()
                if part.rows >= _SEARCHED:
                    self._check_absent(part)
                doc |= dict.fromkeys(part.absent)
            if options.labels is not None:
                doc.setdefault(LABEL, None)
            if LABEL in doc and self._dropped and self._is_dropped(doc[LABEL], part):
                part.dropped += 1
                continue
            extras = {
                name: read_value(doc.pop(name, None), place, name) for name in options.optional
            }
            fault = read_fields(doc, place)
            if options.pairs:
                given = {name: value for name, value in extras.items() if value is not None}
                doc, extras = {PROMPT: "", **doc, **given}, {}
                fault = fault or read_pair(doc)
            group = self._group_of(row, doc, part.where) if options.group_by else None
            if group is not None:
                fault = fault or missing(*group)
            if fault:
                part.bad += 1
                part.fault = part.fault or fault
                part.bad_places += [place] if len(part.bad_places) < _LISTED else []
            if fault or (part.bad and not options.skip_bad_rows):
                continue
            doc |= {name: "" if value is None else value for name, value in extras.items()}
            self._complete(doc, place, part)
            if group is not None:
                self.groups.add(group[1])
            yield place, row, doc

    def _fields_of(self, row: Row, place: str, part: _Part) -> Row:
        """The fields that the task declares, as far as the row has them; without a declaration all
        columns.

        Raises:
            InputError: a field is in this column here and was in another one before.
        """
        if not self._accepted:
            return dict(row)
        keys = tuple(row)
        if keys in part.plans:
            return {name: row[column] for name, column in part.plans[keys]}
        doc: Row = {}
        for name, accepted in self._accepted.items():
            for column in accepted:
                value = row.get(column, ABSENT)
                if value is ABSENT:
                    value = find_value(row, column) if "." in column else ABSENT
                if value is ABSENT:
                    continue
                known, first = part.sources.setdefault(name, (column, place))
                if known != column:
                    raise InputError(
                        f"{place}: the field {name} is in the column {column}, "
                        f"but in {known} at {first}",
                        "one column for a field in all rows",
                        f"--set 'data.columns={{{name}: [column]}}', or rename the keys",
                    )
                doc[name] = value
                break
            else:
                if name in part.sources:
                    doc[name] = None
        found = [(name, part.sources[name][0]) for name in doc]
        if len(found) == len(self._accepted) and all(column in row for _, column in found):
            part.plans[keys] = found
        return doc

    def _check_absent(self, part: _Part) -> None:
        """Refuse a field that no row has had."""
        for name in sorted(part.absent):
            raise InputError(
                f"{part.where}: no column for the field {name} "
                f"(columns: {', '.join(map(str, part.row))})",
                f"one of {', '.join(self._accepted.get(name, [name]))}",
                "--set 'data.columns={field: [column]}', or data.column_names without a header",
            )

    def _warn_of_unused(self, part: _Part) -> None:
        """Warn of a column that the user's own `data.columns` names and no row has."""
        given = (self._options.columns or {}) if "columns" in self._replaced else {}
        for name, columns in given.items():
            used = part.sources.get(name, (None, ""))[0]
            if columns and used not in columns:
                _log.warning(
                    "%s: no column %s, which data.columns names for the field %s; %s",
                    part.where,
                    " or ".join(columns),
                    name,
                    f"the column {used} is used" if used else "the field is empty",
                )

    def _is_dropped(self, raw: Any, part: _Part) -> bool:
        names = part.stated if type(raw) is int and 0 <= raw < len(part.stated) else ()
        return plain_label(raw) in self._dropped or (
            bool(names) and plain_label(names[raw]) in self._dropped
        )

    def _group_of(self, row: Row, doc: Row, where: str) -> tuple[str, Any]:
        """The column that `group_by` names, or a field of that name, and the row's value in it."""
        name = self._options.group_by
        assert name is not None
        if name in row or (name not in doc and self.groups.names):
            return name, row.get(name)
        if name not in doc:
            raise InputError(
                f"{where}: no column {name} to group by (columns: {', '.join(map(str, row))})",
                "a column of the source",
                "change data.group_by, or leave it out",
            )
        return name, doc[name]

    def _complete(self, doc: Row, place: str, part: _Part) -> None:
        """Make the label an index and the answers a list, and add what the options add."""
        options = self._options
        if ANSWERS in doc:
            doc[ANSWERS] = read_answers(doc[ANSWERS], place)
        if (options.stratified or options.balanced) and LABEL not in doc:
            raise InputError(
                f"{part.where}: no label to sample by (fields: {', '.join(map(str, doc))})",
                "a field named label",
                "--set 'data.columns={label: [column]}', or drop data.stratified and data.balanced",
            )
        if part.labels is not None:
            doc[LABEL] = part.labels.find(doc[LABEL], place)
            doc[LABEL_NAMES] = options.labels
        if options.label_words is not None:
            doc[LABEL_WORDS] = options.label_words
        if options.language is not None:
            doc[LANGUAGE] = options.language
        if options.stratified or options.balanced:
            self.labels.add(doc[LABEL] if options.labels is None else options.labels[doc[LABEL]])

    def _check_kinds(self, doc: Row, place: str) -> None:
        """Refuse a field that is a text here and a number there: one of the two is a mistake."""
        for name, value in doc.items():
            settled = self._settled.get(name)
            if settled is not None and (type(value) is settled or value is settled):
                continue
            kind = kind_of(value)
            known, first = self._kinds.get(name, ("null", place))
            if " and " in kind:
                raise InputError(
                    f"{place}: the field {name} is a {kind}", "one kind a list", "fix the row"
                )
            if kind == known or known.startswith(kind):
                self._settled[name] = type(value) if type(value) in _SCALARS else value
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
        for place, row, _ in again._kept(rows, again._start(rows)):
            if row.get(ID) is None:
                continue
            name = _hashable(row[ID])
            if name in places:
                first = places[name]
                twice.append(f"{place}: duplicate id {str(name)[:80]!r}, first used at {first}")
            places.setdefault(name, place)
        if twice:
            raise InputError(
                f"{twice[0]} ({len(twice)} rows repeat an id)",
                "an id of its own for each row",
                "fix the ids, or rename the column; if it names groups of rows: data.group_by=id",
            )


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else repr(value)
