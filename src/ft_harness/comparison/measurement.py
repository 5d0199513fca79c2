"""The numbers of one comparison: values, differences, intervals and p, from the statistics of
paired items."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ft_harness import stats
from ft_harness.comparison.pairing import Pairs
from ft_harness.metrics import Metric, add_up, find_metric
from ft_harness.metrics.preference import MARGIN, REWARD, compare_rewards

Array = NDArray[np.float64]
_FEW = 10_000  # items of which the statistics of all metrics are held
NoInterval = Literal["undefined", "too few items for an interval", "descriptive", "stated"]
# where a metric's statistics are kept: of base and of tuned
_Columns = tuple[str | None, str | None]
_Scored = tuple[Array, Array, NDArray[np.int64] | None]


@dataclass(frozen=True)
class Difference:
    """Base and tuned value of a metric and what is known of their difference; None where undefined.

    Attributes:
        n: items with a score on both sides.
        clusters: how many clusters these items make; None: no clusters.
        interval: 95 % interval of delta.
        interval_method, p_method: the rules for interval and p.
        no_interval: why there is neither interval nor p: "undefined" (the value is), "too few items
            for an interval", "descriptive" (no interval holds for this metric) or "stated" (another
            program's number); None: there are both.
    """

    base: float | None
    tuned: float | None
    n: int
    clusters: int | None
    delta: float | None = None
    interval: stats.Interval | None = None
    p: float | None = None
    interval_method: str | None = None
    p_method: str | None = None
    no_interval: NoInterval | None = None


@dataclass(frozen=True)
class Baseline:
    """Measured next to a comparison: the score of a rule that needs no model, such as the majority
    class.

    Attributes:
        share: of the items that it gets right.
        interval: 95 % interval of the tuned model's score minus this share, item by item; None:
            undefined.
    """

    share: float
    interval: stats.Interval | None


class Measurement:
    """The metrics of paired items; what several metrics rest on is read and counted once."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self._samples: dict[_Columns, stats.Sample] = {}
        self._sums: dict[_Columns, tuple[Array, Array]] = {}
        self._scored: dict[_Columns, _Scored] = {}
        self._unscored: dict[_Columns, tuple[int, int]] = {}

    @cached_property
    def _clusters(self) -> NDArray[np.int64] | None:
        return self.pairs.clusters

    def _columns(self, name: str) -> _Columns:
        if name == REWARD:
            return name, name
        return self.pairs.base.columns.get(name), self.pairs.tuned.columns.get(name)

    def scored(self, name: str) -> _Scored:
        """Statistics of base and tuned [n, K] of the items that have them on both sides, and the
        items' clusters."""
        key = self._columns(name)
        if key not in self._scored:
            # of many items the last metric's alone: the next one often shares it
            if len(self.pairs) > _FEW:
                self._scored.clear()
            self._scored[key] = self._read(name)
        return self._scored[key]

    def _add_up(self, name: str) -> tuple[Array, Array]:
        """Sums [K] of the statistics of base and of tuned."""
        key = self._columns(name)
        if key not in self._sums:
            base, tuned, _ = self.scored(name)
            self._sums[key] = add_up(base), add_up(tuned)
        return self._sums[key]

    def _read(self, name: str) -> _Scored:
        if name == REWARD:
            base, tuned = compare_rewards(*self.pairs.statistics(MARGIN))
        else:
            base, tuned = self.pairs.statistics(name)
        # A row without a score is NaN in every column, so that the first one tells.
        missing = np.isnan(base[:, 0]), np.isnan(tuned[:, 0])
        kept = ~(missing[0] | missing[1])
        # What neither side has a score for is the task's doing (an unanswerable question has no
        # exact match among the answerable ones); what one side lacks would shift the comparison.
        alike = int((missing[0] & missing[1]).sum())
        self._unscored[self._columns(name)] = (
            int(missing[0].sum()) - alike,
            int(missing[1].sum()) - alike,
        )
        if base.shape[1] != tuned.shape[1]:  # one side has no score at all
            return np.empty((0, 1)), np.empty((0, 1)), None
        clusters = self._clusters
        if not kept.all():
            base, tuned = base[kept], tuned[kept]
            clusters = None if clusters is None else _number(clusters[kept])
        # Where leaving items out made every cluster one item, the items are independent and the
        # exact tests hold.
        alone = clusters is not None and len(clusters) == clusters.max(initial=-1) + 1
        return base, tuned, None if alone else clusters

    def unscored(self, name: str) -> tuple[int, int]:
        """Items with a score on the other side only: of base, of tuned.

        Items that lack a score on both sides don't count, such as a text without tokens.
        """
        key = self._columns(name)
        if key not in self._unscored:
            self.scored(name)
        return self._unscored[key]

    def values(self, name: str) -> tuple[float | None, float | None]:
        """One metric on base and tuned; None where undefined."""
        metric, n = find_metric(name), len(self.scored(name)[0])
        before, after = (metric.value_of(sums, n) for sums in self._add_up(name))
        return before, after

    def difference(self, name: str) -> Difference:
        """One metric on base and tuned, and their difference."""
        metric = find_metric(name)
        base, tuned, clusters = self.scored(name)
        number = None if clusters is None else int(clusters.max()) + 1
        # Before anything is resampled: what is undefined has no interval.
        before, after = self.values(name)
        if before is None or after is None:
            return Difference(before, after, len(base), number, no_interval="undefined")
        # ECE and item perplexity keep their difference: no interval of theirs covers what it should
        # (decision 003).
        measured = Difference(before, after, len(base), number, after - before)
        if metric.descriptive:
            return replace(measured, no_interval="descriptive")
        key = self._columns(name)
        if key not in self._samples:
            self._samples[key] = stats.Sample((base, tuned), clusters)
        return _resolve(measured, metric, self._samples[key])

    def detectable(self, name: str) -> float | None:
        """The smallest difference that these items could have shown."""
        metric = find_metric(name)
        base, _, _ = self.scored(name)
        changes = self.influence(name)
        if changes is None or metric.descriptive or math.isnan(metric.scale):
            return None
        return stats.detectable_effect(changes, len(base), metric.scale)

    def influence(self, name: str) -> Array | None:
        """What each item (or cluster, in the order of first items) adds to the difference [units];
        None: undefined."""
        aggregate = find_metric(name).aggregate
        base, tuned, clusters = self.scored(name)
        if len(base) < 2:
            return None
        changes = stats.influence(tuned, aggregate, clusters) - stats.influence(
            base, aggregate, clusters
        )
        # Leaving one item out can leave nothing that the metric is defined for.
        return changes if np.isfinite(changes).all() else None

    def majority(self, name: str) -> Baseline | None:
        """What always answering the most frequent gold label scores, on the items that this 0/1
        metric rests on; None for no items."""
        before, after = self.pairs.statistics(name)
        kept = ~(np.isnan(before[:, 0]) | np.isnan(after[:, 0]))
        # Counted in Arrow's columns, without a Python string for each item.
        golds = self.pairs.columns("target")[0].filter(pa.array(kept))
        counted = pc.value_counts(golds)
        if not len(counted):
            return None
        place = int(np.argmax(counted.field("counts").to_numpy()))
        label, count = counted.field("values")[place], counted.field("counts")[place].as_py()
        _, tuned, clusters = self.scored(name)
        always = pc.equal(golds, label).to_numpy().astype(np.float64)[:, None]
        found = stats.confidence(stats.Sample((always, tuned), clusters), find_metric(name))
        return Baseline(count / len(golds), found.interval)

    def baseline(self, rule: str, name: str) -> Baseline | None:
        """The score of a rule with statistics in the base's samples, against a metric of the same
        scale; None for no items."""
        by_rule, (_, tuned) = self.pairs.statistics(rule)[0], self.pairs.statistics(name)
        kept = ~(np.isnan(by_rule[:, 0]) | np.isnan(tuned[:, 0]))
        if not kept.any():
            return None
        clusters = self._clusters
        sides = by_rule[kept], tuned[kept]
        sample = stats.Sample(sides, None if clusters is None else _number(clusters[kept]))
        found = stats.confidence(sample, find_metric(name))
        return Baseline(float(sides[0].mean()), found.interval)


