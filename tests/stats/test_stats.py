"""Intervals, tests and power. Expected values come from hand calculation, scipy, or R's PropCIs,
named beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from ft_harness import stats
from ft_harness.stats import (
    Resampling,
    bootstrap_interval,
    detectable_effect,
    holm,
    independent_difference,
    mcnemar_exact,
    pair_units,
    paired_bootstrap,
    paired_interval,
    permutation_p,
    score_interval,
    wilson_interval,
)

Array = NDArray[np.float64]
Z_SQUARED = 1.959963984540054**2


def mean(sums: Array, n: int) -> Array:
    return np.asarray(sums[..., 0] / n)


def share_of_marked(sums: Array, n: int) -> Array:
    """First statistic over the second; NaN where no item is marked."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def column(values: list[float] | Array) -> Array:
    return np.array(values, dtype=np.float64).reshape(-1, 1)


# --- one share
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (71, 400), (1, 1)]
)
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    expected = scipy.stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("n", [1, 3, 10, 777])
def test_wilson_holds_the_share_at_both_ends(n: int) -> None:
    none, every = wilson_interval(0, n), wilson_interval(n, n)
    assert none is not None
    assert every is not None
    assert none[0] == 0.0 < none[1]
    assert every[0] < every[1] == 1.0


def test_no_items_have_no_interval() -> None:
    assert wilson_interval(0, 0) is None
    assert paired_interval(0, 0, 0) is None
    assert bootstrap_interval(column([]), mean) is None
    assert bootstrap_interval(column([1.0]), mean) is None
    assert paired_bootstrap(pair_units(column([1.0]), column([0.0])), mean) is None
    assert permutation_p(pair_units(column([]), column([])), mean) is None
    assert detectable_effect(np.array([]), 0) is None


# --- bootstrap
# ----------------------------------------------------------------------------------------------------


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours = bootstrap_interval(column(values), mean)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=2
    )
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def test_paired_bootstrap_agrees_with_scipy() -> None:
    generator = np.random.default_rng(3)
    base = generator.normal(size=60)
    tuned = base + generator.normal(0.3, 0.2, size=60)
    ours = paired_bootstrap(pair_units(column(base), column(tuned)), mean)
    theirs = scipy.stats.bootstrap(
        (base, tuned),
        lambda b, t, axis: np.mean(t, axis=axis) - np.mean(b, axis=axis),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        rng=4,
    )
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)


def test_pairing_removes_what_base_and_tuned_share() -> None:
    base = column(np.random.default_rng(5).normal(size=50))
    assert paired_bootstrap(pair_units(base, base + 0.25), mean) == pytest.approx((0.25, 0.25))


def test_resampling_depends_on_the_seed_but_not_on_order_or_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(6)
    base, tuned = generator.normal(size=(2, 70, 1))
    order = generator.permutation(70)

    def resample(
        base: Array, tuned: Array, seed: int
    ) -> tuple[stats.Interval | None, float | None]:
        how = Resampling(rounds=500, seed=seed)
        pairs = pair_units(base, tuned)
        return paired_bootstrap(pairs, mean, how), permutation_p(pairs, mean, how)

    interval, p = resample(base, tuned, 7)
    assert resample(base[order], tuned[order], 7) == (interval, p)
    other_interval, other_p = resample(base, tuned, 8)
    assert other_interval != interval
    assert other_p != p
    monkeypatch.setattr("ft_harness.stats.units._CHUNK_CELLS", 8 * 70 + 1)
    chunked_interval, chunked_p = resample(base, tuned, 7)
    assert chunked_interval == pytest.approx(interval)
    assert chunked_p == p


def test_undefined_resamples_make_the_interval_undefined() -> None:
    # One marked item of 100 is missed by (1 - 1/100)^100 = 37 % of the resamples; one of ten marked
    # by 0.003 %.
    rare = np.array([[1.0, 1.0]] + [[0.0, 0.0]] * 99)
    common = np.array([[1.0, 1.0]] * 5 + [[0.0, 1.0]] * 5 + [[0.0, 0.0]] * 90)
    assert bootstrap_interval(rare, share_of_marked) is None
    assert paired_bootstrap(pair_units(common, rare), share_of_marked) is None
    interval = bootstrap_interval(common, share_of_marked)
    assert interval is not None
    assert 0 < interval[0] < 0.5 < interval[1] < 1


