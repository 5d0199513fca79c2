"""Records -> pairs -> rows, verdicts and sentences. Expected values are counted by hand."""

from __future__ import annotations

import math
import random
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats

from ft_harness.comparison import remarks, sentences
from ft_harness.comparison.aggregator import (
    AdapterRun,
    Question,
    Row,
    Study,
    aggregate,
    compare,
)
from ft_harness.comparison.amounts import interval, probability
from ft_harness.comparison.cautions import warn_of_overfitting
from ft_harness.comparison.comparability import Terms
from ft_harness.comparison.sentences import state_study
from ft_harness.data.data_report import DataReport, SplitData
from ft_harness.data.duplicates import SplitOverlap
from ft_harness.errors import InputError, NotComparableError
from ft_harness.records import Evaluation, Sample
from tests.builders.records import (
    ANSWER_METRICS,
    answer_samples,
    label_samples,
    make_card,
    make_record,
    make_sample,
    make_score,
)
from tests.comparison.conftest import Write


def answers_right(golds: Sequence[int], right: int) -> list[int]:
    """Predictions of which the first `right` are the gold label."""
    return [gold if number < right else 1 - gold for number, gold in enumerate(golds)]


def make_pair(
    write: Write, n: int, base_right: int, tuned_right: int, **settings: Any
) -> tuple[Evaluation, Evaluation]:
    """Base and tuned on n items with alternating gold labels."""
    golds = [number % 2 for number in range(n)]
    base = write(make_record(**settings), label_samples(golds, answers_right(golds, base_right)))
    tuned = write(
        make_record("nli", **settings), label_samples(golds, answers_right(golds, tuned_right))
    )
    return base, tuned


def find_row(rows: Sequence[Row], metric: str) -> Row:
    return next(row for row in rows if row.metric == metric and row.tuned_subject is not None)


# --- rows


def test_rows_of_a_classification(write: Write) -> None:
    comparison = compare(*make_pair(write, 100, 40, 70))
    assert [row.metric for row in comparison.rows] == [
        "acc",
        "acc",
        "f1_macro",
        "f1_negative",
        "f1_positive",
    ]
    majority, accuracy, f1_macro = comparison.rows[:3]
    assert (majority.base_subject, majority.tuned_subject) == ("majority class", None)
    assert (majority.base, majority.tuned, majority.delta, majority.p, majority.n) == (
        0.5,
        None,
        None,
        None,
        100,
    )
    assert (majority.primary, majority.verdict, majority.tuned_settings) == (False, None, None)
    assert (accuracy.base, accuracy.tuned, accuracy.n) == (0.4, 0.7, 100)
    assert accuracy.delta == pytest.approx(0.3)
    assert accuracy.p == pytest.approx(0.5**30)  # gained 30, lost 0
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert 0.2 < accuracy.low < 0.3 < accuracy.high < 0.4
    assert (accuracy.primary, accuracy.p_adjusted, accuracy.verdict) == (
        True,
        None,
        "improved",
    )
    # per class 35 and 15 of 50 right: tp 35 fp 15 fn 15 -> F1 0.7; base 20 of 50 -> 0.4
    assert [f1_macro.base, f1_macro.tuned] == pytest.approx([0.4, 0.7])
    assert (f1_macro.primary, f1_macro.p_adjusted, f1_macro.verdict) == (False, None, "improved")
    assert comparison.cases.counts == {
        "still right": 40,
        "corrected": 30,
        "broken": 0,
        "not corrected": 30,
    }


def test_rows_say_what_made_them(write: Write) -> None:
    accuracy = find_row(compare(*make_pair(write, 10, 4, 7)).rows, "acc")
    assert (accuracy.task, accuracy.split) == ("demo_nli", "test")
    assert (accuracy.base_subject, accuracy.tuned_subject) == ("base--bundled", "nli")
    assert accuracy.tuned_settings is not None
    assert (accuracy.base_settings["adapter"], accuracy.tuned_settings["adapter"]) == (None, "nli")
    assert accuracy.tuned_settings["signature"] == "metric:acc"
    assert accuracy.tuned_settings["dtype"] == "float32"
    assert accuracy.tuned_settings["num_fewshot"] == 0


def test_rows_of_generated_answers_have_no_majority_class(write: Write) -> None:
    golds = ["red car", "blue", "green", "old house", "big dog"]
    base = write(
        make_record(metrics=ANSWER_METRICS), answer_samples(golds, ["red", "blue", "no", "", "dog"])
    )
    tuned = write(
        make_record("qa", metrics=ANSWER_METRICS),
        answer_samples(golds, ["red car", "blue", "x", "house", "big dog"]),
    )
    exact_match, token_f1 = compare(base, tuned).rows
    assert (exact_match.metric, exact_match.primary, exact_match.base, exact_match.tuned) == (
        "exact_match",
        True,
        0.2,
        0.6,
    )
    # token F1: 2/3 1 0 0 2/3 -> 0.46667; 1 1 0 2/3 1 -> 0.73333. Items gain 1/3, 1/3 and 2/3; as
    # most tuned scores are alike, an unseen one may be 0: it falls by the base's mean, 7/15. With
    # exponential weights that outweighs all in 1 / (1 + 5/7)^2 / (1 + 10/7) = 0.1401 of the cases,
    # which count by half: p; 2 % further out (z of 1.4754 -> 1.4465) 0.148.
    assert [token_f1.base, token_f1.tuned] == pytest.approx([7 / 15, 11 / 15])
    assert token_f1.p == pytest.approx(0.148, abs=0.013)


def test_shuffled_samples_are_paired_by_item(write: Write) -> None:
    golds = [number % 2 for number in range(60)]
    base, tuned = (
        label_samples(golds, answers_right(golds, 20)),
        label_samples(golds, answers_right(golds, 45)),
    )
    random.Random(3).shuffle(tuned)
    shuffled = [sample.model_copy(update={"doc_id": number}) for number, sample in enumerate(tuned)]
    comparison = compare(
        write(make_record(), base),
        write(make_record("nli", data_hash="data-of-another-order"), shuffled),
    )
    assert comparison.cases.counts == {
        "still right": 20,
        "corrected": 25,
        "broken": 0,
        "not corrected": 15,
    }
    in_order = compare(
        write(make_record(), base),
        write(make_record("nli"), sorted(tuned, key=lambda s: s.item_key)),
    )
    assert [(row.p, row.low, row.high) for row in comparison.rows] == [
        (row.p, row.low, row.high) for row in in_order.rows
    ]


def without_score(samples: Sequence[Sample], numbers: Sequence[int], *metrics: str) -> list[Sample]:
    """The samples; those of these numbers have no score of these metrics (of any, if none is
    named)."""
    return [
        sample.model_copy(
            update={"scores": sample.scores | dict.fromkeys(metrics or sample.scores)}
        )
        if sample.doc_id in numbers
        else sample
        for sample in samples
    ]


def test_items_that_one_side_has_no_score_for_are_refused(write: Write) -> None:
    """Item 3 has no score on either side, item 4 in tuned alone: one item that could make tuned
    look better."""
    golds = [0, 1] * 10
    base, tuned = label_samples(golds, golds), label_samples(golds, golds)
    pair = (
        write(make_record(), without_score(base, [3], "acc")),
        write(make_record("nli"), without_score(tuned, [3, 4], "acc")),
    )
    with pytest.raises(
        NotComparableError, match=r"\n  items without a score of acc  0 of 20  1 of 20"
    ):
        compare(*pair)
    study = aggregate(pair, name="n", command="c", terms=Terms(allow_mismatch=("items",)))
    accuracy = find_row(study.rows(), "acc")
    assert (accuracy.n, accuracy.n_items, find_row(study.rows(), "f1_macro").n) == (18, 20, 20)
    assert study.notes == [
        "nli/demo_nli@test: acc: 2 of 20 items are left out: no score in base or tuned",
    ]
    (said,) = state_study(study)
    assert "(test, 18 of 20 items)" in said
    assert " 2 of 20 items are left out: no score in base or tuned." in said


