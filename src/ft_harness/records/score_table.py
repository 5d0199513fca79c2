"""`scores.parquet`: the outcomes of an evaluation in columns, read where a million samples are
compared.

Columns are `item_key`, `prompt_hash`, `target_hash`, `target`, `prediction`, `cluster` (a hash of
the doc field that the record's settings name, else null) and the statistics: float64 lists, all NaN
for an item without a score. Metrics that rest on the same statistics share a column, named after
the first of them; the file's metadata says which (`metrics`), of which samples file it is
(`samples_sha256`), and at which bytes of that file the gzip members of 1,000 samples each begin
(`members`). Nothing is in it that the samples don't hold.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ft_harness.errors import InputError
from ft_harness.records import SAMPLES_FILE, SCORES_FILE, Evaluation, Sample
from ft_harness.storage import GZIP_LINES, sha256_once, write_bytes

Array = NDArray[np.float64]
_TEXTS = ("item_key", "prompt_hash", "target_hash", "target", "prediction")
_GZIP = 31  # zlib's word for a gzip member with its header
_MEMBER_BYTES = 1 << 28  # of a thousand samples; more are read from the start like any other file
_BATCH = 10_000  # samples held at a time


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcomes of one evaluation, an item a row in the order of its samples.

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
    """From scores.parquet where it is of these very samples, else from the samples.

    Raises:
        InputError: the samples are not as they were written or can't be read, statistics of a
            metric differ in length, or docs lack the cluster field.
    """
    evaluation.check_file(SAMPLES_FILE)
    opened = _open(evaluation)
    if opened is not None:
        file, metadata = opened
        texts = file.read(columns=[*_TEXTS, "cluster"])
        return Outcomes(
            evaluation.folder, texts, json.loads(metadata[b"metrics"]), partial(_read_column, file)
        )
    table, columns = _make_table(evaluation)
    return Outcomes(evaluation.folder, table, columns, lambda _: table)


def check_whole(evaluation: Evaluation) -> None:
    """
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


