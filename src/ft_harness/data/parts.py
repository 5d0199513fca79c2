"""One part of a source (a file, or a split of a hub data set) while its rows are read."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.data.files import Row
from ft_harness.data.labels import LabelIndex
from ft_harness.data.values import RowError
from ft_harness.errors import InputError

_LISTED = 5  # places of bad rows that a message names


@dataclass(frozen=True)
class RowLoss:
    """Rows of one part of a source, and how many of them did not become docs.

    Attributes:
        where: the file, or the hub's data set and split.
        rows: rows read.
        dropped: rows left out for their label (`drop_labels`).
        bad: rows left out for a faulty value or equal answers (`skip_bad_rows`).
    """

    where: str
    rows: int
    dropped: int
    bad: int


class Codes:
    """What one part keeps of each row: a value as a number (8 bytes), its index in `names`."""

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
class Part:
    """One part of a source while its rows are read: counts, and what its rows showed.

    Attributes:
        fault: that of the first bad row.
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
    fault: RowError | None = None
    labels: LabelIndex | None = None
    stated: Sequence[str] = ()
    sources: dict[str, tuple[str, str]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    row: Row = field(default_factory=dict)
    plans: dict[tuple[str, ...], list[tuple[str, str]]] = field(default_factory=dict)

    def note_bad(self, place: str, fault: RowError) -> None:
        """Count a bad row; the first one's fault and the first places are kept."""
        self.bad += 1
        self.fault = self.fault or fault
        self.bad_places += [place] if len(self.bad_places) < _LISTED else []

    def first_fault(self) -> str:
        """`file:2: the field text is null`, and how many rows have such a fault, with the first
        of their places."""
        assert self.fault is not None
        places = ", ".join(self.bad_places) + ", ..." * (self.bad > len(self.bad_places))
        more = f" ({self.bad} rows with such a fault: {places})" if self.bad > 1 else ""
        return f"{self.fault.what}{more}"

    def refusal(self) -> InputError:
        """The error of a part that has bad rows, none of which may be left out."""
        assert self.fault is not None
        return InputError(
            self.first_fault(),
            self.fault.expected,
            f"{self.fault.action}; data.skip_bad_rows=true leaves such rows out and counts them",
        )
