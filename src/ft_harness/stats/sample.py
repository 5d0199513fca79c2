"""What an interval is made of: the statistics of the items on one side or on two, a metric as
intervals see it, and how often weights are drawn. Metrics of the same statistics share the
weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ft_harness.stats.quantiles import Interval
from ft_harness.stats.units import (
    Aggregate,
    Array,
    Counts,
    Units,
    draw_weights,
    influence,
    make_units,
)


@dataclass(frozen=True)
class Resampling:
    """The number of random weightings of the items, and their seed."""

    rounds: int = 10_000
    seed: int = 0


DEFAULT_RESAMPLING = Resampling()


class Measure(Protocol):
    """What intervals need to know about a metric.

    Attributes:
        aggregate: its value from summed statistics.
        scale: its largest value; infinite: none, and the interval is made on the scale of the
            logarithm; NaN: it has neither a largest nor a smallest value.
        least: its smallest value, where it has one.
        binary: each item is 0 or 1 and the value their mean.
        edges: statistics [n, K] of each side -> [G, 2, K] of each side, the statistics of an item
            that the test set lacks, at the two ends of what is possible, for each of G kinds of
            items. With one kind items differ by degree; with several the two sides of a pair are of
            the same kind.
        weight: the column of the statistics by which the value weights the items, such as tokens;
            None: items count alike.
    """

    @property
    def aggregate(self) -> Aggregate: ...
    @property
    def scale(self) -> float: ...
    @property
    def least(self) -> float: ...
    @property
    def binary(self) -> bool: ...
    @property
    def edges(self) -> Callable[[Sequence[Array]], list[Array]]: ...
    @property
    def weight(self) -> int | None: ...


def possible_range(measure: Measure, is_difference: bool = False) -> Interval:
    """The smallest and the largest value of a measure, or of the difference of two values; infinite
    where there is none."""
    if math.isnan(measure.scale):
        return -math.inf, math.inf
    reach = measure.scale - measure.least
    return (-reach, reach) if is_difference else (measure.least, measure.scale)


class Sample:
    """Statistics [n, K] of one side, or of base and tuned with the same item in the same row.

    `clusters` [n] numbers each item's cluster from 0; None: each item alone.
    """

    def __init__(
        self,
        sides: Sequence[Array],
        clusters: Counts | None = None,
        resampling: Resampling = DEFAULT_RESAMPLING,
    ) -> None:
        self.sides, self.clusters, self.resampling = sides, clusters, resampling

    @cached_property
    def units(self) -> Units:
        return make_units(self.sides, self.clusters)

    def is_binary(self, measure: Measure) -> bool:
        """Whether the measure is one of zeros and ones, and these are; a task's own function may
        give others."""
        return measure.binary and all(bool(np.isin(side, (0, 1)).all()) for side in self.sides)

    @cached_property
    def draws(self) -> tuple[Array, Array]:
        """The random weights, as `draw_weights` gives them."""
        return draw_weights(self.units, self.resampling.rounds, self.resampling.seed)

    def values(self, measure: Measure, sums: Array) -> Array:
        """The measure of sums [..., sides x K + 1] on each side [..., sides]; on the scale of the
        logarithm for a measure without a largest value."""
        shape = *sums.shape[:-1], len(self.sides), self.sides[0].shape[1]
        values = measure.aggregate(sums[..., :-1].reshape(shape), sums[..., -1:])
        if math.isinf(measure.scale):
            values = np.log(values)
        return values

    def value(self, measure: Measure, sums: Array) -> Array:
        """As `values`, tuned minus base where there are two sides [...]."""
        values = self.values(measure, sums)
        first: Array = values[..., 0]
        return first if len(self.sides) == 1 else values[..., 1] - first

    def bounds(self, measure: Measure) -> Interval:
        """The smallest and the largest `value`."""
        least, most = possible_range(measure, is_difference=len(self.sides) == 2)
        # where two sides are compared, the difference of logarithms has no ends either
        if math.isinf(measure.scale) and len(self.sides) == 1:
            least = math.log(least) if least > 0 else -math.inf
        return least, most

    def unseen(self, measure: Measure) -> tuple[Array, Array]:
        """(the lowest, the highest) row of one item that the sample lacks: of all that the measure
        allows, those that move its value most.

        If items come in clusters, as many items are added as move together; of a certain kind of
        item, such as a rare label, only one.
        """
        edges = measure.edges(self.sides)
        if not edges[0].size:  # of labels, where one alone occurs
            return np.zeros_like(self.units.totals), np.zeros_like(self.units.totals)
        if len(edges) == 1:
            rows = edges[0].reshape(-1, edges[0].shape[-1])
        elif len(edges[0]) == 1 and not self.is_binary(
            measure
        ):  # an average item of one side, at either end on the other
            base, tuned = (
                np.broadcast_to(side.mean(axis=0), edge[0].shape)
                for side, edge in zip(self.sides, edges, strict=True)
            )
            rows = np.concatenate([np.hstack([base, edges[1][0]]), np.hstack([edges[0][0], tuned])])
        else:
            pairs = ((0, 0), (0, 1), (1, 0), (1, 1))
            rows = np.concatenate(
                [
                    np.concatenate([edges[0][:, one], edges[1][:, other]], axis=1)
                    for one, other in pairs
                ]
            )
        nothing = np.zeros_like(self.units.totals)
        if not len(rows):
            return nothing, nothing
        rows = np.column_stack([rows, np.ones(len(rows))])
        moved = self.value(measure, self.units.totals + rows)
        rows, moved = rows[np.isfinite(moved)], moved[np.isfinite(moved)]
        if not len(rows):
            return nothing, nothing
        together = self._moving_together(measure) if len(edges[0]) == 1 else 1.0
        return together * rows[np.argmin(moved)], together * rows[np.argmax(moved)]

    def _moving_together(self, measure: Measure) -> float:
        """Items of an average cluster that move as one: the design effect, from 1 to all of them;
        all where nothing varies."""
        if self.clusters is None:
            return 1.0

        def variance(clusters: Counts | None) -> float:
            parts = [influence(side, measure.aggregate, clusters) for side in self.sides]
            moved = parts[-1] if len(parts) == 1 else parts[1] - parts[0]
            return float(moved.var()) / len(moved)

        whole, alone = len(self.sides[0]) / self.units.number, variance(None)
        effect = variance(self.clusters) / alone if alone > 0 else whole
        return min(whole, max(1.0, effect)) if math.isfinite(effect) else whole
