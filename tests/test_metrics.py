"""Per-item scores and their aggregates. Expected values are worked out by hand in the comments beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.metrics import (
    Statistics,
    aggregate_f1,
    aggregate_f1_macro,
    aggregate_mean,
    aggregate_precision,
    aggregate_recall,
    find_metric,
    label_statistics,
    normalize_answer,
    predicted_choice,
    score_answer,
    score_label,
    token_f1,
)


def score(
    metric: str, golds: str | list[int], predictions: str | list[int | None], labels: str | list[str]
) -> float | None:
    """A metric over items; letters stand for labels, anything that is no label for an unreadable answer."""
    names = list(labels)
    gold_indices = [names.index(gold) if isinstance(gold, str) else gold for gold in golds]
    indices = [names.index(p) if isinstance(p, str) and p in names else p for p in predictions]
    items = [
        label_statistics(gold, None if isinstance(predicted, str) else predicted, names)[metric]
        for gold, predicted in zip(gold_indices, indices, strict=True)
    ]
    return find_metric(metric).value(items)


def test_unreadable_answers_count_as_wrong() -> None:
    # gold 0123, answers 0, 1, none, 9: two of four are right
    assert score("acc", [0, 1, 2, 3], [0, 1, None, 9], "0123") == 0.5


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("precision_a", 1.0),
        ("recall_a", 2 / 3),
        ("f1_a", 0.8),
        ("precision_b", 0.5),
        ("recall_b", 0.5),
        ("f1_b", 0.5),
        ("precision_c", 0.5),
        ("recall_c", 1.0),
        ("f1_c", 2 / 3),
        ("f1_macro", (0.8 + 0.5 + 2 / 3) / 3),  # 0.65556
        ("acc", 4 / 6),
    ],
)
def test_three_classes(metric: str, expected: float) -> None:
    # gold aaabbc, predicted aabbcc. a: tp 2 fp 0 fn 1; b: tp 1 fp 1 fn 1; c: tp 1 fp 1 fn 0
    assert score(metric, "aaabbc", "aabbcc", "abc") == pytest.approx(expected)


def test_an_unreadable_answer_is_no_class_of_its_own() -> None:
    # gold aabb, predicted aabx. a: 1; b: tp 1 fn 1 -> 2/3. As a third class x would make it 0.55556
    assert score("f1_macro", "aabb", "aabx", "ab") == pytest.approx((1 + 2 / 3) / 2)


def test_f1_depends_on_the_label_it_is_about() -> None:
    # gold 11000, predicted 10001. 1: tp 1 fp 1 fn 1; 0: tp 2 fp 1 fn 1
    assert score("f1_1", "11000", "10001", "01") == 0.5
    assert score("f1_0", "11000", "10001", "01") == pytest.approx(2 / 3)


def test_a_class_that_never_occurs_is_undefined_and_not_zero() -> None:
    for metric in ("precision_1", "recall_1", "f1_1"):
        assert score(metric, "00", "00", "01") is None
    assert score("f1_macro", "00", "00", "01") == 1.0  # over the one class that occurs


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("an Eiffel tower.", "eiffel tower", 1.0),
        ("Eiffel-Tower", "eiffel tower", 0.0),
        ("A", "The", 0.0),  # letters of a multiple choice must stay different
        ("", "", 1.0),
        ("", "Paris", 0.0),
    ],
)
def test_exact_match(prediction: str, reference: str, expected: float) -> None:
    assert score_answer({"answer": reference}, [prediction])["exact_match"] == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("the cat sat on the mat", "a cat sat on mat", 1.0),  # without articles the same words
        ("no no no", "no", 0.5),  # 2 * 1 / (3 + 1)
        ("no no x", "no no y", 2 / 3),  # 2 * 2 / (3 + 3): bags, not sets
        ("k x y z", "k b c d", 0.25),  # 2 * 1 / (4 + 4)
        ("", "", 1.0),
        ("", "Paris", 0.0),
        ("Paris", "", 0.0),
    ],
)
def test_token_f1(prediction: str, reference: str, expected: float) -> None:
    assert token_f1(prediction, reference) == expected


def test_the_best_of_several_references_counts() -> None:
    scores = score_answer({"answer": ["zzz", "k b c d"]}, ["k x y z"])
    assert scores == {"exact_match": 0.0, "token_f1": 0.25}
    assert score_answer({"answer": ["zzz", "K. B."]}, ["k b"])["exact_match"] == 1.0


def test_normalized_answer() -> None:
    assert normalize_answer(" The  Cat,\tsat! ") == "cat sat"
    assert normalize_answer("The") == "the"


def test_mean_and_the_empty_set() -> None:
    assert find_metric("acc").value([1.0, 0.0, 1.0, 0.0]) == 0.5
    assert aggregate_mean([1.0, 0.0, 1.0, 0.0]) == 0.5
    assert aggregate_mean([]) is None
    assert find_metric("f1_macro").value([]) is None


def test_lm_eval_aggregations_are_the_metrics() -> None:
    items = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]  # tp 2 fp 1 fn 1
    assert aggregate_precision(items) == pytest.approx(2 / 3)
    assert aggregate_recall(items) == pytest.approx(2 / 3)
    assert aggregate_f1(items) == pytest.approx(2 / 3)
    assert aggregate_f1_macro([[*item, 0.0, 0.0, 0.0] for item in items]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", ["acc", "f1_macro", "precision_b", "recall_c", "f1_a"])
def test_order_duplication_and_splitting_change_nothing(metric: str) -> None:
    generator = np.random.default_rng(5)
    golds, predictions = generator.integers(0, 3, (2, 60)).tolist()
    items = [label_statistics(g, p, "abc")[metric] for g, p in zip(golds, predictions, strict=True)]
    find = find_metric(metric)
    whole = find.value(items)
    assert whole is not None
    assert find.value([items[i] for i in generator.permutation(60)]) == pytest.approx(whole)
    assert find.value(items * 2) == pytest.approx(whole)
    rows = np.array(items).reshape(60, -1)
    merged = find.aggregate(rows[:17].sum(axis=0) + rows[17:].sum(axis=0), 60)
    assert float(merged) == pytest.approx(whole)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed: int) -> None:
    golds, predictions = np.random.default_rng(seed).integers(0, 4, (2, 80)).tolist()
    labels = list("abcd")
    assert score("acc", golds, predictions, labels) == pytest.approx(accuracy_score(golds, predictions))
    assert score("f1_macro", golds, predictions, labels) == pytest.approx(f1_score(golds, predictions, average="macro"))
    for index, label in enumerate(labels):
        for prefix, judge in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            expected = judge(golds, predictions, labels=[index], average="macro")
            assert score(f"{prefix}_{label}", golds, predictions, labels) == pytest.approx(expected)


def test_the_likeliest_choice_answers_and_the_first_of_a_tie() -> None:
    assert predicted_choice([(-4.0, False), (-1.0, False), (-2.0, False)]) == 1
    assert predicted_choice([(-4.0, False), (-1.0, False), (-1.0, False)]) == 1


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_no_accuracy_from_a_broken_model(broken: float) -> None:
    with pytest.raises(NonFiniteError):
        score_label({"label": 0, "label_names": ["a", "b"]}, [(broken, False), (-1.0, False)])


def test_a_labelled_doc_is_scored_for_every_label() -> None:
    scores = score_label({"label": 0, "label_names": ["a", "b"]}, [(-2.0, False), (-1.0, False)])
    a: Statistics = [0.0, 0.0, 1.0]
    b: Statistics = [0.0, 1.0, 0.0]
    assert scores["acc"] == 0.0
    assert scores["f1_macro"] == a + b
    assert scores["f1_a"] == scores["precision_a"] == scores["recall_a"] == a
    assert scores["f1_b"] == b


@pytest.mark.parametrize("name", ["accuracy", "f1_", ""])
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="unknown metric"):
        find_metric(name)
