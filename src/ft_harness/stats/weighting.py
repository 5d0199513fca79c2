"""Interval and test of any aggregate of summed statistics from one distribution, so that they
agree.

The items get random weights (the Bayesian bootstrap), and with them one item that the sample lacks,
at the lower or upper end of what the metric allows, with probability one half each. The quantiles
of the weighted value are the interval; the part of it beyond 0 is the p-value. For 0/1 scores this
is the mid-p interval of Clopper and Pearson, and for paired ones McNemar's mid-p test (`shares`):
it stays honest where scores are sparse, skewed or all alike, and needs no exchangeable sides.

Source: Gaffke (2005), Three test statistics for a nonparametric one-sided hypothesis on the mean of
    a nonnegative variable; Learned-Miller and Thomas (2019), arXiv:1905.06208; Rubin (1981).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from ft_harness.stats.quantiles import ALPHA, MIN_PAIRS, Interval
from ft_harness.stats.sample import DEFAULT_RESAMPLING, Measure, Resampling, Sample
from ft_harness.stats.shares import mcnemar_mid_p, paired_interval, wilson_interval
from ft_harness.stats.units import Array, Counts

_FEWEST_DEGREES = 2.0  # with fewer, a few units hold nearly all the weight: no interval is given
# Ten thousand rounds put a quantile of 2.5 % at one of 2.35 to 2.65 % (one standard error), which
# moves an end by 1.4 %: intervals are longer by more than that, so that no verdict rests on it.
_DRAWING = 1.02
_FARTHEST = 3.0  # standard deviations to which quantiles of the random weights are used
_LOOKED_AT = 500  # weighted values by which an end is looked for
_FEWEST_CLUSTERS = 4
_SLACK = 1e-12  # width, relative to the value of a side, that rounding alone makes
_ALL = 0.99  # of the weight: a unit that holds as much decides alone
_MAX_UNDEFINED = 0.01  # share of weightings that may be undefined before an interval is
# an integral from 0 to infinity, mapped to [-1, 1]
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)
_TIMES, _TIME_WEIGHTS = (1 + _NODES) / (1 - _NODES), 2 * _NODE_WEIGHTS / (1 - _NODES) ** 2


@dataclass(frozen=True)
class Confidence:
    """What the distribution of random weightings gives: 95 % interval and two-sided p; None where
    the items are too few or the value is undefined."""

    interval: Interval | None
    p: float | None


_NONE = Confidence(None, None)


@dataclass(frozen=True)
class _Shape:
    """Corrections for reading the weighted values.

    Attributes:
        degrees: of Student's distribution; infinite: the weights alone are right.
        excess: standard error over that of the weights.
        skewness: of the value's distribution, a sixth of it (Efron's acceleration).
    """

    degrees: float = math.inf
    excess: float = 1.0
    skewness: float = 0.0

    @cached_property
    def _reach(self) -> float:
        return float(stdtrit(self.degrees, 1 - ALPHA / 2)) * self.excess * _DRAWING

    def _end(self, side: int) -> float:
        """Standard deviations from the observed value to the lower (-1) or the upper end (1): the
        reach, up to the farthest, and what skewness adds."""
        z, a = -min(self._reach, _FARTHEST), -side * self.skewness
        return max(-z, -a - (a + z) / (1 - a * (a + z)))

    def stretch(self, side: int) -> float:
        """Of the distance from the observed value, so that the end lies where there are many
        weighted values."""
        return max(1.0, self._reach / _FARTHEST) * max(1.0, self._end(side) / _FARTHEST)

    def level(self, side: int) -> float:
        """Share of the stretched values beyond the end."""
        return float(ndtr(-min(self._end(side), _FARTHEST)))

    def tail(self, share: float, side: int) -> float:
        """The one-sided p of 0, given the share of the stretched values beyond it; inverse of
        `level`."""
        z = float(ndtri(share)) * max(1.0, self._end(side) / _FARTHEST)
        a = -side * self.skewness
        reach = min(-z, a - (z - a) / (1 + a * (z - a))) * max(1.0, self._reach / _FARTHEST)
        return float(stdtr(self.degrees, -reach / (self.excess * _DRAWING)))


_PLAIN = _Shape()


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def confidence(sample: Sample, measure: Measure) -> Confidence:
    """By random weightings: interval of a measure and the p that it is 0; of tuned minus base where
    there are two sides.

    For a measure without a largest value (perplexities) both are on the scale of the logarithm.
    Zeros and ones that stand alone are computed without random weights. `None` for fewer than five
    items that stand alone, or four clusters; an undefined value; and where a few units hold nearly
    all the weight or nothing varies.
    """
    if len(sample.sides) == 2 and sample.clusters is None and sample.is_binary(measure):
        changes = sample.sides[1] - sample.sides[0]
        gained, lost = int((changes > 0).sum()), int((changes < 0).sum())
        interval = paired_interval(gained, lost, len(changes))
        return Confidence(interval, mcnemar_mid_p(gained, lost)) if interval else _NONE
    if sample.units.number < (MIN_PAIRS if sample.clusters is None else _FEWEST_CLUSTERS):
        return _NONE
    of_sides = sample.values(measure, sample.units.totals)
    observed = float(of_sides[-1] if len(of_sides) == 1 else of_sides[1] - of_sides[0])
    if not math.isfinite(observed):
        return _NONE
    shape = _find_shape(sample, measure)
    if shape.degrees < _FEWEST_DEGREES:
        return _NONE
    values = _weigh(sample, measure)
    is_defined = np.isfinite(values)
    if not is_defined.all():
        values = values[is_defined]
    if len(values) < (1 - _MAX_UNDEFINED) * len(is_defined):
        return _NONE
    (low, high), p = _read(values, observed, shape)
    least, most = sample.bounds(measure)
    low, high = max(low, min(least, observed)), min(high, max(most, observed))
    # nothing varies, and nothing tells how far another item could be
    if high - low <= _SLACK * float(np.abs(of_sides).max()):
        return _NONE
    return Confidence((low, high), p)


def _weigh(sample: Sample, measure: Measure) -> Array:
    """The measure in each round, of the items and of the one that the sample lacks: at the lower
    end in the first half of the rounds, at the upper one in the others."""
    (sums, weights), half = sample.draws, sample.resampling.rounds // 2
    by_column, found = sums.T, []
    for row, part in zip(sample.unseen(measure), (slice(half), slice(half, None)), strict=True):
        # The sums are those of all metrics, and large: the few columns that the item has a part in
        # are changed for this one and put back.
        changed = [(by_column[place, part], row[place]) for place in np.flatnonzero(row)]
        kept = [column.copy() for column, _ in changed]
        for column, value in changed:
            column += value * weights[part]
        found.append(sample.value(measure, sums[part]))
        for (column, _), before in zip(changed, kept, strict=True):
            column[:] = before
    return np.concatenate(found)


def _read(values: Array, observed: float, shape: _Shape) -> tuple[Interval, float]:
    """Interval and p from weighted values; p < 0.05 exactly where the interval excludes 0."""
    count = len(values)
    ends, tails = [], []
    for side in (-1, 1):
        stretch = shape.stretch(side)
        upward = -side * (values if stretch == 1 else observed + stretch * (values - observed))
        place = max(0, math.ceil(shape.level(side) * (count + 1)) - 2)
        ends.append(-side * _find_low(upward, place))
        beyond = int(np.count_nonzero(upward <= 0))
        tails.append(shape.tail((beyond + 1) / (count + 1), side))
    return (ends[0], ends[1]), min(1.0, 2 * min(tails))


def _find_low(values: Array, place: int) -> float:
    """The number that `place` others are below."""
    # Some values say about where it is, so that few must be put in order.
    some = np.sort(values[:_LOOKED_AT])
    bound = some[min(2 * place * len(some) // len(values) + 1, len(some) - 1)]
    lowest = values[values < bound]
    return float(np.partition(lowest if place < len(lowest) else values, place)[place])


def _find_shape(sample: Sample, measure: Measure) -> _Shape:
    """Corrections for what the random weights miss if units are clusters or unequal, or values
    unbounded.

    Clusters: the jackknife's standard error and Student's quantile for their number. Units that
    count by their tokens: the standard error that is unbiased where a loss varies the less the more
    tokens it is of, and the degrees of freedom that are left where all vary alike. Unbounded
    values: also a correction for skewness, where it lengthens the interval.

    Source: MacKinnon, Nielsen and Webb (2023), Journal of Applied Econometrics 38:671-694; Bell
        and McCaffrey (2002), Survey Methodology 28:169-181.
    """
    units, is_open = sample.units, math.isinf(measure.scale)
    if sample.clusters is None and measure.weight is None:
        return _PLAIN
    number, totals, counts = units.number, units.totals, units.counts
    moved = float(sample.value(measure, totals)) - sample.value(measure, totals - units.rows)
    if not np.isfinite(moved).all():
        return _Shape(degrees=0.0)
    sizes = units.rows[:, -1]
    if measure.weight is not None:
        width = sample.sides[0].shape[1]
        sizes = units.rows[:, measure.weight : -1 : width].sum(axis=1)
    shares = sizes / float(counts @ sizes)
    linear = moved * (1 - shares)
    squares = float(counts @ linear**2)
    if measure.weight is None:
        degrees, mean = number - 1.0, float(counts @ moved) / number
        jackknife = float(counts @ (moved - mean) ** 2) * (number - 1) / number
        ratio = max(1.0, jackknife / squares) if squares > 0 else 1.0
        # random weights have a variance that is too small by (n - 1) / (n + 1); the jackknife
        # corrects a part of this again, so that intervals of few clusters are a little long
        ratio *= (number + 1) / (number - 1)
    else:
        degrees = min(number - 1.0, _degrees(shares, counts))
        # the square of each residual over 1 - share; random weights make n / (n + 1) of a variance
        ratio = float(counts @ (linear * moved)) / squares if squares > 0 else 1.0
        ratio *= (number + 1) / number
    return _Shape(
        degrees=degrees,
        excess=math.sqrt(ratio),
        skewness=_skewness(linear / math.sqrt(squares), shares, counts)
        if is_open and squares > 0
        else 0.0,
    )


def _skewness(parts: Array, shares: Array, counts: Counts) -> float:
    """A sixth of the skewness of a sum of these parts, whose squares add up to 1, of units with
    these shares of the weight; less what chance alone makes of units that are not skewed.

    The square of such an estimate exceeds that of the true skewness by the estimate's variance.

    Source: Efron (1987), JASA 82:171-185; Efron and Morris (1973), JASA 68:117-130, for the
        shrinkage.
    """
    found = float(counts @ parts**3) / 6
    return found * max(0.0, 1 - _chance(shares, counts) / found**2) if found else 0.0


def _chance(shares: Array, counts: Counts) -> float:
    """Variance of a sixth of the observed skewness of a sum of normal units with these shares.

    For parts x = share x unit it is E[(sum x^3)^2 / (sum x^2)^3] / 36, and as 1 / q^3 is the
    integral of t^2 exp(-tq) / 2 over t, the expectation is a product of ones of single units:
    15 sum share^6 x the integral of t^2 / 2 (1 + 2 t share^2)^-3 prod (1 + 2 t share^2)^-1/2.
    That the units' own mean is subtracted from them takes the part away which the sum of cubes
    shares with it.
    """
    s2, s3, s4, s6 = (float(counts @ shares**power) for power in (2, 3, 4, 6))
    squares = shares**2 / s2
    logs = np.log1p(2 * _TIMES[:, None] * squares)
    inner = np.exp(-3 * logs) @ (counts * squares**3)
    whole = float(_TIME_WEIGHTS @ (_TIMES**2 / 2 * np.exp(-(logs @ counts) / 2) * inner))
    return whole * (15 * s6 - 18 * s3 * s4 + 9 * s3**2 * s2) / s6 / 36


def _degrees(shares: Array, counts: Counts) -> float:
    """Degrees of freedom of the variance of a mean whose units have these shares of the weight.

    Source: Bell and McCaffrey (2002), for units of equal variance: the expected value squared over
        half the variance of the quadratic form sum (share x residual)^2 / (1 - share), which is
        their bias-reduced estimate.
    """
    if shares.max() > _ALL:
        return 1.0  # to 0.01, where the sums below cancel out
    b = shares**2 / (1 - shares)
    power = float(counts @ shares**2)
    diagonal = 1 - 2 * shares + power
    one, first, second = (float(counts @ (b * shares**k)) for k in range(3))
    off = (one * power) ** 2 + 2 * one * second - 4 * power * one * first + 2 * first**2
    squared = off + float(counts @ (b**2 * (diagonal**2 - (power - 2 * shares) ** 2)))
    return float(counts @ (b * diagonal)) ** 2 / squared


def score_interval(
    statistics: Array,
    measure: Measure,
    clusters: Counts | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Interval | None:
    """95 % interval of one score, statistics [n, K]: Wilson's for zeros and ones that stand alone,
    else that of `confidence`. None for no items, and as there."""
    sample = Sample((statistics,), clusters, resampling)
    if clusters is None and sample.is_binary(measure):
        return wilson_interval(int(statistics.sum()), len(statistics))
    interval = confidence(sample, measure).interval
    if interval is None or not math.isinf(measure.scale):
        return interval
    with np.errstate(over="ignore"):
        low, high = (float(np.exp(end)) for end in interval)
    return (low, high) if math.isfinite(high) else None  # beyond the range of a float
