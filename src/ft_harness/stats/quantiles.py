"""What all intervals and tests share: the level, and quantiles of the normal and of Student's
distribution."""

from __future__ import annotations

from scipy.special import stdtr, stdtrit

Interval = tuple[float, float]

ALPHA = 0.05
MIN_PAIRS = 5  # McNemar's mid-p of four pairs that all changed one way is 0.0625, of five 0.03125
Z_INTERVAL = 1.959963984540054  # normal quantile of 0.975
Z_POWER = 0.8416212335729143  # normal quantile of 0.80


def t_interval(degrees: float) -> float:
    """Student's quantile of 0.975; it exceeds the normal one, much so for few degrees of
    freedom."""
    return float(stdtrit(degrees, 1 - ALPHA / 2))


def t_probability(t: float, degrees: float) -> float:
    """Two-sided probability that Student's t is this far from 0 by chance."""
    return float(2 * stdtr(degrees, -abs(t)))
