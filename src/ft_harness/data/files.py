"""Reading rows of local files: csv, tsv, txt, json, jsonl (each also gzipped) and parquet, with the
place of every row.

Files are read row by row, each time anew: what is held in memory does not grow with the file (a
`.json` file is one value, which is read whole).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast, get_args

from ft_harness.errors import InputError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Row = dict[str, Any]
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = (*_DELIMITERS, ".txt", ".json", ".jsonl", ".parquet")
MAX_CHARACTERS = 10_000_000
_SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test",
}  # fmt: skip
_SPLIT_NAME = re.compile(rf"(?:^|[_\-.])({'|'.join(_SPLIT_WORDS)})$", re.IGNORECASE)


@dataclass(frozen=True)
class Rows:
    """Rows of one split; iterating reads them, each time from the start.

    Attributes:
        where: the file, or the hub's data set and split.
        read: gives (place, row), where a place is what a message names: `file:line`, or `file, row
            3`.
    """

    where: str
    read: Callable[[], Iterator[tuple[str, Row]]]

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        return self.read()


def _data_suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return (
        suffixes[-2]
        if suffixes[-1:] == [".gz"] and len(suffixes) > 1
        else (suffixes[-1] if suffixes else "")
    )


def _split_of(path: Path) -> Split | None:
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    match = _SPLIT_NAME.search(stem)
    return _SPLIT_WORDS[match.group(1).lower()] if match else None


def is_data_file(path: Path) -> bool:
    """Whether the name is that of a file which can be read here."""
    return _data_suffix(path) in _SUFFIXES


def split_files(folder: Path) -> dict[Split, Path]:
    """Split -> file, for files whose name is or ends in the name of a split (`train.csv`,
    `snli_dev.csv`).

    Raises:
        InputError: two files claim the same split.
    """
    found: dict[Split, Path] = {}
    for path in sorted(folder.iterdir()):
        split = _split_of(path)
        if split is None or not path.is_file() or not is_data_file(path):
            continue
        if split in found:
            raise InputError(
                f"{folder}: {found[split].name} and {path.name} are both the {split} split",
                "one file a split",
                "move one away, or name a single file as data.source",
            )
        found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def read_file(path: Path, column_names: Sequence[str] | None = None) -> Rows:
    """The rows of one file.

    Args:
        path: the file; its suffix says the format. An official SQuAD file (.json) gives a row for
            each question: id, title, context, question, answers (the distinct texts in order; none
            where it has no answer). A .txt file gives a row for each line that is not blank: text.
        column_names: names of the columns of a csv or tsv file that has no header.

    Raises:
        InputError: unknown suffix; while the rows are read: wrong encoding, broken JSON, ragged
            rows, a line or field of more than 10,000,000 characters, with the line.
    """
    suffix = _data_suffix(path)
    if suffix not in _SUFFIXES:
        raise InputError(
            f"{path}: unknown kind of file",
            f"one of {', '.join(_SUFFIXES)}",
            "rename or convert it",
        )
    if suffix in _DELIMITERS:
        return Rows(str(path), lambda: _read_table(path, _DELIMITERS[suffix], column_names))
    readers = {
        ".txt": _read_text,
        ".jsonl": _read_json_lines,
        ".json": _read_json,
        ".parquet": _read_parquet,
    }
    return Rows(str(path), lambda: readers[suffix](path))


@contextmanager
def _open_bytes(path: Path) -> Iterator[io.BufferedReader]:
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
def _open_text(path: Path, newline: str) -> Iterator[IO[str]]:
    """The file as text, without a byte order mark.

    Raises:
        InputError: it is not UTF-8 (line, byte and the likely encoding), damaged, or can't be read.
    """
    with _open_bytes(path) as raw:
        encoding = _foreign_encoding(raw.peek(256)[:256])
        if encoding:
            raise _not_utf8(path, 1, 0, encoding)
        try:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline=newline)
        except UnicodeDecodeError as error:
            raise _find_wrong_byte(path) from error


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
    with _open_bytes(path) as raw:
        for number, line in enumerate(raw, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return _not_utf8(path, number, offset + error.start, "latin1")
            offset += len(line)
    return _not_utf8(path, number, offset, "latin1")


def _not_utf8(path: Path, line: int, byte: int, encoding: str) -> InputError:
    others = ", or -f windows-1252, gb18030, big5" if encoding == "latin1" else ""
    return InputError(
        f"{path}:{line}: not UTF-8 (byte {byte}); perhaps {encoding}",
        "a UTF-8 file",
        f"convert it, e.g. iconv -f {encoding} -t utf-8{others}",
    )


def _lines(path: Path, text: IO[str]) -> Iterator[tuple[int, str]]:
    """Line numbers from 1, and lines with their ends."""
    for number, line in enumerate(iter(lambda: text.readline(MAX_CHARACTERS + 1), ""), start=1):
        if len(line) > MAX_CHARACTERS:
            raise InputError(
                f"{path}:{number}: a line of more than {MAX_CHARACTERS:,} characters",
                "shorter lines",
                "check the line ends of the file, or cut the text",
            )
        yield number, line


def _read_table(
    path: Path, delimiter: str, names: Sequence[str] | None
) -> Iterator[tuple[str, Row]]:
    # In tab-separated files of this field quotes are text; in csv they are quotes.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    csv.field_size_limit(MAX_CHARACTERS)
    header = list(names) if names else None
    line = 1
    with _open_text(path, newline="") as text:
        try:
            reader = csv.reader(
                (line for _, line in _lines(path, text)),
                delimiter=delimiter,
                quoting=quoting,
                strict=True,
            )
            for cells in reader:
                if header is None:
                    header = _check_header(path, cells, delimiter)
                elif cells:
                    _check_width(f"{path}:{line}", cells, header, delimiter)
                    yield f"{path}:{line}", dict(zip(header, cells, strict=True))
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{path}:{line}: not valid csv ({error})", "closed quotes", "fix the row"
            ) from error


def _check_header(path: Path, names: list[str], delimiter: str) -> list[str]:
    if len(set(names)) < len(names):
        raise InputError(
            f"{path}:1: a column name is listed twice", "one name a column", "rename one"
        )
    other = _other_delimiter(names, delimiter)
    if other:
        raise InputError(
            f"{path}:1: one column named {names[0][:80]!r}; the delimiter seems to be {other!r}",
            f"columns separated by {delimiter!r}",
            "name the file .tsv if it has tabs, .csv if it has commas; else convert it",
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


def _check_width(place: str, cells: Sequence[str], header: Sequence[str], delimiter: str) -> None:
    if len(cells) != len(header):
        other = _other_delimiter(cells, delimiter)
        hint = f"; the delimiter seems to be {other!r}" if other else ""
        raise InputError(
            f"{place}: {len(cells)} cells under {len(header)} columns{hint}",
            f"the columns {', '.join(header)[:200]}",
            "fix the row, or give data.column_names if the file has no header",
        )


def _read_text(path: Path) -> Iterator[tuple[str, Row]]:
    with _open_text(path, newline="\n") as text:
        for number, line in _lines(path, text):
            if line.strip():
                yield f"{path}:{number}", {"text": line.rstrip("\r\n")}


def _read_json_lines(path: Path) -> Iterator[tuple[str, Row]]:
    with _open_text(path, newline="\n") as text:
        for number, line in _lines(path, text):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{path}:{number}: not JSON ({error})",
                    "one JSON object a line",
                    "fix the line",
                ) from error
            if not isinstance(row, dict):
                raise InputError(
                    f"{path}:{number}: no JSON object", "one JSON object a line", "fix the line"
                )
            yield f"{path}:{number}", row


def _read_json(path: Path) -> Iterator[tuple[str, Row]]:
    with _open_text(path, newline="\n") as text:
        content = text.read()
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        raise InputError(
            f"{where}: not JSON ({error})", "a JSON list of objects", "fix the file"
        ) from error
    rows = value.get("data") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(
            f"{path}: no list of objects",
            'a JSON list of objects, or {"data": [...]}',
            "convert the file",
        )
    if rows and "paragraphs" in rows[0]:
        yield from _read_articles(path, rows)
    else:
        yield from ((f"{path}, row {index}", row) for index, row in enumerate(rows))


def _read_articles(path: Path, articles: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """A row for each question of an official SQuAD file."""
    for article in articles:
        place = f"{path}, article {article.get('title')}"
        for number, paragraph in enumerate(_part(place, article, "paragraphs"), start=1):
            inside = f"{place}, paragraph {number}"
            for question in _part(inside, paragraph, "qas"):
                where = f"{inside}, question {question.get('id')}"
                answers = [
                    _part(where, answer, "text") for answer in _part(where, question, "answers")
                ]
                yield (
                    where,
                    {
                        "id": _part(where, question, "id"),
                        "title": _part(place, article, "title"),
                        "context": _part(inside, paragraph, "context"),
                        "question": _part(where, question, "question"),
                        "answers": list(dict.fromkeys(answers)),
                    },
                )


def _part(place: str, parent: Any, name: str) -> Any:
    if not isinstance(parent, dict) or not isinstance(parent.get(name), str | list):
        raise InputError(
            f"{place}: no {name}",
            "the form of the official SQuAD files",
            "fix or convert the file",
        )
    return parent[name]


def _read_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow.parquet

    index = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    yield f"{path}, row {index}", row
                    index += 1
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(
            f"{path}: not a parquet file ({error})", "a parquet file", "fetch the file again"
        ) from error
