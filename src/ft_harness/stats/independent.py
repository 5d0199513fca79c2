"""The difference of two estimates from different items."""

from __future__ import annotations

import math

from ft_harness.stats.quantiles import Interval

Estimate = tuple[float, Interval]  # a value and its 95 % interval


def independent_difference(first: Estimate, second: Estimate) -> Interval:
    """95 % interval of first minus second, which rest on different items.

    Source: Zou and Donner (2008), Statistics in Medicine 27:1693-1702, the method of variance
        estimates recovery.
    """
    (one, (one_low, one_high)), (two, (two_low, two_high)) = first, second
    below, above = (
        math.hypot(one - one_low, two_high - two),
        math.hypot(one_high - one, two - two_low),
    )
    return one - two - below, one - two + above
