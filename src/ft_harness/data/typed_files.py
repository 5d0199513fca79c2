"""Rows of files whose values have types: parquet, Excel workbooks, and XML."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pyarrow
import pyarrow.parquet

from ft_harness.data.layout import Layout
from ft_harness.data.opening import check_encoding, open_bytes
from ft_harness.data.text_files import Placed
from ft_harness.errors import ConfigError, InputError, first_line

_MOST_NUMBERS = 100  # in a list that somebody reads


def read_parquet(path: Path, _: Layout) -> Iterator[Placed]:
    """A row for each row of a parquet file; maps become objects."""
    index = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise InputError(
                    f"{path}: two columns have one name ({', '.join(names)[:200]})",
                    "a name for each column",
                    "rename one",
                )
            for batch in file.iter_batches(batch_size=1000):
                for row in rows_of_table(batch):
                    yield f"{path}, row {index}", row
                    index += 1
    except KeyError as error:
        raise InputError(
            f"{path}, row {index} or soon after: a map holds a key twice",
            "a value for each key",
            "fix the row",
        ) from error
    # values that Python has no type for are ValueErrors and OverflowErrors
    except (OSError, pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: not a parquet file ({first_line(error)})",
            "a parquet file",
            "fetch the file again",
        ) from error


def rows_of_table(table: pyarrow.Table | pyarrow.RecordBatch) -> list[dict[str, Any]]:
    """Rows of an Arrow table, such as a parquet file's; maps become objects, and a number of 16 or
    32 bits is the shortest decimal number that stands for it: 0.1, not 0.10000000149011612."""
    rows: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    short = {each.name: read for each in table.schema if (read := _short_floats(each.type))}
    for row in rows if short else ():
        row.update({name: read(row[name]) for name, read in short.items()})
    return rows


def _short_floats(kind: pyarrow.DataType) -> Callable[[Any], Any] | None:
    """What makes the decimal numbers within a value of this type short; None: it has none."""
    types = pyarrow.types
    if types.is_float32(kind) or types.is_float16(kind):
        exact = np.float32 if types.is_float32(kind) else np.float16
        # whole numbers are exact as they are
        return lambda value: (
            value if value is None or value.is_integer() else float(str(exact(value)))
        )
    if types.is_struct(kind):
        fields = {part.name: read for part in kind if (read := _short_floats(part.type))}
        if not fields:
            return None
        return lambda value: (
            value
            and {
                name: fields[name](part) if name in fields else part for name, part in value.items()
            }
        )
    if isinstance(kind, pyarrow.BaseExtensionType):  # an array, an image: no text's part
        return None
    inner = getattr(kind, "item_type", None) or getattr(kind, "value_type", None)
    read = _short_floats(inner) if inner is not None else None
    if read is None or types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return read
    if types.is_map(kind):
        return lambda value: value and {key: read(part) for key, part in value.items()}
    # longer ones are no answers but embeddings, which nobody reads as text
    return lambda value: (
        [read(part) for part in value] if value and len(value) <= _MOST_NUMBERS else value
    )


def parquet_label_names(path: Path) -> dict[str, list[str]]:
    """Column, or path of a field within objects, -> names of its labels in index order, as the
    datasets library notes them in a parquet file."""
    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        noted = json.loads(metadata.get(b"huggingface", b"{}"))
    except (OSError, ValueError, RecursionError, pyarrow.ArrowException):
        return {}  # a damaged file is reported when its rows are read
    info = noted.get("info") if isinstance(noted, dict) else None
    return label_names(info.get("features") if isinstance(info, dict) else None)


def label_names(features: Any, within: str = "") -> dict[str, list[str]]:
    """Names of labels, as `parquet_label_names` gives them, of features as the datasets library
    writes them out."""
    found: dict[str, list[str]] = {}
    for name, feature in features.items() if isinstance(features, dict) else ():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            names = feature.get("names")
            found[f"{within}{name}"] = list(map(str, names)) if isinstance(names, list) else []
        elif isinstance(feature, dict) and "_type" not in feature:
            found |= label_names(feature, f"{within}{name}.")
    return {name: names for name, names in found.items() if names}


def read_excel(path: Path, layout: Layout) -> Iterator[Placed]:
    """A row for each row of an Excel sheet (the first one) that is not empty; the first such row
    names the columns, unless the layout does. A column without a name is left out. Of formulas the
    values that were saved are read; an error such as #N/A is null.

    Raises:
        ConfigError: openpyxl is not installed.
        InputError: no workbook, no such sheet, or column names that are equal.
    """
    header = list(layout.column_names) if layout.column_names else None
    for place, cells in sheet_rows(path, layout):
        if header is None:
            header = _sheet_header(place, cells)
        else:
            yield place, _sheet_row(place, cells, header)


def sheet_rows(path: Path, layout: Layout) -> Generator[tuple[str, list[Any]]]:
    """(place, cells) of each row of an Excel sheet that is not empty, the header among them.

    Raises:
        ConfigError, InputError: as in `read_excel`.
    """
    with closing(_open_workbook(path)) as book:
        sheets = {sheet.title: sheet for sheet in book.worksheets}  # a chart is none
        sheet = sheets.get(layout.worksheet or next(iter(sheets), ""))
        if sheet is None:
            raise InputError(
                f"{path}: no sheet {layout.worksheet or 'of cells'}",
                f"one of {', '.join(sheets)}",
                "change data.worksheet",
            )
        for number, row in enumerate(sheet.iter_rows(), start=1):
            cells = [_cell_value(cell) for cell in row]
            if any(cell is not None for cell in cells):
                yield f"{path}, {sheet.title} row {number}", cells


def sheet_names(path: Path) -> list[str]:
    """The sheets of an Excel workbook that hold cells, in order.

    Raises:
        ConfigError, InputError: as in `read_excel`.
    """
    with closing(_open_workbook(path)) as book:
        return [sheet.title for sheet in book.worksheets]


def _open_workbook(path: Path) -> Any:
    try:
        import openpyxl
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading Excel sheets needs openpyxl",
            "the package openpyxl",
            "pip install 'ft-harness[excel]', or save the sheet as csv",
        ) from error
    try:
        return openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises what zip, XML and its own parts raise
        raise InputError(
            f"{path}: not an Excel workbook ({error})", "an .xlsx file", "save it again as .xlsx"
        ) from error


def _cell_value(cell: Any) -> Any:
    """What a cell shows: None for an error, no time for a day."""
    value = cell.value
    if isinstance(value, str):
        from openpyxl.utils.escape import unescape  # undoes _x000D_ and its like

        return None if cell.data_type == "e" else unescape(value)
    is_day = isinstance(value, datetime.datetime) and "h" not in cell.number_format.lower()
    return value.date() if is_day and value.time() == datetime.time() else value


def _sheet_header(place: str, cells: Sequence[Any]) -> list[str]:
    last = max(index for index, cell in enumerate(cells) if cell is not None)
    names = ["" if cell is None else str(cell).strip() for cell in cells[: last + 1]]
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        raise InputError(
            f"{place}: the column names {', '.join(names)[:200]} are not distinct",
            "a name for each column",
            "fix the first row, or give data.column_names if the sheet has no header",
        )
    return names


def _sheet_row(place: str, cells: Sequence[Any], header: Sequence[str]) -> dict[str, Any]:
    if any(cell is not None for cell in cells[len(header) :]):
        raise InputError(
            f"{place}: more cells than the {len(header)} columns",
            f"the columns {', '.join(header)[:200]}",
            "fix the row, or give data.column_names if the sheet has no header",
        )
    padded = [*cells, *[None] * len(header)]
    return {name: cell for name, cell in zip(header, padded, strict=False) if name}


class _Elements:
    """Collects the elements below the root: attributes, and the text of the elements inside."""

    def __init__(self, path: Path) -> None:
        self.found: list[tuple[int, dict[str, Any]]] = []
        self._path = path
        self._depth = 0
        self._field = ""
        self._kinds: dict[str, str] = {}  # field of the latest element -> what it was read from

    def start(self, name: str, attributes: Mapping[str, str], line: int) -> None:
        self._depth += 1
        if self._depth == 2:
            self.found.append((line, {**attributes}))
            self._field = "text"
            self._kinds = dict.fromkeys(attributes, "an attribute")
        elif self._depth == 3:
            self._field = name
            self._note("an element inside")
            row = self.found[-1][1]
            row[name] = f"{row[name]}\n" if name in row else ""

    def end(self) -> None:
        self._depth -= 1
        if self._depth == 2:
            self._field = "text"

    def text(self, characters: str) -> None:
        is_own = self._depth == 2
        if self._depth < 2 or (is_own and not characters.strip()):
            return
        if is_own:
            self._note("its own text")
        row = self.found[-1][1]
        row[self._field] = row.get(self._field, "") + characters

    def _note(self, kind: str) -> None:
        """What the current field is read from.

        Raises:
            InputError: it was read from something else before.
        """
        known = self._kinds.setdefault(self._field, kind)
        if known != kind:
            line = self.found[-1][0]
            raise InputError(
                f"{self._path}:{line}: {self._field} is {known} and {kind}",
                "one value for each name",
                "rename one",
            )


def read_xml(path: Path, layout: Layout) -> Iterator[Placed]:
    """A row for each element below the root of an XML file: its attributes, its own text as `text`,
    and the text of each element inside under its name.

    Raises:
        InputError: not well-formed, one name for an attribute and for text, or it declares
            entities, which could blow up its size.
    """
    if layout.encoding:
        check_encoding(path, layout.encoding)
    elements = _Elements(path)
    parser = expat.ParserCreate(layout.encoding)
    parser.buffer_text = True

    def refuse_entity(name: str, *_: Any) -> None:
        raise InputError(
            f"{path}:{parser.CurrentLineNumber}: declares the entity {name}",
            "XML without entities of its own",
            "write the text out",
        )

    parser.EntityDeclHandler = refuse_entity
    parser.StartElementHandler = lambda name, attributes: elements.start(
        name, attributes, parser.CurrentLineNumber
    )
    parser.EndElementHandler = lambda _: elements.end()
    parser.CharacterDataHandler = elements.text
    with open_bytes(path) as raw:
        for chunk in iter(lambda: raw.read(1 << 20), b""):
            yield from _parsed(path, parser, elements, chunk, last=False)
    yield from _parsed(path, parser, elements, b"", last=True)


def _parsed(
    path: Path, parser: Any, elements: _Elements, chunk: bytes, *, last: bool
) -> Iterator[Placed]:
    """The rows that are complete after one more piece of the file; the latest may go on."""
    try:
        parser.Parse(chunk, last)
    # an encoding that the file names and Python doesn't know, or of several bytes a character
    except (expat.ExpatError, LookupError, ValueError) as error:
        fault = (
            expat.ErrorString(error.code)
            if isinstance(error, expat.ExpatError)
            else first_line(error)
        )
        raise InputError(
            f"{path}:{parser.CurrentLineNumber}: not well-formed XML ({fault})",
            "XML, in UTF-8 or the encoding that it states",
            "fix the line; if it has another encoding: --set data.encoding=iso-8859-1",
        ) from error
    complete = len(elements.found) if last else max(0, len(elements.found) - 1)
    for line, row in elements.found[:complete]:
        yield f"{path}:{line}", {name: value.strip() for name, value in row.items()}
    # What was given is let go: the file may be larger than memory.
    del elements.found[:complete]
