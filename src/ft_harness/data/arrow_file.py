"""Docs gathered into an Arrow file on disk, so that memory does not grow with the corpus.

The files are kept in a temporary folder (see `TMPDIR`) that is removed when the process ends.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import types

from ft_harness.data.columns import CHARACTERS, Docs
from ft_harness.errors import InputError, ResourceError
from ft_harness.storage import full_disk, is_full

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH_ROWS = 10_000
_numbers = count()


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ft-harness-data-")


def _new_path() -> Path:
    return Path(_folder().name) / f"{next(_numbers)}.arrow"


@dataclass
class JsonText:
    """Feature of a column that is stored as JSON and read as the values themselves: numbers of
    several types, numbers of any size, objects of several shapes, as no Arrow type holds them.

    It takes the form of a feature type of the datasets library, whose own `Json` rounds floats and
    refuses integers beyond 64 bits.
    """

    id: str | None = field(default=None, repr=False)
    dtype: ClassVar[str] = "large_string"
    _type: str = field(default="JsonText", init=False, repr=False)

    def __call__(self) -> Any:
        return _json_type()

    def encode_example(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def decode_example(self, value: str | None, token_per_repo_id: Any = None) -> Any:
        return None if value is None else json.loads(value)


class ArrowFile:
    """An Arrow file that docs are appended to; values come out as they went in.

    Types are found batch by batch. A later batch may add columns and may turn an empty list or null
    into another type; a column whose values fit no single type (an int next to a float, an int
    beyond 64 bits, objects with different keys) is stored as JSON. Equal docs make equal bytes.
    """

    def __init__(self) -> None:
        self._path = _new_path()
        self._columns: dict[str, list[Any]] = {}
        self._pending = 0
        self._characters = 0
        self._schema: Any = None
        self._writer: Any = None
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def __enter__(self) -> ArrowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self._close()
            return
        with suppress(OSError):  # the error being raised says more
            self._close()
        self._path.unlink(missing_ok=True)

    def extend(self, docs: Docs) -> None:
        """Add docs; fields that they lack are null.

        Raises:
            InputError: a field's name holds NUL.
            ResourceError: the temporary folder has no room.
        """
        for name, values in docs.columns.items():
            if name not in self._columns:
                if "\0" in name:  # pyarrow and datasets cut a name off there
                    raise InputError(
                        f"the column {name!r} has NUL in its name",
                        "names without it",
                        "rename the column",
                    )
                self._columns[name] = [None] * self._pending
            self._columns[name] += values
        self._characters += docs.characters
        self._pending += docs.number
        self._rows += docs.number
        for values in self._columns.values():
            values += [None] * (self._pending - len(values))
        if self._pending >= _BATCH_ROWS or self._characters >= CHARACTERS:
            self._write_batch()

    def _write_batch(self) -> None:
        if not self._pending:
            return
        known = {} if self._schema is None else {part.name: part.type for part in self._schema}
        arrays = {
            name: _to_array(values, known.get(name)) for name, values in self._columns.items()
        }
        types = {
            name: _common_type(known.get(name, pyarrow.null()), array.type)
            for name, array in arrays.items()
        }
        try:
            self._fit_schema(pyarrow.schema(list(types.items())))
            self._write(arrays)
        except OSError as error:
            cure = "free space, or name a folder with room in TMPDIR"
            raise ResourceError(
                f"{self._path}: can't be written ({error})",
                "room for a copy of the data in the temporary folder",
                full_disk(self._path, error, cure).action if is_full(error) else cure,
            ) from error
        self._columns = {name: [] for name in self._columns}
        self._pending = 0
        self._characters = 0

    def _write(self, arrays: Mapping[str, Any]) -> None:
        """Write columns of equal length in the types of the file; those it lacks are null."""
        length = len(next(iter(arrays.values())))
        columns = [
            _convert(arrays.get(part.name, pyarrow.nulls(length)), part.type)
            for part in self._schema
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))

    def _fit_schema(self, wider: Any) -> None:
        """Open the file, or rewrite it if its types are too narrow."""
        if self._schema is None:
            self._open(wider)
        if wider == self._schema:
            return
        self._close()
        # A stream has one schema from its first byte on.
        narrow, self._path = self._path, _new_path()
        self._open(wider)
        with pyarrow.memory_map(str(narrow)) as source, pyarrow.ipc.open_stream(source) as batches:
            for batch in batches:
                self._write(dict(zip(batch.schema.names, batch.columns, strict=True)))
        narrow.unlink()

    def _open(self, schema: Any) -> None:
        self._schema = schema
        self._sink = pyarrow.OSFile(str(self._path), "wb")
        self._writer = pyarrow.ipc.new_stream(self._sink, schema)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None

    def dataset(self) -> Dataset:
        """All docs appended so far, memory-mapped; this completes the file.

        Raises:
            ResourceError: the temporary folder has no room.
        """
        from datasets import Dataset, DatasetInfo, Features

        self._write_batch()
        self._close()
        _register_json_text()
        features = Features.from_arrow_schema(self._schema)
        for part in self._schema:
            if part.type == _json_type():
                features[part.name] = JsonText()
        return Dataset.from_file(str(self._path), info=DatasetInfo(features=features))


@cache
def _register_json_text() -> None:
    """Make the feature known to the datasets library, which warns if that is done twice."""
    from datasets.features.features import register_feature

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "experimental": a test watches what it does
        register_feature(JsonText, "JsonText")


def _json_type() -> Any:
    """The Arrow type of columns that hold JSON; no other column has it."""
    return pyarrow.large_string()


def _to_array(values: list[Any], known: Any) -> Any:
    """The values as an Arrow array, of JSON where that alone keeps them as they are."""
    if known != _json_type():
        try:
            array = pyarrow.array(values)
        except (pyarrow.ArrowException, TypeError, OverflowError):
            pass  # no Arrow type holds them all
        else:
            if _is_exact(array, values):
                return array
    return _to_json(values)


def _to_json(values: Iterable[Any]) -> Any:
    texts = [
        None if value is None else json.dumps(value, ensure_ascii=False, default=str)
        for value in values
    ]
    return pyarrow.array(texts, _json_type())


def _is_exact(array: Any, values: Sequence[Any]) -> bool:
    """Whether the array gives back the values as they are: it turns ints next to floats into
    floats, and gives objects the keys of all."""
    inner = array.type
    while types.is_list(inner):
        inner = inner.value_type
    if types.is_string(inner) or types.is_int64(inner) or types.is_boolean(inner):
        return True
    return types.is_null(inner) or all(
        json.dumps(one, default=str) == json.dumps(other, default=str)
        for one, other in zip(array.to_pylist(), values, strict=True)
    )


def _common_type(one: Any, other: Any) -> Any:
    """The type that holds the values of both as they are: the JSON type if no other does."""
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if types.is_list(one) and types.is_list(other):
        inner = _common_type(one.value_type, other.value_type)
        return _json_type() if inner == _json_type() else pyarrow.list_(inner)
    if types.is_struct(one) and types.is_struct(other):
        names = [part.name for part in one]
        inners = [_common_type(a.type, b.type) for a, b in zip(one, other, strict=False)]
        if names == [part.name for part in other] and _json_type() not in inners:
            return pyarrow.struct(list(zip(names, inners, strict=True)))
    return _json_type()


def _convert(array: Any, kind: Any) -> Any:
    if array.type == kind:
        return array
    if types.is_null(array.type):
        return pyarrow.nulls(len(array), kind)
    return _to_json(array.to_pylist()) if kind == _json_type() else array.cast(kind)


def select_rows(dataset: Dataset, indices: NDArray[np.int64]) -> Dataset:
    """These rows of a data set in an Arrow file; their numbers are kept on disk too, or need no
    list where they are consecutive.

    Args:
        indices: row numbers, ascending.
    """
    if len(indices) and indices[-1] - indices[0] == len(indices) - 1:
        return dataset.select(range(int(indices[0]), int(indices[-1]) + 1))
    path = _new_path()
    # datasets' own fingerprint would hold all numbers in memory once more, pickled
    fingerprint = f"ft-harness-data-{path.stem}"
    return dataset.select(indices, indices_cache_file_name=str(path), new_fingerprint=fingerprint)
