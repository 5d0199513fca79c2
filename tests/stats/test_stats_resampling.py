"""Clusters, large sets, training seeds. Expected values come from hand calculation, statsmodels or
sacrebleu."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from ft_harness.metrics import find_metric, label_statistics
from ft_harness.metrics.overlap import bleu_statistics
from ft_harness.stats import (
    Resampling,
    bootstrap_interval,
    clustered_flip_p,
    clustered_paired_interval,
    influence,
    mcnemar_exact,
    pair_units,
    paired_bootstrap,
    paired_interval,
    permutation_p,
    seed_spread,
)
from ft_harness.stats.units import make_units

Array = NDArray[np.float64]


def mean(sums: Array, n: object) -> Array:
    return np.asarray(sums[..., 0] / n)


def column(values: object) -> Array:
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def test_mcnemar_agrees_with_statsmodels() -> None:
    contingency_tables = pytest.importorskip(
        "statsmodels.stats.contingency_tables", reason="statsmodels not installed"
    )
    for gained, lost in [(0, 0), (0, 6), (1, 7), (12, 4), (5, 5), (300, 250)]:
        expected = contingency_tables.mcnemar([[50, gained], [lost, 40]], exact=True).pvalue
        assert mcnemar_exact(gained, lost) == pytest.approx(expected, rel=1e-9)


# --- clusters
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_cluster_flips_agree_with_all_signs_tried(seed: int) -> None:
    generator = np.random.default_rng(seed)
    changes, clusters = generator.integers(-1, 2, 30).astype(float), np.arange(30) // 3
    totals = np.bincount(clusters, weights=changes)
    flipped = [abs(np.dot(signs, totals)) for signs in itertools.product((-1, 1), repeat=10)]
    expected = np.mean(np.array(flipped) >= abs(totals.sum()) - 1e-9)
    assert clustered_flip_p(changes, clusters) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(6, 0), (7, 1), (12, 4), (0, 0), (300, 250)])
def test_cluster_flips_of_single_items_are_mcnemars_test(gained: int, lost: int) -> None:
    changes = np.array([1.0] * gained + [-1.0] * lost + [0.0] * 9)
    assert clustered_flip_p(changes, np.arange(len(changes))) == pytest.approx(
        mcnemar_exact(gained, lost), rel=1e-9
    )


def test_items_that_change_together_count_as_one() -> None:
    # Six clusters of three gained items: 2 / 2^6; McNemar over 18 items would say 2 / 2^18
    assert clustered_flip_p(np.ones(18), np.arange(18) // 3) == pytest.approx(0.03125)


def test_the_clustered_interval_by_hand() -> None:
    """Ten clusters of three alike items, 4 gained, 1 lost: the design effect is 10/9 * 29 / (30 /
    3) = 3.222, from sums over clusters (3 d)^2 against d^2 over items; t with 9 degrees of
    freedom."""
    changes, clusters = np.repeat([1.0] * 4 + [-1.0] + [0.0] * 5, 3), np.repeat(np.arange(10), 3)
    effect = 3 * (10 / 9) * (29 / 30)
    expected = paired_interval(
        12 / effect, 3 / effect, 30 / effect, float(scipy.stats.t.ppf(0.975, 9))
    )
    assert clustered_paired_interval(changes, clusters) == pytest.approx(expected)
    assert clustered_paired_interval(np.ones(3), np.zeros(3, dtype=np.int64)) is None
    nothing = clustered_paired_interval(np.zeros(30), clusters)  # a width even if no item changed
    assert nothing is not None
    assert nothing[0] < 0 < nothing[1]


def test_clusters_are_resampled_whole() -> None:
    """Items that stand five times each carry what they carry once: the interval is that of the
    single items."""
    generator = np.random.default_rng(3)
    values, clusters = generator.normal(size=60), np.repeat(np.arange(60), 5)
    once = bootstrap_interval(column(values), mean)
    assert bootstrap_interval(
        column(np.repeat(values, 5)), mean, clusters=clusters
    ) == pytest.approx(once, abs=0.02)
    as_items = bootstrap_interval(column(np.repeat(values, 5)), mean)
    assert once is not None
    assert as_items is not None
    assert (as_items[1] - as_items[0]) / (once[1] - once[0]) == pytest.approx(
        1 / math.sqrt(5), rel=0.1
    )


def test_clusters_of_unequal_size_change_the_number_of_items() -> None:
    # Resamples of two clusters (items 1; 0 0 0): means 1 (1/4), 1/4 (1/2), 0 (1/4)
    interval = bootstrap_interval(column([1, 0, 0, 0]), mean, clusters=np.array([0, 1, 1, 1]))
    assert interval == (0.0, 1.0)
    sums = make_units([column([1, 0, 0, 0])], np.array([0, 1, 1, 1])).rows
    assert sorted(sums.tolist()) == [[0.0, 3.0], [1.0, 1.0]]


def test_permutation_swaps_clusters_whole() -> None:
    """Six clusters of four items, every one better by 0.25: 2 of 2^6 ways are as far apart."""
    base = column(np.random.default_rng(4).random(24))
    pairs = pair_units(base, base + 0.25, np.arange(24) // 4)
    assert permutation_p(pairs, mean) == pytest.approx(2 / 64, abs=0.005)


# --- what resampling promises
# ---------------------------------------------------------------------------------------


def test_percentiles_are_those_of_student() -> None:
    """n = 10: sqrt(10/9) * t(9) = 2.384 standard errors; the bootstrap of such a mean is nearly
    normal."""
    values = scipy.stats.norm.ppf((np.arange(10) + 0.5) / 10)
    spread = values.std() / math.sqrt(10)
    interval = bootstrap_interval(column(values), mean, Resampling(rounds=100_000))
    assert interval == pytest.approx((-2.384 * spread, 2.384 * spread), rel=0.03)


def test_large_sets_are_drawn_in_blocks_with_the_same_result() -> None:
    generator = np.random.default_rng(5)
    base = generator.normal(size=(20_000, 1))
    tuned = base + generator.normal(0.01, 0.5, size=(20_000, 1))
    pairs = pair_units(base, tuned)
    assert len(pairs.units.rows) == 2000
    assert pairs.units.counts @ pairs.units.rows == pytest.approx([base.sum(), tuned.sum(), 20_000])
    differences = tuned - base
    error = 1.96 * differences.std() / math.sqrt(20_000)
    interval = paired_bootstrap(pairs, mean)
    assert interval == pytest.approx(
        (differences.mean() - error, differences.mean() + error), abs=0.05 * error
    )
    expected = 2 * scipy.stats.norm.sf(1.96 * abs(differences.mean()) / error)
    assert permutation_p(pairs, mean) == pytest.approx(expected, abs=0.02)
    order = generator.permutation(20_000)
    assert paired_bootstrap(pair_units(base[order], tuned[order]), mean) == pytest.approx(
        interval, abs=0.1 * error
    )


def test_two_rows_of_one_hash_stay_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixer of zero gives every row the same hash."""
    monkeypatch.setattr("ft_harness.stats.units._MIXERS", (np.uint64(0), np.uint64(0)))
    units = make_units([column([1, 2, 2, 3])], None)
    assert (units.rows[:, 0].tolist(), units.counts.tolist()) == ([1.0, 2.0, 3.0], [1, 2, 1])


