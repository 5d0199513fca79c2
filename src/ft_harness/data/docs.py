"""A source's rows -> docs: the task's fields, labels as indices, and the checks of every row, with
its place."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ft_harness.data.answer_pairs import CHOSEN, REJECTED
from ft_harness.data.columns import CHARACTERS, Docs, make_docs, read_columns
from ft_harness.data.fields import read_doc, row_error
from ft_harness.data.files import Row, Rows
from ft_harness.data.labels import LabelIndex, check_positions, plain_label
from ft_harness.data.options import DataOptions
from ft_harness.data.parts import Codes, Part, RowLoss
from ft_harness.data.values import (
    ABSENT,
    RowError,
    find_value,
    kind_of,
    missing,
    read_value,
    shown_name,
    suggest_column,
)
from ft_harness.errors import InputError

_log = logging.getLogger(__name__)
LABEL, LABEL_NAMES, LABEL_WORDS, LANGUAGE, ID = (
    "label", "label_names", "label_words", "language", "id",
)  # fmt: skip
_SCALARS = (str, int, float, bool)
_SEARCHED = 1000  # rows after which a field that none of them has is called missing
_MOST_ROWS = 1000  # read at a time


class DocReader:
    """Turns rows into docs, one part of a source after another, and keeps what sampling needs from
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
        # what of the options no row has had a use for yet
        self._unused = {"drop_labels": set(self._dropped), "optional": set(options.optional)}
        self._positions: dict[int, str] = {}
        self._kinds: dict[str, tuple[str, str]] = {}
        self._settled: dict[str, Any] = {}  # type or object last found to fit, by field
        added = {
            LABEL_NAMES: options.labels,
            LABEL_WORDS: options.label_words,
            LANGUAGE: options.language,
        }
        self._added = {name: value for name, value in added.items() if value is not None}
        wanted = {name: [*columns] for name, columns in (options.columns or {}).items()}
        for name in options.optional if wanted else ():
            wanted.setdefault(name, [])
        self._required = {LABEL} if options.labels is not None else set()
        self._required |= {CHOSEN, REJECTED} if options.pairs else set()
        for name in self._required if wanted else ():
            wanted.setdefault(name, [])
        # a mapping that is given comes before a column that has the field's own name
        self._accepted = {
            name: list(dict.fromkeys((*columns, name))) for name, columns in wanted.items()
        }

    def read(self, rows: Rows) -> Iterator[Docs]:
        """The docs of the rows that are kept, in order, some hundred at a time.

        Raises:
            InputError: a missing column, null or empty fields (all counted, the first ones named),
                half characters, a label outside the choices, values of different kinds in a field,
                or a duplicate id.
        """
        part = self._start(rows)
        ids = array("q")
        # Batches begin with one row: it settles columns and kinds, on which the quick way rests.
        placed, size = iter(rows), 1
        while batch := list(islice(placed, size)):
            docs = self._read_alike(batch, part, ids) or self._read_each(batch, part, ids)
            yield docs
            size = min(2 * size, _MOST_ROWS, CHARACTERS * len(batch) // (docs.characters + 1) + 1)
        if not part.rows:
            raise InputError(f"{rows.where}: no rows", "at least one row", "check the file")
        self._check_absent(part)
        self._warn_of_unused(part)
        if part.labels is not None:
            self._positions = {**part.labels.positions, **self._positions}
        if part.bad and not self._options.skip_bad_rows:
            raise part.refusal()
        hashes = np.array(ids)
        hashes.sort()  # in place: no second array of a row's size
        if (hashes[1:] == hashes[:-1]).any() and self._options.group_by != ID:
            self._check_ids(rows)
        self._note_losses(part)

    def check_options(self) -> None:
        """What can be said of the options when all parts were read: warns of what was given and
        had no effect.

        Raises:
            InputError: labels that can be read in two ways.
        """
        if self._options.labels is not None:
            check_positions(self._options.labels, self._positions)
        for option, thing in (("drop_labels", "label"), ("optional", "field")):
            unused = self._unused[option] if option in self._replaced else ()
            if unused:
                _log.warning(
                    "no row has the %s %s, which data.%s names",
                    thing,
                    " or ".join(sorted(unused)),
                    option,
                    extra={"cure": f"correct data.{option}, or leave it out"},
                )

    def _read_each(self, batch: Sequence[tuple[str, Row]], part: Part, ids: array[int]) -> Docs:
        """The docs of these rows, one row after the other."""
        docs: list[Row] = []
        for place, row, doc in self._kept(batch, part):
            if row.get(ID) is not None:
                ids.append(hash(_hashable(row[ID])))
            self._check_kinds(doc, place)
            docs.append(doc)
        return make_docs(docs)

    def _read_alike(
        self, batch: Sequence[tuple[str, Row]], part: Part, ids: array[int]
    ) -> Docs | None:
        """As `_read_each`, but column by column and several times as fast; None if a row needs
        individual treatment."""
        options, rows = self._options, [row for _, row in batch]
        keys = tuple(rows[0])
        plan = part.plans.get(keys) if self._accepted else [(key, key) for key in keys]
        is_faulty = part.absent or (part.bad and not options.skip_bad_rows)
        by_row = options.group_by or options.optional or options.pairs or self._dropped
        if not plan or is_faulty or by_row:
            return None
        columns = read_columns(rows, plan)
        if columns is None:
            return None
        named = [row[ID] for row in rows] if ID in keys else []
        if not set(map(type, named)) <= {str, int, float}:
            return None
        if part.labels is not None:
            found = part.labels.find_known(columns.get(LABEL, [None]))
            if found is None:
                return None
            columns[LABEL] = found
        for name, value in self._added.items():
            columns[name] = [value] * len(rows)
        if not all(self._is_settled(name, values[0]) for name, values in columns.items()):
            return None
        if options.stratified or options.balanced:
            for label in columns[LABEL]:
                self._add_label(label)
        ids.extend(map(hash, named))
        part.rows, part.row = part.rows + len(rows), rows[-1]
        return Docs(len(rows), columns)

    def _start(self, rows: Rows) -> Part:
        part = Part(rows.where)
        part.absent = set(self._accepted or self._required) - set(self._options.optional)
        stated = rows.label_names()
        column = next((name for name in self._accepted.get(LABEL, [LABEL]) if name in stated), None)
        part.stated = stated[column] if column is not None else ()
        if self._options.labels is not None:
            part.labels = LabelIndex(self._options.labels, part.stated)
        return part

    def _note_losses(self, part: Part) -> None:
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
            _log.warning(
                "%s: no row %s; this split is taken from another one",
                part.where,
                reason,
                extra={"cure": "check the rows of this file"},
            )

    def _kept(self, rows: Iterable[tuple[str, Row]], part: Part) -> Iterator[tuple[str, Row, Row]]:
        """(place, row, doc) of the rows that become docs; after a bad row, only look for more
        faults."""
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
            self._unused["optional"] -= doc.keys()
            try:
                doc = read_doc(doc, place, options)
                group = self._group_of(row, doc, place, part) if options.group_by else None
            except RowError as fault:
                part.note_bad(place, fault)
                continue
            if part.bad and not options.skip_bad_rows:
                continue
            self._complete(doc, place, part)
            if options.group_by:
                self.groups.add(group)
            yield place, row, doc

    def _fields_of(self, row: Row, place: str, part: Part) -> Row:
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

    def _check_absent(self, part: Part) -> None:
        """Refuse a field that no row has had."""
        for name in sorted(part.absent):
            cure = "move its file away if it has none, or " if name in self._kinds else ""
            if self._options.pairs and name in (CHOSEN, REJECTED):
                cure = "leave data.pairs out unless rows are pairs of answers, or "
            columns = [str(column) for column in part.row]
            raise InputError(
                f"{part.where}: no column for the field {name} "
                f"(columns: {', '.join(map(shown_name, columns))})"
                f"{suggest_column(self._accepted.get(name, [name]), columns)}",
                f"one of {', '.join(self._accepted.get(name, [name]))}",
                f"{cure}--set 'data.columns={{field: [column]}}', or data.column_names "
                "without a header",
            )

    def _warn_of_unused(self, part: Part) -> None:
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
                    extra={"cure": "correct the name in data.columns, or leave it out"},
                )

    def _is_dropped(self, raw: Any, part: Part) -> bool:
        names = part.stated if type(raw) is int and 0 <= raw < len(part.stated) else ()
        spelled = {plain_label(raw), *([plain_label(names[raw])] if names else [])}
        found = spelled & self._dropped
        self._unused["drop_labels"] -= found
        return bool(found)

    def _group_of(self, row: Row, doc: Row, place: str, part: Part) -> Any:
        """The row's value in the column that `group_by` names, or in a field of that name.

        Raises:
            RowError: it has none.
            InputError: no row has had such a column.
        """
        name = self._options.group_by
        assert name is not None
        if name in row or (name not in doc and self.groups.names):
            value = read_value(row.get(name), place, name)
        elif name in doc:
            value = doc[name]
        else:
            raise InputError(
                f"{part.where}: no column {name} to group by (columns: {', '.join(map(str, row))})",
                "a column of the source",
                "change data.group_by, or leave it out",
            )
        if fault := missing(name, value):
            raise row_error(place, fault, self._options)
        return value

    def _complete(self, doc: Row, place: str, part: Part) -> None:
        """Make the label an index, and add what the options add."""
        options = self._options
        if (options.stratified or options.balanced) and LABEL not in doc:
            raise InputError(
                f"{part.where}: no label to sample by (fields: {', '.join(map(str, doc))})",
                "a field named label",
                "--set 'data.columns={label: [column]}', or drop data.stratified and data.balanced",
            )
        if part.labels is not None:
            doc[LABEL] = part.labels.find(doc[LABEL], place)
        doc |= self._added
        if options.stratified or options.balanced:
            self._add_label(doc[LABEL])

    def _add_label(self, label: Any) -> None:
        names = self._options.labels
        self.labels.add(label if names is None else names[label])

    def _check_kinds(self, doc: Row, place: str) -> None:
        """Refuse a field that is a text here and a number there: one of the two is a mistake."""
        for name, value in doc.items():
            if self._is_settled(name, value):
                continue
            kind = kind_of(value)
            known, first = self._kinds.get(name, ("null", place))
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

    def _is_settled(self, name: str, value: Any) -> bool:
        settled = self._settled.get(name)
        return settled is not None and (type(value) is settled or value is settled)

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
