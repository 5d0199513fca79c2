"""Scores from samples that another program wrote: added up as they are read, and compared with what
that program stated.

For zeros and ones without clusters, the sums are all that an interval needs; other statistics are
kept, and metrics with the same ones share them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ft_harness.errors import InputError
from ft_harness.metrics import Metric, find_metric
from ft_harness.metrics.core import mean
from ft_harness.records.lm_eval.samples import Fields
from ft_harness.records.schema import Score
from ft_harness.stats import Interval, score_interval, wilson_interval

_BATCH = 1000  # items whose statistics are held before they are added up
_SEVERAL = (
    3  # numbers an item that statistics of ours have at least; lm-eval keeps pairs of answers
)
# of which an item has two
_PAIRS = ("token_ppl", "item_ppl", "byte_ppl", "char_ppl", "chosen_byte_ppl")
_BINARY = (0.0, 1.0)
_Statistics = NDArray[np.float64]
_Numbers = NDArray[np.int64]
_Array = TypeVar("_Array", bound=NDArray[Any])


class Totals:
    """Sums over the samples of one evaluation by another program, and what intervals need.

    `cluster` is the doc field whose equal values make a cluster; None: each item alone.
    """

    def __init__(self, higher_is_better: Mapping[str, bool], cluster: str | None = None) -> None:
        self.items = 0
        self._higher = dict(higher_is_better)
        self._metrics: dict[str, Metric] = {}
        self._odd: dict[str, str] = {}
        self._waiting: dict[
            str, list[tuple[float | list[float], int]]
        ] = {}  # statistics, number of the cluster
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._counts: dict[str, int] = {}
        self._cluster = cluster
        self._clusters: dict[str, int] = {}
        self._held: dict[str, list[tuple[_Statistics, _Numbers]]] = {}
        self._interned: dict[bytes, NDArray[Any]] = {}
        self._invalid = 0
        self._hash = hashlib.sha256()

    def add(self, sample: Fields) -> None:
        """Count one sample; a metric that can't be one of ours is set aside with the reason."""
        self.items += 1
        self._invalid += sample["invalid"]
        self._hash.update(sample["item_key"].encode())
        cluster = self._number(sample)
        for name, value in sample["scores"].items():
            if name not in self._metrics and name not in self._odd:
                try:
                    self._metrics[name] = find_metric(name)
                except InputError:
                    self._odd[name] = "no interval is known for this metric"
            if value is None or name in self._odd:
                continue
            fault = _find_fault(self._metrics[name], value)
            if fault:
                self._odd[name] = fault
                continue
            waiting = self._waiting.setdefault(name, [])
            waiting.append((value, cluster))
            if len(waiting) == _BATCH:
                self._settle(name)

    def _number(self, sample: Fields) -> int:
        """The number of a sample's cluster; its own where the task names no clusters."""
        if self._cluster is None:
            return self.items
        return self._clusters.setdefault(str(sample["doc"].get(self._cluster)), len(self._clusters))

    def _settle(self, name: str) -> None:
        rows = self._waiting.pop(name, [])
        if not rows:
            return
        try:
            table = np.array([row for row, _ in rows], dtype=np.float64).reshape(len(rows), -1)
            before = self._sums.get(name)
            self._sums[name] = table.sum(axis=0) if before is None else before + table.sum(axis=0)
            self._counts[name] = self._counts.get(name, 0) + len(rows)
            if self._cluster is not None or not self._metrics[name].binary:
                numbers = np.array([number for _, number in rows], dtype=np.int64)
                self._held.setdefault(name, []).append((self._intern(table), self._intern(numbers)))
        except ValueError:
            self._odd[name] = "its statistics differ in length"

    def _intern(self, array: _Array) -> _Array:
        """An array that is equal to this one, the same for all metrics."""
        key = hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).digest()
        return cast(_Array, self._interned.setdefault(key, array))

    def digest(self) -> str:
        """Hash of the items, in their order."""
        return self._hash.hexdigest()[:16]

    def check(self, stated: Mapping[str, float]) -> tuple[list[str], dict[str, str]]:
        """(metrics to compare, metric -> why it can't be compared).

        Args:
            stated: what the results file says; empty without one.

        Raises:
            ValueError: a mean is another than what is stated, so that these are not the samples of
                these results.
        """
        for name in list(self._waiting):
            self._settle(name)
        kept: list[str] = []
        for name in self._metrics:
            if name in self._odd:
                continue
            try:
                value = self._value(name)
            except (IndexError, ValueError):
                self._odd[name] = "its statistics are of another form than ours"
                continue
            # two programs that add up in another order mean the same number
            if name not in stated or (
                value is not None and math.isclose(value, stated[name], rel_tol=1e-6, abs_tol=1e-9)
            ):
                kept.append(name)
            elif value is None:
                self._odd[name] = f"undefined for these samples, the results say {stated[name]:.6g}"
            elif len(self._sums[name]) == 1:
                raise ValueError(
                    f"{name} of these samples is {value:.6g}, the results say {stated[name]:.6g}: "
                    "not the samples of these results, or lm-eval scored items without an answer"
                )
            else:
                self._odd[name] = (
                    f"the samples come to {value:.6g}, the results say {stated[name]:.6g}"
                )
        return kept, dict(self._odd)

    def _value(self, name: str) -> float | None:
        sums = self._sums.get(name)
        return None if sums is None else self._metrics[name].value_of(sums, self._counts[name])

    def score(self, name: str, signature: str) -> Score:
        """One metric."""
        n, metric = self._counts.get(name, 0), self._metrics[name]
        low, high = self._interval(name) or (None, None)
        return Score(
            metric=name,
            value=self._value(name),
            low=low,
            high=high,
            n=n,
            n_invalid=self._invalid,
            n_truncated=0,
            higher_is_better=self._higher.get(name, metric.higher_is_better),
            signature=signature,
        )

    def _interval(self, name: str) -> Interval | None:
        """As `score_interval` has it."""
        metric, held = self._metrics[name], self._held.get(name)
        if held is None and name not in self._sums:
            return None
        if held is None:
            return wilson_interval(int(self._sums[name][0]), self._counts[name])
        rows = np.concatenate([table for table, _ in held])
        numbers = np.unique(np.concatenate([numbers for _, numbers in held]), return_inverse=True)[
            1
        ]
        clusters = None if numbers.max(initial=-1) + 1 == len(rows) else numbers
        return None if metric.descriptive else score_interval(rows, metric, clusters)


def _find_fault(metric: Metric, value: float | list[float]) -> str | None:
    """Why an item's value can't be one of this metric's."""
    if metric.binary:
        return None if value in _BINARY else "an item has another value than 0 and 1"
    if metric.aggregate is mean:
        in_range = not isinstance(value, list) and 0 <= value <= metric.scale
        return None if in_range else f"an item's value is no number from 0 to {metric.scale:g}"
    if not isinstance(value, list) or (len(value) < _SEVERAL and metric.name not in _PAIRS):
        return "no statistics for each item to compute an interval from"
    return None
