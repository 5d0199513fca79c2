"""Read rows of local files of every format, with the place of every row; and which files of a
folder are data, and of which split.

Files are read row by row, from the start each time, so memory does not grow with the file (except a
`.json` file, which is one value and read whole).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from ft_harness.data.json_files import read_json_lines, read_json_rows
from ft_harness.data.layout import BY_SUFFIX, Layout
from ft_harness.data.opening import refuse_unread
from ft_harness.data.text_files import read_lines, read_table
from ft_harness.data.typed_files import parquet_label_names, read_excel, read_parquet, read_xml
from ft_harness.errors import InputError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Row = dict[str, Any]
TABLES = (".csv", ".tsv")
SUFFIXES = (*TABLES, ".txt", ".json", ".jsonl", ".xml", ".parquet", ".xlsx")
# What of a layout a kind of file can follow; anything else that is given would be ignored.
_FOLLOWED = {
    "table": {"column_names", "delimiter", "encoding"},
    "lines": {"line_format", "encoding"},
    ".txt": {"encoding"},
    ".json": {"encoding", "rows"},
    ".jsonl": {"encoding"},
    ".xml": {"encoding"},
    ".parquet": set[str](),
    ".xlsx": {"column_names", "worksheet"},
}
SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test",
}  # fmt: skip
# also of one of several files, as the hub has them: train-00000-of-00002
_SPLIT_NAME = re.compile(rf"(?:^|[_\-.])({'|'.join(SPLIT_WORDS)})(-\d+-of-\d+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Rows:
    """Rows of one split's files; iterating reads them, each time from the start.

    Attributes:
        where: the file, or the hub's data set and split.
        read: yields (place, row); a place is what a message names: `file:line`, `file, row 3`.
        label_names: column -> names of its labels in index order, where the source states them.
    """

    where: str
    read: Callable[[], Iterator[tuple[str, Row]]]
    label_names: Callable[[], Mapping[str, Sequence[str]]] = dict

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        return self.read()


def data_suffix(path: Path) -> str:
    """The suffix of a file that says its format: lower case, without .gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"] and len(suffixes) > 1:
        return suffixes[-2]
    return suffixes[-1] if suffixes else ""


def split_of(name: str) -> tuple[Split | None, bool]:
    """The split that a file's name without suffix is or ends in, and whether it is one part of
    several."""
    match = _SPLIT_NAME.search(name)
    return (SPLIT_WORDS[match[1].lower()], bool(match[2])) if match else (None, False)


def is_data_file(path: Path) -> bool:
    """Whether the name is that of a file which can be read here."""
    return data_suffix(path) in SUFFIXES


def split_files(folder: Path) -> dict[Split, list[Path]]:
    """Which files of a folder hold which split: split -> its file, for files whose name is or ends
    in the name of a split (`train.csv`, `snli_dev.csv`), or its files
    (`train-00000-of-00002.parquet`), in order.

    Raises:
        InputError: two files claim the same split.
    """
    found: dict[Split, list[Path]] = {}
    whole: set[Split] = set()
    for path in sorted(folder.iterdir()):
        split, is_part = split_of(path.name.removesuffix(".gz").rpartition(".")[0])
        if split is None or not path.is_file() or not is_data_file(path):
            continue
        if split in found and not (is_part and split not in whole):
            raise InputError(
                f"{folder}: {found[split][0].name} and {path.name} are both the {split} split",
                "one file per split",
                "move one away, or name a single file as data.source",
            )
        whole |= set() if is_part else {split}
        found.setdefault(split, []).append(path)
    return {split: found[split] for split in SPLITS if split in found}


def folder_of_splits(folder: Path) -> Path | None:
    """The first subfolder with files of splits, as a copy of a hub data set has in `data`."""
    return next((path for path in sorted(folder.glob("*/")) if split_files(path)), None)


def read_files(paths: Sequence[Path], layout: Layout) -> Rows:
    """The rows of the files of one split, one file after the other.

    Raises:
        InputError: as in `read_file`.
    """
    parts = [read_file(path, layout) for path in paths]
    if len(parts) == 1:
        return parts[0]
    return Rows(parts[0].where, lambda: chain.from_iterable(parts), parts[0].label_names)


def read_file(path: Path, layout: Layout = BY_SUFFIX) -> Rows:
    """The rows of one file.

    Args:
        path: the file; its suffix says the format. An official SQuAD file (.json) gives a row for
            each question: id, title, context, question, answers (the distinct texts in order; none
            where it has no answer). A .txt file gives a row for each line that is not blank: text.
        layout: what the suffix doesn't say.

    Raises:
        InputError: unknown suffix, or a layout that the format can't follow; while the rows are
            read: wrong encoding, broken JSON, ragged rows, a line or field of more than 10,000,000
            characters, with the line.
    """
    suffix = data_suffix(path)
    kind = _kind(path, suffix, layout)
    ignored = [name for name in layout.given() if name not in _FOLLOWED[kind]]
    if ignored:
        raise InputError(
            f"{path}: data.{ignored[0]} does not apply to this file",
            f"options for its kind: {', '.join(sorted(_FOLLOWED[kind])) or 'none'}",
            f"leave data.{ignored[0]} out",
        )
    if kind == "table":
        return Rows(str(path), lambda: read_table(path, layout, suffix))
    if kind == ".parquet":
        return Rows(
            str(path), lambda: read_parquet(path, layout), lambda: parquet_label_names(path)
        )
    readers = {
        "lines": read_lines,
        ".txt": read_lines,
        ".jsonl": read_json_lines,
        ".json": read_json_rows,
        ".xml": read_xml,
        ".xlsx": read_excel,
    }
    return Rows(str(path), lambda: readers[kind](path, layout))


def _kind(path: Path, suffix: str, layout: Layout) -> str:
    """How a file is read: a key of `_FOLLOWED`."""
    if layout.line_format:
        return "lines"
    is_named_text = suffix == ".txt" and layout.column_names
    if suffix in TABLES or layout.delimiter or is_named_text:
        return "table"
    if suffix not in SUFFIXES:
        refuse_unread(path)
        raise InputError(
            f"{path}: unknown kind of file",
            f"one of {', '.join(SUFFIXES)}",
            "rename or convert it, or give data.delimiter or data.line_format",
        )
    return suffix
