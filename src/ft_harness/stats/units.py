"""What resampling draws: items, or whole clusters of items, gathered by equal statistics.

Units with equal statistics are interchangeable, so drawing how often each *distinct* row occurs has
exactly the distribution of drawing units, is faster, and doesn't depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Aggregate = Callable[
    [Array, Any], Array
]  # (sums [..., K], items: a number or [...]) -> values [...]; NaN: undefined

_CHUNK_CELLS = 1 << 20  # drawn counts held at a time: 8 MB
_MAX_DISTINCT = 5_000  # rows beyond which units are drawn in blocks
_BLOCKS = 2_000
_BLOCK_SEED = 0
_MULTINOMIAL_COST = (
    5  # drawing one cell of a multinomial takes as long as drawing this many units one by one
)
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

    @property
    def number(self) -> int:
        return int(self.counts.sum())


@dataclass(frozen=True, eq=False)
class PairedUnits:
    """Units with both sides of each item: `units.rows` hold [base, tuned, items], `width`
    statistics a side."""

    units: Units
    width: int


def pair_units(base: Array, tuned: Array, clusters: Counts | None = None) -> PairedUnits:
    """The units of statistics [n, K] of both sides, the same item in the same row; clusters as in
    `make_units`."""
    return PairedUnits(make_units((base, tuned), clusters), base.shape[1])


def make_units(statistics: Sequence[Array], clusters: Counts | None) -> Units:
    """The units of items, whose statistics [n, K] are in one array or, for two sides, in two.

    `clusters` [n] numbers each item's cluster from 0; None: each item alone. Where more than 5,000
    rows differ, units are put together at random into 2,000 blocks, which are then the units:
    resampling and swapping blocks whole is as valid, and its cost no longer grows with the items.
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


def chunk_sizes(rounds: int, width: int) -> Iterator[int]:
    """Sizes that add up to `rounds`, each small enough for size x width cells."""
    size = max(1, _CHUNK_CELLS // max(1, width))
    for start in range(0, rounds, size):
        yield min(size, rounds - start)


def draw_sums(units: Units, rounds: int, seed: int) -> Array:
    """Sums [rounds, K + 1] over as many units as there are, drawn with replacement."""
    generator = np.random.default_rng(seed)
    rows, number = units.rows, units.number
    if len(rows) * _MULTINOMIAL_COST <= number:
        chances = units.counts / number
        drawn = (
            generator.multinomial(number, chances, size) for size in chunk_sizes(rounds, len(rows))
        )
    else:
        rows = np.repeat(rows, units.counts, axis=0)
        drawn = (_draw_one_by_one(generator, number, size) for size in chunk_sizes(rounds, number))
    return np.concatenate([counts.astype(np.float64) @ rows for counts in drawn])


def _draw_one_by_one(generator: np.random.Generator, number: int, rounds: int) -> Counts:
    """How often each of `number` units is drawn in `number` draws, [rounds, number]."""
    drawn = generator.integers(0, number, (rounds, number), dtype=np.int32)
    drawn += np.arange(rounds, dtype=np.int32)[:, None] * np.int32(number)
    return np.bincount(drawn.ravel(), minlength=rounds * number).reshape(rounds, number)


def draw_swaps(counts: Counts, changes: Array, rounds: int, seed: int) -> Iterator[Array]:
    """How far the sums move where each unit swaps sides with probability one half: [some rounds, K]
    at a time.

    `changes` [D, K] is what a swap of one unit of each row moves, `counts` [D] how many units have
    the row.
    """
    generator = np.random.default_rng(seed)
    moving = changes.any(axis=1)
    changes, counts = changes[moving], counts[moving]
    if len(counts) * _MULTINOMIAL_COST <= counts.sum():
        for size in chunk_sizes(rounds, len(counts)):
            yield generator.binomial(counts, 0.5, (size, len(counts))).astype(np.float64) @ changes
        return
    changes = np.repeat(changes, counts, axis=0)
    width = len(changes)
    row_bytes = (
        -(-width // 64) * 8
    )  # whole words, so that rounds don't depend on how many are drawn at a time
    for size in chunk_sizes(rounds, width):
        bits = np.frombuffer(generator.bytes(size * row_bytes), dtype=np.uint8).reshape(
            size, row_bytes
        )
        yield np.unpackbits(bits, axis=1, count=width).astype(np.float64) @ changes


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