def test_items_that_neither_side_has_a_score_for_are_left_out_and_said(write: Write) -> None:
    """As questions without an answer are for the exact match of those that have one."""
    golds = [0, 1] * 10
    base, tuned = (without_score(label_samples(golds, golds), [3, 5, 6]) for _ in range(2))
    study = aggregate(
        [write(make_record(), base), write(make_record("nli"), tuned)], name="n", command="c"
    )
    assert {row.n for row in study.rows()} == {17}
    (note,) = study.notes
    assert note.startswith(
        "nli/demo_nli@test: acc, f1_macro, f1_negative and 1 more: 3 of 20 items are left out: no "
    )
    assert "3 of 20 items are left out" in state_study(study)[0]


def test_failed_items_of_a_partial_evaluation_come_with_its_status(write: Write) -> None:
    golds = [0, 1] * 10
    base, tuned = (
        write(make_record(), label_samples(golds, golds)),
        without_score(label_samples(golds, golds), [0, 1]),
    )
    partial = write(make_record("nli").model_copy(update={"status": "partial"}), tuned)
    with pytest.raises(NotComparableError, match=r"\n  status  "):
        compare(base, partial)
    assert "(test, 18 of 20 items)" in compare(base, partial, allow_mismatch=["status"]).sentence


def test_the_majority_class_rests_on_the_items_of_the_accuracy(write: Write) -> None:
    """12 of 20 gold labels are negative; without 8 of these 4 of 12 are, and 8 of 12 are
    positive."""
    golds = [0] * 12 + [1] * 8
    base, tuned = label_samples(golds, golds), without_score(label_samples(golds, golds), range(8))
    pair = write(make_record(), base), write(make_record("nli"), tuned)
    majority, accuracy = compare(*pair, allow_mismatch=["items"]).rows[:2]
    assert (majority.base, majority.n, accuracy.n) == (8 / 12, 12, 12)


def test_where_each_item_has_its_own_choices_guessing_is_a_rule(write: Write) -> None:
    """8 of 12 items have four choices and 4 have two: (8 / 4 + 4 / 2) / 12 = 1 / 3."""
    sides = []
    for adapter, right in ((None, 5), ("x", 9)):
        samples = [
            make_sample(
                number, f"word {number}", "any", {"acc": float(number < right)},
                choices=[f" {letter}{number}" for letter in ("abcd" if number < 8 else "ab")],
            )
            for number in range(12)
        ]  # fmt: skip
        sides.append(write(make_record(adapter, ["acc"]), samples))
    compared = compare(*sides)
    chance, accuracy = compared.rows
    assert (chance.base_subject, chance.tuned_subject, chance.metric) == ("chance", None, "acc")
    assert (chance.base, chance.n, chance.verdict) == (pytest.approx(1 / 3), 12, None)
    assert compared.rules() == {"chance": chance.base}
    assert accuracy.tuned == 9 / 12


def test_without_choices_nothing_is_guessed(write: Write) -> None:
    sides = [
        write(
            make_record(adapter, ["acc"]),
            [make_sample(number, f"word {number}", "any", {"acc": 1.0}) for number in range(12)],
        )
        for adapter in (None, "x")
    ]
    assert compare(*sides).rules() == {}


def test_an_undefined_number_stays_undefined(write: Write) -> None:
    golds = [0] * 10
    base, tuned = (
        write(make_record(), label_samples(golds, golds)),
        write(make_record("x"), label_samples(golds, golds)),
    )
    row = find_row(compare(base, tuned).rows, "f1_positive")
    assert (row.base, row.tuned, row.delta, row.low, row.p, row.verdict) == (
        None,
        None,
        None,
        None,
        None,
        None,
    )


def test_no_items_at_all(write: Write) -> None:
    comparison = compare(write(make_record(), []), write(make_record("nli"), []))
    assert {(row.base, row.n) for row in comparison.rows} == {(None, 0)}
    assert (
        comparison.sentence
        == "No difference can be stated: accuracy on demo_nli (test, 0 items) is undefined."
    )
    assert comparison.detectable is None


# --- what may be compared


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task_version", "2.0"),
        ("task_hash", "task-2"),
        ("num_fewshot", 4),
        ("limit", 50),
        ("sample_seed", 7),
        ("chat_template_hash", "template-1"),
        ("generation_kwargs", {"until": ["\n"]}),
        ("max_length", 256),
        ("seed", 1),
        ("back_end", "hf, softmax bfloat16"),
    ],
)
def test_other_settings_are_refused(write: Write, field: str, value: Any) -> None:
    base, _ = make_pair(write, 10, 4, 7)
    _, tuned = make_pair(write, 10, 4, 7, **{field: value})
    with pytest.raises(NotComparableError, match=rf"\n +base +tuned\n  {field} +\S") as caught:
        compare(base, tuned)
    assert repr(value) in str(caught.value)
    assert compare(base, tuned, allow_mismatch=[field]).rows


@pytest.mark.parametrize(("field", "value"), [("batch_size", 1), ("device", "cuda")])
def test_how_the_work_was_cut_up_may_differ_and_is_noted(
    write: Write, field: str, value: Any
) -> None:
    base, _ = make_pair(write, 10, 4, 7)
    _, tuned = make_pair(write, 10, 4, 7, **{field: value})
    (note,) = aggregate([base, tuned], name="n", command="c").notes
    assert note.startswith(f"nli/demo_nli@test: {field}: base ")
    assert note.endswith(f", tuned {value!r}")


@pytest.mark.parametrize(
    ("field", "key"), [("identity", "model"), ("dtype", "dtype"), ("quantization", "quantization")]
)
def test_other_models_and_precisions_are_refused(write: Write, field: str, key: str) -> None:
    base, tuned = make_pair(write, 10, 4, 7)
    other = tuned.record.model.model_copy(update={field: "other"})
    with pytest.raises(NotComparableError, match=rf"\n  {key} .*  'other'"):
        compare(
            base,
            tuned.model_copy(update={"record": tuned.record.model_copy(update={"model": other})}),
        )


def test_other_metrics_are_refused(write: Write) -> None:
    base, tuned = make_pair(write, 10, 4, 7)
    scores = [make_score("acc", signature="metric:acc|v2"), make_score("f1_macro")]
    changed = tuned.model_copy(
        update={"record": tuned.record.model_copy(update={"scores": scores})}
    )
    with pytest.raises(NotComparableError) as caught:
        compare(base, changed)
    shown = [re.split(" {2,}", line.strip()) for line in str(caught.value).splitlines()]
    assert ["metric acc", "'metric:acc'", "'metric:acc|v2'"] in shown
    assert ["metric f1_negative", "'metric:f1_negative'", "None"] in shown
    assert "f1_macro" not in str(caught.value)


@pytest.mark.parametrize("status", ["partial", "failed"])
def test_incomplete_evaluations_are_refused(write: Write, status: str) -> None:
    base, tuned = make_pair(write, 10, 4, 7)
    incomplete = tuned.model_copy(
        update={"record": tuned.record.model_copy(update={"status": status})}
    )
    with pytest.raises(NotComparableError, match=r"\n  status  'complete' +'"):
        compare(base, incomplete)
    both = base.model_copy(update={"record": base.record.model_copy(update={"status": status})})
    with pytest.raises(NotComparableError, match=r"\n  status  "):
        compare(both, incomplete)


