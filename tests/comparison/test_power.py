"""Power: exact sums and approximations against simulation and scipy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from ft_harness.comparison.power import power_of_run, power_of_score
from ft_harness.comparison.sentences import state_power
from ft_harness.errors import ConfigError, InputError
from ft_harness.stats import (
    Spread,
    detectable_mean,
    detectable_share,
    mcnemar_mid_p,
    needed_for_mean,
    needed_for_share,
)
from ft_harness.stats.power import changed_shares, share_power
from tests.builders.command import assert_three_lines
from tests.builders.records import (
    ANSWER_METRICS,
    answer_samples,
    label_samples,
    make_record,
    make_sample,
    write_evaluation,
)


@pytest.mark.parametrize(
    ("n", "gained", "lost"), [(60, 0.2, 0.05), (150, 0.15, 0.09), (40, 0.3, 0.0), (5, 1.0, 0.0)]
)
def test_power_agrees_with_every_outcome_summed(n: int, gained: float, lost: float) -> None:
    """Trinomial chance of each (gained, lost), by scipy, where McNemar's test rejects for the
    better."""
    outcomes = np.array([(g, w, n - g - w) for g in range(n + 1) for w in range(n + 1 - g)])
    better = np.array([g > w and mcnemar_mid_p(g, w) < 0.05 for g, w, _ in outcomes.tolist()])
    chances = scipy.stats.multinomial.pmf(outcomes, n, [gained, lost, 1 - gained - lost])
    assert share_power(n, gained, lost) == pytest.approx(chances[better].sum(), abs=1e-9)


def test_changes_of_independent_and_of_correlated_answers() -> None:
    assert changed_shares(0.6, 0.1, 0.0) == pytest.approx((0.28, 0.18))  # 0.7 * 0.4, 0.6 * 0.3
    # covariance 0.5 * sqrt(0.24 * 0.21) = 0.1122
    assert changed_shares(0.6, 0.1, 0.5) == pytest.approx((0.1678, 0.0678), abs=1e-4)
    assert changed_shares(0.6, 0.1, 0.99) == pytest.approx((0.1, 0.0))  # no more than all unchanged
    assert changed_shares(0.6, -0.1, 0.99) == pytest.approx((0.0, 0.1))


@pytest.mark.parametrize(
    ("n", "base", "correlation"), [(100, 0.6, 0.0), (400, 0.35, 0.3), (1000, 0.9, 0.6)]
)
def test_the_detectable_rise_is_found_with_80_percent(
    n: int, base: float, correlation: float
) -> None:
    effect = detectable_share(n, base, correlation)
    assert effect is not None
    gained, lost = changed_shares(base, effect, correlation)
    draws = (
        np.random.default_rng(1).multinomial(n, [gained, lost, 1 - gained - lost], 4000).tolist()
    )
    assert np.mean([g > w and mcnemar_mid_p(g, w) < 0.05 for g, w, _ in draws]) == pytest.approx(
        0.8, abs=0.02
    )


def test_needed_items_are_the_inverse_of_the_detectable_rise() -> None:
    effect = detectable_share(500, 0.6)
    assert effect is not None
    assert needed_for_share(effect, 0.6) == pytest.approx(500, abs=12)  # the test goes in steps
    assert needed_for_share(effect, 0.6, design_effect=2.0) == pytest.approx(1000, abs=24)
    assert needed_for_share(0.5, 0.6) is None
    assert detectable_share(20, 0.99) is None
    assert detectable_share(4, 0.0) is None


def test_power_of_a_mean_by_hand_and_by_simulation() -> None:
    # (1.96 + 0.8416) * 0.3 * sqrt(2 * 0.75) / sqrt(200) = 0.07279
    spread = Spread(0.3, correlation=0.25)
    effect = detectable_mean(200, spread)
    assert effect == pytest.approx(0.07279, abs=1e-5)
    assert needed_for_mean(0.07279, spread) == pytest.approx(200, abs=1)
    assert detectable_mean(200, Spread(0.3, 0.25, design_effect=4.0)) == pytest.approx(
        2 * 0.07279, abs=1e-4
    )
    assert detectable_mean(4, spread) is None
    differences = np.random.default_rng(2).normal(effect, spread.of_difference, (4000, 200))
    p = scipy.stats.ttest_1samp(differences, 0, axis=1).pvalue
    assert np.mean((p < 0.05) & (differences.mean(axis=1) > 0)) == pytest.approx(0.8, abs=0.02)


# --- forecasts


def test_the_forecast_of_a_run_is_that_of_its_score(tmp_path: Path) -> None:
    golds = [number % 2 for number in range(200)]
    predictions = [
        gold if number % 5 < 3 else 1 - gold for number, gold in enumerate(golds)
    ]  # 60 %
    run = write_evaluation(tmp_path / "run", make_record(), label_samples(golds, predictions))
    found = power_of_run(run, effect=0.05, correlation=0.2)
    assert found == power_of_score("acc", 200, 0.6, 0.05, 0.2)
    assert found.detectable == detectable_share(200, 0.6, 0.2)
    f1 = power_of_run(run, "f1_macro")
    assert f1.detectable == pytest.approx(
        2.8016 * math.sqrt(2 * 0.24 / 200), rel=0.05
    )  # two alike classes: as accuracy


def test_the_forecast_of_clusters_needs_more_items(tmp_path: Path) -> None:
    """Three items a cluster, all right or all wrong: a third as many tell anything, (n - 1) / n
    apart."""
    golds = [0] * 300
    right = np.repeat(np.random.default_rng(3).random(100) < 0.6, 3)
    samples = [
        sample.model_copy(update={"doc": {"premise": f"p{number // 3}"}})
        for number, sample in enumerate(label_samples(golds, [int(not hit) for hit in right]))
    ]
    together = power_of_run(
        write_evaluation(tmp_path / "a", make_record(cluster="premise"), samples)
    )
    alone = power_of_run(write_evaluation(tmp_path / "b", make_record(), samples))
    assert (together.n, together.n_clusters, alone.n_clusters) == (300, 100, None)
    single = power_of_run(
        write_evaluation(tmp_path / "c", make_record(cluster="premise"), samples[::3])
    )
    assert (single.n, single.n_clusters) == (100, None)
    assert together.detectable == pytest.approx(
        detectable_share(100, float(right.mean())), rel=0.06
    )
    assert "300 items in 100 clusters" in state_power(together)[0]


def test_the_forecast_of_a_perplexity_is_a_ratio(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    losses = generator.normal(2.0, 0.5, 400)
    samples = [
        make_sample(n, "x", None, {"token_ppl": [-10 * loss, 10.0]})
        for n, loss in enumerate(losses)
    ]
    found = power_of_run(
        write_evaluation(tmp_path / "p", make_record(metrics=("token_ppl",)), samples), effect=0.5
    )
    # deviation of the log: that of the losses; independent: sqrt(2) of it
    expected = math.exp(losses.mean()) * (
        1 - math.exp(-2.8016 * losses.std(ddof=1) * math.sqrt(2 / 400))
    )
    assert found.detectable == pytest.approx(expected, rel=1e-3)
    wished = -math.log1p(-0.5 / found.base)
    assert found.needed == pytest.approx(
        (2.8016 * losses.std(ddof=1) * math.sqrt(2) / wished) ** 2, rel=0.01
    )


def test_runs_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    few = write_evaluation(tmp_path / "few", make_record(), label_samples([0, 1], [0, 1]))
    with pytest.raises(InputError, match="2 items with a score of acc"):
        power_of_run(few)
    answers = answer_samples(["a"] * 10, ["a"] * 10)
    run = write_evaluation(tmp_path / "run", make_record(metrics=ANSWER_METRICS), answers)
    with pytest.raises(InputError, match="0 items with a score of bleu"):
        power_of_run(run, "bleu")
    assert power_of_run(run, "token_f1").detectable is None  # all alike: no spread is known


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"metric": "f1_macro"}, "f1_macro of a single item is not 0 or 1"),
        ({"base": 1.5}, "--base is 1.5"),
        ({"n": 0}, "--n is 0"),
        ({"effect": 0.0}, "--effect is 0.0"),
        ({"correlation": 1.0}, "--correlation is 1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        power_of_score(**{"metric": "acc", "n": 100, "base": 0.5} | arguments)


def test_the_command(ft, tmp_path: Path) -> None:
    code, said, _ = ft("power", "--n", "300", "--base", "0.6", "--effect", "0.05")
    assert code == 0
    least = 100 * (detectable_share(300, 0.6) or 0)
    assert (
        f"accuracy, 300 items, base 60.0 %: an improvement of {least:.1f} points or more is found"
        in said
    )
    assert f"An improvement of 5.0 points needs {needed_for_share(0.05, 0.6):,} items." in said
    golds = [0, 1] * 30
    write_evaluation(tmp_path / "results" / "base", make_record(), label_samples(golds, golds))
    code, said, _ = ft("power", "results", "--metric", "acc")
    assert code == 0
    assert said.startswith(
        "base--bundled/demo_nli@test:\n  accuracy, 60 items, base 100.0 %: no improvement can be"
    )
    for arguments in (["--n", "300"], ["results", "--n", "300"], []):
        code, _, error = ft("power", *arguments)
        assert code == 2
        assert_three_lines(error, "--n and --base")
