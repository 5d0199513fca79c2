"""Bootstrap intervals and permutation tests of any aggregate of summed statistics, items alone or
in clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ft_harness.stats.quantiles import Interval, t_interval
from ft_harness.stats.shares import wilson_interval
from ft_harness.stats.units import (
    Aggregate,
    Array,
    Counts,
    PairedUnits,
    Units,
    draw_sums,
    draw_swaps,
    make_units,
)

_MAX_UNDEFINED = 0.01  # share of resamples that may be undefined before an interval is
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Resampling:
    """How often and from which seed to resample."""

    rounds: int = 10_000
    seed: int = 0


DEFAULT_RESAMPLING = Resampling()


def bootstrap_interval(
    statistics: Array,
    aggregate: Aggregate,
    resampling: Resampling = DEFAULT_RESAMPLING,
    clusters: Counts | None = None,
) -> Interval | None:
    """95 % percentile interval of an aggregate over items, statistics [n, K].

    Its percentiles are a little wider than 2.5 and 97.5, by Student's quantile and the n - 1 of a
    sample's variance (0.9 and 99.1 for ten items, 2.3 and 97.7 for a hundred). `clusters` [n]
    numbers each item's cluster from 0, and clusters are drawn whole. Items that are all alike give
    an interval of zero width. None for fewer than two items (or clusters), or if more than 1 % of
    the resamples are undefined (up to that share they are left out).

    Source: Hesterberg (2015), The American Statistician 69:371-386, the expanded percentile
        interval.
    """
    units = make_units([statistics], clusters)
    if units.number < 2:
        return None
    sums = draw_sums(units, resampling.rounds, resampling.seed)
    return _percentile_interval(aggregate(sums[:, :-1], sums[:, -1]), units)


def score_interval(
    statistics: Array, aggregate: Aggregate, clusters: Counts | None = None, *, binary: bool
) -> Interval | None:
    """95 % interval of one score, arguments as in `bootstrap_interval`: Wilson's for a mean of
    zeros and ones, else the bootstrap's.

    Where items come in clusters, the bootstrap draws them whole; zeros (or ones) throughout count
    once a cluster. None for no items.
    """
    if not len(statistics):
        return None
    if binary and clusters is None:
        return wilson_interval(int(statistics.sum()), len(statistics))
    if binary and clusters is not None and len(np.unique(statistics)) == 1:
        number = int(clusters.max()) + 1
        return wilson_interval(int(statistics[0, 0]) * number, number)
    return bootstrap_interval(statistics, aggregate, clusters=clusters)


def paired_bootstrap(
    pairs: PairedUnits, aggregate: Aggregate, resampling: Resampling = DEFAULT_RESAMPLING
) -> Interval | None:
    """95 % percentile interval of tuned minus base.

    Both sides are aggregated over the same resampled items. Percentiles and None as in
    `bootstrap_interval`.
    """
    if pairs.units.number < 2:
        return None
    sums = draw_sums(pairs.units, resampling.rounds, resampling.seed)
    width, n = pairs.width, sums[:, -1]
    return _percentile_interval(
        aggregate(sums[:, width:-1], n) - aggregate(sums[:, :width], n), pairs.units
    )


def _percentile_interval(values: Array, units: Units) -> Interval | None:
    defined = values[np.isfinite(values)]
    if len(defined) < (1 - _MAX_UNDEFINED) * len(values):
        return None
    number = units.number
    below = float(ndtr(-math.sqrt(number / (number - 1)) * t_interval(number - 1)))
    low, high = np.quantile(defined, [below, 1 - below])
    return float(low), float(high)


def permutation_p(
    pairs: PairedUnits, aggregate: Aggregate, resampling: Resampling = DEFAULT_RESAMPLING
) -> float | None:
    """Two-sided p that base and tuned are exchangeable, item by item (cluster by cluster).

    Each round swaps base and tuned of every item (of every cluster, whole) with probability one
    half and aggregates again; p = (rounds at least as far apart as observed + 1) / (rounds + 1). A
    round that is undefined counts as far apart. None if the observed difference is undefined.
    """
    sums, width = pairs.units.counts @ pairs.units.rows, pairs.width
    base_sums, tuned_sums, n = sums[:width], sums[width:-1], sums[-1]
    observed = abs(float(aggregate(tuned_sums, n) - aggregate(base_sums, n))) if n else math.nan
    if not math.isfinite(observed):
        return None
    changes = pairs.units.rows[:, width:-1] - pairs.units.rows[:, :width]
    nearer = 0
    for moved in draw_swaps(pairs.units.counts, changes, resampling.rounds, resampling.seed):
        differences = aggregate(tuned_sums - moved, n) - aggregate(base_sums + moved, n)
        nearer += int(
            (np.abs(differences) < observed - _ROUNDING).sum()
        )  # equal but for rounding is not nearer
    return (resampling.rounds - nearer + 1) / (resampling.rounds + 1)
