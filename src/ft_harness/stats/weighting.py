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

from ft_harness.stats.quantiles import ALPHA, Interval
from ft_harness.stats.sample import DEFAULT_RESAMPLING, Measure, Resampling, Sample
from ft_harness.stats.shares import mcnemar_mid_p, paired_interval, wilson_interval
from ft_harness.stats.units import Array, Counts

_FEWEST_DEGREES = 2.0  # with fewer, a few units hold nearly all the weight: no interval is given
# Ten thousand rounds put a quantile of 2.5 % at one of 2.35 to 2.65 % (one standard error), which
# moves an end by 1.4 %: intervals are longer by more than that, so that no verdict rests on it.
_DRAWING = 1.02
_FARTHEST = 3.0  # standard deviations to which quantiles of the random weights are used
_LOOKED_AT = 500  # weighted values by which an end is looked for
_MAX_UNDEFINED = 0.01  # share of weightings that may be undefined before an interval is


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

    @property
    def stretch(self) -> float:
        """Of the distance from the observed value, so that the quantiles lie where there are many
        weighted values."""
        return max(1.0, self._reach / _FARTHEST)

    def level(self, side: int) -> float:
        """Share of the stretched values below the lower (-1) or above the upper end (1)."""
        z, a = -self._reach / self.stretch, -side * self.skewness
        return float(ndtr(min(z, a + (a + z) / (1 - a * (a + z)))))

    def tail(self, share: float, side: int) -> float:
        """The one-sided p of 0, given the share of the stretched values beyond it; inverse of
        `level`."""
        z, a = float(ndtri(share)), -side * self.skewness
        reach = min(-z, a - (z - a) / (1 + a * (z - a)))
        return float(stdtr(self.degrees, -reach * self.stretch / (self.excess * _DRAWING)))


_PLAIN = _Shape()


@np.errstate(divide="ignore", invalid="ignore")
def confidence(sample: Sample, measure: Measure) -> Confidence:
    """By random weightings: interval of a measure and the p that it is 0; of tuned minus base where
    there are two sides.

    For a measure without a largest value (perplexities) both are on the scale of the logarithm.
    Zeros and ones that stand alone are computed without random weights. `None` for fewer than two
    units, an undefined value, or where a few units hold nearly all the weight.
    """
    if len(sample.sides) == 2 and sample.clusters is None and sample.is_binary(measure):
        changes = sample.sides[1] - sample.sides[0]
        gained, lost = int((changes > 0).sum()), int((changes < 0).sum())
        interval = paired_interval(gained, lost, len(changes))
        return Confidence(interval, mcnemar_mid_p(gained, lost)) if interval else _NONE
    if sample.units.number < 2:
        return _NONE
    observed = float(sample.value(measure, sample.units.totals))
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
    if shape.stretch > 1:
        values = (observed + shape.stretch * (values - observed)).clip(*_possible(sample, measure))
    return _read(values, shape)


def _possible(sample: Sample, measure: Measure) -> Interval:
    """The smallest and the largest value of the measure, or of its difference; on the scale of the
    logarithm, and of nats, there are none."""
    if not math.isfinite(measure.scale):
        return -math.inf, math.inf
    reach = measure.scale - measure.least
    return (-reach, reach) if len(sample.sides) == 2 else (measure.least, measure.scale)


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


def _read(values: Array, shape: _Shape) -> Confidence:
    """Interval and p from weighted values; p < 0.05 exactly where the interval excludes 0."""
    count = len(values)
    below, above = (max(0, math.ceil(shape.level(side) * (count + 1)) - 2) for side in (-1, 1))
    low, high = _find_low(values, below), -_find_low(-values, above)
    beyond = int(np.count_nonzero(values <= 0)), int(np.count_nonzero(values >= 0))
    tails = [
        shape.tail((number + 1) / (count + 1), side)
        for number, side in zip(beyond, (-1, 1), strict=True)
    ]
    return Confidence((low, high), min(1.0, 2 * min(tails)))


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

    Clusters: the jackknife's standard error and Student's quantile for their number. Weighted
    items: the standard error halfway to the jackknife's (on the scale of the logarithm) and the
    degrees of freedom that their weights leave. Unbounded values: also a correction for skewness,
    where it lengthens the interval.

    Source: MacKinnon, Nielsen and Webb (2023), Journal of Applied Econometrics 38:671-694; Bell
        and McCaffrey (2002), Survey Methodology 28:169-181; Efron (1987), JASA 82:171-185.
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
    excess = 1.0
    if squares > 0:
        mean = float(counts @ moved) / number
        jackknife = float(counts @ (moved - mean) ** 2) * (number - 1) / number
        excess = max(1.0, jackknife / squares)
    degrees = number - 1.0
    if measure.weight is not None:
        degrees, excess = min(degrees, _degrees(shares, counts)), math.sqrt(excess)
    # random weights have a variance that is too small by (n - 1) / (n + 1); the jackknife corrects
    # a part of this again, so that intervals of few units are a little long
    return _Shape(
        degrees=degrees,
        excess=math.sqrt(excess * (number + 1) / (number - 1)),
        skewness=float(counts @ moved**3) / squares**1.5 / 6 if is_open and squares > 0 else 0.0,
    )


def _degrees(shares: Array, counts: Counts) -> float:
    """Degrees of freedom of the variance of a mean whose units have these shares of the weight.

    Source: Bell and McCaffrey (2002), for units of equal variance: the expected value squared over
        half the variance of the quadratic form sum (share x residual / (1 - share))^2.
    """
    if shares.max() >= 1:
        return 0.0
    b = (shares / (1 - shares)) ** 2
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
    if len(statistics) < 2:
        return None
    interval = confidence(sample, measure).interval
    if interval is None or not math.isinf(measure.scale):
        return interval
    return math.exp(interval[0]), math.exp(interval[1])
