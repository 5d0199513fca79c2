"""What intervals weight: items, or whole clusters of items, gathered by equal statistics; and the
drawing of their random weights.

Units with equal statistics are interchangeable, so drawing one weight for each *distinct* row has
exactly the distribution of drawing a weight for each unit, is faster, and doesn't depend on order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
# (sums [..., K], items: a number or [...]) -> values [...]; NaN: undefined
Aggregate = Callable[[Array, Any], Array]

_CHUNK_CELLS = 1 << 20  # drawn weights held at a time: 8 MB
_MAX_DISTINCT = 5_000  # rows beyond which units are drawn in blocks
_BLOCKS = 2_000
_BLOCK_SEED = 0
_GROUP = 64  # rounds
_ONE_THREAD = 1 << 18  # multiplications up to which OpenBLAS starts no threads, which would spin
_GAMMA_COST = 5  # drawing the weight of a whole row takes as long as those of this many units
_MIXERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # splitmix64


@dataclass(frozen=True, eq=False)
class Units:
    """Exchangeable units by distinct row.

    Attributes:
        rows: [D, K + 1], each a unit's summed statistics and how many items it has.
        counts: [D], how many units have this row.
    """

    rows: Array
    counts: Counts

    @cached_property
    def number(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def totals(self) -> Array:
        return self.counts @ self.rows


def make_units(statistics: Sequence[Array], clusters: Counts | None) -> Units:
    """The units of items, whose statistics [n, K] are in one array or, for two sides, in two.

    `clusters` [n] numbers each item's cluster from 0; None: each item alone. Where more than 5,000
    rows differ, units are put together at random into 2,000 blocks, which are then the units:
    weighting blocks whole is as valid, and its cost no longer grows with the items.
    """
    rows = np.column_stack([*statistics, np.ones(len(statistics[0]))])
    if clusters is not None:
        rows = _sum_groups(rows, clusters)
    rows, counts = _distinct(rows)
    if len(rows) <= _MAX_DISTINCT:
        return Units(rows, counts)
    each = np.repeat(np.arange(len(rows)), counts)
    order = np.random.default_rng(_BLOCK_SEED).permutation(each)
    return Units(*_distinct(_sum_groups(rows[order], np.arange(len(order)) % _BLOCKS)))


def _sum_groups(rows: Array, groups: Counts) -> Array:
    return np.column_stack([np.bincount(groups, weights=column) for column in rows.T])


def _distinct(rows: Array) -> tuple[Array, Counts]:
    """Distinct rows and how often each occurs, in an order that depends on the rows alone.

    Rows are compared by a 64-bit hash, and sorted whole only where two different ones share it:
    numpy's sorting of whole rows takes a hundred times as long.
    """
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for column in rows.T:
        hashes ^= (column + 0.0).view(np.uint64)  # + 0.0: there is one zero
        for shift, mixer in zip((30, 27), _MIXERS, strict=True):
            hashes ^= hashes >> np.uint64(shift)
            hashes *= mixer
        hashes ^= hashes >> np.uint64(31)
    _, first, inverse, counts = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    found = rows[first]
    if all(np.array_equal(found[inverse, index], rows[:, index]) for index in range(rows.shape[1])):
        return found, counts
    found, counts = np.unique(rows, axis=0, return_counts=True)
    return found, counts


def draw_weights(units: Units, rounds: int, seed: int) -> tuple[Array, Array]:
    """(sums [rounds, K + 1] over all units with random weights, weights [rounds] of one unit more).

    Weights are uniform on those that add up to the number of units (Dirichlet with every parameter
    1, times that number), as in the Bayesian bootstrap.

    Source: Rubin (1981), Annals of Statistics 9:130-134.
    """
    rows, number = units.rows, units.number
    if rounds * number <= _CHUNK_CELLS:  # few enough to be kept for the next sample of as many
        weights, more = _draw_once(rounds, number, seed)
        rows = np.repeat(rows, units.counts, axis=0)
        # column by column in memory, as metrics work: three times as fast
        sums = np.empty((rounds, rows.shape[1]), order="F")
        # in whole groups, as BLAS takes them, so that each sum is made as it is in one product
        size = max(1, _ONE_THREAD // rows.size // _GROUP) * _GROUP
        for start in range(0, rounds, size):
            sums[start : start + size] = weights[start : start + size] @ rows
        return sums, more
    generator = np.random.default_rng(seed)
    gathered = len(rows) * _GAMMA_COST <= number
    if not gathered:
        rows = np.repeat(rows, units.counts, axis=0)
    sums, more = np.empty((rounds, rows.shape[1])), generator.standard_exponential(rounds)
    totals = more.copy()
    size = max(1, _CHUNK_CELLS // len(rows))
    for start in range(0, rounds, size):
        part = slice(start, min(rounds, start + size))
        shape = part.stop - start, len(rows)
        drawn = (
            generator.standard_gamma(units.counts, shape)
            if gathered
            else generator.standard_exponential(shape)
        )
        np.matmul(drawn, rows, out=sums[part])
        totals[part] += drawn.sum(axis=1)
    factors = number / totals
    return np.asfortranarray(sums * factors[:, None]), more * factors


@lru_cache(maxsize=2)
def _draw_once(rounds: int, units: int, seed: int) -> tuple[Array, Array]:
    """(weights [rounds, units], weights [rounds] of one unit more), together as many a round as
    there are units."""
    generator = np.random.default_rng(seed)
    more = generator.standard_exponential(rounds)
    weights = generator.standard_exponential((rounds, units))
    factors = units / (weights.sum(axis=1) + more)
    return weights * factors[:, None], more * factors


def influence(statistics: Array, aggregate: Aggregate, clusters: Counts | None = None) -> Array:
    """What each unit adds to an aggregate: jackknife pseudo-values [units], clusters in the order
    of their numbers.

    For a mean over items these are the items' own numbers. NaN where the aggregate without a unit
    is undefined.

    Source: Tukey (1958): N x value of all - (N - 1) x value without the unit.
    """
    rows = np.column_stack([statistics, np.ones(len(statistics))])
    if clusters is not None:
        rows = _sum_groups(rows, clusters)
    total, number = rows.sum(axis=0), len(rows)
    left = total - rows
    with np.errstate(divide="ignore", invalid="ignore"):
        alone = aggregate(left[:, :-1], left[:, -1])
    return number * aggregate(total[:-1], total[-1]) - (number - 1) * alone
