"""Find out how files without a description are to be read: encoding, delimiter, whether the first
row is data, and whether files or folders are labels."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ft_harness.data.files import (
    SPLIT_WORDS,
    SUFFIXES,
    TABLES,
    data_suffix,
    folder_of_splits,
    split_files,
)
from ft_harness.data.label_files import check_texts, files_within, split_folders
from ft_harness.data.layout import Layout
from ft_harness.data.opening import check_encoding, find_encoding, open_text
from ft_harness.data.text_files import first_records, numbered_lines
from ft_harness.data.typed_files import sheet_names, sheet_rows
from ft_harness.data.values import bare_name
from ft_harness.errors import InputError

_SAMPLE = 200  # lines that show the layout of a file
_BINARY = (".parquet", ".xlsx", ".xml")  # these state their encoding
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?([eE][-+]?\d+)?")
_REPEATED = 10  # times that values of a class occur at least, on average
_LONG, _WORDS = 60, 8  # characters and words that a column's name hardly has
_ABOUT = re.compile(r"readme|licen[cs]e|notice|\.md$", re.IGNORECASE)
_TOKENS = re.compile(r"[._\-]+")
_PARTS = re.compile(r"[\W_]+")
# What lines of files without a header look like: the form, its pattern, the number of its fields.
_FORMS = (
    ("{}:{} {}", re.compile(r"[^\s:]+:[^\s:]+ \S.*"), ("label", "sub", "text")),
    ("__label__{} {}", re.compile(r"__label__\S+ \S.*"), ("label", "text")),
)


def find_layout(path: Path, given: Layout) -> tuple[Layout, list[str]]:
    """The layout of a file, and notes on what was found; what is given stays."""
    suffix = data_suffix(path)
    if suffix == ".xlsx" and not given.worksheet and len(sheets := sheet_names(path)) > 1:
        others = ", ".join(sheets[1:])[:200]
        return given, [f"{path.name}: the sheet {sheets[0]} is read, not {others} (--worksheet)"]
    if suffix in _BINARY:
        return given, []
    notes: list[str] = []
    encoding = given.encoding or find_encoding(path)
    if encoding and not given.encoding:
        notes.append(f"{path.name} is not UTF-8; read as {encoding} (--encoding names another)")
    layout = replace(given, encoding=encoding)
    if suffix in (".json", ".jsonl") or layout.delimiter or layout.line_format:
        return layout, notes
    lines = _first_lines(path, layout)
    form = None if suffix in TABLES else _find_form(lines, layout.column_names)
    if form:
        return replace(layout, line_format=form, column_names=None), notes
    delimiter = _find_delimiter(lines, suffix, named=layout.column_names is not None)
    return replace(layout, delimiter=delimiter), notes


def _first_lines(path: Path, layout: Layout) -> list[str]:
    with open_text(path, "\n", layout.encoding) as text:
        lines = (line.rstrip("\r\n") for _, line in numbered_lines(path, text) if line.strip())
        return list(islice(lines, _SAMPLE))


def _find_form(lines: Sequence[str], names: Sequence[str] | None) -> str | None:
    """The `line_format` of lines that all begin with a label, as TREC's or fastText's do; given
    names go to its fields."""
    if not lines or _tabs(lines):
        return None
    for form, pattern, fields in _FORMS:
        if all(map(pattern.fullmatch, lines)) and len(names or fields) == len(fields):
            return form.format(*(f"{{{name}}}" for name in names or fields))
    if names and len(names) == 2 and all(re.fullmatch(r"\S+ \S.*", line) for line in lines):
        return f"{{{names[0]}}} {{{names[1]}}}"
    return None


def _tabs(lines: Sequence[str]) -> int:
    """Tabs in each line; 0 where they differ."""
    counts = {line.count("\t") for line in lines}
    return counts.pop() if len(counts) == 1 else 0


def _find_delimiter(lines: Sequence[str], suffix: str, *, named: bool) -> str | None:
    """The delimiter of a table, where it is not the one of its suffix; None: no table, or that."""
    first = lines[0] if lines else ""
    if suffix in TABLES:
        usual = "," if suffix == ".csv" else "\t"
        others = [other for other in "\t;|," if other in first]
        return others[0] if others and usual not in first else None
    if _tabs(lines):
        return "\t"
    if suffix not in SUFFIXES or named:
        return next((other for other in ",;|" if lines and all(other in x for x in lines)), None)
    return None


def check_header(path: Path, layout: Layout, wanted: Sequence[str]) -> None:
    """Refuse a table whose first row looks like data, and one with given names of columns whose
    first row looks like a header.

    Args:
        wanted: the columns that are asked for.

    Raises:
        InputError: the names that are asked for are not in the first row, or look like the values
            below them; or that row is read as data and doesn't look like the others.
    """
    suffix = data_suffix(path)
    is_table = suffix in (*TABLES, ".xlsx") or layout.delimiter is not None
    if not is_table or layout.line_format:
        return
    place = f"{path}:1"
    if suffix == ".xlsx":
        with closing(sheet_rows(path, layout)) as all_rows:
            rows = list(islice(all_rows, _SAMPLE))
        place = rows[0][0] if rows else place
        records = [["" if cell is None else str(cell) for cell in cells] for _, cells in rows]
    else:
        records = first_records(path, layout, suffix, _SAMPLE)
    header = [bare_name(cell) for cell in records[0]] if records else []
    if layout.column_names:
        given = [name.casefold() for name in layout.column_names]
        if [name.casefold() for name in header] != given:  # which the reader refuses
            asked = [given.index(name.casefold()) for name in wanted if name.casefold() in given]
            _check_first_row(place, header, records[1:], asked)
        return
    reasons = _reasons(header, records[1:])
    asked = [header.index(name) for name in wanted if name in header]
    doubtful = len(asked) < len(wanted) or any(index in reasons for index in asked)
    if reasons and (doubtful or 2 * len(reasons) > len(header)):
        names = ",".join(f"name{number}" for number in range(1, len(header) + 1))
        raise InputError(
            f"{place}: the first row looks like data ({next(iter(reasons.values()))})",
            "a first row with the names of the columns, or their names in --columns",
            f"--columns {names} with names for its {len(header)} columns, in their order",
        )


def _check_first_row(
    place: str, first: Sequence[str], rows: Sequence[Sequence[str]], asked: Sequence[int]
) -> None:
    """Refuse a row that names what is below it in the columns that are asked for, next to names of
    columns that are given."""
    for index, cell in enumerate(first):
        if index not in asked:
            continue
        below = [row[index].strip() for row in rows if len(row) > index and row[index].strip()]
        numbers = len(below) > 1 and all(map(_NUMBER.fullmatch, below))
        few = cell not in below and 0 < len(set(below)) * _REPEATED <= len(below)
        if cell and not _NUMBER.fullmatch(cell) and (numbers or few):
            seen = "is above numbers" if numbers else "occurs there alone, and all others repeat"
            raise InputError(
                f"{place}: the first row looks like a header ({cell[:40]!r} {seen})",
                "--columns for a file without a header",
                "leave --columns out; or, where the row is data, move it further down",
            )


def _reasons(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[int, str]:
    """Number of a cell of the header -> why it looks like data."""
    found: dict[int, str] = {}
    for index, cell in enumerate(header):
        below = [row[index].strip() for row in rows if len(row) > index and row[index].strip()]
        numbers = bool(below) and all(map(_NUMBER.fullmatch, below))
        if _NUMBER.fullmatch(cell) and numbers:
            found[index] = f"{cell} is a number like those below it"
        elif cell and cell in below:
            found[index] = f"{cell[:40]!r} occurs below too"
        elif len(cell) > _LONG or len(cell.split()) > _WORDS:
            found[index] = f"{cell[:40]!r}... is a text"
    return found


def find_label_files(sources: Sequence[Path]) -> tuple[Path, dict[str, str], list[str]]:
    """(folder, label -> file or folder in it, notes): several files, or a folder that holds one
    folder or one file for each label, also within folders named train and test.

    Raises:
        InputError: the files are in several folders, or there are fewer than two labels.
    """
    notes: list[str] = []
    folder = sources[0] if len(sources) == 1 else sources[0].resolve().parent
    if len(sources) > 1:
        if {path.resolve().parent for path in sources} != {folder}:
            raise InputError(
                f"{sources[0]} and others are in several folders",
                "one folder that holds a file or folder for each label",
                "move them together",
            )
        _refuse_splits(folder, [path.name for path in sources if path.is_file()])
        return folder, _labels_of([path.name for path in sources]), notes
    parts = list(split_folders(folder).values()) or [folder]
    names = [{path.name for path in part.iterdir() if path.is_dir()} for part in parts]
    common = sorted(set.intersection(*names))
    left_out = sorted(set.union(*names) - set(common))
    if not common:
        files = [{path.name for path in files_within(part)} for part in parts]
        common = sorted(name for name in set.intersection(*files) if not _ABOUT.search(name))
        left_out = sorted(set.union(*files) - set(common))
    if left_out:
        notes.append(f"left out: {', '.join(left_out)[:300]}")
    _refuse_splits(folder, common)
    if len(common) < 2:
        inner = folder_of_splits(folder)
        raise InputError(
            f"{folder}: no data file of a split, and no folder or file for each of some labels",
            "train and test files, or a folder or file for each label",
            f"give {inner}, which has files of splits" if inner else "name a file",
        )
    return folder, _labels_of(common), notes


def _refuse_splits(folder: Path, names: Sequence[str]) -> None:
    """Refuse files whose names are those of splits, which are no labels."""
    named = [
        name
        for label, name in _labels_of(names).items()
        if (folder / name).is_file() and set(_PARTS.split(label.lower())) & SPLIT_WORDS.keys()
    ]
    if named:
        first = next((name for name in named if "train" in name.lower()), named[0])
        raise InputError(
            f"{folder}: {first} seems to hold a split, not a label ({', '.join(names)[:200]})",
            "a file for each label, or files named train, validation (dev) or test",
            f"name one file, {shlex.quote(str(folder / first))}, or rename them, as "
            "train.csv, train.tsv or train.txt",
        )


def _labels_of(names: Sequence[str]) -> dict[str, str]:
    """Label -> name; the label is the part in which the names differ: `plot.tok` and `quote.tok`
    give plot and quote."""
    cut = [_TOKENS.split(name) for name in names]
    for end in (0, -1):  # what all names begin or end with says nothing
        while all(cut) and len({part[end] for part in cut}) == 1:
            for part in cut:
                part.pop(end)
    labels = ["_".join(part) for part in cut]
    if not all(labels) or len(set(labels)) < len(labels):
        labels = list(names)
    return dict(zip(labels, names, strict=True))


def is_label_source(sources: Sequence[Path]) -> bool:
    """Find out whether files or folders give the labels: several files, or a folder without split
    files."""
    return len(sources) > 1 or (sources[0].is_dir() and not split_files(sources[0]))


def label_file_encoding(folder: Path, label_files: Mapping[str, str]) -> str | None:
    """Found for files sorted by label: the likely encoding of texts that are not UTF-8."""
    texts: list[Path] = []
    for part in split_folders(folder).values() or [folder]:
        for name in label_files.values():
            path = part / name
            check_texts(path)
            texts += files_within(path) if path.is_dir() else [path]
    return common_encoding(texts)


def common_encoding(files: Sequence[Path]) -> str | None:
    """Found for several files at once: the likely encoding of those that are not UTF-8; None: all
    are.

    Raises:
        InputError: it is not one for all.
    """
    found = {
        file: encoding
        for file in files
        if data_suffix(file) not in _BINARY and (encoding := find_encoding(file))
    }
    if not found:
        return None
    first = next(iter(found))
    names = set(found.values())
    encoding = "windows-1252" if names == {"latin-1", "windows-1252"} else found[first]
    for file in files:
        try:
            check_encoding(file, encoding)
        except InputError as error:
            raise InputError(
                f"{file}: not in the encoding of {first} ({encoding})",
                "one encoding in all files of a source",
                f"convert the files that are not UTF-8: iconv -f {encoding} -t utf-8",
            ) from error
    return encoding
