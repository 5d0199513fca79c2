"""Intervals, paired tests, multiple testing, training seeds and power; knows arrays, not models."""

from ft_harness.stats.holm import holm
from ft_harness.stats.independent import Estimate, independent_difference
from ft_harness.stats.power import (
    Spread,
    detectable_effect,
    detectable_mean,
    detectable_share,
    needed_for_mean,
    needed_for_share,
)
from ft_harness.stats.quantiles import ALPHA, MIN_PAIRS, Interval
from ft_harness.stats.resampling import (
    DEFAULT_RESAMPLING,
    Resampling,
    bootstrap_interval,
    paired_bootstrap,
    permutation_p,
    score_interval,
)
from ft_harness.stats.seeds import SeedSpread, seed_spread
from ft_harness.stats.shares import (
    clustered_flip_p,
    clustered_paired_interval,
    mcnemar_exact,
    paired_interval,
    wilson_interval,
)
from ft_harness.stats.units import PairedUnits, influence, pair_units

__all__ = [
    "ALPHA",
    "DEFAULT_RESAMPLING",
    "MIN_PAIRS",
    "Estimate",
    "Interval",
    "PairedUnits",
    "Resampling",
    "SeedSpread",
    "Spread",
    "bootstrap_interval",
    "clustered_flip_p",
    "clustered_paired_interval",
    "detectable_effect",
    "detectable_mean",
    "detectable_share",
    "holm",
    "independent_difference",
    "influence",
    "mcnemar_exact",
    "needed_for_mean",
    "needed_for_share",
    "pair_units",
    "paired_bootstrap",
    "paired_interval",
    "permutation_p",
    "score_interval",
    "seed_spread",
    "wilson_interval",
]
