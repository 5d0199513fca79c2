"""One verdict for one pair of evaluations, in whatever company; what a verdict must not hide.
Expected values are counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ft_harness.comparison.aggregator import AdapterRun, Question, aggregate, compare, compare_all
from ft_harness.comparison.comparability import Terms
from ft_harness.comparison.families import role_of
from ft_harness.comparison.rows import decide
from ft_harness.comparison.sentences import state_study, state_verdict
from ft_harness.comparison.study import Comparison, Row
from ft_harness.records import Evaluation
from ft_harness.report.cells import measured_cells
from tests.builders.records import (
    ANSWER_METRICS,
    LABEL_METRICS,
    answer_samples,
    label_samples,
    make_card,
    make_record,
)
from tests.builders.study import make_row
from tests.comparison.conftest import Write

LABELS = ("negative", "neutral", "positive")


def scored(
    write: Write, name: str | None, right: Sequence[bool], metrics: Any = LABEL_METRICS, **way: Any
) -> Evaluation:
    """Alternating gold labels, answered right or wrong."""
    golds = [number % 2 for number in range(len(right))]
    answers = [gold if good else 1 - gold for gold, good in zip(golds, right, strict=True)]
    record = make_record(name, metrics=metrics, **way)
    record = record.model_copy(update={"eval_id": f"{record.eval_id}-{name}"})
    return write(record, label_samples(golds, answers))


def changed(n: int, gained: int, lost: int) -> tuple[list[bool], list[bool]]:
    """Right answers of base (n / 2 of n) and tuned."""
    base = [number < n // 2 for number in range(n)]
    tuned = list(base)
    for number in range(lost):
        tuned[number] = False
    for number in range(gained):
        tuned[n // 2 + number] = True
    return base, tuned


def make_run(name: str, task: str, **train: Any) -> AdapterRun:
    recipe = {"task": {"name": task}, "train": {"learning_rate": 3e-4, **train}}
    return AdapterRun(card=make_card(name).model_copy(update={"recipe": recipe}), history=[])


def judged(row: Row) -> tuple[Any, ...]:
    return row.p, row.p_adjusted, row.family, row.verdict, row.low, row.high


# --- one verdict


def test_a_pair_has_one_p_family_and_verdict_in_whatever_company(write: Write) -> None:
    """Test, validation, train, a control and another adapter join; what the pair shows stays."""
    test = [
        scored(write, name, side)
        for name, side in zip((None, "a"), changed(100, 22, 8), strict=True)
    ]
    more: list[Evaluation] = []
    for split in ("validation", "train"):
        sides = zip((None, "a"), changed(60, 12, 3), strict=True)
        more += [scored(write, name, side, split=split) for name, side in sides]
    control = zip((None, "a"), changed(80, 5, 6), strict=True)
    more += [scored(write, name, side, task="other") for name, side in control]
    more.append(scored(write, "b", changed(100, 30, 0)[1]))
    runs = [make_run("a", "demo_nli"), make_run("b", "demo_nli")]
    alone = compare(*test).headline
    assert alone.p is not None
    assert (alone.family, alone.verdict) == ("trained task", "improved")

    def find(comparisons: Sequence[Comparison]) -> Row:
        return next(
            each.headline
            for each in comparisons
            if (each.tuned.subject, each.headline.task, each.headline.split)
            == ("a", "demo_nli", "test")
        )

    for company in ([], more[:4], more[:6], more):
        study = aggregate([*test, *company], runs, name="n", command="c")
        assert judged(find(study.comparisons)) == judged(alone)
    pairs = [(test[0], test[1]), (more[0], more[1]), (more[2], more[3])]
    assert judged(find(compare_all(pairs, Terms(), runs))) == judged(alone)


def test_families_are_stated_and_train_and_validation_belong_to_none(write: Write) -> None:
    scores: list[Evaluation] = []
    for split in ("test", "validation"):
        for name, side in zip((None, "a"), changed(60, 12, 3), strict=True):
            scores.append(scored(write, name, side, split=split))
    for task in ("other", "third"):
        for name, side in zip((None, "a"), changed(60, 3, 12), strict=True):
            scores.append(scored(write, name, side, task=task))
    study = aggregate(scores, [make_run("a", "demo_nli")], name="n", command="c")
    assert {(row.task, row.split): row.family for row in study.rows() if row.family} == {
        ("demo_nli", "test"): "trained task",
        ("other", "test"): "control task",
        ("third", "test"): "control task",
    }
    assert [(family.name, len(family.members)) for family in study.families] == [
        ("trained task", 1),
        ("control task", 2),
    ]
    assert study.families[1].members[0] == "a on other (test), acc"
    said = state_study(study)
    assert said[1].startswith("control task of a: Accuracy on other") or said[1].startswith(
        "control"
    )
    assert said[-1] == (
        "2 comparisons of control tasks decide, each by its own p; false verdicts to expect if nothing "
        "had changed anywhere: 2 x 5 % = 0.1."
    )


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("descriptive", "no interval holds for this metric"),
        ("too few items for an interval", "too few items for an interval or a test"),
    ],
)
def test_a_row_without_an_interval_has_no_verdict(why: str, said: str) -> None:
    nothing = {"low": None, "high": None, "p": None, "no_interval": why}
    row = decide(make_row("demo_nli", "test", "ece", (0.4, 0.1), **nothing), None)
    assert row.verdict is None
    assert measured_cells(row)["Verdict"] == why
    sentence = state_verdict(row, None)
    assert sentence.startswith("Nothing was tested: ")
    assert said in sentence


def test_validation_decides_where_there_is_no_test(write: Write) -> None:
    sides = zip((None, "a"), changed(60, 12, 3), strict=True)
    base, tuned = (scored(write, name, side, split="validation") for name, side in sides)
    assert compare(base, tuned).headline.primary


def test_holm_is_used_where_it_is_asked_for_and_controls_by_themselves(write: Write) -> None:
    """p of 12 against 3 is the same for each; two trained tasks double it, one control does not."""
    scores: list[Evaluation] = []
    for task in ("one", "two", "control"):
        for name, side in zip(
            (None, task.replace("control", "one")), changed(60, 12, 3), strict=True
        ):
            scores.append(scored(write, name, side, task=task))
    runs = [make_run("one", "one"), make_run("two", "two")]
    study = aggregate(scores, runs, name="n", command="c", question=Question(holm=True))
    p = {row.task: row.p for row in study.rows() if row.family}
    adjusted = {row.task: row.p_adjusted for row in study.rows() if row.family}
    assert adjusted == {"one": 2 * p["one"], "two": 2 * p["two"], "control": p["control"]}  # type: ignore[operator]


# --- of use


@pytest.mark.parametrize(
    ("golds", "base_right", "tuned", "verdict"),
    [
        # base 4 % right, tuned answers the majority class (54 %) to everything
        ([1] * 54 + [0] * 46, 4, [1] * 100, "improved, not above majority"),
        # 33 % against a majority of 54 %
        ([1] * 54 + [0] * 46, 4, [1] * 30 + [0] * 27 + [1] * 43, "improved, not above majority"),
        ([1] * 54 + [0] * 46, 4, [1] * 54 + [0] * 46, "improved"),
    ],
)
def test_no_row_calls_a_model_of_no_use_improved(
    write: Write, golds: list[int], base_right: int, tuned: list[int], verdict: str
) -> None:
    answers = [gold if number < base_right else 1 - gold for number, gold in enumerate(golds)]
    compared = compare(
        write(make_record(), label_samples(golds, answers)),
        write(make_record("x"), label_samples(golds, tuned)),
    )
    assert compared.headline.verdict == verdict
    said = {row.verdict for row in compared.rows if row.tuned_subject}
    assert ("improved" in said) == (verdict == "improved")
    assert ("but not above the majority class" in compared.finding) == (verdict != "improved")
    assert compared.above_majority == (verdict == "improved")


# --- what a headline must not miss


def test_a_class_that_lost_is_named_at_equal_accuracy(write: Write) -> None:
    """Of 100 neutral items 69 were recognised and 22 are; 47 others are gained: 200 of 300 each."""
    golds = [0] * 100 + [1] * 100 + [2] * 100
    base = [0 if n < 66 else 2 for n in range(100)] + [1 if n < 69 else 0 for n in range(100)]
    base += [2 if n < 65 else 0 for n in range(100)]
    tuned = [0 if n < 90 else 2 for n in range(100)] + [1 if n < 22 else 0 for n in range(100)]
    tuned += [2 if n < 88 else 0 for n in range(100)]
    names = ("acc", "f1_macro", *(f"recall_{label}" for label in LABELS))

    def write_side(name: str | None, answers: Sequence[int]) -> Evaluation:
        return write(make_record(name, metrics=names), label_samples(golds, answers, LABELS))

    compared = compare(write_side(None, base), write_side("x", tuned))
    assert (compared.headline.base, compared.headline.tuned) == (200 / 300, 200 / 300)
    assert compared.headline.verdict == "no evidence"
    assert "Recall fell: 'neutral' from 69.0 % to 22.0 %." in compared.cautions
    assert compared.companions == ["f1_macro"]


def test_the_class_that_lost_is_named_without_metrics_of_labels(write: Write) -> None:
    """As above, of a task that scores accuracy alone: of 100 items of a class 69 were right and 22
    are; of the others 131 were and 178 are."""
    golds = [number % 3 for number in range(300)]
    right = {"base": (69, 66, 65), "tuned": (22, 89, 89)}

    def write_side(name: str | None, counts: Sequence[int]) -> Evaluation:
        answers = [
            gold if number // 3 < counts[gold] else (gold + 1) % 3
            for number, gold in enumerate(golds)
        ]
        samples = [
            sample.model_copy(update={"scores": {"acc": sample.scores["acc"]}})
            for sample in label_samples(golds, answers, LABELS)
        ]
        return write(make_record(name, metrics=("acc",)), samples)

    compared = compare(write_side(None, right["base"]), write_side("x", right["tuned"]))
    assert compared.headline.delta == 0.0
    assert f"Recall fell: '{LABELS[0]}' from 69.0 % to 22.0 %." in compared.cautions


def test_texts_are_no_classes_that_could_be_lost(write: Write) -> None:
    """Each right answer comes once."""
    texts = [f"answer {number}" for number in range(40)]
    pair = [
        write(
            make_record(name, metrics=("acc",)),
            [
                sample.model_copy(update={"scores": {"acc": float(number < count)}, "target": text})
                for number, (sample, text) in enumerate(
                    zip(label_samples([0] * 40, [0] * 40), texts, strict=True)
                )
            ],
        )
        for name, count in ((None, 40), ("x", 5))
    ]
    assert not [line for line in compare(*pair).cautions if "Recall" in line]


def test_a_gain_of_format_is_called_so(write: Write) -> None:
    """No base answer can be read; 67 of 100 tuned ones are right."""
    golds = [number % 2 for number in range(100)]
    names = (*LABEL_METRICS, "invalid")

    def write_side(name: str | None, answers: Sequence[int | None]) -> Evaluation:
        samples = [
            sample.model_copy(update={"scores": sample.scores | {"invalid": float(sample.invalid)}})
            for sample in label_samples(golds, answers)
        ]
        return write(make_record(name, metrics=names), samples)

    tuned = [gold if number < 67 else 1 - gold for number, gold in enumerate(golds)]
    said = compare(write_side(None, [None] * 100), write_side("x", tuned)).cautions
    assert (
        "67 of the 67 gained items had an unreadable base answer: the gain is one of format, and not "
        "shown to be one of skill."
    ) in said
    some = [None if number < 10 else 1 - gold for number, gold in enumerate(golds)]
    said = compare(write_side(None, some), write_side("x", tuned)).cautions
    assert (
        "10 of the 67 gained items had an unreadable base answer: that part of the gain is one of "
        "format."
    ) in said
    readable = [1 - gold for gold in golds]
    said = compare(write_side(None, readable), write_side("x", tuned)).cautions
    assert not [line for line in said if "format" in line]


def test_short_answers_of_the_base_that_were_empty_or_cut_are_a_gain_of_format(
    write: Write,
) -> None:
    """40 items: the base's answers are cut (20), empty (10) or of another color (10); 30 of the
    tuned ones are right, 8 of these where the base named another color."""
    golds = ["red"] * 40
    flags = [(0.0, 1.0)] * 20 + [(1.0, 0.0)] * 10 + [(0.0, 0.0)] * 10
    names = (*ANSWER_METRICS, "empty", "truncated")

    def write_side(
        name: str | None, answers: Sequence[str], of: list[tuple[float, float]]
    ) -> Evaluation:
        samples = [
            sample.model_copy(update={"scores": sample.scores | {"empty": empty, "truncated": cut}})
            for sample, (empty, cut) in zip(answer_samples(golds, answers), of, strict=True)
        ]
        return write(make_record(name, metrics=names), samples)

    base = write_side(None, ["blue"] * 40, flags)
    tuned = ["red"] * 22 + ["blue"] * 10 + ["red"] * 8
    said = compare(base, write_side("x", tuned, [(0.0, 0.0)] * 40)).cautions
    assert (
        "22 of the 30 gained items had a base answer that was empty or cut off: the gain is one of "
        "format, and not shown to be one of skill."
    ) in said


def test_an_adapter_that_changed_nothing_comes_before_power(write: Write) -> None:
    base, _ = changed(100, 0, 0)
    pair = scored(write, None, base), scored(write, "x", base)
    finding = compare(*pair).finding
    assert finding == (
        "Nothing changed on demo_nli (test): base and tuned have the same scores on each of 100 items "
        "(accuracy 50.0 %), though the adapter was in use: it changes logits, but no answer."
    )


def test_one_seed_is_said_next_to_p_and_none_of_a_model_without_an_adapter(write: Write) -> None:
    base, tuned = changed(100, 22, 8)
    assert (
        ", one training seed)"
        in compare(scored(write, None, base), scored(write, "x", tuned)).finding
    )
    other = make_record().model_copy(update={"subject": "base--other"})
    golds = [number % 2 for number in range(100)]
    answers = [gold if good else 1 - gold for gold, good in zip(golds, tuned, strict=True)]
    pair = scored(write, None, base), write(other, label_samples(golds, answers))
    assert "seed" not in compare(*pair).finding


def test_a_collapse_names_steps_and_rate_and_a_control_names_no_training(write: Write) -> None:
    golds = [0, 1] * 50
    base = write(make_record(), label_samples(golds, golds))
    tuned = write(make_record("x"), label_samples(golds, [1] * 100))
    for task, said in (
        ("demo_nli", "for 100 % of the items after 10 steps at a learning rate of 0.0003: it has "),
        ("other", "for 100 % of the items: it has "),
    ):
        study = aggregate([base, tuned], [make_run("x", task)], name="n", command="c")
        sentence = study.comparisons[0].sentence
        assert said in sentence
        assert "not taught" not in sentence


@pytest.mark.parametrize(
    ("trained", "scored_task", "role"),
    [
        ("instruction_custom", "instruction_custom", "trained task"),
        ("instruction_custom", "instruction_ppl_custom", "same data"),
        ("sst2_custom_gen", "sst2_custom", "same data"),
        ("sst2_custom", "snli_custom", "control task"),
    ],
)
def test_another_form_of_the_trained_task_is_no_control(
    trained: str, scored_task: str, role: str
) -> None:
    record = make_record("x", task=scored_task)
    assert role_of(record, make_run("x", trained)) == role
    assert role_of(record, None) == "trained task"


def test_metrics_that_are_asked_for_lead_the_sentence_and_change_no_verdict(write: Write) -> None:
    sides = zip((None, "a"), changed(100, 22, 8), strict=True)
    scores = [scored(write, name, side) for name, side in sides]
    usual = aggregate(scores, name="n", command="c").comparisons[0]
    asked = aggregate(scores, name="n", command="c", question=Question(("f1_macro",))).comparisons[
        0
    ]
    assert asked.finding.startswith("Macro F1 on demo_nli")
    assert (asked.headline.metric, asked.headline.primary) == ("f1_macro", False)
    assert [judged(row) for row in asked.rows] == [judged(row) for row in usual.rows]


def test_a_class_that_the_base_answered_to_everything_lost_no_skill(write: Write) -> None:
    """60 items of three classes: the base says 'positive' to all, the tuned model is right."""
    golds = [number % 3 for number in range(60)]
    base = write(make_record(None), label_samples(golds, [2] * 60, LABELS))
    tuned = [gold if gold != 2 else number % 2 for number, gold in enumerate(golds)]
    said = compare(base, write(make_record("x"), label_samples(golds, tuned, LABELS))).cautions
    assert (
        "Recall fell: 'positive' from 100.0 % (the only class that the base model gets right at all) to "
        "0.0 %."
    ) in said
