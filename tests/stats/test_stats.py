"""Intervals, tests and power. Expected values come from hand calculation, scipy, or R's PropCIs,
named beside them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ft_harness.stats import (
    detectable_effect,
    holm,
    independent_difference,
    mcnemar_mid_p,
    paired_interval,
    wilson_interval,
)

# --- one share


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
    assert detectable_effect(np.array([]), 0) is None


# --- paired tests


@pytest.mark.parametrize(
    ("gained", "lost"), [(0, 5), (0, 6), (1, 7), (7, 1), (5, 5), (12, 4), (300, 250), (3000, 2800)]
)
def test_mcnemar_mid_p_from_scipys_exact_test(gained: int, lost: int) -> None:
    """The exact p less the chance of the observed split, which the mid-p counts by half on each
    side; 1 where both are equally frequent."""
    changed = gained + lost
    exact = scipy.stats.binomtest(gained, changed, 0.5).pvalue
    expected = 1.0 if gained == lost else exact - scipy.stats.binom.pmf(gained, changed, 0.5)
    assert mcnemar_mid_p(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_mid_p_by_hand() -> None:
    assert mcnemar_mid_p(0, 0) == 1.0
    assert mcnemar_mid_p(5, 0) == 0.03125  # 1 / 2^5
    assert mcnemar_mid_p(4, 0) == 0.0625
    assert mcnemar_mid_p(1, 3) == 0.375  # 2 (1 + 4 / 2) / 2^4
    # Fagerland, Lydersen and Laake (2013), airway hyper-responsiveness: 1 and 7, p = 0.039
    assert mcnemar_mid_p(1, 7) == pytest.approx(0.039, abs=5e-4)


def test_holm_by_hand() -> None:
    # sorted 0.01 0.02 0.03 0.04 -> times 4 3 2 1 = 0.04 0.06 0.06 0.04 -> never falling
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


# --- difference of paired shares


@pytest.mark.parametrize("n", [1, 10, 100])
def test_paired_interval_in_closed_form(n: int) -> None:
    # No item changed: the share of the one item more is beta(1, n), and half of it is lost:
    # (1 - share)^n / 2 = 0.025. All gained: (1 + end) / 2 to the power n is 0.05, cut at 1.
    edge = 1 - 0.05 ** (1 / n)
    assert paired_interval(0, 0, n) == pytest.approx((-edge, edge), abs=1e-6)
    assert paired_interval(n, 0, n) == pytest.approx((2 * 0.05 ** (1 / n) - 1, 1.0), abs=1e-6)
    assert paired_interval(0, n, n) == pytest.approx((-1.0, 1 - 2 * 0.05 ** (1 / n)), abs=1e-6)


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(7, 1, 21), (12, 9, 100), (60, 20, 1000), (5, 0, 40)]
)
def test_paired_interval_agrees_with_drawn_shares(gained: int, lost: int, n: int) -> None:
    """Quantiles of two million Dirichlet shares by numpy."""
    generator = np.random.default_rng(10)
    same = n - gained - lost
    drawn = [
        generator.standard_gamma(np.maximum(parameters, 1e-12), (1_000_000, 3))
        for parameters in ((gained + 1, same, lost), (gained, same, lost + 1))
    ]
    shares = np.concatenate(drawn)
    differences = (shares[:, 0] - shares[:, 2]) / shares.sum(axis=1)
    expected = tuple(np.quantile(differences, [0.025, 0.975]))
    assert paired_interval(gained, lost, n) == pytest.approx(expected, abs=0.003)


def test_paired_interval_is_close_to_the_score_interval_in_large_sets() -> None:
    # R's PropCIs 0.3-0: scoreci.mp(20, 60, 1000) prints 0.0231 0.0584 (Tango's score interval)
    assert paired_interval(60, 20, 1000) == pytest.approx((0.0231, 0.0584), abs=1e-3)


def test_paired_interval_excludes_zero_exactly_where_the_test_rejects() -> None:
    for gained in range(30):
        for lost in range(30):
            interval = paired_interval(gained, lost, 80)
            assert interval is not None
            assert (interval[0] > 0 or interval[1] < 0) == (mcnemar_mid_p(gained, lost) < 0.05)


# --- what the intervals and tests promise


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


# --- power


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
    # at that share the test, which needs 5 gained of 5, does find 80 %
    assert scipy.stats.binom.sf(4, 100, 0.0785) >= 0.80


def test_detectable_effect_of_few_items() -> None:
    assert detectable_effect(np.zeros(5), 5) == 1.0
    assert detectable_effect(np.zeros(4), 4) is None
    assert mcnemar_mid_p(4, 0) > 0.05 > mcnemar_mid_p(5, 0)


def test_the_difference_of_estimates_from_different_items() -> None:
    """0.49 (0.434 to 0.546) and 0.037 (-0.043 to 0.116): hypot(0.056, 0.079) = 0.09683 below 0.453,
    and hypot(0.056, 0.080) = 0.09765 above."""
    found = independent_difference((0.49, (0.434, 0.546)), (0.037, (-0.043, 0.116)))
    assert found == pytest.approx((0.35617, 0.55065), abs=1e-5)