def _number(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Clusters of some of the items, numbered from 0."""
    return np.unique(clusters, return_inverse=True)[1]


def _resolve(measured: Difference, metric: Metric, sample: stats.Sample) -> Difference:
    """The difference with interval and p; of metrics without a largest value (perplexities) on the
    scale of their logarithm, the interval given as difference from the observed base."""
    # Interval and p from one call: they are of one distribution, and agree (decision 003).
    found = stats.confidence(sample, metric)
    interval = found.interval
    # Fewer than four clusters, or a few units that hold nearly all the weight.
    if interval is None:
        return replace(measured, no_interval="too few items for an interval")
    # For pairs of 0 and 1 the two methods are exact and need no random numbers; clusters break
    # their assumption of independent items.
    if sample.is_binary(metric) and measured.clusters is None:
        methods = "inverts McNemar's mid-p test", "McNemar's mid-p test"
    else:
        units = f"random weights of {'clusters' if measured.clusters else 'items'}"
        methods = units, f"{units}, inverts the interval"
    if math.isinf(metric.scale) and measured.base is not None:
        # A log ratio r from a base b is a difference of b (e^r - 1), which is what the row's other
        # numbers are in.
        interval = measured.base * math.expm1(interval[0]), measured.base * math.expm1(interval[1])
        methods = f"{methods[0]}, log ratio", f"{methods[1]}, log ratio"
    return replace(
        measured, interval=interval, p=found.p, interval_method=methods[0], p_method=methods[1]
    )
