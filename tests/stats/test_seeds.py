"""Influence and training seeds. Expected values come from hand calculation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from ft_harness.stats import influence, seed_spread

Array = NDArray[np.float64]


def mean(sums: Array, n: object) -> Array:
    return np.asarray(sums[..., 0] / n)


def column(values: object) -> Array:
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def test_influence_of_a_mean_and_of_a_ratio() -> None:
    assert influence(column([1.0, 2.0, 6.0]), mean).tolist() == pytest.approx([1.0, 2.0, 6.0])
    # clusters (1, 2) and (6): 2 * 3 - 1 * 6 = 0 and 2 * 3 - 1 * 1.5 = 4.5
    assert influence(column([1.0, 2.0, 6.0]), mean, np.array([0, 0, 1])).tolist() == pytest.approx(
        [0.0, 4.5]
    )


# --- training seeds


def test_seed_spread_by_hand() -> None:
    """Two seeds, three items: [1 2 3] and [3 4 5]. Seeds: means 2 and 4, M = 3 * 2 = 6. Items:
    means 2, 3, 4, M = 2. Nothing is left, M = 0. Variance of the mean (6 + 2) / 6, degrees of
    freedom 8^2 / (6^2 / 1 + 2^2 / 2) = 1.68."""
    spread = seed_spread(np.array([2.0, 4.0]), np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]))
    assert spread is not None
    assert (spread.mean, spread.seed_deviation) == pytest.approx((3.0, math.sqrt(2)))
    assert spread.test_error == pytest.approx(math.sqrt(2 / 6))
    half = math.sqrt(8 / 6) * scipy.stats.t.ppf(0.975, 64 / 38)
    assert spread.interval == pytest.approx((3 - half, 3 + half))
    t = 3 / math.sqrt(8 / 6)
    assert spread.p == pytest.approx(2 * scipy.stats.t.sf(t, 64 / 38))


def test_undefined_seed_spreads() -> None:
    assert seed_spread(np.array([1.0]), np.ones((1, 5))) is None
    assert seed_spread(np.array([1.0, 1.0]), np.ones((2, 1))) is None
    assert seed_spread(np.array([1.0, 1.0]), np.array([[1.0, np.nan], [1.0, 1.0]])) is None
    same = seed_spread(np.array([1.0, 1.0]), np.ones((2, 5)))
    assert same is not None
    assert (same.interval, same.seed_deviation, same.test_error) == ((1.0, 1.0), 0.0, 0.0)
    assert same.p is None


@pytest.mark.parametrize(("of_seeds", "seeds"), [(0.0, 3), (0.05, 3), (0.05, 5)])
def test_coverage_over_seeds_and_items(of_seeds: float, seeds: int) -> None:
    generator, covered = np.random.default_rng(7), 0
    for _ in range(600):
        items, training = generator.normal(0, 0.5, 200), generator.normal(0, of_seeds, seeds)
        scores = 0.1 + training[:, None] + items + generator.normal(0, 0.5, (seeds, 200))
        spread = seed_spread(scores.mean(axis=1), scores)
        assert spread is not None
        assert spread.interval is not None
        covered += spread.interval[0] <= 0.1 <= spread.interval[1]
    assert 0.925 <= covered / 600 <= 0.99  # standard error of the simulation 0.009
