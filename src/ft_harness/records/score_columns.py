"""The columns of `scores.parquet`, as they are gathered from samples to be written.

Columns are `item_key`, `prompt_hash`, `target_hash`, `target`, `prediction`, `cluster` (a hash of
the doc field that the record's settings name, else null) and the statistics: float64 lists, all NaN
for an item without a score. Metrics that rest on the same statistics share a column, named after
the first of them; the file's metadata says which (`metrics`), of which samples file it is
(`samples_sha256`), and at which bytes of that file the gzip members of 1,000 samples each begin
(`members`). It holds nothing that the samples don't.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ft_harness.errors import InputError
from ft_harness.records.schema import SAMPLES_FILE, SCORES_FILE
from ft_harness.storage import GZIP_LINES, sha256_once, write_bytes

Array = NDArray[np.float64]
TEXTS = ("item_key", "prompt_hash", "target_hash", "target", "prediction", "cluster")
GZIP_FORMAT = 31  # zlib's word for a gzip member with its header
_MEMBER_BYTES = 1 << 28  # of a thousand samples; more are read from the start like any other file
_BATCH = 1000  # samples held at a time


class ScoreColumns:
    """The columns of `scores.parquet`, gathered sample by sample.

    Args:
        folder: of the evaluation.
        cluster: doc field whose equal values make a cluster; None: no clusters.
    """

    def __init__(self, folder: Path, cluster: str | None) -> None:
        self._folder, self._cluster = folder, cluster
        self._waiting: list[Mapping[str, Any]] = []
        self._texts: defaultdict[str, list[Any]] = defaultdict(list)
        self._batches: list[tuple[int, dict[str, Array]]] = []

    def add(self, sample: Mapping[str, Any]) -> None:
        """Take the fields of one sample.

        Raises:
            InputError: statistics of a metric differ in length, or the doc lacks the cluster field.
        """
        self._waiting.append(sample)
        if len(self._waiting) == _BATCH:
            self._settle()

    def _settle(self) -> None:
        samples, self._waiting = self._waiting, []
        if not samples:
            return
        for name in TEXTS[:-1]:
            texts = [sample[name] for sample in samples]
            self._texts[name].append(pa.array(texts, pa.string()))
        clusters = [_cluster(sample, self._cluster, self._folder) for sample in samples]
        self._texts["cluster"].append(pa.array(clusters, pa.string()))
        self._batches.append((len(samples), _batch_statistics(samples, self._folder)))

    def table(self) -> tuple[Any, dict[str, str]]:
        """(pyarrow's table of all columns, metric -> the column of its statistics)."""
        self._settle()
        table = {name: pa.chunked_array(self._texts[name], pa.string()) for name in TEXTS}
        columns: dict[str, str] = {}
        # holds the arrays, so that no id is used twice
        first_of: dict[tuple[int, ...], tuple[str, list[Array]]] = {}
        for metric, parts in _join(self._batches, self._folder):
            columns[metric], _ = first_of.setdefault(tuple(map(id, parts)), (metric, parts))
            if columns[metric] == metric:
                flat = np.concatenate(parts)
                table[metric] = pa.FixedSizeListArray.from_arrays(
                    pa.array(flat.ravel()), flat.shape[1]
                )
        return pa.table(table), columns

    def write(self) -> None:
        """Write scores.parquet next to the samples, which are written whole."""
        table, columns = self.table()
        samples = self._folder / SAMPLES_FILE
        metadata = {
            "samples_sha256": sha256_once(samples),
            "metrics": json.dumps(columns, ensure_ascii=False),
            "members": json.dumps(_member_starts(samples, len(table))),
        }
        content = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata(metadata), content, compression="zstd")
        write_bytes(self._folder / SCORES_FILE, content.getvalue().to_pybytes())


def _member_starts(path: Path, samples: int) -> list[int] | None:
    """Where each gzip member of 1,000 samples begins, and the length of the file; None for a file
    not made so."""
    starts, content = [0], memoryview(path.read_bytes())
    while starts[-1] < len(content):
        member = zlib.decompressobj(wbits=GZIP_FORMAT)
        member.decompress(content[starts[-1] : starts[-1] + _MEMBER_BYTES])
        if not member.eof:
            return None
        starts.append(min(starts[-1] + _MEMBER_BYTES, len(content)) - len(member.unused_data))
    return starts if len(starts) - 1 == max(1, -(-samples // GZIP_LINES)) else None


def _cluster(sample: Mapping[str, Any], field: str | None, folder: Path) -> str | None:
    if field is None:
        return None
    if field not in sample["doc"]:
        raise InputError(
            f"{folder}: the docs have no field '{field}', the task's metadata.cluster",
            f"one of {', '.join(sample['doc'])}",
            "correct metadata.cluster in the task's YAML and evaluate again",
        )
    return sha256(str(sample["doc"][field]).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _batch_statistics(samples: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Array]:
    """Metric -> [items, K] of a batch, K 0 where none has a score; metrics of equal statistics get
    the same array."""
    interned: dict[tuple[int, bytes], Array] = {}
    found: dict[str, Array] = {}
    for metric in dict.fromkeys(name for sample in samples for name in sample["scores"]):
        values = [sample["scores"].get(metric) for sample in samples]
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
