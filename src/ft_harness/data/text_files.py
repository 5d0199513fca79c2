"""Files of text: their lines, and the rows of tables and of plain lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from ft_harness.data.layout import Layout, LineFormat
from ft_harness.data.opening import open_text
from ft_harness.data.values import bare_name, first_twice
from ft_harness.errors import InputError

MAX_CHARACTERS = 10_000_000
MOST_BLANK_LINES = 1_000_000  # in a row: a small .gz file may hold billions
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}  # a .txt is a table only if asked for
_WRITTEN = {"\t": "\\t"}
_SAMPLE = 200  # lines that show how cells are quoted
Placed = tuple[str, dict[str, Any]]


def numbered_lines(path: Path, text: IO[str]) -> Iterator[tuple[int, str]]:
    """Line numbers from 1, and lines of a text file with their ends.

    Raises:
        InputError: a line of more than 10,000,000 characters, or 1,000,000 blank ones in a row.
    """
    most, blank = MAX_CHARACTERS + 1, 0
    for number, line in enumerate(iter(partial(text.readline, most), ""), start=1):
        blank = blank + 1 if line.isspace() else 0
        if blank > MOST_BLANK_LINES:
            raise InputError(
                f"{path}:{number}: more than {MOST_BLANK_LINES:,} blank lines in a row",
                "a file of rows",
                "remove the blank lines",
            )
        if len(line) > MAX_CHARACTERS:
            raise InputError(
                f"{path}:{number}: a line of more than {MAX_CHARACTERS:,} characters",
                "shorter lines",
                "check the line ends of the file, or cut the text",
            )
        # A file that another was joined to may begin with a byte order mark.
        yield number, line.removeprefix("\ufeff")


def read_lines(path: Path, layout: Layout) -> Iterator[Placed]:
    """A row for each line of a text file that is not blank: its `text`, or the fields of
    `line_format`."""
    line_format = LineFormat(layout.line_format) if layout.line_format else None
    with open_text(path, "\n", layout.encoding) as text:
        for number, line in numbered_lines(path, text):
            if line.strip():
                place, content = f"{path}:{number}", line.rstrip("\r\n")
                yield place, line_format.read(content, place) if line_format else {"text": content}


def read_table(path: Path, layout: Layout, suffix: str) -> Iterator[Placed]:
    """A row for each line of a text file with a table; the first line that is not blank names the
    columns, unless the layout does. A column without a name is left out."""
    delimiter = layout.delimiter or DELIMITERS.get(suffix, ",")
    header = list(layout.column_names) if layout.column_names else None
    given, first = header is not None, True
    for line, cells in _records(path, layout, delimiter):
        place = f"{path}:{line}"
        if header is None:
            if any(map(str.strip, cells)):
                header = _check_header(place, cells, delimiter)
                first = False
            continue
        if len(cells) != len(header):
            other = _other_delimiter(cells, delimiter)
            hint = f"; the delimiter seems to be {other!r}" if other else ""
            raise InputError(
                f"{place}: {len(cells)} cells under {len(header)} columns{hint}",
                f"the columns {', '.join(header)[:200]}",
                "fix the row, or give data.column_names if the file has no header",
            )
        # a single column may well hold the word that it is named
        if (len(header) > 1 or (given and first)) and _repeats(cells, header):
            raise _repeats_header(place, given=given and first)
        first = False
        yield place, {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _repeats_header(place: str, *, given: bool) -> InputError:
    if given:
        return InputError(
            f"{place}: the row repeats data.column_names",
            "column names for a file that has no header",
            "leave data.column_names out",
        )
    return InputError(
        f"{place}: the row repeats the header",
        "one header, where files that have one each were joined",
        "remove the line",
    )


def _repeats(cells: Sequence[str], header: Sequence[str]) -> bool:
    """Whether the cells of a line are the names of its columns."""
    return all(
        bare_name(cell).casefold() == bare_name(name).casefold()
        for cell, name in zip(cells, header, strict=True)
    )


def first_records(path: Path, layout: Layout, suffix: str, count: int) -> list[list[str]]:
    """The cells of a text file's first lines that are not blank, the header among them."""
    delimiter = layout.delimiter or DELIMITERS.get(suffix, ",")
    records = (cells for _, cells in _records(path, layout, delimiter))
    return list(islice((cells for cells in records if any(map(str.strip, cells))), count))


