"""Read and write `scores.parquet`, the outcomes of an evaluation in columns, and find single
samples through it. `score_columns` has the columns."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ft_harness.errors import InputError
from ft_harness.records import SAMPLES_FILE, SCORES_FILE, Evaluation, Sample
from ft_harness.records.reading import stream_samples
from ft_harness.records.score_columns import GZIP_FORMAT, TEXTS, ScoreColumns
from ft_harness.storage import GZIP_LINES, sha256_once

Array = NDArray[np.float64]
_SMALL_BYTES = 1 << 15  # scores or samples, packed, of some hundred items


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcomes of one evaluation, one item per row in the order of its samples.

    Attributes:
        texts: pyarrow's table of the columns that are no statistics.
        columns: metric -> the column that holds its statistics.
    """

    folder: Path
    texts: Any
    columns: Mapping[str, str]
    _read: Callable[[str], Any]  # column -> a pyarrow table with it, from the file when asked for

    def statistics(self, metric: str) -> Array:
        """[items, K]; a row of NaN for an item without a score of this metric, which may be all of
        them."""
        if metric not in self.columns:
            return np.full((len(self.texts), 1), np.nan)
        column = self.columns[metric]
        lists = self._read(column).column(column).combine_chunks()
        return np.asarray(lists.flatten().to_numpy(), dtype=np.float64).reshape(len(self.texts), -1)


def read_outcomes(evaluation: Evaluation) -> Outcomes:
    """The outcomes, from scores.parquet if it belongs to these very samples, else from the samples.

    Raises:
        InputError: the samples are not as they were written or can't be read, statistics of a
            metric differ in length, or docs lack the cluster field.
    """
    evaluation.check_file(SAMPLES_FILE)
    samples, scores = evaluation.folder / SAMPLES_FILE, evaluation.folder / SCORES_FILE
    if find_damage(evaluation) is None:
        with suppress(OSError, ValueError, pa.ArrowException):
            if (found := _read_scores(scores, _state_of(scores), _state_of(samples))) is not None:
                return found
    table, columns = _gather(evaluation).table()
    return Outcomes(evaluation.folder, table, columns, lambda _: table)


def _state_of(path: Path) -> tuple[int, int, int]:
    """By which a file is known to be the same."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


def _read_scores(path: Path, *states: tuple[int, int, int]) -> Outcomes | None:
    """The outcomes in scores.parquet; None where it can't be used. Those of a small file are kept:
    a study compares one base with many adapters, and looks at each again for cases and slices."""
    read = _read_small if states[0][0] <= _SMALL_BYTES else _read_file
    return read(path, *states)


def _read_file(path: Path, *states: tuple[int, int, int]) -> Outcomes | None:
    opened = _open(path)
    if opened is None:
        return None
    file, columns, _ = opened
    if states[0][0] <= _SMALL_BYTES:
        table = file.read(use_threads=False)
        return Outcomes(path.parent, table, columns, lambda _: table)
    texts = file.read(columns=[*TEXTS])
    return Outcomes(path.parent, texts, columns, partial(_read_column, file))


_read_small = lru_cache(maxsize=1024)(_read_file)


def check_whole(evaluation: Evaluation) -> None:
    """Refuse an evaluation of which fewer outcomes can be read than its scores rest on.

    Raises:
        InputError: the samples can't be read, or are fewer than the record's scores rest on.
    """
    items = len(read_outcomes(evaluation).texts)
    scored = max((score.n for score in evaluation.record.scores), default=0)
    if items < scored:
        raise InputError(
            f"{evaluation.folder / SAMPLES_FILE}: {items} samples, the scores rest on {scored}",
            "a sample for each doc that was scored",
            "delete this evaluation's folder and run the same command again",
        )


def find_damage(evaluation: Evaluation) -> str | None:
    """What is wrong with scores.parquet, which is not needed where the samples are whole; None:
    nothing, or it isn't known how it was written."""
    try:
        if (evaluation.folder / SCORES_FILE).exists():
            evaluation.check_file(SCORES_FILE)
    except InputError as error:
        return f"{error.what}; the numbers are those of {SAMPLES_FILE}"
    return None


