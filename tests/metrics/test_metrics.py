"""What every metric has in common: the empty set, the names, the aggregations as lm-eval calls
them."""

from __future__ import annotations

import numpy as np
import pytest

from ft_harness import metrics
from ft_harness.errors import InputError
from ft_harness.metrics import aggregate_mean, describe, find_metric


def test_mean_and_the_empty_set():
    assert find_metric("acc").value([1.0, 0.0, 1.0, 0.0]) == 0.5
    assert aggregate_mean([1.0, 0.0, 1.0, 0.0]) == 0.5
    assert aggregate_mean([]) is None
    assert aggregate_mean([None, None]) is None
    assert find_metric("f1_macro").value([]) is None


def test_items_that_cant_be_scored_leave_the_mean_alone():
    assert aggregate_mean([1.0, None, 0.0, None]) == 0.5


def test_groups_weigh_by_their_items():
    # 9 of 10 and 45 of 90 right: 54 of 100; the plain mean of the two groups would be 0.70
    easy, hard = [1.0] * 9 + [0.0], [1.0] * 45 + [0.0] * 45
    assert (aggregate_mean(easy), aggregate_mean(hard)) == (0.9, 0.5)
    assert aggregate_mean(easy + hard) == 0.54


def test_items_are_added_in_their_order():
    # 0.1 + 0.2 + 0.3 is 0.6000000000000001 from the left; exactly rounded it would be 0.6
    assert find_metric("token_f1").value([0.1, 0.2, 0.3]) == 0.6000000000000001 / 3
    many = np.random.default_rng(1).random(1000).tolist()
    total = 0.0
    for value in many:
        total += value
    assert find_metric("token_f1").value(many) == total / 1000


@pytest.mark.parametrize("name", ["accuracy", "f1_", ""])
def test_unknown_metrics_are_refused(name: str):
    with pytest.raises(InputError, match="unknown metric"):
        find_metric(name)


@pytest.mark.parametrize("name", ["invalid", "empty", "truncated", "run_on", "ece", "brier"])
def test_shares_and_calibration_errors_are_better_low(name: str):
    assert not find_metric(name).higher_is_better


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("balanced_acc", (2 / 3 + 1) / 2),
        ("mcc", (3 * 4 - (3 * 2 + 1 * 2)) / ((16 - 10) * (16 - 8)) ** 0.5),
        ("f1_macro", (0.8 + 2 / 3) / 2),
        ("f1_weighted", (3 * 0.8 + 2 / 3) / 4),
        ("precision_macro", (1 + 0.5) / 2),
        ("recall_macro", (2 / 3 + 1) / 2),
    ],
)
def test_a_task_yaml_finds_the_aggregation_of_a_class_average(name: str, expected: float):
    # gold aaab, predicted aabb. a: tp 2 fn 1, F1 0.8; b: tp 1 fp 1, F1 2/3
    right_a, a_as_b, right_b = [1.0, 0, 0, 0, 0, 0], [0.0, 0, 1, 0, 1, 0], [0.0, 0, 0, 1, 0, 0]
    assert getattr(metrics, f"aggregate_{name}")(
        [right_a, right_a, a_as_b, right_b]
    ) == pytest.approx(expected)


def test_a_task_yaml_finds_the_other_aggregations():
    assert metrics.aggregate_f1_micro([[1.0, 0, 0], [0.0, 1, 1]]) == 0.5
    assert metrics.aggregate_ece([[0.5, -0.25], [-0.25, 0.0]]) == 0.25  # (|0.25| + |-0.25|) / 2
    means = (
        "brier",
        "invalid",
        "empty",
        "truncated",
        "run_on",
        "HasAns_exact",
        "HasAns_f1",
        "NoAns_exact",
        "NoAns_f1",
    )
    assert [getattr(metrics, f"aggregate_{name}")([1.0, 0.5, None]) for name in means] == [
        0.75
    ] * len(means)


def test_signatures_name_the_normaliser():
    assert describe("exact_match", None) == describe("token_f1", "en") != ""
    assert describe("HasAns_f1", None) == "normalizer:squad-2.0"
    assert describe("ece", None) == "bins:10|width:equal|confidence:softmax"
    assert describe("acc", None) == describe("empty", "zh") == ""