def _records(path: Path, layout: Layout, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and cells, of each record that is not blank."""
    # In tab-separated files of this field quotes are text, unless they can only be quotes.
    plain = delimiter == "\t" and not _has_quoted_cells(path, layout)
    if plain:
        dialect: dict[str, Any] = {"delimiter": delimiter, "quoting": csv.QUOTE_NONE}
    else:
        spaced = delimiter != "\t" and _has_spaced_quotes(path, layout, delimiter)
        dialect = {"delimiter": delimiter, "strict": True, "skipinitialspace": spaced}
    csv.field_size_limit(MAX_CHARACTERS)
    line = 1
    raw: list[str] = []
    with open_text(path, "", layout.encoding) as text:
        try:
            reader = csv.reader(_noted(path, text, raw), **dialect)
            for cells in reader:
                if dialect.get("skipinitialspace") is False and _is_spaced(cells, raw):
                    raise InputError(
                        f"{path}:{line}: a blank before a quote, which the first rows don't have",
                        'cells quoted right after the delimiter: a,"b"',
                        "remove the blank",
                    )
                if plain and '""' in raw[-1] and any(map(_is_quoted, cells)):
                    raise InputError(
                        f"{path}:{line}: a cell in quotes, which the first rows don't have",
                        "quotes that are text, or cells quoted as in csv from the first rows on",
                        "save the table as .csv",
                    )
                if cells:
                    yield line, cells
                raw.clear()
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{path}:{line}: not valid csv ({error})", "closed quotes", "fix the row"
            ) from error


def _noted(path: Path, text: IO[str], raw: list[str]) -> Iterator[str]:
    """The lines of a text, each kept in `raw` too."""
    for _, line in numbered_lines(path, text):
        raw.append(line)
        yield line


def _has_spaced_quotes(path: Path, layout: Layout, delimiter: str) -> bool:
    """Whether the first lines quote cells after a blank (`a, "b, c"`): blanks after a delimiter
    are no part of such a file's cells."""
    raw: list[str] = []
    # a fault of the table is reported with its line when the rows are read
    with open_text(path, "", layout.encoding) as text, suppress(csv.Error):
        for cells in csv.reader(islice(_noted(path, text, raw), _SAMPLE), delimiter=delimiter):
            if _is_spaced(cells, raw):
                return True
            raw.clear()
    return False


def _has_quoted_cells(path: Path, layout: Layout) -> bool:
    """Whether the first lines of a tab-separated file can only be read with quotes, as pandas
    writes cells that hold a quote, a tab or a line end: all have the width of the header then."""
    records: list[list[str]] = []
    read: list[str] = []
    with open_text(path, "", layout.encoding) as text:
        lines = islice(_noted(path, text, read), _SAMPLE)
        try:
            records += csv.reader(lines, delimiter="\t", strict=True)
        except csv.Error as error:
            # the last cell may go on behind the sample
            if len(read) < _SAMPLE or "unexpected end of data" not in str(error):
                return False
    first = read[0].rstrip("\r\n") if read else ""
    quoted = re.fullmatch(r'"[^"\t]*"(\t"[^"\t]*")+', first) is not None
    needed = any(any(mark in cell for mark in '"\t\n\r') for row in records for cell in row)
    widths = set(map(len, filter(None, records)))
    return (quoted or needed) and len(widths) == 1


def _is_quoted(cell: str) -> bool:
    """Whether a cell is in quotes, with quotes of its own doubled."""
    inner = cell.strip()[1:-1]
    doubled = '""' in inner and '"' not in inner.replace('""', "")
    return doubled and cell.strip() == f'"{inner}"'


def _is_spaced(cells: Sequence[str], raw: Sequence[str]) -> bool:
    """Whether a cell is written as a blank and a quote: the quotes of a quoted cell's own text
    would be doubled."""
    opened = [cell for cell in cells if cell[:1] in (" ", "\t") and cell.lstrip(" \t")[:1] == '"']
    return bool(opened) and any(cell in "".join(raw) for cell in opened)


def _check_header(place: str, cells: Sequence[str], delimiter: str) -> list[str]:
    names = [bare_name(cell) for cell in cells]
    if names[0].casefold().startswith("sep="):
        raise InputError(
            f"{place}: {delimiter.join(cells)!r} is a note for Excel",
            "the names of the columns in the first line",
            "remove the line",
        )
    named = [name for name in names if name]
    if (twice := first_twice(named)) is not None:
        raise InputError(
            f"{place}: the column name {twice[:80]!r} is listed twice",
            "one name per column",
            "rename one, or give data.column_names if the file has no header",
        )
    other = _other_delimiter(names, delimiter)
    if other:
        raise InputError(
            f"{place}: one column named {names[0][:80]!r}; the delimiter seems to be {other!r}",
            f"columns separated by {delimiter!r}",
            f"--set 'data.delimiter={_WRITTEN.get(other, other)}'",
        )
    return names


def _other_delimiter(cells: Sequence[str], delimiter: str) -> str | None:
    """The delimiter that a row with a single cell seems to have instead."""
    if len(cells) != 1:
        return None
    others = (other for other in "\t;|," if other != delimiter and other in cells[0])
    return next(others, None)
