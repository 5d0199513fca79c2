"""Power of a test set: the smallest effect found with 80 % power at alpha 0.05, two-sided, and the
number of items that an effect needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, ndtri

from ft_harness.stats.quantiles import ALPHA, MIN_PAIRS, Z_INTERVAL, Z_POWER
from ft_harness.stats.units import Array, Counts

POWER = 0.80
_Z = Z_INTERVAL + Z_POWER
_MOST_ITEMS = 10_000_000  # where the search for the needed items gives up
_TAIL = 8.0  # standard deviations of a binomial that are summed over
_STEPS = 40  # halvings of an effect: to 1e-12 of the scale


@dataclass(frozen=True)
class Spread:
    """For power: the variation of one item's paired difference, before there is a tuned model.

    Attributes:
        deviation: standard deviation of the base's scores per item (of their influence, where the
            metric is not a mean).
        correlation: of base and tuned scores over items; 0: as for two independent models.
        design_effect: the factor by which clusters increase the variance; 1: no clusters.
    """

    deviation: float
    correlation: float = 0.0
    design_effect: float = 1.0

    @property
    def of_difference(self) -> float:
        """Standard deviation of tuned minus base, which has the same spread on both sides."""
        return self.deviation * math.sqrt(2 * (1 - self.correlation) * self.design_effect)


def detectable_effect(differences: Array, n: int, scale: float = 1.0) -> float | None:
    """Smallest difference that this test set shows with 80 % power, from the observed paired
    differences.

    Normal approximation from the spread of the differences' influence [units], which for a mean
    over items are the items' own differences; units are items or whole clusters. `scale` is the
    largest difference of an item. At least the share e of the n items must change for a mean
    difference e x scale, so that the effect is never put below scale x (1.96 + 0.84)^2 / n, however
    few items changed here; never above `scale` either. None for fewer than five items or units: no
    difference among so few can reach p < 0.05; None too where the spread is undefined, or zero
    without a largest difference.
    """
    if min(n, len(differences)) < MIN_PAIRS:
        return None
    by_spread = _Z * float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    if not math.isfinite(by_spread):
        return None
    if math.isinf(scale):
        return by_spread or None
    return min(scale, max(by_spread, scale * _Z * _Z / n))


def holm_factor(comparisons: int) -> float:
    """For power: the factor by which the smallest detectable difference grows if p is Holm-adjusted
    over this many comparisons; the first step tests each at alpha / comparisons; normal
    approximation."""
    quantile = float(ndtri(1 - ALPHA / (2 * max(1, comparisons))))
    return (quantile + Z_POWER) / _Z


def detectable_mean(n: int, spread: Spread) -> float | None:
    """Smallest mean difference of n items that is found with 80 % power; None for fewer than
    five."""
    return _Z * spread.of_difference / math.sqrt(n) if n >= MIN_PAIRS else None


def needed_for_mean(effect: float, spread: Spread) -> int:
    """Items among which a mean difference of this size is found with 80 % power."""
    return max(MIN_PAIRS, math.ceil((_Z * spread.of_difference / effect) ** 2))


def changed_shares(base: float, effect: float, correlation: float) -> tuple[float, float]:
    """For power: (share of items gained, share lost) when a share of right answers rises from
    `base` by `effect`.

    The items' answers before and after have this correlation, or the largest below it that these
    shares allow; effect is negative for a fall.
    """
    tuned = base + effect
    shared = correlation * math.sqrt(max(0.0, base * (1 - base) * tuned * (1 - tuned)))
    lost = max(0.0, -effect, base * (1 - tuned) - shared)
    return lost + effect, lost


def share_power(n: int, gained: float, lost: float) -> float:
    """Chance that McNemar's mid-p test finds p < 0.05 in the direction of the effect; exact, no
    approximation.

    Summed over the number of items that change: for each, the probability that enough of them are
    gained for the test to reject.
    """
    changed = gained + lost
    if changed == 0 or n == 0:
        return 0.0
    centre, reach = n * changed, _TAIL * math.sqrt(n * changed * (1 - changed)) + 2
    counts = np.arange(max(0, math.floor(centre - reach)), min(n, math.ceil(centre + reach)) + 1)
    below = np.where(counts > 0, bdtr(np.maximum(counts - 1, 0), n, changed), 0.0)
    chances = bdtr(counts, n, changed) - below
    return float(chances @ _rejects(counts, min(gained, lost) / changed))


def _rejects(counts: Counts, share: float) -> Array:
    """For each count of changed items, the probability that so few of them get worse (each with
    this probability) that p < 0.05."""
    most = np.minimum(counts, np.floor(counts / 2 - Z_INTERVAL * np.sqrt(counts) / 2).clip(-1) + 2)
    for _ in range(5):  # the normal approximation is less than three off
        fewer = np.where(most > 0, bdtr((most - 1).clip(0), counts, 0.5), 0.0)
        too_many = (most >= 0) & (fewer + bdtr(most.clip(0), counts, 0.5) >= ALPHA)
        most = np.where(too_many, most - 1, most)
    return np.where(most >= 0, bdtr(most.clip(0), counts, share), 0.0)


def detectable_share(
    n: int, base: float, correlation: float = 0.0, design_effect: float = 1.0
) -> float | None:
    """Smallest rise of a share of right answers that n items show with 80 % power; None if not even
    the rise to 1 is found. Halving: power grows with the effect but for steps of the test."""

    def is_found(effect: float) -> bool:
        return (
            share_power(math.floor(n / design_effect), *changed_shares(base, effect, correlation))
            >= POWER
        )

    low, high = 0.0, 1 - base
    if not is_found(high):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def needed_for_share(
    effect: float, base: float, correlation: float = 0.0, design_effect: float = 1.0
) -> int | None:
    """Items among which a change of a share of right answers by `effect` is found with 80 % power.

    None if base + effect is no share, or ten million items are not enough. The test goes in steps,
    so that a few items more may find a little less again.
    """
    if not 0 <= base + effect <= 1 or effect == 0:
        return None
    gained, lost = changed_shares(base, effect, correlation)
    found = _smallest(lambda n: share_power(n, gained, lost) >= POWER)
    return None if found is None else math.ceil(found * design_effect)


def _smallest(holds: Callable[[int], bool]) -> int | None:
    """Smallest integer that satisfies a monotone condition; None beyond ten million."""
    high = MIN_PAIRS
    while not holds(high):
        if high > _MOST_ITEMS:
            return None
        high *= 2
    low = high // 2 if high > MIN_PAIRS else 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
