"""Several trainings of one recipe with different seeds: separate the spread of training from that
of the test set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ft_harness.stats.quantiles import Interval, t_interval, t_probability
from ft_harness.stats.units import Array


@dataclass(frozen=True)
class SeedSpread:
    """The mean difference over training seeds, and its uncertainty.

    Attributes:
        mean: of the seeds' differences from the base.
        seed_deviation: standard deviation of the differences over seeds, on these items.
        test_error: standard error of the mean difference from the choice of items, the seeds as
            they are.
        interval: 95 %, for other items and other seeds alike; None where undefined.
        p: two-sided, of no difference, from the same error as the interval; None where that is 0.
    """

    mean: float
    seed_deviation: float
    test_error: float
    interval: Interval | None
    p: float | None


def seed_spread(deltas: Array, influences: Array) -> SeedSpread | None:
    """The spread of differences [S] of S training seeds from the base, scored on the same items.

    `influences` [S, units] is what each unit adds to each difference (items' own differences, for a
    mean). Items and seeds are both taken as drawn at random: the variance of the mean is (M_units +
    M_seeds - M_rest) / (S x units), with the mean squares of a two-way layout, no component taken
    as negative, and Satterthwaite's degrees of freedom. With two seeds the interval is rightly very
    wide where seeds matter. None for fewer than two seeds or units.

    Source: Searle, Casella and McCulloch (1992), Variance Components, chapter 4; Satterthwaite
        (1946).
    """
    seeds, units = influences.shape
    if seeds < 2 or units < 2 or not np.isfinite(influences).all():
        return None
    by_seed, by_unit = influences.mean(axis=1), influences.mean(axis=0)
    rest = influences - by_seed[:, None] - by_unit + influences.mean()
    of_seeds = units * float(by_seed.var(ddof=1))
    of_units = seeds * float(by_unit.var(ddof=1))
    of_rest = float((rest**2).sum()) / ((seeds - 1) * (units - 1))
    parts = max(of_seeds - of_rest, 0.0) + max(of_units - of_rest, 0.0) + of_rest
    error = math.sqrt(parts / (seeds * units))
    mean = float(deltas.mean())
    degrees = _degrees(of_seeds, of_units, of_rest, seeds, units) if error else math.inf
    half = error * t_interval(degrees)
    return SeedSpread(
        mean=mean,
        seed_deviation=float(deltas.std(ddof=1)),
        test_error=math.sqrt(of_units / (seeds * units)),
        interval=(mean - half, mean + half),
        p=t_probability(mean / error, degrees) if error else None,
    )


def _degrees(of_seeds: float, of_units: float, of_rest: float, seeds: int, units: int) -> float:
    """Degrees of freedom of the sum of mean squares that `seed_spread` uses, at least those of the
    fewer."""
    parts = [(max(of_seeds, of_rest), seeds - 1), (max(of_units, of_rest), units - 1)]
    total = parts[0][0] + parts[1][0] - of_rest
    spread = sum(square**2 / degrees for square, degrees in parts)
    spread += of_rest**2 / ((seeds - 1) * (units - 1))
    return max(float(min(seeds, units) - 1), total**2 / spread) if spread else math.inf
