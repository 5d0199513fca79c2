"""Files of text: their encoding, their lines, and the rows of tables and of plain lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from ft_harness.data.layout import Layout, LineFormat
from ft_harness.errors import InputError

MAX_CHARACTERS = 10_000_000
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}  # a .txt is a table only if asked for
_START = 8192  # bytes that show how lines end
_SAMPLE = 200  # lines that show whether blanks follow the commas
_CHUNK = 1 << 20
_WINDOWS = re.compile(rb"[\x80-\x9f]")  # letters in windows-1252, control characters in latin-1
Placed = tuple[str, dict[str, Any]]


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """The file's bytes, unpacked where its name ends in .gz.

    Raises:
        InputError: it can't be read, or is damaged.
    """
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as raw:
            yield cast(io.BufferedReader, raw)  # a gzip file reads and peeks like one
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: damaged gzip file", "a complete .gz file", "fetch the file again"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror})", "a readable file", "check the file"
        ) from error


@contextmanager
def open_text(path: Path, newline: str, encoding: str | None = None) -> Iterator[IO[str]]:
    r"""The file as text, without a byte order mark.

    Args:
        newline: as for `open`; "\n" also reads files whose lines end in a carriage return alone.
        encoding: None: UTF-8.

    Raises:
        InputError: it has another encoding (line, byte and the likely one), is damaged, or can't
            be read.
    """
    with open_bytes(path) as raw:
        start = raw.peek(_START)[:_START]
        foreign = None if encoding else _foreign_encoding(start[:256])
        if foreign:
            raise _wrong_encoding(path, 1, 0, foreign)
        if newline == "\n" and b"\r" in start[:-1] and b"\n" not in start:
            newline = ""
        name = encoding or "utf-8"
        if codecs.lookup(name).name == "utf-8":
            name = "utf-8-sig"
        try:
            yield io.TextIOWrapper(raw, encoding=name, newline=newline)
        except UnicodeDecodeError as error:
            if name == "utf-8-sig":
                raise _find_wrong_byte(path) from error
            raise InputError(
                f"{path}: not {encoding} ({error.reason})",
                "the encoding that the file has",
                "change data.encoding",
            ) from error


def find_encoding(path: Path) -> str | None:
    """The likely encoding of a file that is not UTF-8; None for UTF-8. Reads the whole file."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    windows = False
    with open_bytes(path) as raw:
        marked = _foreign_encoding(raw.peek(256)[:256])
        if marked:
            return marked
        utf8 = True
        for chunk in iter(lambda: raw.read(_CHUNK), b""):
            windows = windows or _WINDOWS.search(chunk) is not None
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                utf8 = False
                decoder.reset()
    if utf8 and not decoder.getstate()[0]:
        return None
    return "windows-1252" if windows else "latin-1"


def _foreign_encoding(start: bytes) -> str | None:
    """The encoding that the first bytes of a file give away, if it is not UTF-8."""
    marks = {
        b"\xff\xfe\0\0": "utf-32",
        b"\0\0\xfe\xff": "utf-32",
        b"\xff\xfe": "utf-16",
        b"\xfe\xff": "utf-16",
    }
    marked = next((name for mark, name in marks.items() if start.startswith(mark)), None)
    if marked is None and len(start) >= 8 and start.count(0) > 0.4 * len(start):
        return "utf-16le" if start[1] == 0 else "utf-16be"  # every other byte of Latin text is 0
    return marked


