"""Comparisons of pairs of answers: implicit rewards, rules without a model, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.comparison.aggregator import Comparison, aggregate, compare
from ft_harness.evaluation.backends import ScoredAnswer
from ft_harness.metrics import score_preference
from ft_harness.records import Evaluation, Sample
from tests.builders.records import make_record, make_sample, write_evaluation

METRICS = (
    *("preference_acc", "preference_acc_token", "preference_margin", "chosen_byte_ppl"),
    "longer_wins",
)
Likelihoods = list[tuple[float, float]]  # of the chosen and the rejected answer


def make_pair(number: int, found: tuple[float, float], longer: bool) -> Sample:
    doc = {
        "prompt": f"prompt {number // 2}",
        "chosen": f"yes {number}" + " indeed" * longer,
        "rejected": f"no, {number}" + " never" * (not longer),
    }
    results = []
    for value in found:
        result = ScoredAnswer((value, False))
        result.tokens = 4
        results.append(result)
    answer = doc["chosen"] if found[0] >= found[1] else doc["rejected"]
    return make_sample(
        number, doc["chosen"], answer, score_preference(doc, results), doc=doc,
        responses=[[value, False] for value in found],
    )  # fmt: skip


def evaluate(folder: Path, adapter: str | None, found: Likelihoods, longer: int) -> Evaluation:
    record = make_record(adapter, metrics=METRICS, task="demo_preference", cluster="prompt")
    record = record.model_copy(update={"primary_metric": "preference_acc"})
    samples = [make_pair(n, each, n < longer) for n, each in enumerate(found)]
    return write_evaluation(folder / (adapter or "base"), record, samples)


def compared(folder: Path, base: Likelihoods, tuned: Likelihoods, longer: int = 0) -> Comparison:
    sides = evaluate(folder, None, base, longer), evaluate(folder, "dpo", tuned, longer)
    return aggregate(sides, name="r", command="c").comparisons[0]


def rows_of(comparison: Comparison) -> dict:
    return {(row.base_subject, row.metric): row for row in comparison.rows}


def test_the_rows_of_a_comparison_by_hand(tmp_path: Path):
    """60 pairs: base prefers 20 chosen answers; tuning raises the margin of 45 by 3 nats and
    lowers that of 15 by 1, so that 30 chosen answers are preferred."""
    base = [(-10.0, -12.0)] * 20 + [(-10.0, -8.0)] * 40
    change = [(2.0, -1.0) if n % 4 else (-1.0, 0.0) for n in range(60)]
    tuned = [(a + c, b + d) for (a, b), (c, d) in zip(base, change, strict=True)]
    found = rows_of(compared(tmp_path, base, tuned, longer=24))
    accuracy = found["base--bundled", "preference_acc"]
    # of those 40 whose base margin is -2, the 30 with +3 come to be right; 20 stay right
    assert (accuracy.base, accuracy.tuned) == pytest.approx((20 / 60, 50 / 60))
    assert accuracy.primary
    assert accuracy.n_clusters == 30
    reward = found["base--bundled", "implicit_reward_acc"]
    assert (reward.base, reward.tuned) == pytest.approx((0.5, 0.75))
    assert reward.low is not None
    assert reward.low > 0
    assert reward.verdict == "improved"
    margin = found["base--bundled", "preference_margin"]
    assert (margin.base, margin.delta) == pytest.approx((-2 / 3, 2.0))
    assert margin.low is not None
    assert 0 < margin.low < 2 < margin.high
    assert found["longer answer wins", "preference_acc"].base == pytest.approx(24 / 60)
    assert found["chance", "preference_acc"].base == 0.5
    assert [metric for _, metric in found].count("longer_wins") == 0


def test_a_falling_log_p_is_said(tmp_path: Path):
    """Both answers lose, the rejected ones more: 3 nats and 9."""
    base = [(-10.0 - n % 3, -8.0 - n % 2) for n in range(60)]
    tuned = [(chosen - 3, rejected - 9) for chosen, rejected in base]
    said = " ".join(compared(tmp_path, base, tuned).cautions)
    assert "Log p of the chosen answers fell, by 3.0 nats per answer on average" in said
    assert "byte perplexity of the chosen answers" in said


def test_a_rising_log_p_is_not_said(tmp_path: Path):
    base = [(-10.0 - n % 3, -8.0 - n % 2) for n in range(60)]
    tuned = [(chosen + 3, rejected - 9) for chosen, rejected in base]
    assert "Log p" not in " ".join(compared(tmp_path, base, tuned).cautions)


def test_a_model_that_is_no_better_than_length_is_told(tmp_path: Path):
    base = [(-10.0, -8.0)] * 60
    tuned = [(-8.0, -10.0) if n < 55 else (-10.0, -8.0) for n in range(60)]
    said = " ".join(compared(tmp_path, base, tuned, longer=54).cautions)
    assert "not shown to be better than always preferring the longer answer (90.0 %" in said
    other = " ".join(compared(tmp_path / "b", base, tuned, longer=30).cautions)
    assert "longer answer" not in other


def test_two_evaluations_of_one_model_have_no_reward(tmp_path: Path):
    base = [(-10.0 - n % 3, -8.0 - n % 5) for n in range(60)]
    sides = evaluate(tmp_path, None, base, 0), evaluate(tmp_path, "dpo", base, 0)
    found = rows_of(compare(*sides))
    reward = found["base--bundled", "implicit_reward_acc"]
    assert (reward.base, reward.tuned, reward.verdict) == (0.5, 0.5, "no evidence")


def test_a_case_names_both_answers_and_how_likely_they_are(tmp_path: Path):
    base = [(-10.0, -8.0)] * 60
    tuned = [(-8.0, -10.0)] * 60
    cases = compared(tmp_path, base, tuned).cases
    assert cases.counts is not None
    assert cases.cases is not None
    assert cases.counts["corrected"] == 60
    case = cases.cases["corrected"][0]
    assert case.gold.startswith("yes")
    assert (case.base_answer or "").startswith("no")
    assert (case.tuned_answer or "").startswith("yes")
    assert [(each.name, each.base, each.tuned) for each in case.choices or []] == [
        ("chosen", -10.0, -8.0),
        ("rejected", -8.0, -10.0),
    ]
