"""Transitions from base to tuned, and the cases chosen to be read."""

from __future__ import annotations

from ft_harness.cases import CaseSummary, ConfusionPair, count_confusion, summarize_cases
from ft_harness.records import Sample
from tests.make_records import answer_samples, label_samples, make_sample


def pair(base: list[Sample], tuned: list[Sample]) -> list[tuple[Sample, Sample]]:
    return list(zip(base, tuned, strict=True))


def test_every_item_is_in_the_cell_of_its_transition() -> None:
    base = label_samples([1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 1, 1])
    tuned = label_samples([1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 1])
    summary = summarize_cases(pair(base, tuned))
    assert summary.counts == {"still right": 1, "corrected": 3, "broken": 1, "not corrected": 1}
    assert summary.cases is not None
    (broken,) = summary.cases["broken"]
    assert broken.item_key == "item0003-1"
    assert broken.prompt == "text 3\nanswer:"
    assert (broken.gold, broken.base_answer, broken.tuned_answer) == ("negative", "negative", "positive")
    assert {case.item_key for case in summary.cases["corrected"]} == {"item0001-1", "item0002-1", "item0004-1"}


def test_labels_are_counted_by_gold_and_prediction() -> None:
    base = label_samples([1, 1, 0, 0], [1, 0, 0, None])
    tuned = label_samples([1, 1, 0, 0], [1, 1, 1, 0])
    assert count_confusion(pair(base, tuned)) == ConfusionPair(
        labels=["negative", "positive"],
        base=[[1, 0, 1], [1, 1, 0]],  # of two negative ones one was read as such, one not at all
        tuned=[[1, 1, 0], [0, 2, 0]],
    )
    assert count_confusion(pair(answer_samples(["a"], ["a"]), answer_samples(["a"], ["b"]))) is None
    assert count_confusion([]) is None


def test_exact_match_decides_for_generated_answers() -> None:
    golds = ["red car", "blue", "green"]
    summary = summarize_cases(
        pair(answer_samples(golds, ["red", "blue", ""]), answer_samples(golds, ["red car", "no", ""]))
    )
    assert summary.counts == {"still right": 0, "corrected": 1, "broken": 1, "not corrected": 1}


def test_a_task_without_right_and_wrong_says_so() -> None:
    samples = [make_sample(0, "a", "b", {"token_f1": 0.5})]
    assert summarize_cases(pair(samples, samples)) == CaseSummary(
        counts=None, cases=None, reason="no item has a score of acc or exact_match"
    )


def test_items_without_a_score_on_a_side_are_in_no_cell() -> None:
    base = [make_sample(0, "a", None, {"acc": None}), make_sample(1, "a", "a", {"acc": 1.0})]
    tuned = [make_sample(0, "a", "a", {"acc": 1.0}), make_sample(1, "a", None, {"acc": None})]
    summary = summarize_cases(pair(base, tuned))
    assert summary.counts == {"still right": 0, "corrected": 0, "broken": 0, "not corrected": 0}


def test_few_cases_are_shown_spread_over_the_gold_answers() -> None:
    golds = [0] * 40 + [1, 1]
    pairs = pair(label_samples(golds, [1 - gold for gold in golds]), label_samples(golds, golds))
    summary = summarize_cases(pairs)
    assert summary.counts is not None
    assert summary.cases is not None
    assert summary.counts["corrected"] == 42
    shown = [case.gold for case in summary.cases["corrected"]]
    assert sorted(shown) == ["negative"] * 3 + ["positive"] * 2
    assert summarize_cases(pairs[::-1]) == summary
    assert summarize_cases(pairs, seed=1) != summary
