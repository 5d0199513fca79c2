"""Compute what a test set can show before anything is trained: from a number of items, or from a
finished base evaluation."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ft_harness import stats
from ft_harness.comparison.amounts import amount
from ft_harness.comparison.pairing import Pairs
from ft_harness.errors import ConfigError, InputError
from ft_harness.metrics import Metric, add_up, find_metric
from ft_harness.metrics.registry import DECIDING_METRICS
from ft_harness.records import Evaluation, Frozen
from ft_harness.records.score_table import read_outcomes

Array = NDArray[np.float64]


class Power(Frozen):
    """What n items can show in one metric, with 80 % power at the 5 % level, two-sided."""

    metric: str
    n: int
    n_clusters: int | None = Field(
        description="clusters of the base run's items; null: each item alone, or no run"
    )
    base: float
    correlation: float = Field(
        description="assumed, of an item's base and tuned scores; 0: independent"
    )
    detectable: float | None = Field(
        description="smallest improvement that is found; null: none would be"
    )
    effect: float | None = Field(description="the improvement asked about")
    needed: int | None = Field(
        description="items in which `effect` is found; null: none asked about, or never"
    )


def power_of_score(
    metric: str, n: int, base: float, effect: float | None = None, correlation: float = 0.0
) -> Power:
    """The power for a metric with 0/1 items, from the base's score alone.

    Raises:
        ConfigError: the metric needs a base run, or a number lies outside its range.
    """
    found = find_metric(metric)
    if not found.binary:
        raise ConfigError(
            f"{metric} of a single item is not 0 or 1, so its spread is not known from the score",
            "a finished base evaluation",
            "give its folder instead of --n and --base",
        )
    _check(n, base, effect, correlation)
    _check_effect(found, base, effect)
    detectable, needed = _power_of_share(found, n, base, effect, stats.Spread(0.0, correlation))
    return Power(
        metric=metric,
        n=n,
        n_clusters=None,
        base=base,
        correlation=correlation,
        detectable=detectable,
        effect=effect,
        needed=needed,
    )


def power_of_run(
    evaluation: Evaluation,
    metric: str | None = None,
    effect: float | None = None,
    correlation: float = 0.0,
) -> Power:
    """The power for any metric (default: acc or exact_match, else the first), from the items of a
    finished base evaluation.

    Raises:
        InputError: the evaluation has no such metric, or its items show no spread.
        ConfigError: a number lies outside its range.
    """
    names = [score.metric for score in evaluation.record.scores]
    name = metric or next(
        (each for each in DECIDING_METRICS if each in names), names[0] if names else ""
    )
    outcomes = read_outcomes(evaluation)
    # Items without a score are no part of the base's number, so that they can't show anything
    # either.
    statistics = outcomes.statistics(name)
    # A row without a score is NaN in each of its columns.
    kept = ~np.isnan(statistics[:, 0])
    statistics, rows = statistics[kept], np.flatnonzero(kept)
    clusters = Pairs(outcomes, outcomes, rows, rows).clusters
    if name not in names or len(statistics) < stats.MIN_PAIRS:
        raise InputError(
            f"{evaluation.folder}: {len(statistics)} items with a score of {name or 'any metric'}",
            f"at least {stats.MIN_PAIRS}, of one of {', '.join(names)}",
            "name another with --metric, or score more items",
        )
    found = find_metric(name)
    # A spread of NaN or infinity comes from a metric that is undefined for some item left out
    # alone.
    base, n = found.value_of(add_up(statistics), len(statistics)), len(statistics)
    spread = _spread(found, statistics, clusters, correlation)
    if base is None or not math.isfinite(spread.deviation * spread.design_effect):
        raise InputError(
            f"{evaluation.folder}: {name} is undefined", "a number", "name another with --metric"
        )
    _check(n, base if found.binary else 0.5, effect, correlation)
    _check_effect(found, base, effect)
    detectable, needed = (_power_of_share if found.binary else _power_of_mean)(
        found, n, base, effect, spread
    )
    return Power(
        metric=name,
        n=n,
        n_clusters=None if clusters is None else int(clusters.max()) + 1,
        base=base,
        correlation=correlation,
        detectable=detectable,
        effect=effect,
        needed=needed,
    )


def _check(n: int, base: float, effect: float | None, correlation: float) -> None:
    wrong = {
        f"--n is {n}": n < 1,
        f"--base is {base}": not 0 <= base <= 1,
        f"--effect is {effect}": effect is not None and not 0 < effect < math.inf,
        f"--correlation is {correlation}": not 0 <= correlation < 1,
    }
    if any(wrong.values()):
        raise ConfigError(
            ", ".join(what for what, is_wrong in wrong.items() if is_wrong),
            "a base score from 0 to 1, items and effect above 0, a correlation from 0 to below 1",
            "see ft-harness power --help",
        )


def _check_effect(metric: Metric, base: float, effect: float | None) -> None:
    """Refuse an improvement for which the base's score leaves no room."""
    # "0.05" given as "5" is the usual mistake, and asks for 500 points.
    room = metric.scale - base if metric.higher_is_better else base
    if effect is not None and effect > room:
        shown = amount(metric.name, base)
        raise ConfigError(
            f"--effect is {effect:g}: {metric.name} of the base is {shown}",
            f"an improvement of at most {room:.4g}",
            "give it in the metric's own unit: 0.05 is 5 points of a score from 0 to 1",
        )


def _spread(
    metric: Metric, statistics: Array, clusters: NDArray[np.int64] | None, correlation: float
) -> stats.Spread:
    """Of one item's influence; on the scale of the logarithm for metrics without a largest
    value."""
    aggregate = partial(_log_value, metric) if math.isinf(metric.scale) else metric.aggregate
    # By the jackknife, which works for any metric that is a function of sums, where a formula would
    # be needed for each.
    alone = stats.influence(statistics, aggregate)
    deviation = float(np.std(alone, ddof=1))
    if clusters is None or deviation == 0:
        return stats.Spread(deviation, correlation)
    together = stats.influence(statistics, aggregate, clusters)
    # How many times the variance of independent items the clusters have.
    effect = float(np.var(together, ddof=1)) / len(together) / (deviation**2 / len(alone))
    # Clusters whose items happen to be less alike than chance would promise more power than
    # independent items; the next test set will not have that luck.
    return stats.Spread(deviation, correlation, max(1.0, effect))


def _log_value(metric: Metric, sums: Array, n: Any) -> Array:
    return np.log(metric.aggregate(sums, n))


def _power_of_share(
    metric: Metric, n: int, base: float, effect: float | None, spread: stats.Spread
) -> tuple[float | None, int | None]:
    """(smallest improvement that is found, items needed for `effect`) of scores of 0 and 1."""
    # Changes of 0 and 1 are symmetric: finding fewer errors is finding more right answers.
    right, terms = (
        base if metric.higher_is_better else 1 - base,
        (spread.correlation, spread.design_effect),
    )
    needed = stats.needed_for_share(effect, right, *terms) if effect else None
    return stats.detectable_share(n, right, *terms), needed


def _power_of_mean(
    metric: Metric, n: int, base: float, effect: float | None, spread: stats.Spread
) -> tuple[float | None, int | None]:
    """As `_power_of_share`, of any other metric."""
    found = stats.detectable_mean(n, spread) or None  # equal items show no spread
    target = effect
    if math.isinf(metric.scale):
        # an improvement is a fall: base x (1 - exp(-difference of logarithms))
        found = None if found is None else -base * math.expm1(-found)
        target = None if effect is None or effect >= base else -math.log1p(-effect / base)
    return found, stats.needed_for_mean(target, spread) if target and found else None