# --- paired tests
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gained", "lost"), [(0, 5), (0, 6), (1, 7), (7, 1), (5, 5), (12, 4), (300, 250), (3000, 2800)]
)
def test_mcnemar_agrees_with_scipy(gained: int, lost: int) -> None:
    expected = scipy.stats.binomtest(gained, gained + lost, 0.5).pvalue
    assert mcnemar_exact(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(6, 0) == 0.03125  # 2 / 2^6
    assert mcnemar_exact(1, 3) == 0.625  # 2 (1 + 4) / 2^4


@pytest.mark.parametrize(("n", "gained", "lost"), [(8, 8, 0), (10, 7, 1), (9, 5, 4)])
def test_permutation_agrees_with_the_exact_test(n: int, gained: int, lost: int) -> None:
    """Swapping 0/1 items is McNemar's exact test."""
    base = column([0.0] * gained + [1.0] * lost + [1.0] * (n - gained - lost))
    tuned = column([1.0] * gained + [0.0] * lost + [1.0] * (n - gained - lost))
    expected = scipy.stats.binomtest(gained, gained + lost, 0.5).pvalue
    assert permutation_p(pair_units(base, tuned), mean) == pytest.approx(
        expected, abs=0.012
    )  # 2.5 standard errors of 10,000


def test_permutation_agrees_with_scipy_on_graded_scores() -> None:
    generator = np.random.default_rng(9)
    base, tuned = generator.random(11), generator.random(11) + 0.2
    expected = scipy.stats.permutation_test(
        (base, tuned),
        lambda b, t, axis: np.mean(t - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
    ).pvalue
    assert permutation_p(pair_units(column(base), column(tuned)), mean) == pytest.approx(
        expected, abs=0.012
    )


def test_permutation_p_is_never_zero() -> None:
    n = 40
    p = permutation_p(pair_units(column([0.0] * n), column([1.0] * n)), mean, Resampling(rounds=99))
    assert p == 0.01  # (0 + 1) / (99 + 1)
    assert permutation_p(pair_units(column([0.5] * n), column([0.5] * n)), mean) == 1.0


def test_rounding_does_not_make_equal_differences_differ() -> None:
    # Only the first item differs, so that every round gives the observed difference or its
    # negative: p is 1
    base, tuned = column([0.1, 0.1, 0.2]), column([0.3, 0.1, 0.2])
    assert permutation_p(pair_units(base, tuned), mean) == 1.0


def test_an_undefined_difference_has_no_p_and_undefined_rounds_count_as_far() -> None:
    unmarked = np.array([[0.0, 0.0]] * 4)
    marked = np.array([[1.0, 1.0]] * 2 + [[0.0, 1.0]] * 2)
    assert permutation_p(pair_units(unmarked, marked), share_of_marked) is None
    # Observed: 1 against 0. Swapping one of the two items leaves a side unmarked, swapping both
    # gives 0 against 1.
    one, other = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.0]])
    assert permutation_p(pair_units(one, other), share_of_marked) == 1.0


def test_holm_by_hand() -> None:
    # sorted 0.01 0.02 0.03 0.04 -> times 4 3 2 1 = 0.04 0.06 0.06 0.04 -> never falling
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


# --- difference of paired shares
# ----------------------------------------------------------------------------------


def test_paired_interval_agrees_with_r() -> None:
    # PropCIs 0.3-0: scoreci.mp(20, 60, 1000) prints 0.0231 0.0584; its first count is what the
    # candidate lost
    assert paired_interval(60, 20, 1000) == pytest.approx((0.0231, 0.0584), abs=5e-5)
    assert paired_interval(20, 60, 1000) == pytest.approx((-0.0584, -0.0231), abs=5e-5)


@pytest.mark.parametrize("n", [1, 10, 100])
def test_paired_interval_in_closed_form(n: int) -> None:
    # No item changed: n d / (1 - d) = z^2. All gained: n (1 - d) = z^2 (1 + d), cut at 1.
    edge = Z_SQUARED / (n + Z_SQUARED)
    assert paired_interval(0, 0, n) == pytest.approx((-edge, edge))
    assert paired_interval(n, 0, n) == pytest.approx(((n - Z_SQUARED) / (n + Z_SQUARED), 1.0))
    assert paired_interval(0, n, n) == pytest.approx((-1.0, -(n - Z_SQUARED) / (n + Z_SQUARED)))


def log_likelihood_score(gained: int, lost: int, n: int, difference: float) -> float:
    """Tango's statistic with the likeliest share of lost items searched for, not solved for."""
    kept = n - gained - lost
    low, high = max(0.0, -difference), (1 - difference) / 2
    found = scipy.optimize.minimize_scalar(
        lambda q: (
            -(
                gained * math.log(max(q + difference, 1e-300))
                + lost * math.log(max(q, 1e-300))
                + kept * math.log(max(1 - 2 * q - difference, 1e-300))
            )
        ),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-13},
    )
    variance = n * (2 * found.x + difference - difference**2)
    return float((gained - lost - n * difference) / math.sqrt(variance))


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(7, 1, 21), (12, 9, 100), (60, 20, 160), (3, 3, 30)]
)
def test_paired_interval_ends_where_the_score_test_turns(gained: int, lost: int, n: int) -> None:
    interval = paired_interval(gained, lost, n)
    assert interval is not None
    assert log_likelihood_score(gained, lost, n, interval[0]) == pytest.approx(
        math.sqrt(Z_SQUARED), abs=1e-4
    )
    assert log_likelihood_score(gained, lost, n, interval[1]) == pytest.approx(
        -math.sqrt(Z_SQUARED), abs=1e-4
    )