def test_missing_and_extra_items_are_refused_with_their_counts(write: Write) -> None:
    golds = [0, 1] * 5
    samples = label_samples(golds, golds)
    extra = make_sample(99, "positive", "positive", samples[0].scores)
    base, tuned = write(make_record(), samples), write(make_record("nli"), [*samples[3:], extra])
    with pytest.raises(
        NotComparableError, match=r"\n  items  10 \(3 only here\)  8 \(1 only here\)"
    ):
        compare(base, tuned)


@pytest.mark.parametrize("field", ["prompt_hash", "target_hash"])
def test_other_prompts_and_targets_are_refused(write: Write, field: str) -> None:
    golds = [0, 1] * 5
    samples = label_samples(golds, golds)
    changed = [
        sample.model_copy(update={field: "new"}) if sample.doc_id in (4, 6) else sample
        for sample in samples
    ]
    base, tuned = write(make_record(), samples), write(make_record("nli"), changed)
    with pytest.raises(NotComparableError) as caught:
        compare(base, tuned)
    old = getattr(samples[4], field)
    assert caught.value.differences[-1] == (
        f"  {field} of 2 of 10 items, first item0004-1  {old!r}  'new'"
    )


def test_a_repeated_item_is_refused(write: Write) -> None:
    samples = label_samples([0, 1], [0, 1])
    base, tuned = write(make_record(), samples), write(make_record("nli"), [*samples, samples[0]])
    with pytest.raises(InputError, match="1 samples repeat the item_key"):
        compare(base, tuned)


def test_evaluations_without_a_common_metric_are_refused(write: Write) -> None:
    samples = label_samples([0, 1], [0, 1])
    with pytest.raises(InputError, match="share no metric"):
        compare(
            write(make_record(metrics=()), samples), write(make_record("nli", metrics=()), samples)
        )


# --- studies


def test_every_adapter_meets_its_base_on_every_split(write: Write) -> None:
    pairs = [make_pair(write, 20, 4, 18, split=split) for split in ("train", "validation", "test")]
    pairs.append(make_pair(write, 20, 4, 18, task="a_task", split="validation"))
    evaluations = [evaluation for pair in pairs for evaluation in pair]
    study = aggregate(evaluations[::-1], name="first", command="ft-harness report results")
    assert (study.name, study.command, study.notes) == ("first", "ft-harness report results", [])
    places = [(c.tuned.settings.task, c.tuned.settings.split) for c in study.comparisons]
    assert places == [
        ("a_task", "validation"),
        ("demo_nli", "test"),
        ("demo_nli", "validation"),
        ("demo_nli", "train"),
    ]
    primary = [(row.task, row.split, row.metric) for row in study.rows() if row.primary]
    assert primary == [("a_task", "validation", "acc"), ("demo_nli", "test", "acc")]
    assert all(comparison.sentence.startswith("Accuracy on") for comparison in study.comparisons)


def test_primary_p_values_are_adjusted_together_where_that_is_asked_for(write: Write) -> None:
    # gained 5 of 12, lost 0: p = 1/32 = 0.03125, significant alone; Holm over two doubles it
    pairs = [make_pair(write, 12, 6, 11, task=task) for task in ("one", "two")]
    alone = find_row(compare(*pairs[0]).rows, "acc")
    assert (alone.p, alone.p_adjusted, alone.verdict) == (0.03125, None, "improved")
    study = aggregate(
        [evaluation for pair in pairs for evaluation in pair],
        name="n",
        command="c",
        question=Question(holm=True),
    )
    rows = [row for row in study.rows() if row.primary]
    assert [(row.p, row.p_adjusted, row.verdict) for row in rows] == [
        (0.03125, 0.0625, "no evidence")
    ] * 2
    assert all("Holm-adjusted p = 0.063" in comparison.sentence for comparison in study.comparisons)
    assert {row.p_adjusted for row in study.rows() if not row.primary} == {None}


def test_a_base_of_another_model_is_no_partner(write: Write) -> None:
    base, tuned = make_pair(write, 20, 8, 14)
    model = base.record.model.model_copy(update={"identity": "model-2"})
    other = base.model_copy(update={"record": base.record.model_copy(update={"model": model})})
    study = aggregate([other, tuned], name="n", command="c")
    assert study.comparisons == []
    assert len(study.notes) == 2


def test_a_first_metric_that_is_no_mean_has_a_detectable_difference_too(write: Write) -> None:
    """As for a mean, from what each item adds to it; never below 2.8016^2 / 20 = 0.3924."""
    golds = [0, 1] * 10
    names = ("f1_macro",)
    base = write(make_record(metrics=names), label_samples(golds, answers_right(golds, 8)))
    tuned = write(make_record("nli", metrics=names), label_samples(golds, answers_right(golds, 14)))
    comparison = compare(base, tuned)
    assert comparison.detectable == pytest.approx(0.3924, abs=1e-4)
    assert [(row.metric, row.primary) for row in comparison.rows] == [("f1_macro", True)]


def test_two_adapters_share_a_base(write: Write) -> None:
    base, first = make_pair(write, 20, 8, 14)
    golds = [number % 2 for number in range(20)]
    second = write(make_record("other"), label_samples(golds, answers_right(golds, 10)))
    study = aggregate([base, first, second], name="n", command="c")
    assert [comparison.tuned.subject for comparison in study.comparisons] == ["nli", "other"]


def test_the_base_measured_in_the_same_way_is_the_partner(write: Write) -> None:
    base, tuned = make_pair(write, 20, 8, 14)
    short, _ = make_pair(write, 20, 8, 14, max_length=256)
    study = aggregate([short, base, tuned], name="n", command="c")
    assert study.comparisons[0].base == base.record
    assert study.notes == [
        "base--bundled/demo_nli@test: not compared, nli/demo_nli@test was matched with an "
        "evaluation more like it"
    ]


def test_differences_are_accepted_by_name_only_and_noted(write: Write) -> None:
    short, _ = make_pair(write, 20, 8, 14, max_length=256)
    _, tuned = make_pair(write, 20, 8, 14)
    with pytest.raises(NotComparableError, match=r"\n  max_length  256 +512"):
        aggregate([short, tuned], name="n", command="c", terms=Terms(allow_mismatch=("seed",)))
    notes = aggregate(
        [short, tuned], name="n", command="c", terms=Terms(allow_mismatch=("max_length",))
    ).notes
    assert notes == [
        "nli/demo_nli@test: accepted difference from its base, max_length: base 256, tuned 512"
    ]


def test_evaluations_that_stay_alone_or_incomplete_are_named(write: Write) -> None:
    base, tuned = make_pair(write, 20, 8, 14)
    shots, _ = make_pair(write, 20, 8, 14, num_fewshot=4, task="few")
    _, lonely = make_pair(write, 20, 8, 14, task="lonely")
    partial = write(make_record("half").model_copy(update={"status": "partial"}), [])
    study = aggregate([base, tuned, shots, lonely, partial], name="n", command="c")
    assert len(study.comparisons) == 1
    assert study.notes == [
        "nli/lonely@test: not compared, no base was scored the same way; the closest is "
        "base--bundled/demo_nli@test: task is lonely, there demo_nli",
        "base--bundled/few@test: not compared, no adapter was scored the same way; the closest is "
        "nli/demo_nli@test: task is few, there demo_nli; shots is 4, there 0",
        "half/demo_nli@test: partial, not compared",
    ]


def test_nothing_to_compare_is_an_empty_study() -> None:
    study = aggregate([], name="n", command="c")
    assert (study.comparisons, study.notes, study.rows()) == ([], [], [])


