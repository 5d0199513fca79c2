"""Reading rows of local files: csv, tsv, json, jsonl (each also gzipped) and parquet, with the line of every row."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ft_harness.errors import InputError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Row = dict[str, Any]
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = (*_DELIMITERS, ".json", ".jsonl", ".parquet")
_SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test",
}  # fmt: skip
_SPLIT_NAME = re.compile(rf"(?:^|[_\-.])({'|'.join(_SPLIT_WORDS)})$", re.IGNORECASE)


@dataclass(frozen=True)
class Rows:
    """Rows of one split and where they stand, for messages."""

    where: str
    rows: list[Row]
    lines: list[int] = field(default_factory=list)

    def place(self, index: int) -> str:
        """`file:line` of a row, or its number where lines mean nothing."""
        return f"{self.where}:{self.lines[index]}" if self.lines else f"{self.where}, row {index}"


def _data_suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes[-1] if suffixes else "")


def _split_of(path: Path) -> Split | None:
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    match = _SPLIT_NAME.search(stem)
    return _SPLIT_WORDS[match.group(1).lower()] if match else None


def is_data_file(path: Path) -> bool:
    """Whether the name is that of a file which can be read here."""
    return _data_suffix(path) in _SUFFIXES


def split_files(folder: Path) -> dict[Split, Path]:
    """Split -> file, for files whose name is or ends in the name of a split (`train.csv`, `snli_dev.csv`).

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
    """All rows of one file.

    Args:
        path: the file; its suffix says the format.
        column_names: names of the columns of a csv or tsv file that has no header.

    Raises:
        InputError: unknown suffix, wrong encoding, broken JSON or ragged rows, with the line.
    """
    suffix = _data_suffix(path)
    if suffix == ".parquet":
        return Rows(str(path), _read_parquet(path))
    if not is_data_file(path):
        raise InputError(f"{path}: unknown kind of file", f"one of {', '.join(_SUFFIXES)}", "rename or convert it")
    text = _read_text(path)
    if suffix in _DELIMITERS:
        numbered = list(_read_table(path, text, _DELIMITERS[suffix], column_names))
    elif suffix == ".jsonl":
        numbered = list(_read_json_lines(path, text))
    else:
        return Rows(str(path), _read_json(path, text))
    return Rows(str(path), [row for _, row in numbered], [line for line, _ in numbered])


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file", "a whole .gz file", "fetch the file again") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}:{line}: not UTF-8 (byte {error.start})", "a UTF-8 file", "convert it, e.g. iconv -t utf-8"
        ) from error


def _read_table(path: Path, text: str, delimiter: str, names: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
    # In tab-separated files of this field quotes are text; in csv they are quotes.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    header = list(names) if names else None
    line = 1
    try:
        for cells in reader:
            if header is None:
                header = cells
                if len(set(header)) < len(header):
                    raise InputError(f"{path}:{line}: a column name stands twice", "one name a column", "rename one")
            elif cells and len(cells) != len(header):
                raise InputError(
                    f"{path}:{line}: {len(cells)} cells under {len(header)} columns",
                    f"the columns {', '.join(header)[:200]}",
                    "mend the row, or give data.column_names if the file has no header",
                )
            elif cells:
                yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{line}: not valid csv ({error})", "closed quotes", "mend the row") from error


def _read_json_lines(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{path}:{number}: not JSON ({error})", "one JSON object a line", "mend the line"
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}: no JSON object", "one JSON object a line", "mend the line")
        yield number, row


def _read_json(path: Path, text: str) -> list[Row]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        raise InputError(f"{where}: not JSON ({error})", "a JSON list of objects", "mend the file") from error
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(
            f"{path}: no list of objects", 'a JSON list of objects, or {"data": [...]}', "convert the file"
        )
    return rows


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: not a parquet file ({error})", "a parquet file", "fetch the file again") from error
    return rows
