"""Intervals, paired tests, multiple testing, training seeds and power; knows arrays, not models."""

from ft_harness.stats.holm import holm
from ft_harness.stats.independent import Estimate, independent_difference
from ft_harness.stats.power import (
    Spread,
    detectable_effect,
    detectable_mean,
    detectable_share,
    holm_factor,
    needed_for_mean,
    needed_for_share,
)
from ft_harness.stats.quantiles import ALPHA, MIN_PAIRS, Interval
from ft_harness.stats.sample import Resampling, Sample, possible_range
from ft_harness.stats.seeds import seed_spread
from ft_harness.stats.shares import mcnemar_mid_p, paired_interval, wilson_interval
from ft_harness.stats.units import influence
from ft_harness.stats.weighting import Confidence, confidence, score_interval
