"""Docs gathered into an Arrow file on disk, so that memory does not grow with the corpus.

The files are kept in a temporary folder (see `TMPDIR`) that is removed when the process ends.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.errors import InputError, ResourceError

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH_ROWS = 10_000
_BATCH_CHARACTERS = 1 << 22
_numbers = count()


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ft-harness-data-")


def _new_path() -> Path:
    return Path(_folder().name) / f"{next(_numbers)}.arrow"


class ArrowFile:
    """An Arrow file that docs are appended to; the columns are those of the first doc.

    Types are found batch by batch and widened where a later batch needs it (int -> float, empty
    list -> list of texts), so that they equal those of the whole column. Equal docs make equal
    bytes.
    """

    def __init__(self) -> None:
        self._path = _new_path()
        self._columns: dict[str, list[Any]] = {}
        self._places: list[str] = []
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

    def append(self, place: str, doc: dict[str, Any]) -> None:
        """Add one doc; fields that the first doc lacks are left out, those that this one lacks are
        null.

        Raises:
            InputError: the values of a field fit no common type.
            ResourceError: the temporary folder has no room.
        """
        if not self._rows:
            self._columns = {name: [] for name in doc}
        for name, values in self._columns.items():
            value = doc.get(name)
            values.append(value)
            self._characters += len(value) if isinstance(value, str) else 0
        self._places.append(place)
        self._rows += 1
        if len(self._places) >= _BATCH_ROWS or self._characters >= _BATCH_CHARACTERS:
            self._write_batch()

    def _write_batch(self) -> None:
        import pyarrow

        if not self._places:
            return
        try:
            table = pyarrow.Table.from_pydict(self._columns)
            self._fit_schema(table.schema)
            self._writer.write_table(table.cast(self._schema))
        except (pyarrow.ArrowException, TypeError, OverflowError) as error:
            raise InputError(
                f"{self._places[0]} to {self._places[-1]}: "
                f"a column holds values of different kinds ({error})",
                "one kind a column",
                "fix the rows",
            ) from error
        except OSError as error:
            raise ResourceError(
                f"{self._path}: can't be written ({error})",
                "room for a copy of the data in the temporary folder",
                "free space, or name a folder with room in TMPDIR",
            ) from error
        self._columns = {name: [] for name in self._columns}
        self._places = []
        self._characters = 0

    def _fit_schema(self, schema: Any) -> None:
        """Open the file, or write it anew where its types are too narrow for this schema."""
        import pyarrow

        if self._schema is None:
            self._open(schema)
            return
        wider = pyarrow.unify_schemas([self._schema, schema], promote_options="permissive")
        if wider == self._schema:
            return
        self._close()
        narrow, self._path = self._path, _new_path()
        self._open(wider)
        with pyarrow.memory_map(str(narrow)) as source, pyarrow.ipc.open_stream(source) as batches:
            for batch in batches:
                self._writer.write_table(pyarrow.Table.from_batches([batch]).cast(wider))
        narrow.unlink()

    def _open(self, schema: Any) -> None:
        import pyarrow

        self._schema = schema
        self._sink = pyarrow.OSFile(str(self._path), "wb")
        self._writer = pyarrow.ipc.new_stream(self._sink, schema)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None

    def dataset(self) -> Dataset:
        """All docs appended so far, memory-mapped; the file is complete then.

        Raises:
            InputError: the values of a field fit no common type.
            ResourceError: the temporary folder has no room.
        """
        from datasets import Dataset

        self._write_batch()
        self._close()
        return Dataset.from_file(str(self._path))


def select_rows(dataset: Dataset, indices: NDArray[np.int64]) -> Dataset:
    """These rows of a memory-mapped data set; their numbers are kept on disk too,
    or need no list where they are consecutive.

    Args:
        indices: row numbers, ascending.
    """
    if len(indices) and indices[-1] - indices[0] == len(indices) - 1:
        return dataset.select(range(int(indices[0]), int(indices[-1]) + 1))
    path = _new_path()
    # datasets' own fingerprint would hold all numbers in memory once more, pickled
    fingerprint = f"ft-harness-data-{path.stem}"
    return dataset.select(indices, indices_cache_file_name=str(path), new_fingerprint=fingerprint)