def test_paired_interval_excludes_zero_exactly_where_mcnemars_score_test_rejects() -> None:
    for gained in range(30):
        for lost in range(30):
            interval = paired_interval(gained, lost, 80)
            assert interval is not None
            low, high = interval
            rejected = (gained - lost) ** 2 > Z_SQUARED * (gained + lost)
            assert (low > 1e-12 or high < -1e-12) == rejected


# --- what the intervals and tests promise
# -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gained", "lost"),
    [(0.10, 0.10), (0.05, 0.05), (0.30, 0.10), (0.40, 0.02)],
    ids=lambda share: str(share),
)
def test_coverage_of_the_paired_interval(gained: float, lost: float) -> None:
    generator = np.random.default_rng(11)
    counts = generator.multinomial(100, [gained, lost, 1 - gained - lost], size=2000).tolist()
    truth, covered = gained - lost, 0
    for drawn_gained, drawn_lost, _ in counts:
        interval = paired_interval(drawn_gained, drawn_lost, 100)
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 0.935 <= covered / 2000 <= 0.98  # standard error of the simulation 0.005


def f1_of_marked(sums: Array, n: int) -> Array:
    return np.asarray(2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1] + sums[..., 2]))


def test_coverage_of_the_paired_bootstrap() -> None:
    """Difference of F1 of one class, n = 100, base right with 60 %, tuned with 75 %, gold half and
    half."""
    generator = np.random.default_rng(12)
    truth = (
        0.75 - 0.60
    )  # balanced gold and symmetric errors: tp = q/2, fp = fn = (1 - q)/2, so F1 = q
    covered = 0
    for _ in range(400):
        positive = generator.random(100) < 0.5
        sides = []
        for accuracy in (0.60, 0.75):
            right = generator.random(100) < accuracy
            sides.append(
                np.stack([positive & right, ~positive & ~right, positive & ~right], axis=1).astype(
                    float
                )
            )
        interval = paired_bootstrap(
            pair_units(sides[0], sides[1]), f1_of_marked, Resampling(rounds=500)
        )
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 0.91 <= covered / 400 <= 0.98  # standard error of the simulation 0.011


def test_false_positives_of_the_permutation_test() -> None:
    generator = np.random.default_rng(13)
    rejected = 0
    for _ in range(500):
        base, tuned = generator.random((2, 40, 1)) ** 3
        p = permutation_p(pair_units(base, tuned), mean, Resampling(rounds=199))
        assert p is not None
        rejected += p <= 0.05
    assert 0.02 <= rejected / 500 <= 0.08  # standard error of the simulation 0.010


# --- power
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "changed", "expected"),
    [(100, 10, 0.08904), (100, 20, 0.12592), (200, 20, 0.06280), (1000, 200, 0.03964)],
)
def test_detectable_effect_by_hand(n: int, changed: int, expected: float) -> None:
    # half of the changes in each direction: 2.80159 * sqrt(changed / (n - 1)) / sqrt(n)
    differences = np.array([1.0, -1.0] * (changed // 2) + [0.0] * (n - changed))
    assert detectable_effect(differences, n) == pytest.approx(expected, abs=1e-5)


def test_detectable_effect_needs_enough_items_to_change() -> None:
    # 2.8016^2 / 100 = 0.0785, whether none or one of 100 items changed here
    assert detectable_effect(np.zeros(100), 100) == pytest.approx(0.0785, abs=1e-4)
    assert detectable_effect(np.array([1.0] + [0.0] * 99), 100) == pytest.approx(0.0785, abs=1e-4)
    assert detectable_effect(np.zeros(100), 100, scale=100.0) == pytest.approx(7.85, abs=1e-2)
    # at that share the exact test, which needs 6 gained of 6, does find 80 %
    assert scipy.stats.binom.sf(5, 100, 0.0785) == pytest.approx(0.80, abs=0.02)


def test_detectable_effect_of_few_items() -> None:
    assert detectable_effect(np.zeros(6), 6) == 1.0
    assert detectable_effect(np.zeros(5), 5) is None
    assert mcnemar_exact(5, 0) > 0.05 > mcnemar_exact(6, 0)


def test_the_difference_of_estimates_from_different_items() -> None:
    """0.49 (0.434 to 0.546) and 0.037 (-0.043 to 0.116): hypot(0.056, 0.079) = 0.09683 below 0.453,
    and hypot(0.056, 0.080) = 0.09765 above."""
    found = independent_difference((0.49, (0.434, 0.546)), (0.037, (-0.043, 0.116)))
    assert found == pytest.approx((0.35617, 0.55065), abs=1e-5)


def test_one_score_of_clusters_that_are_all_right_counts_clusters() -> None:
    ones, clusters = np.ones((20, 1)), np.repeat(np.arange(4), 5)
    assert score_interval(
        ones, lambda sums, n: sums[..., 0] / n, clusters, binary=True
    ) == wilson_interval(4, 4)
    assert score_interval(np.empty((0, 1)), lambda sums, n: sums[..., 0] / n, binary=True) is None
