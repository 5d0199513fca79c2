"""Settings of a sweep against the reference. Expected values by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import scipy.stats

from ft_harness.comparison import effects
from ft_harness.comparison.choosing import choose
from ft_harness.comparison.effects import Axes, Measured, measure_sweep
from ft_harness.comparison.sweep_sentences import state_sweep
from ft_harness.comparison.sweep_study import Effort, PointResult, SweepStudy
from tests.builders.records import label_samples, make_record, make_score, write_evaluation

AXES = Axes([["data.train_size"]])


@pytest.fixture
def measured(tmp_path: Path):
    """A point of a size and seed whose adapter is right on these of the items, all of label 1."""

    def make(
        size: int, seed: int, right: Sequence[int], split: str = "test", data_hash: str = "data-1"
    ) -> Measured:
        name = f"mine-train_size_{size}-seed_{seed}"
        samples = label_samples([1] * len(right), right)
        score = make_score("acc", value=sum(right) / len(right), low=0.1, high=0.9, n=len(right))
        record = make_record(name, metrics=("acc",), split=split, data_hash=data_hash)
        record = record.model_copy(update={"scores": [score]})
        evaluation = write_evaluation(tmp_path / split / name, record, samples)
        point = PointResult(
            name=name,
            values={"data.train_size": size},
            seeds={"train.seed": seed},
            is_reference=size == 400,
            adapter=name,
        )
        return Measured(point, {split: evaluation}, {})

    return make


def failed(size: int, reason: str) -> Measured:
    point = PointResult(
        name=f"mine-train_size_{size}", values={"data.train_size": size}, seeds={"train.seed": 0},
        is_reference=size == 400, reason=reason,
    )  # fmt: skip
    return Measured(point, {}, {})


def test_fields_that_change_one_at_a_time_are_answered_one_by_one(measured):
    """A paired group: the size changes five items of ten, the rate none, both together all."""
    sides = {(400, 1e-3): [0] * 10, (200, 1e-3): [1] * 5 + [0] * 5, (400, 1e-4): [0] * 10}

    def study_of(more: dict[tuple[int, float], list[int]]) -> SweepStudy:
        points: list[Measured] = []
        for number, ((size, rate), right) in enumerate((sides | more).items()):
            made = measured(size, number + 10 * len(more), right)
            values = {"data.train_size": size, "train.learning_rate": rate}
            changed = {"values": values, "seeds": {"train.seed": 0}, "is_reference": number == 0}
            points.append(replace(made, point=made.point.model_copy(update=changed)))
        axes = Axes([["data.train_size", "train.learning_rate"]])
        return measure_sweep("mine", axes, True, points)

    size, rate = state_sweep(study_of({}))[-2:]
    assert size.startswith(
        "train_size: no other value is shown to differ from the reference with learning_rate 0.001; "
        "the largest difference is from"
    )
    assert "from 200 to 400" in size
    assert rate.startswith(
        "learning_rate: no other value is shown to differ from the reference with train_size 400; the "
        "largest difference is from"
    )
    *_, both = state_sweep(study_of({(200, 1e-4): [1] * 10}))
    assert both.startswith("train_size and learning_rate")


def test_one_seed_is_mcnemars_test_and_holm_over_the_settings(measured):
    """Five items of ten changed one way: mid-p = 2/32 - 1/32 = 0.03125; Holm over two, 0.0625."""
    five, all_ten = [1] * 5 + [0] * 5, [1] * 10
    study = measure_sweep(
        "mine",
        AXES,
        True,
        [measured(400, 0, all_ten), measured(200, 0, five), measured(100, 0, all_ten)],
    )
    first, second = study.effects
    assert first.values == {"data.train_size": 200}
    assert first.change.delta == pytest.approx(-0.5)
    assert first.change.p == pytest.approx(0.03125)
    assert first.p_adjusted == pytest.approx(0.0625)
    assert not first.is_significant
    assert (second.change.p, second.p_adjusted) == (1.0, 1.0)
    assert (
        "train_size: no other value is shown to differ from the reference; the largest difference is "
        "from 200 to 400" in state_sweep(study)[1]
    )
    alone = measure_sweep("mine", AXES, True, [measured(400, 1, all_ten), measured(200, 1, five)])
    assert alone.effects[0].is_significant
    assert state_sweep(alone)[1].startswith(
        "train_size, from 200 to 400: accuracy (test) +50.0 points, 95 % interval"
    )
    assert "a difference between settings may be the seed" in state_sweep(alone)[0]


def test_the_largest_rise_and_the_largest_fall_are_stated(measured):
    """As of a learning rate that may be too low or too high."""
    points = [measured(400, 0, [1] * 10 + [0] * 10)]
    points += [
        measured(800, 0, [1] * 20),
        measured(1600, 0, [0] * 20),
        measured(3200, 0, [1] * 19 + [0]),
    ]
    said = state_sweep(measure_sweep("mine", AXES, True, points))[1]
    assert "from 400 to 800: accuracy (test) +50.0 points" in said
    assert "from 400 to 1,600: accuracy (test) -50.0 points" in said
    assert "3,200" not in said
    assert said.endswith("3 of 3 values differ significantly from the reference.")


def test_two_seeds_have_a_two_level_interval(measured):
    """Differences of four items: [0 0 1 1] and [0 0 1 0], means 1/2 and 1/4. Mean squares: seeds
    1/8, items 11/24, rest 1/8; variance of the mean (11/24) / 8."""
    half = [1, 1, 0, 0]
    study = measure_sweep(
        "mine",
        AXES,
        True,
        [
            measured(400, 0, half),
            measured(400, 1, half),
            measured(800, 0, [1, 1, 1, 1]),
            measured(800, 1, [1, 1, 1, 0]),
        ],
    )
    (effect,) = study.effects
    assert effect.change.delta == pytest.approx(0.375)
    assert (effect.change.before, effect.change.after) == pytest.approx((0.5, 0.875))
    error = math.sqrt(11 / 24 / 8)
    degrees = (11 / 24) ** 2 / ((1 / 8) ** 2 + (11 / 24) ** 2 / 3 + (1 / 8) ** 2 / 3)
    width = error * scipy.stats.t.ppf(0.975, degrees)
    assert effect.change.low == pytest.approx(0.375 - width)
    assert effect.change.high == 1.0  # 1.28, and no difference of accuracies is larger than 1
    assert effect.change.p == pytest.approx(2 * scipy.stats.t.sf(0.375 / error, degrees))
    setting = study.settings[1]
    score = setting.score("test", "acc")
    assert score.mean == pytest.approx(0.875)
    assert score.deviation == pytest.approx(math.sqrt(2 * 0.125**2))
    assert setting.seeds == 2


def test_settings_are_compared_on_the_seeds_that_both_have(measured):
    study = measure_sweep(
        "mine",
        AXES,
        True,
        [measured(400, 0, [1] * 10), measured(400, 1, [0] * 10), measured(200, 1, [0] * 10)],
    )
    assert study.effects[0].change.delta == 0.0
    assert study.effects[0].change.seeds == 1


def test_seeds_on_different_items_have_a_mean_and_no_two_level_interval(measured):
    points = [
        measured(size, seed, right, data_hash=f"data-{seed}")
        for size, right in ((400, [1, 1, 0, 0]), (800, [1, 1, 1, 0]))
        for seed in (0, 1)
    ]
    study = measure_sweep("mine", AXES, True, points)
    (effect,) = study.effects
    assert effect.change.delta == pytest.approx(0.25)
    assert (effect.change.low, effect.change.p, effect.p_adjusted) == (None, None, None)
    why = "Scores and differences over several seeds have no interval: each seed drew other items"
    assert state_sweep(study)[1].startswith(why)
    alike = [measured(400, seed, [1, 1, 0]) for seed in (2, 3)]
    assert why not in " ".join(state_sweep(measure_sweep("mine", AXES, True, alike)))


def test_other_items_are_not_compared(measured):
    study = measure_sweep(
        "mine", AXES, True, [measured(400, 0, [1] * 10), measured(200, 0, [1] * 8)]
    )
    change = study.effects[0].change
    assert (change.delta, change.note) == (None, "other items or answers")
    assert "no two values can be compared" in " ".join(state_sweep(study))


def test_a_failed_point_is_a_line_with_its_reason(measured):
    study = measure_sweep(
        "mine", AXES, True, [measured(400, 0, [1] * 10), failed(200, "no memory")]
    )
    assert [each.failed for each in study.settings] == [[], ["mine-train_size_200"]]
    assert study.effects == []
    assert state_sweep(study)[-1] == (
        "1 of 2 points have no result (mine-train_size_200: no memory)."
    )


def test_all_points_may_fail():
    study = measure_sweep("mine", AXES, True, [failed(400, "no memory"), failed(200, "no memory")])
    assert state_sweep(study)[-1].startswith("2 of 2 points have no result")


def test_the_best_may_be_within_noise_of_the_simplest(measured):
    points = [
        measured(400, 0, [1] * 7 + [0] * 3, "validation"),
        measured(200, 0, [1] * 6 + [0] * 4, "validation"),
    ]
    study = measure_sweep("mine", AXES, True, points)
    choice = choose(_with_rows(study, {400: 800, 200: 400}), points, "acc")
    assert choice.chosen == {"data.train_size": 400}
    assert choice.simplest == {"data.train_size": 200}
    assert choice.is_within_noise  # one item of ten
    said = " ".join(state_sweep(study.model_copy(update={"choice": choice})))
    assert "The best is within noise of the simplest, train_size 200" in said


def test_a_best_that_is_shown_to_be_better_is_not_within_noise(measured):
    points = [
        measured(400, 0, [1] * 20, "validation"),
        measured(200, 0, [1] * 10 + [0] * 10, "validation"),
    ]
    study = measure_sweep("mine", AXES, True, points)
    assert not choose(_with_rows(study, {400: 800, 200: 400}), points, "acc").is_within_noise


def test_of_equal_settings_the_simpler_one_is_chosen(measured):
    points = [measured(400, 0, [1] * 10, "validation"), measured(200, 0, [1] * 10, "validation")]
    study = measure_sweep("mine", AXES, True, points)
    choice = choose(_with_rows(study, {400: 800, 200: 400}), points, "acc")
    assert choice.chosen == {"data.train_size": 200}


def _with_rows(study: SweepStudy, rows: dict[int, int]):
    """The settings with so many rows read in training."""
    return [
        each.model_copy(
            update={
                "effort": each.effort.model_copy(
                    update={"rows": rows[each.values["data.train_size"]]}
                )
            }
        )
        for each in study.settings
    ]


def test_overfitting_begins_behind_the_best_stretch(measured):
    axes = Axes([["train.num_train_epochs"]], ["train.num_train_epochs"])
    points = []
    for number, right in enumerate(([1] * 5 + [0] * 5, [1] * 9 + [0], [1] * 6 + [0] * 4)):
        made = measured(400 + number, 0, right, "validation")
        values = {"train.num_train_epochs": [1.0, 1.0, 3.0][: number + 1]}
        point = made.point.model_copy(update={"values": values, "is_reference": number == 0})
        points.append(Measured(point, made.evaluations, {}))
    study = measure_sweep("mine", axes, True, points)
    assert study.overfitting.change.delta == pytest.approx(-0.3)
    said = state_sweep(study)[-1]
    assert said.startswith("Overfitting begins after num_train_epochs 1, 1: from there to the last")
    assert "which is within noise" in said
    rising = measure_sweep("mine", axes, True, points[:2])
    assert state_sweep(rising)[-1] == (
        "The last stretch is the best on validation: no overfitting is seen."
    )


def test_a_stretch_costs_what_led_there_too(measured, monkeypatch):
    """Trainings of 64, 64 and 192 rows in 2, 3 and 6 seconds, beside those of another rate."""
    axes = Axes([["train.num_train_epochs"], ["train.learning_rate"]], ["train.num_train_epochs"])
    took = [(64, 2.0), (64, 3.0), (192, 6.0), (640, 20.0), (640, None)]
    own = iter(
        Effort(parameters=9, trainable_parameters=3, rows=rows, seconds=seconds)
        for rows, seconds in took
    )
    monkeypatch.setattr(effects, "_effort", lambda done: next(own))
    points = []
    for number, (rate, stretches) in enumerate([(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]):
        made = measured(400 + number, 0, [1] * 5)
        epochs = [1.0, 1.0, 3.0][:stretches]
        values = {"train.num_train_epochs": epochs, "train.learning_rate": rate}
        point = made.point.model_copy(update={"values": values})
        points.append(Measured(point, made.evaluations, {}))
    found = [each.effort for each in measure_sweep("mine", axes, True, points).settings]
    assert [each.rows for each in found] == [64, 128, 320, 640, 1280]
    assert [each.seconds for each in found] == [2.0, 5.0, 11.0, 20.0, None]


def test_stretches_whose_points_failed_are_judged_by_what_there_is(measured):
    """The mean of the best stretch, 0.85 over two seeds, is not that of the pair, 0.9 of seed 0:
    the last stretch has no seed 1. And a last stretch without any result says nothing."""
    axes = Axes([["train.num_train_epochs"]], ["train.num_train_epochs"])

    def point(stretch: int, seed: int, right: int) -> Measured:
        made = measured(500 + stretch, seed, [1] * right + [0] * (10 - right), "validation")
        values = {"train.num_train_epochs": [1.0, 1.0, 3.0][: stretch + 1]}
        changed = {"values": values, "is_reference": stretch == 0}
        return replace(made, point=made.point.model_copy(update=changed))

    def fail(each: Measured) -> Measured:
        return Measured(each.point.model_copy(update={"reason": "out of memory"}), {}, {})

    points = [point(0, 0, 5), point(0, 1, 5), point(1, 0, 9), point(1, 1, 8)]
    last, other = point(2, 0, 6), fail(point(2, 1, 6))
    study = measure_sweep("mine", axes, True, [*points, last, other])
    assert study.overfitting.change.before == pytest.approx(0.9)
    said = " ".join(state_sweep(study))
    assert "Overfitting begins after num_train_epochs 1, 1: from there to the last" in said
    none = measure_sweep("mine", axes, True, [*points, fail(last), other])
    assert none.overfitting is None
    assert "overfitting" not in " ".join(state_sweep(none))


def test_the_interval_of_a_mean_below_zero_holds_it(tmp_path: Path):
    """Matthews' correlation is -0.6 where four of 20 answers of two balanced classes are right, and
    -0.5 where five of them are, by its formula."""
    golds = [0, 1] * 10
    points: list[Measured] = []
    for seed, (right, mcc) in enumerate([(4, -0.6), (5, -math.sqrt(99 / 400))]):
        given = [gold if n < right else 1 - gold for n, gold in enumerate(golds)]
        record = make_record(f"mine-{seed}", metrics=("mcc",), split="test", data_hash="data-1")
        score = make_score("mcc", value=mcc, low=-0.9, high=0.0, n=20)
        record = record.model_copy(update={"scores": [score]})
        samples = label_samples(golds, given)
        evaluation = write_evaluation(tmp_path / str(seed), record, samples)
        point = PointResult(
            name=f"mine-{seed}", values={}, seeds={"train.seed": seed}, is_reference=True
        )
        points.append(Measured(point, {"test": evaluation}, {}))
    (score,) = measure_sweep("mine", Axes([]), True, points).settings[0].scores
    assert score.low < score.mean < score.high
    assert score.low >= -1.0