def test_bad_items_are_noted(write: Write) -> None:
    base, tuned = make_pair(write, 20, 8, 14)
    scores = [
        score.model_copy(update={"n_invalid": 2, "n_truncated": 3, "n": 20})
        for score in tuned.record.scores
    ]
    bad = tuned.model_copy(update={"record": tuned.record.model_copy(update={"scores": scores})})
    run = AdapterRun(card=make_card("nli"), history=[])
    study = aggregate([base, bad], [run], name="n", command="c")
    assert study.notes == [
        "nli/demo_nli@test: 2 items have an answer that could not be read or scored",
        "nli/demo_nli@test: 3 items had their prompt cut to fit the context",
    ]
    assert study.adapters == [run]


# --- clusters, perplexities, training seeds


def in_clusters(samples: Sequence[Sample], size: int) -> list[Sample]:
    """Every `size` items in a row share a premise."""
    return [
        sample.model_copy(update={"doc": {"premise": f"p{number // size}"}})
        for number, sample in enumerate(samples)
    ]


def test_items_that_share_a_premise_are_tested_together(write: Write) -> None:
    """18 items gained in six clusters of three, of 60 in twenty: the mid-p of six gained is 1 / 2^6,
    a normal deviate of 2.42; divided by the root of 20/19 (jackknife) and 21/19 (random weights) and
    read off Student's distribution of 19 degrees it is 0.037. Alone they would give 1 / 2^18."""
    golds = [number % 2 for number in range(60)]
    base, tuned = (
        in_clusters(label_samples(golds, answers_right(golds, right)), 3) for right in (30, 48)
    )
    pair = (
        write(make_record(cluster="premise"), base),
        write(make_record("nli", cluster="premise"), tuned),
    )
    comparison = compare(*pair)
    accuracy, f1_macro = find_row(comparison.rows, "acc"), find_row(comparison.rows, "f1_macro")
    assert (accuracy.n, accuracy.n_clusters) == (60, 20)
    deviate = scipy.stats.norm.isf(1 / 128) / math.sqrt(20 / 19 * 21 / 19)
    assert accuracy.p == pytest.approx(2 * scipy.stats.t.sf(deviate, 19), abs=0.006)
    assert (accuracy.p_method, accuracy.interval_method) == (
        "random weights of clusters, inverts the interval",
        "random weights of clusters",
    )
    assert f1_macro.p is not None
    assert f1_macro.p < 0.05
    assert f1_macro.p_method == "random weights of clusters, inverts the interval"
    assert "(test, 60 items in 20 clusters)" in comparison.sentence
    alone = find_row(compare(*make_pair(write, 60, 30, 48)).rows, "acc")
    assert alone.p == pytest.approx(1 / 2**18)
    assert (alone.n_clusters, alone.p_method) == (None, "McNemar's mid-p test")
    assert None not in (accuracy.low, alone.low)
    assert (accuracy.high or 0) - (accuracy.low or 0) > 1.5 * ((alone.high or 0) - (alone.low or 0))


def test_clusters_of_one_item_are_items(write: Write) -> None:
    golds = [0, 1] * 10
    base, tuned = (
        in_clusters(label_samples(golds, answers_right(golds, right)), 1) for right in (8, 14)
    )
    pair = (
        write(make_record(cluster="premise"), base),
        write(make_record("nli", cluster="premise"), tuned),
    )
    assert find_row(compare(*pair).rows, "acc").p_method == "McNemar's mid-p test"


def leave_unscored(samples: list[Sample], numbers: Iterable[int]) -> None:
    for number in numbers:
        scores = samples[number].scores | {"acc": None}
        samples[number] = samples[number].model_copy(update={"scores": scores})


def test_clusters_of_the_items_that_have_a_score(write: Write) -> None:
    """Of twenty clusters two lose all their items."""
    golds = [0, 1] * 30
    base, tuned = (
        in_clusters(label_samples(golds, answers_right(golds, right)), 3) for right in (30, 48)
    )
    leave_unscored(tuned, range(6))
    pair = (
        write(make_record(cluster="premise"), base),
        write(make_record("nli", cluster="premise"), tuned),
    )
    accuracy = find_row(compare(*pair, allow_mismatch=["items"]).rows, "acc")
    assert (accuracy.n, accuracy.n_clusters) == (54, 18)


def test_clusters_of_which_one_item_has_a_score_are_items(write: Write) -> None:
    golds = [number % 2 for number in range(40)]
    base, tuned = (
        in_clusters(label_samples(golds, answers_right(golds, right)), 2) for right in (16, 28)
    )
    leave_unscored(tuned, range(1, 40, 2))
    pair = (
        write(make_record(cluster="premise"), base),
        write(make_record("nli", cluster="premise"), tuned),
    )
    accuracy = find_row(compare(*pair, allow_mismatch=["items"]).rows, "acc")
    assert (accuracy.n, accuracy.n_clusters, accuracy.p) == (20, None, 1 / 64)  # gained 6, lost 0


def test_perplexities_are_compared_as_ratios(write: Write) -> None:
    """Each item's loss a token falls by 0.1, so the ratio is exp(-0.1); the interval has a width all
    the same."""
    names = ("token_ppl",)
    losses = [1.0 + number % 7 / 5 for number in range(50)]
    sides = [
        [
            make_sample(n, "x", None, {"token_ppl": [-10 * (loss - step), 10.0]})
            for n, loss in enumerate(losses)
        ]
        for step in (0.0, 0.1)
    ]
    scores = [make_score("token_ppl", higher_is_better=False)]
    records = [
        make_record(name, metrics=names).model_copy(update={"scores": scores})
        for name in (None, "lm")
    ]
    comparison = compare(
        *(write(record, side) for record, side in zip(records, sides, strict=True))
    )
    (row,) = comparison.rows
    base = math.exp(sum(losses) / 50)
    assert (row.base, row.tuned) == (pytest.approx(base), pytest.approx(base * math.exp(-0.1)))
    assert row.low is not None
    assert row.high is not None
    assert row.low < base * math.expm1(-0.1) < row.high < 0
    assert (row.verdict, row.interval_method) == (
        "improved",
        "random weights of items, log ratio",
    )
    # exp(mean loss) is 4.894 and 4.428, the ratio 0.905
    assert row.p is not None
    assert row.p < 0.05
    assert comparison.sentence == (
        "Token perplexity on demo_nli (test, 50 items) improved from 4.894 to 4.428: -0.466, a factor "
        f"of 0.905 (95 % interval {row.low:.3f} to {row.high:.3f}, p = {row.p:.3f}, one training seed)."
    )


def trained(
    write: Write, seeds: Sequence[int], **train: Any
) -> tuple[list[Evaluation], list[AdapterRun]]:
    """A base of 40 % on 100 items, and an adapter for each seed, right on 60 + 5 x seed of them."""
    base, _ = make_pair(write, 100, 40, 50)
    golds = [number % 2 for number in range(100)]
    evaluations, runs = [base], []
    for seed in seeds:
        name = f"seed{seed}"
        evaluations.append(
            write(make_record(name), label_samples(golds, answers_right(golds, 60 + 5 * seed)))
        )
        recipe = {
            "model": {},
            "train": {"seed": seed} | {key: value(seed) for key, value in train.items()},
        }
        runs.append(
            AdapterRun(card=make_card(name).model_copy(update={"recipe": recipe}), history=[])
        )
    return evaluations, runs


