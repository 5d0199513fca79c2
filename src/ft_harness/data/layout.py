"""The options by which a file is read beyond what its name says: `data.encoding`, `data.delimiter`
and similar ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from string import Formatter

from ft_harness.errors import InputError


@dataclass(frozen=True)
class Layout:
    """The options by which one file is read; None: as its suffix says.

    Attributes:
        column_names: names of the columns of a table without a header.
        delimiter: what separates the cells of a line.
        line_format: `{label}:{sub} {text}`, the fields of a line and what is between them.
        encoding: of the text.
        rows: path of the rows in a .json file, like `data.items`.
        worksheet: name of the sheet in a workbook.
    """

    column_names: Sequence[str] | None = None
    delimiter: str | None = None
    line_format: str | None = None
    encoding: str | None = None
    rows: str | None = None
    worksheet: str | None = None

    def given(self) -> list[str]:
        """Names of what is set."""
        return [part.name for part in fields(self) if getattr(self, part.name) is not None]


BY_SUFFIX = Layout()


class LineFormat:
    """An option by which a text file is read: lines that hold fields with fixed text between them;
    each field but the last ends at the first occurrence of the text that follows it.

    Raises:
        ValueError: the format has no field, a field twice, or two fields with nothing in between.
    """

    def __init__(self, line_format: str) -> None:
        parts = list(Formatter().parse(line_format))
        self._start = parts[0][0] if parts else ""
        names = [
            (name, spec, conversion) for _, name, spec, conversion in parts if name is not None
        ]
        self.names = [name for name, _, _ in names]
        if any(name is None for _, name, _, _ in parts[:-1]):
            raise ValueError("braces mark fields")
        if not all(name.isidentifier() and not (spec or how) for name, spec, how in names):
            raise ValueError("fields look like {name}")
        if not names or len(set(self.names)) < len(names):
            raise ValueError("one or more fields, each with a name of its own")
        literals = [literal for literal, _, _, _ in parts[1:]]
        # what is between the last field and the one before
        self.last_mark = literals[len(names) - 2] if len(names) > 1 else ""
        self._ends = [*literals, ""] if len(literals) < len(names) else literals
        if not all(self._ends[:-1]):
            raise ValueError("two fields need some text between them")

    def read(self, line: str, place: str) -> dict[str, str]:
        """The fields of one line.

        Raises:
            InputError: the line has another form.
        """
        rest = line.removeprefix(self._start)
        fits = line.startswith(self._start)
        row: dict[str, str] = {}
        for name, end in zip(self.names, self._ends, strict=True):
            if name == self.names[-1]:
                fits = fits and rest.endswith(end)
                row[name] = rest.removesuffix(end)
            else:
                row[name], found, rest = rest.partition(end)
                fits = fits and bool(found)
        if self._start and rest.startswith(self._start):
            raise InputError(
                f"{place}: {self._start}... comes twice in the line {line[:60]!r}",
                "one label per line",
                "keep one of the labels",
            )
        if not fits:
            raise InputError(
                f"{place}: the line {line[:60]!r} does not have the form of data.line_format",
                f"{self._start}{'...'.join(['', *self._ends])}",
                "fix the line or data.line_format",
            )
        return row
