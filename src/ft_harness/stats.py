"""Intervals, paired tests, multiple testing and power; knows arrays, not models.

Resampling works on *distinct* rows of statistics: items with equal statistics are interchangeable, so drawing how often
each distinct row occurs has exactly the distribution of drawing items, is faster, and doesn't depend on their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

Array = NDArray[np.float64]
Aggregate = Callable[[Array, int], Array]  # (sums [..., K], n) -> values [...]; NaN where undefined
Interval = tuple[float, float]

ALPHA = 0.05
MIN_PAIRS = 6  # no exact two-sided test of fewer pairs can give p < 0.05: 2 * 0.5 ** 5 = 0.0625
_Z_INTERVAL = 1.959963984540054  # normal quantile of 0.975
_Z_POWER = 0.8416212335729143  # normal quantile of 0.80
_MAX_UNDEFINED = 0.01  # share of resamples that may be undefined before an interval is
_CHUNK_CELLS = 1 << 20  # drawn counts held at a time: 8 MB
_HALVINGS = 60  # of an interval no longer than 2: down to the resolution of a float


@dataclass(frozen=True)
class Resampling:
    """How often and from which seed to resample."""

    rounds: int = 10_000
    seed: int = 0


DEFAULT_RESAMPLING = Resampling()


def wilson_interval(successes: int, n: int) -> Interval | None:
    """95 % interval of a share; never of zero width. None for no items.

    Source: Wilson (1927), without continuity correction.
    """
    if n == 0:
        return None
    share, z_squared = successes / n, _Z_INTERVAL**2
    centre = (share + z_squared / (2 * n)) / (1 + z_squared / n)
    half = _Z_INTERVAL * math.sqrt(share * (1 - share) / n + z_squared / (4 * n * n)) / (1 + z_squared / n)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))  # holds the share despite rounding


def bootstrap_interval(
    statistics: Array, aggregate: Aggregate, resampling: Resampling = DEFAULT_RESAMPLING
) -> Interval | None:
    """95 % percentile interval of an aggregate over items, statistics [n, K].

    Items that are all alike give an interval of zero width. None for fewer than two items, or if more than 1 % of the
    resamples are undefined (up to that share they are left out).
    """
    n = len(statistics)
    return _percentile_interval(aggregate(_resampled_sums(statistics, resampling), n)) if n > 1 else None


def paired_bootstrap(
    base: Array, tuned: Array, aggregate: Aggregate, resampling: Resampling = DEFAULT_RESAMPLING
) -> Interval | None:
    """95 % percentile interval of tuned minus base, statistics [n, K] each with the same item in the same row.

    Both sides are aggregated over the same resampled items. None as in `bootstrap_interval`.
    """
    n, width = base.shape
    if n < 2:
        return None
    sums = _resampled_sums(np.hstack([base, tuned]), resampling)
    return _percentile_interval(aggregate(sums[:, width:], n) - aggregate(sums[:, :width], n))


def _chunks(rounds: int, width: int) -> Iterator[int]:
    """Sizes that add up to `rounds`, each small enough for size x width cells."""
    size = max(1, _CHUNK_CELLS // width)
    for start in range(0, rounds, size):
        yield min(size, rounds - start)


def _resampled_sums(statistics: Array, resampling: Resampling) -> Array:
    """Sums [rounds, K] over n items drawn with replacement."""
    rows, counts = np.unique(statistics, axis=0, return_counts=True)
    n = len(statistics)
    generator = np.random.default_rng(resampling.seed)
    sums = [generator.multinomial(n, counts / n, size) @ rows for size in _chunks(resampling.rounds, len(rows))]
    return np.concatenate(sums)


def _percentile_interval(values: Array) -> Interval | None:
    defined = values[np.isfinite(values)]
    if len(defined) < (1 - _MAX_UNDEFINED) * len(values):
        return None
    low, high = np.quantile(defined, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def permutation_p(
    base: Array, tuned: Array, aggregate: Aggregate, resampling: Resampling = DEFAULT_RESAMPLING
) -> float | None:
    """Two-sided p that base and tuned are exchangeable, item by item; statistics [n, K] as in `paired_bootstrap`.

    Each round swaps base and tuned of every item with probability one half and aggregates again; p = (rounds at least
    as far apart as observed + 1) / (rounds + 1). A round that is undefined counts as far apart. None if the observed
    difference is undefined.
    """
    n, width = base.shape
    base_sums, tuned_sums = base.sum(axis=0), tuned.sum(axis=0)
    observed = abs(float(aggregate(tuned_sums, n) - aggregate(base_sums, n))) if n else math.nan
    if not math.isfinite(observed):
        return None
    pairs, counts = np.unique(np.hstack([base, tuned]), axis=0, return_counts=True)
    changes = pairs[:, width:] - pairs[:, :width]
    generator = np.random.default_rng(resampling.seed)
    nearer = 0
    for size in _chunks(resampling.rounds, len(pairs)):
        moved = generator.binomial(counts, 0.5, (size, len(pairs))) @ changes
        differences = aggregate(tuned_sums - moved, n) - aggregate(base_sums + moved, n)
        nearer += int((np.abs(differences) < observed - 1e-9).sum())  # equal but for rounding is not nearer
    return (resampling.rounds - nearer + 1) / (resampling.rounds + 1)


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact p that items are as likely gained (wrong -> right) as lost (right -> wrong); 1 if none changed.

    Source: McNemar (1947); the binomial test of the discordant pairs against one half.
    """
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def paired_interval(gained: int, lost: int, n: int) -> Interval | None:
    """95 % interval of (gained - lost) / n, the difference of two 0/1 scores of the same n items. None for no items.

    It excludes 0 exactly if McNemar's test without continuity correction gives p < 0.05, and has a width even if no
    item changed.

    Source: Tango (1998), Statistics in Medicine 17:891-908, the score interval; found by halving.
    """
    if n == 0:
        return None

    def is_outside(difference: float) -> bool:
        """Whether the score test rejects this difference; `share_lost` is the likeliest one under it (equation 8)."""
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        share_lost = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * share_lost + difference * (1 - difference))
        return (gained - lost - n * difference) ** 2 > _Z_INTERVAL**2 * variance

    def find_end(outside: float) -> float:
        inside = (gained - lost) / n
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if is_outside(middle) else (middle, outside)
        return inside

    return find_end(-1.0), find_end(1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for testing all of them, in the given order.

    Source: Holm (1979), step-down; adjusted p < alpha exactly where the procedure rejects.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def detectable_effect(differences: Array, scale: float = 1.0) -> float | None:
    """Smallest mean difference that this many items show with 80 % power at alpha 0.05, two-sided.

    Normal approximation from the spread of the observed paired differences [n]; `scale` is the largest difference of an
    item. At least the share e of items must change for a mean difference e x scale, so that the effect is never put
    below scale x (1.96 + 0.84)^2 / n, however few items changed here; never above `scale` either. None for fewer
    than six items: no difference among so few can reach p < 0.05.
    """
    n = len(differences)
    if n < MIN_PAIRS:
        return None
    z = _Z_INTERVAL + _Z_POWER
    by_spread = z * float(np.std(differences, ddof=1)) / math.sqrt(n)
    return min(scale, max(by_spread, scale * z * z / n))