def test_training_seeds_are_put_together(write: Write) -> None:
    """Right on 65, 70 and 75 of 100, base 40: deltas 0.25, 0.30, 0.35, standard deviation 0.05."""
    study = aggregate(*trained(write, [1, 2, 3]), name="n", command="c")
    (repeats,) = study.repeats
    assert (repeats.seeds, repeats.units, repeats.metric, repeats.split) == (
        [1, 2, 3],
        100,
        "acc",
        "test",
    )
    assert repeats.deltas == pytest.approx([0.25, 0.30, 0.35])
    assert (repeats.mean, repeats.seed_deviation) == pytest.approx((0.30, 0.05))
    # per item the mean of three differences: 25 ones, 5 of 2/3, 5 of 1/3, 65 zeros
    means = [1.0] * 25 + [2 / 3] * 5 + [1 / 3] * 5 + [0.0] * 65
    assert repeats.test_error == pytest.approx(statistics.stdev(means) / 10)
    accuracy = study.comparisons[1].rows[1]
    assert repeats.low is not None
    assert accuracy.low is not None
    assert repeats.low < accuracy.low  # other seeds too
    assert state_study(study)[-1].startswith(
        "Over 3 training seeds accuracy on demo_nli (test) changes by +30.0 points on average (95 % interval "
    )
    assert "the seeds differ by a standard deviation of 5.0 points" in state_study(study)[-1]


def test_what_differs_in_more_than_the_seed_is_not_put_together(write: Write) -> None:
    study = aggregate(
        *trained(write, [1, 2], learning_rate=lambda seed: seed / 1000), name="n", command="c"
    )
    assert study.repeats == []
    evaluations, runs = trained(write, [1, 2])
    assert aggregate(evaluations, runs[:1], name="n", command="c").repeats == []
    same = runs[1].model_copy(
        update={"card": runs[1].card.model_copy(update={"recipe": runs[0].card.recipe})}
    )
    assert aggregate(evaluations, [runs[0], same], name="n", command="c").repeats == []
    assert aggregate(evaluations, runs, name="n", command="c").repeats != []


# --- items that also stand in the training split


def make_data(items: Sequence[str], **changes: Any) -> DataReport:
    """The data report of `demo_nli`: these items of its test split also stand in train, one of them
    nearly."""
    overlap = SplitOverlap(
        split="test",
        against="train",
        n=20,
        n_exact=len(items) - 1,
        n_same_answer=0,
        n_near=1,
        items=list(items),
    )
    split = {
        "n": 20,
        "labels": None,
        "majority_share": None,
        "random_share": None,
        "n_repeated": 0,
        "lengths": None,
    }
    test = SplitData.model_validate({"split": "test", "data_hash": "data-1"} | split)
    return DataReport(task="demo_nli", splits=[test], overlaps=[overlap], lost=[]).model_copy(
        update=changes
    )


def study_of(pair: Sequence[Evaluation], data: DataReport | None, name: str = "nli") -> Study:
    run = AdapterRun(card=make_card(name), history=[], data=data)
    return aggregate(pair, [run], name="n", command="c")


def test_numbers_without_the_items_that_stand_in_train(write: Write) -> None:
    """20 items, base right on the first 8, tuned on the first 14. Without items 0, 9, 10 and 19:
    base 7 of 16, tuned 11 of 16; gained are 8, 11, 12, 13 and none is lost, so p = 0.5 ** 4 =
    0.0625."""
    pair = make_pair(write, 20, 8, 14)
    study = study_of(pair, make_data(["item0000", "item0009", "item0010", "item0019"]))
    (comparison,) = study.comparisons
    without = comparison.without
    assert without is not None
    assert (without.base, without.tuned, without.n) == (7 / 16, 11 / 16, 16)
    assert without.p == pytest.approx(0.0625)
    assert (without.split, without.metric) == ("test without overlap", "acc")
    assert (without.primary, without.p_adjusted, without.verdict) == (False, None, "no evidence")
    assert find_row(comparison.rows, "acc").n == 20  # the whole split stays the primary number
    measured = [row.metric for row in comparison.rows if row.tuned_subject]
    clean = [row for row in study.rows() if row.split == "test without overlap"]
    assert [row.metric for row in clean] == measured  # each metric, the headline's first
    assert {row.n for row in clean} == {16}
    (macro,) = (row for row in clean if row.metric == "f1_macro")
    assert find_row(comparison.rows, "f1_macro").decided_by == (
        None if macro.verdict == "improved" else "items without overlap"
    )
    # 7/16 = 43.8 %, 11/16 = 68.8 %; all items: gained 6, lost 0, p = 1/64
    assert "(test without overlap, 16 items) 43.8 % -> 68.8 % (+25.0 points, " in comparison.finding
    assert comparison.finding.startswith("No evidence of a difference")
    every = find_row(comparison.rows, "acc")
    assert (every.verdict, every.decided_by, every.p) == (
        "no evidence",
        "items without overlap",
        0.015625,
    )
    assert comparison.cautions[0].startswith(
        "4 of 20 items also occur in the training data, exactly or nearly: the others decide. "
        "With all items accuracy 40.0 % -> 70.0 % (+30.0 points, 95 % interval +"
    )
    assert "p = 0.016" in comparison.cautions[0]
    assert study.notes == []  # the card's coarser count is not said beside it


def test_every_copy_of_an_overlapping_item_is_left_out(write: Write) -> None:
    """Items 1 and 2 are copies of item 0: their keys differ in the occurrence only."""

    def renamed(evaluation: Evaluation) -> Evaluation:
        samples = list(evaluation.samples())
        for number in (1, 2):
            samples[number] = samples[number].model_copy(
                update={"item_key": f"item0000-{number + 1}"}
            )
        return write(evaluation.record, samples)

    study = study_of(
        [renamed(each) for each in make_pair(write, 20, 8, 14)], make_data(["item0000", "item0009"])
    )
    assert study.comparisons[0].without is not None
    assert study.comparisons[0].without.n == 16


@pytest.mark.parametrize("items", [[], ["item9999"]])
def test_nothing_is_said_without_overlap(write: Write, items: list[str]) -> None:
    study = study_of(make_pair(write, 20, 8, 14), make_data(items))
    assert study.comparisons[0].without is None
    assert "training data" not in study.comparisons[0].sentence
    assert study.notes == []


def test_all_items_stand_in_train(write: Write) -> None:
    study = study_of(
        make_pair(write, 20, 8, 14), make_data([f"item{number:04d}" for number in range(20)])
    )
    (comparison,) = study.comparisons
    assert comparison.finding.startswith(
        "Nothing can be said about new items: accuracy on demo_nli (test, 20 items) 40.0 % -> 70.0 %"
    )
    assert comparison.cautions[0] == (
        "All 20 items also occur in the training data: this says nothing about new items."
    )
    assert comparison.headline.verdict == "no evidence"
    assert comparison.without is not None
    assert (comparison.without.base, comparison.without.tuned, comparison.without.n) == (
        None,
        None,
        0,
    )
    assert comparison.without.verdict is None


def test_a_data_report_counts_for_its_own_adapter_and_task_only(write: Write) -> None:
    items = ["item0000", "item0009"]
    pair = make_pair(write, 20, 8, 14)
    assert study_of(pair, make_data(items), name="other").comparisons[0].without is None
    assert study_of(pair, make_data(items, task="snli_custom")).comparisons[0].without is None
    train = make_pair(write, 20, 8, 14, split="train")
    assert study_of(train, make_data(items)).comparisons[0].without is None
    assert study_of(train, make_data(items)).notes == []


def test_other_docs_than_the_data_report_knows_are_noted(write: Write) -> None:
    note = (
        "nli/demo_nli@{split}: the adapter's data report does not cover these {split} "
        "docs; whether they also occur in training was not checked"
    )
    data = make_data(["item0000"])
    assert study_of(make_pair(write, 20, 8, 14, data_hash="data-2"), data).notes == [
        note.format(split="test")
    ]
    assert study_of(make_pair(write, 20, 8, 14, split="validation"), data).notes == [
        note.format(split="validation")
    ]
    sample = {"data_hash": "data-2", "sample_seed": 1234, "limit": 20}  # a sample's hash is its own
    assert study_of(make_pair(write, 20, 8, 14, **sample), data).notes == []


# --- verdicts and sentences