def _open(path: Path) -> tuple[Any, Mapping[str, str], list[int] | None] | None:
    """(scores.parquet, the column of each metric, where members of the samples begin); None if it
    is missing, damaged, or of other samples than those next to it."""
    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow  # made anew each time that it is asked for
        metadata = schema.metadata or {}
        if metadata.get(b"samples_sha256") != sha256_once(path.with_name(SAMPLES_FILE)).encode():
            return None
        columns, starts = json.loads(metadata[b"metrics"]), json.loads(metadata[b"members"])
        held = [*TEXTS, *columns.values()]
    except (OSError, ValueError, LookupError, AttributeError, pa.ArrowException):
        return None
    names = schema.names
    return (file, columns, starts) if all(name in names for name in held) else None


def _read_column(file: Any, column: str) -> Any:
    return file.read(columns=[column])


def find_samples(evaluation: Evaluation, keys: Collection[str]) -> dict[str, Sample]:
    """The samples of these items, as `scan_samples` finds them.

    Raises:
        InputError: the samples can't be read.
    """
    return {sample.item_key: sample for sample in scan_samples(evaluation, keys)}


def scan_samples(evaluation: Evaluation, keys: Collection[str]) -> Iterator[Sample]:
    """The samples of these items one by one; where scores.parquet is there, only the gzip members
    that hold them are read.

    Raises:
        InputError: the samples can't be read.
    """
    evaluation.check_file(SAMPLES_FILE)
    path, state = evaluation.folder / SAMPLES_FILE, state_of_small(evaluation)
    if state is not None:
        few = _read_few(evaluation.folder, state)
        yield from (few[key] for key in few if key in keys)
        return
    opened = None if find_damage(evaluation) else _open(evaluation.folder / SCORES_FILE)
    file, _, starts = opened or (None, {}, None)
    if not file or not starts:
        yield from (sample for sample in evaluation.samples() if sample.item_key in keys)
        return
    wanted = pa.array(sorted(keys), pa.string())
    rows = (
        pc.index_in(wanted, value_set=file.read(columns=["item_key"]).column("item_key"))
        .drop_null()
        .to_pylist()
    )
    by_member: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_member[row // GZIP_LINES].append(row % GZIP_LINES)
    with path.open("rb") as samples:
        for member in sorted(by_member):
            samples.seek(starts[member])
            lines = zlib.decompress(
                samples.read(starts[member + 1] - starts[member]), wbits=GZIP_FORMAT
            ).split(b"\n")
            yield from (Sample.model_validate_json(lines[line]) for line in by_member[member])


def state_of_small(evaluation: Evaluation) -> tuple[int, int, int] | None:
    """A key under which results from the outcomes and samples of a small evaluation can be cached;
    None: there are too many, or they are missing."""
    path = evaluation.folder / SAMPLES_FILE
    state = _state_of(path) if path.exists() else None
    return state if state is not None and state[0] <= _SMALL_BYTES else None


@lru_cache(maxsize=64)
def _read_few(folder: Path, _: tuple[int, int, int]) -> dict[str, Sample]:
    """All samples of a small evaluation, in their order; kept as its outcomes are."""
    return {sample.item_key: sample for sample in stream_samples(folder)}


def write_scores(evaluation: Evaluation) -> None:
    """Write scores.parquet next to the samples, from the samples as they were written (and secrets
    redacted)."""
    _gather(evaluation).write()


def _gather(evaluation: Evaluation) -> ScoreColumns:
    gathered = ScoreColumns(evaluation.folder, evaluation.record.settings.cluster)
    for sample in evaluation.samples():
        gathered.add(vars(sample))
    return gathered
