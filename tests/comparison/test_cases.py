"""Transitions from base to tuned, and the cases chosen to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ft_harness.comparison.aggregator import compare
from ft_harness.comparison.cases import (
    CaseSummary,
    Choice,
    ConfusionPair,
    add_slices,
    count_confusion,
    find_cases,
    tag_pairs,
)
from ft_harness.comparison.cases.transitions import find_transitions
from ft_harness.comparison.pairing import pair_items
from ft_harness.records import Sample
from tests.builders.cases import nli_pair, nli_sample, write_pair
from tests.builders.records import answer_samples, label_samples, make_sample


def cases_of(folder: Path, base: list[Sample], tuned: list[Sample], seed: int = 0) -> CaseSummary:
    evaluations = write_pair(folder, base, tuned)
    pairs, _ = pair_items(*evaluations)
    return find_cases(*evaluations, pairs, seed)


def test_every_item_is_in_the_cell_of_its_transition(tmp_path: Path) -> None:
    base = label_samples([1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 1, 1])
    tuned = label_samples([1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 1])
    summary = cases_of(tmp_path, base, tuned)
    assert summary.counts == {"still right": 1, "corrected": 3, "broken": 1, "not corrected": 1}
    assert summary.by_gold == {  # item by item, from the lists above
        "negative": {"still right": 0, "corrected": 1, "broken": 1, "not corrected": 1},
        "positive": {"still right": 1, "corrected": 2, "broken": 0, "not corrected": 0},
    }
    assert summary.metric == "acc"
    assert summary.cases is not None
    (broken,) = summary.cases["broken"]
    assert broken.item_key == "item0003-1"
    assert broken.prompt == "text 3\nanswer:"
    assert (broken.gold, broken.base_answer, broken.tuned_answer) == (
        "negative",
        "negative",
        "positive",
    )
    assert (broken.base_score, broken.tuned_score) == (1.0, 0.0)
    assert {case.item_key for case in summary.cases["corrected"]} == {
        "item0001-1",
        "item0002-1",
        "item0004-1",
    }


def test_labels_are_counted_by_gold_and_prediction() -> None:
    # [tp, fp, fn] of negative, then of positive: gold 1 as 1, gold 1 as 0, gold 0 as 0, gold 0
    # unreadable
    base = np.array(
        [[0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]],
        dtype=float,
    )
    tuned = base[[0, 0, 0, 2]]
    assert count_confusion(["negative", "positive"], base, tuned) == ConfusionPair(
        labels=["negative", "positive"],
        base=[[1, 0, 1], [1, 1, 0]],
        tuned=[[1, 0, 0], [0, 3, 0]],
    )


def test_averages_over_labels_are_no_labels(tmp_path: Path) -> None:
    """With all metrics of labels scored (recall_micro and recall_weighted among them)."""
    base, tuned = write_pair(
        tmp_path,
        label_samples([0, 0, 1, 1], [1, 1, 1, 0]),
        label_samples([0, 0, 1, 1], [0, 1, 1, 1]),
    )
    assert {"recall_micro", "recall_weighted"} <= {score.metric for score in base.record.scores}
    assert compare(base, tuned).confusion == ConfusionPair(
        labels=["negative", "positive"],
        base=[[0, 2, 0], [1, 1, 0]],
        tuned=[[1, 1, 0], [0, 2, 0]],
    )


def test_exact_match_decides_for_generated_answers(tmp_path: Path) -> None:
    golds = ["red car", "blue", "green"]
    summary = cases_of(
        tmp_path,
        answer_samples(golds, ["red", "blue", ""]),
        answer_samples(golds, ["red car", "no", ""]),
    )
    assert summary.counts == {"still right": 0, "corrected": 1, "broken": 1, "not corrected": 1}
    assert summary.by_gold is None  # three answers, each once, are no classes


def test_a_graded_score_is_better_or_worse_from_a_tenth_on(tmp_path: Path) -> None:
    before, after = (
        [0.5, 0.5, 0.5, 0.3, 0.9],
        [0.6, 0.59, 0.4, 0.39, None],
    )  # +0.1, +0.09, -0.1, +0.09, no score
    base, tuned = (
        [
            make_sample(number, f"gold {number}", "text", {"token_f1": value})
            for number, value in enumerate(values)
        ]
        for values in (before, after)
    )
    summary = cases_of(tmp_path, base, tuned)
    assert summary.counts == {"better": 1, "worse": 1, "same": 2}
    assert summary.metric == "token_f1"
    # 0.3 - 0.2 is 0.09999999999999998 in floats, and a change by a tenth all the same
    found = find_transitions("rougeL", np.array([0.2, 0.3]), np.array([0.3, 0.2]))
    assert {name: items.tolist() for name, items in found.items()} == {
        "better": [0],
        "worse": [1],
        "same": [],
    }


def test_a_task_without_right_and_wrong_says_so(tmp_path: Path) -> None:
    samples = [make_sample(0, "a", "b", {"token_ppl": [3.0, 2.0]})]
    summary = cases_of(tmp_path, samples, samples)
    assert summary == CaseSummary(
        counts=None,
        cases=None,
        reason="no item has a score of acc, exact_match, preference_acc, token_f1, rougeL or meteor",
    )
    tagged = tag_pairs(summary, *write_pair(tmp_path / "again", samples, samples))
    assert add_slices(summary, tagged) == summary


def test_items_without_a_score_on_a_side_are_in_no_cell(tmp_path: Path) -> None:
    base = [make_sample(0, "a", None, {"acc": None}), make_sample(1, "a", "a", {"acc": 1.0})]
    tuned = [make_sample(0, "a", "a", {"acc": 1.0}), make_sample(1, "a", None, {"acc": None})]
    summary = cases_of(tmp_path, base, tuned)
    assert summary.counts == {"still right": 0, "corrected": 0, "broken": 0, "not corrected": 0}
    assert summary.by_gold is None


def test_few_cases_are_shown_spread_over_the_gold_answers(tmp_path: Path) -> None:
    golds = [0] * 40 + [1, 1]
    base, tuned = label_samples(golds, [1 - gold for gold in golds]), label_samples(golds, golds)
    summary = cases_of(tmp_path / "once", base, tuned)
    assert summary.counts is not None
    assert summary.cases is not None
    assert summary.counts["corrected"] == 42
    shown = [case.gold for case in summary.cases["corrected"]]
    assert sorted(shown) == ["negative"] * 4 + ["positive"] * 2
    assert cases_of(tmp_path / "turned", base[::-1], tuned[::-1]) == summary
    other = cases_of(tmp_path / "drawn", base, tuned, seed=1)
    assert other.cases is not None
    assert other.cases["corrected"] != summary.cases["corrected"]


def test_choices_have_names_and_both_log_likelihoods(tmp_path: Path) -> None:
    """nli_sample gives the answer -1 and the choice of index i -2.5 - i: base says maybe, tuned
    says yes."""
    base, tuned = (
        nli_sample(0, 0, predicted, "A man sleeps.", "A man rests.") for predicted in (1, 0)
    )
    summary = cases_of(tmp_path, [base], [tuned])
    assert summary.cases is not None
    (case,) = summary.cases["corrected"]
    assert case.choices == [
        Choice(name="entailment (yes)", base=-2.5, tuned=-1.0),
        Choice(name="neutral (maybe)", base=-1.0, tuned=-3.5),
        Choice(
            name="contradiction", base=-4.5, tuned=-4.5
        ),  # nobody answered it: its word is not known
    ]
    assert case.margins() == (1.5, 2.5)  # -1 - -2.5, and -1 - -3.5
    assert case.texts == {"premise": "A man sleeps.", "hypothesis": "A man rests."}


def test_choices_without_label_names_are_named_by_the_answers_given(tmp_path: Path) -> None:
    base, tuned = (
        make_sample(0, "Rome", answer, {"acc": score}, responses=responses)
        for answer, score, responses in (
            ("Oslo", 0.0, [[-3.0, False], [-1.0, False], [-2.0, False]]),
            ("Rome", 1.0, [[-1.0, False], [-3.0, False], [-2.0, False]]),
        )
    )
    summary = cases_of(tmp_path, [base], [tuned])
    assert summary.cases is not None
    assert [choice.name for choice in summary.cases["corrected"][0].choices or []] == [
        "Rome",
        "Oslo",
        "choice 3",
    ]


@pytest.mark.parametrize("responses", [["blue"], [[-1.0, True]], [[-1.0, True], "blue"], []])
def test_an_answer_that_was_not_chosen_has_no_choices_and_no_margin(
    tmp_path: Path, responses: list[Any]
) -> None:
    samples = [answer_samples(["blue"], ["blue"])[0].model_copy(update={"responses": responses})]
    summary = cases_of(tmp_path, samples, samples)
    assert summary.cases is not None
    (case,) = summary.cases["still right"]
    assert case.choices is None
    assert case.margins() == (None, None)


def test_the_fields_that_a_head_reads_are_those_of_the_case(tmp_path: Path) -> None:
    base, tuned = nli_pair(tmp_path / "prompted")
    settings = base.record.settings.model_copy(update={"text_fields": ["hypothesis"]})
    base = base.model_copy(update={"record": base.record.model_copy(update={"settings": settings})})
    pairs, _ = pair_items(base, tuned)
    assert find_cases(base, tuned, pairs).text_fields == ["hypothesis"]