def test_sentence_of_an_improvement(write: Write) -> None:
    comparison = compare(*make_pair(write, 400, 140, 284))
    accuracy = find_row(comparison.rows, "acc")
    assert accuracy.low is not None
    assert accuracy.high is not None
    # gained 144 of 400, lost 0
    assert comparison.sentence == (
        "Accuracy on demo_nli (test, 400 items) improved from 35.0 % to 71.0 %: +36.0 points "
        f"(95 % interval {100 * accuracy.low:+.1f} to {100 * accuracy.high:+.1f}, p < 0.001, one training seed)."
    )


def test_sentence_of_a_regression(write: Write) -> None:
    comparison = compare(*make_pair(write, 100, 70, 40))
    assert find_row(comparison.rows, "acc").verdict == "worse"
    assert comparison.sentence.startswith(
        "Accuracy on demo_nli (test, 100 items) got worse, from 70.0 % to 40.0 %: -30.0 points (95 % interval -"
    )


def inverted(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Ends of the interval that inverts McNemar's mid-p test, by scipy's quadrature and root
    finding: the share of changed items is a beta variable, and of it the part that is gained."""
    changed = gained + lost

    def below(difference: float) -> float:
        def density(share: float) -> float:
            parts = [
                scipy.stats.beta.cdf((difference / share + 1) / 2, *counts)
                for counts in ((gained + 1, lost), (gained, lost + 1))
            ]
            return scipy.stats.beta.pdf(share, changed + 1, n - changed) * sum(parts) / 2

        spread = 8 * math.sqrt(changed * (n - changed) / n**3)
        ends = max(1e-9, changed / n - spread), min(1 - 1e-9, changed / n + spread)
        return scipy.integrate.quad(density, *ends)[0]

    return tuple(
        scipy.optimize.brentq(lambda d, level=level: below(d) - level, -0.99, 0.99, xtol=1e-5)
        for level in (0.025, 0.975)
    )


@pytest.mark.parametrize(
    ("right", "said"),
    # tuned right on the first `right` of 200 items, golds negative, positive, ...; always
    # "negative" is right on 100. Of the first half of these items it wins the positive ones, of the
    # rest it loses the negative ones.
    [
        (60, "below"),
        (95, "not shown to be better than"),
        (104, "not shown to be better than"),
        (140, None),
    ],
)
def test_the_majority_class_is_told_by_an_interval(
    write: Write, right: int, said: str | None
) -> None:
    sentence = compare(*make_pair(write, 200, 100, right)).sentence
    low, high = inverted(right // 2, (200 - right) // 2, 200)
    assert (said is None) == (low > 0)
    assert (said == "below") == (high < 0)
    if said is None:
        assert "majority" not in sentence
        return
    ends = f"{100 * low:+.1f} to {100 * high:+.1f}"
    assert (
        f"is {said} the majority class (50.0 %; 95 % interval of tuned minus majority {ends} points)"
        in sentence
    )


def test_sentence_without_evidence_says_what_could_have_been_seen(write: Write) -> None:
    golds = [number % 2 for number in range(100)]
    base = [gold if number >= 46 else 1 - gold for number, gold in enumerate(golds)]  # 54 right
    tuned = list(base)
    for number in (*range(6), *range(50, 54)):  # six corrected, four broken
        tuned[number] = 1 - tuned[number]
    comparison = compare(
        write(make_record(), label_samples(golds, base)),
        write(make_record("nli"), label_samples(golds, tuned)),
    )
    accuracy = find_row(comparison.rows, "acc")
    assert (accuracy.verdict, accuracy.n) == ("no evidence", 100)
    # mid-p of 6 against 4: 2 * (176 + 210 / 2) / 1024 = 0.549; 10 of 100 items change: about 9 points
    start, end = re.split(r"95 % interval -\d\.\d to \+\d\.\d, ", comparison.sentence)
    assert (
        start
        == "No evidence of a difference: accuracy on demo_nli (test, 100 items) 54.0 % -> 56.0 % (+2.0 points, "
    )
    assert end.startswith(
        "p = 0.55, one training seed); 100 items could only detect about 9 points. "
    )


def test_sentence_of_four_items(write: Write) -> None:
    comparison = compare(*make_pair(write, 4, 0, 4))
    assert find_row(comparison.rows, "acc").verdict == "no evidence"  # p = 1 / 2^4
    said = "p = 0.063, one training seed); 4 items can't show any difference."
    assert said in comparison.sentence
    assert comparison.headline.decided_by is None  # interval and test agree


def test_no_difference_is_written_without_a_sign_of_zero(write: Write) -> None:
    golds = [0, 1] * 25
    sides = answers_right(golds, 30), answers_right(golds, 30)
    sides[1][0], sides[1][40] = 1 - golds[0], golds[40]  # one lost, one gained
    base, tuned = (
        write(make_record(name), label_samples(golds, side))
        for name, side in zip((None, "nli"), sides, strict=True)
    )
    assert "(+0.0 points" in compare(base, tuned).sentence


def test_a_collapsed_model_is_called_so(write: Write) -> None:
    golds = [0, 1] * 50
    base = write(make_record(), label_samples(golds, answers_right(golds, 60)))
    tuned = write(make_record("hot"), label_samples(golds, [1] * 99 + [0]))
    sentence = compare(base, tuned).sentence
    assert (
        "The tuned model is not shown to be better than the majority class (50.0 %;" in sentence
    )  # 49 of 100
    # the base: of 50 positive ones 30 right, of 50 negative ones 20 wrong
    assert sentence.endswith(
        "The tuned model answers 'positive' for 99 % of the items: it has collapsed to one answer "
        "(base model: 50 %)."
    )


def test_a_base_that_is_not_verified_is_said_and_is_a_cause_of_a_collapse(write: Write) -> None:
    golds = [0, 1] * 50
    doubt = "the adapter names some-lab/tiny, it was scored on bundled"
    base = write(make_record(), label_samples(golds, answers_right(golds, 60)))
    record = make_record("theirs")
    assert record.adapter
    noted = {"unchecked": ["the prompts: not known", f"the base: {doubt}"]}
    adapter = record.adapter.model_copy(update=noted)
    record = record.model_copy(update={"adapter": adapter})
    tuned = write(record, label_samples(golds, [1] * 99 + [0]))
    sentence = compare(base, tuned).sentence
    assert f"Unverified base: {doubt}." in sentence
    assert sentence.endswith("An adapter loaded on the wrong base does that too.")


def test_a_model_that_learned_nothing_is_not_called_collapsed(write: Write) -> None:
    golds = [0, 1] * 50
    base, tuned = (
        write(make_record(name), label_samples(golds, [1] * 100)) for name in (None, "cold")
    )
    sentence = compare(base, tuned).sentence
    assert "The tuned model is not shown to be better than the majority class (50.0 %;" in sentence
    assert sentence.endswith("'positive' for 100 % of the items, as the base model does.")


@pytest.mark.parametrize(
    ("answers", "golds", "collapsed"),
    [
        (["b"] * 95 + ["a"] * 5, ["a", "b"] * 50, True),
        (["b"] * 94 + ["a"] * 6, ["a", "b"] * 50, False),
        (
            ["b"] * 100,
            ["b"] * 90 + ["a"] * 10,
            False,
        ),  # the gold answers themselves are nearly all the same
        (["b"] * 100, ["b"] * 80 + ["a"] * 20, True),
        ([None] * 100, ["a", "b"] * 50, False),  # said by remark_empty
        ([], [], False),
    ],
)
def test_when_a_model_counts_as_collapsed(
    answers: list[str | None], golds: list[str], collapsed: bool
) -> None:
    assert (remarks.find_collapse(answers, golds) is not None) == collapsed


def test_empty_answers_are_said(write: Write) -> None:
    golds = ["red", "blue"] * 5
    base = write(make_record(metrics=ANSWER_METRICS), answer_samples(golds, golds))
    tuned = write(make_record("qa", metrics=ANSWER_METRICS), answer_samples(golds, ["", " "] * 5))
    assert compare(base, tuned).sentence.endswith(
        "Every answer of the tuned model is empty or unreadable."
    )
    assert compare(tuned, base).sentence.endswith(
        "Every answer of the base model is empty or unreadable. 10 of the 10 gained items had a base "
        "answer that was empty or cut off: the gain is one of format, and not shown to be one of "
        "skill."
    )
    assert "empty" not in compare(base, base).sentence


def test_a_task_that_asks_for_no_answer_has_no_empty_ones(write: Write) -> None:
    """Where only the likelihood of a text is asked for, no prediction is made; a choice that failed
    on one side is."""
    texts = [make_sample(n, "x", None, {"acc": n % 2}) for n in range(10)]
    sides = (
        write(make_record(metrics=["acc"]), texts),
        write(make_record("lm", metrics=["acc"]), texts),
    )
    assert "Every answer" not in compare(*sides).sentence
    chosen = [sample.model_copy(update={"prediction": "a"}) for sample in texts]
    sides = (
        write(make_record(metrics=["acc"]), chosen),
        write(make_record("lm", metrics=["acc"]), texts),
    )
    assert "Every answer of the tuned model is empty or unreadable." in compare(*sides).sentence


def test_a_long_answer_is_quoted_in_part(write: Write) -> None:
    golds = [f"word {number}" for number in range(20)]
    sides = [
        write(make_record(name, metrics=ANSWER_METRICS), answer_samples(golds, [answer] * 20))
        for name, answer in ((None, "a"), ("qa", "b" * 100))
    ]
    assert f"answers '{'b' * 39}…' for 100 %" in compare(*sides).sentence


@pytest.mark.parametrize(
    ("unfinished", "said"),
    [
        ([[True]] * 10, True),
        ([[True]] * 9 + [[False]], False),
        ([None] * 10, False),
        ([[False]] + [[True]] * 9, False),
    ],
)
def test_answers_that_were_all_cut_are_said(
    write: Write, unfinished: list[list[bool] | None], said: bool
) -> None:
    golds = [f"word {number}" for number in range(10)]
    base, tuned = (
        answer_samples(golds, [f"{who} {number}" for number in range(10)]) for who in "bt"
    )
    cut = [
        sample.model_copy(update={"unfinished": each})
        for sample, each in zip(tuned, unfinished, strict=True)
    ]
    records = (make_record(metrics=ANSWER_METRICS), make_record("qa", metrics=ANSWER_METRICS))
    sentence = compare(write(records[0], base), write(records[1], cut)).sentence
    remark = " Every answer of the tuned model was cut by the limit of generated tokens: none is finished."
    assert (remark in sentence) == said
    assert "base model was cut" not in sentence


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        # of 300 items right: base and tuned. Gains of 50 and 5 points; both intervals are about 11
        # points wide
        ((150, 300), (150, 165), True),
        (
            (150, 300),
            (150, 270),
            False,
        ),  # 10 points more on train, by the interval 2 to 18: not certainly 5
        ((150, 165), (150, 300), False),  # the other way round
        ((240, 300), (180, 240), False),  # train above test by 20 points, as for the base
    ],
)
def test_overfitting_is_said_by_an_interval(
    write: Write, train: tuple[int, int], test: tuple[int, int], said: bool
) -> None:
    pairs = [
        make_pair(write, 300, *train, split="train"),
        make_pair(write, 300, *test, split="test"),
    ]
    comparisons = aggregate(
        [each for pair in pairs for each in pair], name="n", command="c"
    ).comparisons
    tested, trained = comparisons
    assert ("overfitting" in tested.sentence) == said
    assert "overfitting" not in trained.sentence
    if said:
        assert tested.sentence.endswith(
            "The tuned model gains +50.0 points (to 100.0 %) on its training examples and +5.0 points "
            "(to 55.0 %) here: much of what it learnt is memorised (overfitting)."
        )


def test_other_shots_or_adapters_tell_nothing_of_overfitting(write: Write) -> None:
    base, tuned = make_pair(write, 300, 150, 165)
    for changes in ({"num_fewshot": 2}, {"task": "other"}):
        train = make_pair(write, 300, 150, 300, split="train", **changes)
        study = aggregate([base, tuned, *train], name="n", command="c")
        assert not [each for each in study.comparisons if "overfitting" in each.sentence]


def test_the_gain_of_a_perplexity_is_that_of_its_logarithm() -> None:
    """Train from 20 to 10 (log -0.693), test from 30 to 27 (-0.105): 0.588 apart, each interval
    0.02 to both sides; from 100 to 90 is -0.105 too."""
    trained, tested, even = (
        make_row(
            metric="token_ppl", base=base, tuned=tuned, delta=tuned - base,
            low=base * math.expm1(math.log(tuned / base) - 0.02), high=base * math.expm1(math.log(tuned / base) + 0.02),
        )
        for base, tuned in ((20.0, 10.0), (30.0, 27.0), (100.0, 90.0))
    )  # fmt: skip
    assert warn_of_overfitting(trained, tested)
    assert not warn_of_overfitting(tested, trained)
    assert not warn_of_overfitting(even, tested)
    assert not warn_of_overfitting(trained.model_copy(update={"low": None, "high": None}), tested)


BEST = {"load_best_model_at_end": True, "early_stopping_patience": None}
EARLY = {"load_best_model_at_end": False, "early_stopping_patience": 3}


@pytest.mark.parametrize(
    ("splits", "train", "task", "said"),
    [
        (
            ["validation"],
            None,
            "",
            "These are validation items: if they were used to choose anything, new items would",
        ),
        (
            ["validation"],
            BEST,
            "demo_nli",
            "The training used these validation items (the best checkpoint was kept): ",
        ),
        (
            ["validation"],
            EARLY,
            "demo_nli",
            "The training used these validation items (it was stopped early): new ",
        ),
        (["validation"], BEST, "other", None),  # a control: the training did not look at it
        (
            ["test", "validation"],
            BEST,
            "demo_nli",
            "this number is unbiased, those on validation are not.",
        ),
        (["test", "validation"], {}, "demo_nli", None),
        (["test"], BEST, "demo_nli", None),
    ],
)
def test_validation_items_that_were_used_for_choosing(
    write: Write, splits: list[str], train: dict[str, Any] | None, task: str, said: str | None
) -> None:
    pairs = [make_pair(write, 20, 8, 14, split=split) for split in splits]
    recipe = {"task": {"name": task}, "train": train}
    runs = [AdapterRun(card=make_card("nli").model_copy(update={"recipe": recipe}), history=[])]
    study = aggregate(
        [each for pair in pairs for each in pair],
        runs if train is not None else [],
        name="n",
        command="c",
    )
    (sentence,) = state_study(study)
    assert (said in sentence) if said else ("validation items" not in sentence)


def make_row(**changes: Any) -> Row:
    usual: dict[str, Any] = {
        "task": "t",
        "split": "test",
        "metric": "acc",
        "base_subject": "b",
        "tuned_subject": "a",
        "base_settings": {},
        "tuned_settings": {},
        "base": 0.352,
        "tuned": 0.71,
        "delta": 0.358,
        "low": 0.301,
        "high": 0.412,
        "p": 0.0001,
        "p_adjusted": None,
        "primary": True,
        "n": 400,
        "verdict": "improved",
    }
    return Row(**usual | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            "Accuracy on t (test, 400 items) improved from 35.2 % to 71.0 %: +35.8 points "
            "(95 % interval +30.1 to +41.2, p < 0.001).",
        ),
        (
            {"metric": "f1_yes", "p": 0.0123, "p_adjusted": 0.0369},
            "F1_yes on t (test, 400 items) improved from 35.2 % to 71.0 %: +35.8 points "
            "(95 % interval +30.1 to +41.2, Holm-adjusted p = 0.037).",
        ),
        (
            {
                "metric": "token_f1",
                "low": None,
                "high": None,
                "p": None,
                "verdict": "no evidence",
                "n": 1,
            },
            "No evidence of a difference: token F1 on t (test, 1 item) 35.2 % -> 71.0 % "
            "(+35.8 points, interval undefined, p undefined); 1 item can't show any difference.",
        ),
        (
            {
                "delta": -0.0001,
                "low": -0.05,
                "high": 0.05,
                "p": 1.0,
                "verdict": "no evidence",
                "tuned": 0.3519,
            },
            "No evidence of a difference: accuracy on t (test, 400 items) 35.2 % -> 35.2 % "
            "(+0.0 points, 95 % interval -5.0 to +5.0, p = 1.00).",
        ),
        (  # 5 of 60 items
            {
                "low": -0.208,
                "high": 0.769,
                "delta": 0.4,
                "tuned": 0.752,
                "p": 0.0498,
                "n": 5,
                "n_items": 60,
            },
            "Accuracy on t (test, 5 of 60 items) improved from 35.2 % to 75.2 %: +40.0 points "
            "(95 % interval -20.8 to +76.9, p = 0.0498).",
        ),
        (  # 66.85 / 66.87 is 0.9997: no factor worth a word
            {
                "metric": "token_ppl",
                "base": 66.87,
                "tuned": 66.85,
                "delta": -0.02,
                "low": -0.03,
                "high": -0.01,
            },
            "Token perplexity on t (test, 400 items) improved from 66.87 to 66.85: -0.02 "
            "(95 % interval -0.03 to -0.01, p < 0.001).",
        ),
        (  # a third decimal, so that neither end is 0
            {
                "metric": "token_ppl",
                "base": 2.25,
                "tuned": 2.246,
                "delta": -0.004,
                "low": -0.006,
                "high": -0.002,
            },
            "Token perplexity on t (test, 400 items) improved from 2.250 to 2.246: -0.004, a factor of 0.998 "
            "(95 % interval -0.006 to -0.002, p < 0.001).",
        ),
        (
            {"metric": "bleu", "base": 20.0, "tuned": 22.0, "delta": 2.0, "low": 1.0, "high": 3.0},
            "BLEU on t (test, 400 items) improved from 20.0 to 22.0: +2.0 points (95 % interval +1.0 to +3.0, "
            "p < 0.001).",
        ),
        (
            {"delta": None, "base": None},
            "No difference can be stated: accuracy on t (test, 400 items) is undefined.",
        ),
    ],
)
def test_sentences_by_rule(changes: dict[str, Any], expected: str) -> None:
    assert sentences.state_verdict(make_row(**changes), None) == expected


def test_small_detectable_effects_keep_a_decimal() -> None:
    row = make_row(verdict="no evidence", p=0.5)
    assert sentences.state_verdict(row, 0.0149).endswith(
        "; 400 items could only detect about 1.5 points."
    )
    assert sentences.state_verdict(row, 0.0881).endswith(
        "; 400 items could only detect about 9 points."
    )


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0004, "< 0.001"), (0.0123, "0.012"), (0.0498, "0.0498"), (0.04996, "0.04996"), (0.0502, "0.050"),
     (0.05, "0.050"), (0.0996, "0.100"), (0.41, "0.41")],
)  # fmt: skip
def test_p_is_shown_on_its_side_of_the_limit(p: float, shown: str) -> None:
    assert probability(p) == shown


@pytest.mark.parametrize(
    ("metric", "ends", "shown"),
    [
        ("acc", (-0.208, 0.769), "-20.8 to +76.9"),  # one number of digits, however wide
        ("acc", (0.0, 0.2001), "+0.0 to +20.0"),
        ("acc", (0.004, 0.3), "+0.4 to +30.0"),  # above 0, and shown so
        ("acc", (-0.3, -0.004), "-30.0 to -0.4"),
        ("token_ppl", (-358.77, -354.52), "-358.77 to -354.52"),
        ("token_ppl", (-0.0003, 0.0004), "-0.0003 to +0.0004"),
        ("token_ppl", (0.0, 0.0), "+0.00, no width"),
        ("token_ppl", (-1e-16, 1e-16), "+0.00, no width"),  # what floats leave of nothing
        ("brier", (-0.01, 0.02), "-0.010 to +0.020"),
    ],
)
def test_an_interval_has_the_digits_that_it_carries(
    metric: str, ends: tuple[float, float], shown: str
) -> None:
    assert interval(metric, *ends) == shown


def test_sentences_name_the_adapter_only_where_several_are_compared():
    from tests.builders.study import make_study

    study = make_study()
    primary = [each for each in study.comparisons if any(row.primary for row in each.rows)]
    assert state_study(study) == [each.sentence for each in primary]
    other = primary[0].model_copy(
        update={"tuned": primary[0].tuned.model_copy(update={"subject": "other"})}
    )
    both = study.model_copy(update={"comparisons": [primary[0], other]})
    assert state_study(both) == [
        f"{each.tuned.subject}: {each.sentence}" for each in (primary[0], other)
    ]


def test_sentences_tell_what_else_the_comparisons_differ_in(write: Write) -> None:
    """Shots, arguments of generation (those that differ only), items and training seeds, as the
    tables name them."""

    def leads(*ways: dict[str, Any]) -> list[str]:
        pairs = [make_pair(write, 20, 8, 14, **way) for way in ways]
        pairs = [
            tuple(
                e.model_copy(
                    update={"record": e.record.model_copy(update={"eval_id": f"e{number}"})}
                )
                for e in pair
            )
            for number, pair in enumerate(pairs)
        ]
        said = state_study(
            aggregate([each for pair in pairs for each in pair], name="n", command="c")
        )
        return [
            sentence.partition(": ")[0] for sentence in said if "decide, each by" not in sentence
        ]

    assert leads({"num_fewshot": 0}, {"num_fewshot": 5}) == ["0-shot", "5-shot"]
    assert leads({"num_fewshot": 0, "limit": 20}, {"num_fewshot": 5}) == [
        "0-shot, 20 items",
        "5-shot, all items",
    ]
    greedy, warm, hot = (
        {"until": ["\n"]} | extra for extra in ({}, {"temperature": 0.5}, {"temperature": 0.9})
    )
    assert leads({"generation_kwargs": warm}, {"generation_kwargs": hot}) == [
        "decoding temperature=0.5",
        "decoding temperature=0.9",
    ]
    assert leads({"generation_kwargs": greedy}, {"generation_kwargs": hot}) == [
        "decoding as the task says",
        "decoding temperature=0.9",
    ]
    said = state_study(aggregate(*trained(write, [1, 2]), name="n", command="c"))
    assert [sentence.partition(": ")[0] for sentence in said[:2]] == [
        "seed1, seed 1",
        "seed2, seed 2",
    ]


def test_p_is_called_adjusted_only_where_it_was_asked_for(write: Write) -> None:
    """Of two p the larger one stays what it is, and is adjusted all the same."""
    pairs = make_pair(write, 20, 8, 14, task="one"), make_pair(write, 20, 8, 10, task="two")
    scored = [evaluation for pair in pairs for evaluation in pair]
    study = aggregate(scored, name="n", command="c", question=Question(holm=True))
    assert all("Holm-adjusted p = " in each.finding for each in study.comparisons)
    assert "Holm" not in compare(*pairs[0]).sentence
    assert "Holm" not in " ".join(state_study(aggregate(scored, name="n", command="c")))