def _open(evaluation: Evaluation) -> tuple[Any, Mapping[bytes, bytes]] | None:
    """(scores.parquet, its metadata); None if it is missing, damaged, or of other samples than
    those next to it."""
    if find_damage(evaluation):
        return None
    try:
        file = pq.ParquetFile(evaluation.folder / SCORES_FILE)
        metadata = file.schema_arrow.metadata or {}
        if (
            metadata.get(b"samples_sha256")
            != sha256_once(evaluation.folder / SAMPLES_FILE).encode()
        ):
            return None
    except (OSError, ValueError, pa.ArrowException):
        return None
    return file, metadata


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
    opened = _open(evaluation)
    starts = json.loads(opened[1][b"members"]) if opened else None
    if not opened or not starts:
        yield from (sample for sample in evaluation.samples() if sample.item_key in keys)
        return
    evaluation.check_file(SAMPLES_FILE)
    file, _ = opened
    wanted = pa.array(sorted(keys), pa.string())
    rows = (
        pc.index_in(wanted, value_set=file.read(columns=["item_key"]).column("item_key"))
        .drop_null()
        .to_pylist()
    )
    by_member: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_member[row // GZIP_LINES].append(row % GZIP_LINES)
    with (evaluation.folder / SAMPLES_FILE).open("rb") as samples:
        for member in sorted(by_member):
            samples.seek(starts[member])
            lines = zlib.decompress(
                samples.read(starts[member + 1] - starts[member]), wbits=_GZIP
            ).split(b"\n")
            yield from (Sample.model_validate_json(lines[line]) for line in by_member[member])


def _member_starts(path: Path, samples: int) -> list[int] | None:
    """Where each gzip member of 1,000 samples begins, and the length of the file; None for a file
    not made so."""
    starts, content = [0], memoryview(path.read_bytes())
    while starts[-1] < len(content):
        member = zlib.decompressobj(wbits=_GZIP)
        member.decompress(content[starts[-1] : starts[-1] + _MEMBER_BYTES])
        if not member.eof:
            return None
        starts.append(min(starts[-1] + _MEMBER_BYTES, len(content)) - len(member.unused_data))
    return starts if len(starts) - 1 == max(1, -(-samples // GZIP_LINES)) else None


def write_scores(evaluation: Evaluation) -> None:
    """Write scores.parquet next to the samples, from the samples as they were written (and secrets
    redacted)."""
    table, columns = _make_table(evaluation)
    metadata = {
        "samples_sha256": sha256_once(evaluation.folder / SAMPLES_FILE),
        "metrics": json.dumps(columns, ensure_ascii=False),
        "members": json.dumps(_member_starts(evaluation.folder / SAMPLES_FILE, len(table))),
    }
    content = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), content, compression="zstd")
    write_bytes(evaluation.folder / SCORES_FILE, content.getvalue().to_pybytes())


def _make_table(evaluation: Evaluation) -> tuple[Any, dict[str, str]]:
    """(pyarrow's table of all columns, metric -> column)."""
    field = evaluation.record.settings.cluster
    texts: defaultdict[str, list[Any]] = defaultdict(list)
    batches: list[tuple[int, dict[str, Array]]] = []
    every = evaluation.samples()
    while samples := list(islice(every, _BATCH)):
        for name in _TEXTS:
            texts[name].append(pa.array([getattr(sample, name) for sample in samples], pa.string()))
        clusters = [_cluster(sample, field, evaluation.folder) for sample in samples]
        texts["cluster"].append(pa.array(clusters, pa.string()))
        batches.append((len(samples), _batch_statistics(samples, evaluation.folder)))
    table = {name: pa.chunked_array(texts[name], pa.string()) for name in (*_TEXTS, "cluster")}
    columns: dict[str, str] = {}
    first_of: dict[
        tuple[int, ...], tuple[str, list[Array]]
    ] = {}  # holds the arrays, so that no id is used twice
    for metric, parts in _join(batches, evaluation.folder):
        columns[metric], _ = first_of.setdefault(tuple(map(id, parts)), (metric, parts))
        if columns[metric] == metric:
            flat = np.concatenate(parts)
            table[metric] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    return pa.table(table), columns


def _cluster(sample: Sample, field: str | None, folder: Path) -> str | None:
    if field is None:
        return None
    if field not in sample.doc:
        raise InputError(
            f"{folder}: the docs have no field '{field}', the task's metadata.cluster",
            f"one of {', '.join(sample.doc)}",
            "correct metadata.cluster in the task's YAML and evaluate again",
        )
    return sha256(str(sample.doc[field]).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _batch_statistics(samples: Sequence[Sample], folder: Path) -> dict[str, Array]:
    """Metric -> [items, K] of a batch, K 0 where none has a score; metrics of equal statistics get
    the same array."""
    interned: dict[tuple[int, bytes], Array] = {}
    found: dict[str, Array] = {}
    for metric in dict.fromkeys(name for sample in samples for name in sample.scores):
        values = [sample.scores.get(metric) for sample in samples]
        lists = [
            value if isinstance(value, list) else [value] for value in values if value is not None
        ]
        widths = set(map(len, lists))
        if len(widths) > 1:
            raise _ragged(folder, metric)
        array = np.full((len(samples), max(widths, default=0)), np.nan)
        if lists:
            array[[value is not None for value in values]] = lists
        found[metric] = interned.setdefault((array.shape[1], array.tobytes()), array)
    return found


def _join(
    batches: Sequence[tuple[int, dict[str, Array]]], folder: Path
) -> Iterator[tuple[str, list[Array]]]:
    """Each metric's arrays, batch by batch, all of one width; NaN for the batches that don't have
    it."""
    for metric in dict.fromkeys(name for _, batch in batches for name in batch):
        parts = [batch.get(metric, np.empty((size, 0))) for size, batch in batches]
        widths = {part.shape[1] for part in parts} - {0} or {1}
        if len(widths) > 1:
            raise _ragged(folder, metric)
        width = widths.pop()
        yield (
            metric,
            [part if part.shape[1] else np.full((len(part), width), np.nan) for part in parts],
        )


def _ragged(folder: Path, metric: str) -> InputError:
    return InputError(
        f"{folder}: {metric} has statistics of different length",
        "equally many numbers for every item",
        "delete this evaluation's folder and run the same command again",
    )