def _find_wrong_byte(path: Path) -> InputError:
    """Read the file again for the line and byte that is not UTF-8."""
    offset = 0
    with open_bytes(path) as raw:
        for number, line in enumerate(raw, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return _wrong_encoding(path, number, offset + error.start, "latin1")
            offset += len(line)
    return _wrong_encoding(path, number, offset, "latin1")


def _wrong_encoding(path: Path, line: int, byte: int, encoding: str) -> InputError:
    others = " (or windows-1252, gb18030, big5)" if encoding == "latin1" else ""
    return InputError(
        f"{path}:{line}: not UTF-8 (byte {byte}); perhaps {encoding}",
        "a UTF-8 file, or data.encoding",
        f"--set data.encoding={encoding}{others}, or convert it: iconv -f {encoding} -t utf-8",
    )


def numbered_lines(path: Path, text: IO[str]) -> Iterator[tuple[int, str]]:
    """Line numbers from 1, and lines with their ends.

    Raises:
        InputError: a line of more than 10,000,000 characters.
    """
    most = MAX_CHARACTERS + 1
    for number, line in enumerate(iter(partial(text.readline, most), ""), start=1):
        if len(line) > MAX_CHARACTERS:
            raise InputError(
                f"{path}:{number}: a line of more than {MAX_CHARACTERS:,} characters",
                "shorter lines",
                "check the line ends of the file, or cut the text",
            )
        yield number, line


def read_lines(path: Path, layout: Layout) -> Iterator[Placed]:
    """A row for each line that is not blank: its `text`, or the fields of `line_format`."""
    line_format = LineFormat(layout.line_format) if layout.line_format else None
    with open_text(path, "\n", layout.encoding) as text:
        for number, line in numbered_lines(path, text):
            if line.strip():
                place, content = f"{path}:{number}", line.rstrip("\r\n")
                yield place, line_format.read(content, place) if line_format else {"text": content}


def read_table(path: Path, layout: Layout, suffix: str) -> Iterator[Placed]:
    """A row for each line of a table; the first line that is not blank names the columns, unless
    the layout does."""
    delimiter = layout.delimiter or DELIMITERS.get(suffix, ",")
    header = list(layout.column_names) if layout.column_names else None
    given = header is not None
    for line, cells in _records(path, layout, delimiter):
        if header is None:
            if any(map(str.strip, cells)):
                header = _check_header(f"{path}:{line}", cells, delimiter)
            continue
        place = f"{path}:{line}"
        if len(cells) != len(header):
            other = _other_delimiter(cells, delimiter)
            hint = f"; the delimiter seems to be {other!r}" if other else ""
            raise InputError(
                f"{place}: {len(cells)} cells under {len(header)} columns{hint}",
                f"the columns {', '.join(header)[:200]}",
                "fix the row, or give data.column_names if the file has no header",
            )
        if given and [cell.strip().casefold() for cell in cells] == [n.casefold() for n in header]:
            raise InputError(
                f"{path}:{line}: the row repeats data.column_names",
                "column names for a file that has no header",
                "leave data.column_names out",
            )
        given = False  # only the first row can be a header
        yield f"{path}:{line}", dict(zip(header, cells, strict=True))


def first_records(path: Path, layout: Layout, suffix: str, count: int) -> list[list[str]]:
    """The cells of a table's first lines that are not blank, the header among them."""
    delimiter = layout.delimiter or DELIMITERS.get(suffix, ",")
    records = (cells for _, cells in _records(path, layout, delimiter))
    return list(islice((cells for cells in records if any(map(str.strip, cells))), count))


def _records(path: Path, layout: Layout, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and cells, of each record that is not blank."""
    # In tab-separated files of this field quotes are text; in csv they are quotes.
    if delimiter == "\t":
        dialect: dict[str, Any] = {"delimiter": delimiter, "quoting": csv.QUOTE_NONE}
    else:
        spaced = _has_spaced_quotes(path, layout, delimiter)
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
    with open_text(path, "", layout.encoding) as text:
        for cells in csv.reader(islice(_noted(path, text, raw), _SAMPLE), delimiter=delimiter):
            if _is_spaced(cells, raw):
                return True
            raw.clear()
    return False


def _is_spaced(cells: Sequence[str], raw: Sequence[str]) -> bool:
    """Whether a cell is written as a blank and a quote: the quotes of a quoted cell's own text
    would be doubled."""
    opened = [cell for cell in cells if cell[:1] in (" ", "\t") and cell.lstrip(" \t")[:1] == '"']
    return bool(opened) and any(cell in "".join(raw) for cell in opened)


def _check_header(place: str, cells: Sequence[str], delimiter: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) < len(names):
        raise InputError(
            f"{place}: a column name is listed twice",
            "one name a column",
            "rename one, or give data.column_names if the file has no header",
        )
    other = _other_delimiter(names, delimiter)
    if other:
        raise InputError(
            f"{place}: one column named {names[0][:80]!r}; the delimiter seems to be {other!r}",
            f"columns separated by {delimiter!r}",
            f"--set 'data.delimiter={other}', or name the file .tsv if it has tabs",
        )
    return names


def _other_delimiter(cells: Sequence[str], delimiter: str) -> str | None:
    """The delimiter that a row with a single cell seems to have instead."""
    others = (
        [other for other in "\t;|," if other != delimiter and other in cells[0]]
        if len(cells) == 1
        else []
    )
    return others[0] if others else None