def test_degenerate_sets() -> None:
    same = pair_units(column([0.5] * 9), column([0.5] * 9))
    assert paired_bootstrap(same, mean) == (0.0, 0.0)
    assert permutation_p(same, mean) == 1.0
    all_gained = pair_units(column([0.0] * 9), column([0.5] * 9))
    assert paired_bootstrap(all_gained, mean) == (0.5, 0.5)
    assert permutation_p(all_gained, mean) == pytest.approx(2 / 2**9, abs=0.002)
    one = pair_units(column([0.0]), column([1.0]))
    assert paired_bootstrap(one, mean) is None
    assert permutation_p(one, mean) == 1.0


def test_a_class_that_a_resample_misses_leaves_the_macro_average_defined() -> None:
    """Two classes, one of a single item of 30: it is missing from (29/30)^30 = 36 % of the
    resamples, whose macro F1 is that of the other class alone."""
    golds = [0] * 29 + [1]
    rows = np.array([label_statistics(gold, gold, ["a", "b"])["f1_macro"] for gold in golds])
    assert bootstrap_interval(rows, find_metric("f1_macro").aggregate) == (1.0, 1.0)
    wrong = np.array([label_statistics(gold, 0, ["a", "b"])["f1_macro"] for gold in golds])
    # predicted always a: F1 of a is 58/59, of b 0 where it occurs, so 0.49; where b is missing 1
    interval = bootstrap_interval(wrong, find_metric("f1_macro").aggregate)
    assert interval is not None
    assert interval[0] < 0.5
    assert interval[1] == 1.0


def test_bleu_resampling_agrees_with_sacrebleu() -> None:
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    generator = np.random.default_rng(6)
    golds = [" ".join(f"w{word}" for word in generator.integers(0, 12, 15)) for _ in range(120)]
    sides = [
        [" ".join(w if generator.random() < keep else "x" for w in gold.split()) for gold in golds]
        for keep in (0.80, 0.88)
    ]
    _, results = PairedTest(
        [("base", sides[0]), ("tuned", sides[1])],
        {"BLEU": BLEU(references=[golds])},
        None,
        "bs",
        n_samples=2000,
    )()
    theirs = results["BLEU"][0]
    statistics = [
        np.array([bleu_statistics(t, [g]) for t, g in zip(side, golds, strict=True)])
        for side in sides
    ]
    ours = bootstrap_interval(statistics[0], find_metric("bleu").aggregate)
    assert ours is not None
    assert find_metric("bleu").value_of(statistics[0].sum(axis=0), 120) == pytest.approx(
        theirs.score
    )
    assert (ours[1] - ours[0]) / 2 == pytest.approx(
        theirs.ci, rel=0.08
    )  # ours is 1.6 % wider by Student's quantile
    assert sum(ours) / 2 == pytest.approx(theirs.mean, abs=0.5)


def test_influence_of_a_mean_and_of_a_ratio() -> None:
    assert influence(column([1.0, 2.0, 6.0]), mean).tolist() == pytest.approx([1.0, 2.0, 6.0])
    # clusters (1, 2) and (6): 2 * 3 - 1 * 6 = 0 and 2 * 3 - 1 * 1.5 = 4.5
    assert influence(column([1.0, 2.0, 6.0]), mean, np.array([0, 0, 1])).tolist() == pytest.approx(
        [0.0, 4.5]
    )


# --- training seeds
# -------------------------------------------------------------------------------------------------


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


def test_undefined_seed_spreads() -> None:
    assert seed_spread(np.array([1.0]), np.ones((1, 5))) is None
    assert seed_spread(np.array([1.0, 1.0]), np.ones((2, 1))) is None
    assert seed_spread(np.array([1.0, 1.0]), np.array([[1.0, np.nan], [1.0, 1.0]])) is None
    same = seed_spread(np.array([1.0, 1.0]), np.ones((2, 5)))
    assert same is not None
    assert (same.interval, same.seed_deviation, same.test_error) == ((1.0, 1.0), 0.0, 0.0)


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
