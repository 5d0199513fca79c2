"""Choosing on validation, with test looked at once; and the forecast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.errors import ResourceError
from ft_harness.pipeline.point_runner import PointRunner
from ft_harness.stats.power import holm_factor
from tests.builders.command import assert_three_lines
from tests.sweep.test_running import SIZES, report

CHOICE = (
    "sweep: {vary: {data.train_size: [16, 32, 64], train.num_train_epochs: [1, 4]}, "
    "reference: {data.train_size: 16, train.num_train_epochs: 1}, choose: {by: acc}}"
)


@pytest.mark.slow  # a sweep of six points
def test_only_the_chosen_and_the_reference_are_scored_on_test(ft, write, tmp_path: Path):
    code, out, err = ft("sweep", write(CHOICE))
    assert code == 0, err
    choice = report(tmp_path, "sweep.json")["choice"]
    tested = {path.parent.name for path in (tmp_path / "results").glob("*/*@test*")}
    best = choice["ranking"][0]
    name = f"mine-train_size_{best['data.train_size']}-num_train_epochs_{best['train.num_train_epochs']:g}"
    assert tested == {"base--tiny", "mine-train_size_16-num_train_epochs_1", name}
    assert choice["looks"] == [name]
    assert "Looks at this test set so far: 1 adapter of this recipe" in out
    assert f"Chosen on validation by accuracy: train_size {best['data.train_size']}" in out
    by_values = {
        json.dumps(each["values"]): each for each in report(tmp_path, "sweep.json")["settings"]
    }
    means = [
        next(s["mean"] for s in by_values[json.dumps(values)]["scores"]
             if (s["split"], s["metric"]) == ("validation", "acc"))
        for values in choice["ranking"]
    ]  # fmt: skip
    assert means == sorted(means, reverse=True)
    assert choice["simplest"] == {"data.train_size": 16, "train.num_train_epochs": 1.0}


@pytest.mark.slow  # three sweeps
def test_a_further_look_at_test_is_counted(ft, write, tmp_path: Path):
    recipe = write("sweep: {vary: {adapter.r: [2, 4]}}")
    assert ft("sweep", recipe)[0] == 0  # both on test
    write("sweep: {vary: {adapter.r: [2, 4]}, choose: {by: acc}}")
    code, out, _ = ft("sweep", recipe)
    assert code == 0
    assert report(tmp_path, "sweep.json")["choice"]["looks"] == ["mine-r_2"]
    write("sweep: {vary: {adapter.r: [2, 4, 8]}, reference: {adapter.r: 8}, choose: {by: acc}}")
    code, out, _ = ft("sweep", recipe)
    assert code == 0
    assert report(tmp_path, "sweep.json")["choice"]["looks"] == ["mine-r_2", "mine-r_4"]
    assert "so far: 2 adapters" in out


def test_a_metric_that_is_not_scored_is_named_before_anything_runs(ft, write, no_model):
    recipe = write("sweep: {vary: {adapter.r: [2, 4]}, choose: {by: accc}}")
    for more in ([], ["--dry-run"]):
        code, _, err = ft("sweep", recipe, *more)
        assert code == 3
        assert_three_lines(err, "accc", "did you mean acc?")


def test_nothing_to_choose_from_is_a_report(ft, write, tmp_path: Path):
    code, _, err = ft("sweep", write(CHOICE), "--max-hours", "0")
    assert code == 6
    assert_three_lines(err, "6 of 6 points have no result", "not started: --max-hours had passed")
    assert report(tmp_path, "sweep.json")["choice"] is None


@pytest.mark.slow  # two points
def test_a_point_without_a_result_is_not_run_to_be_tested(
    ft, write, scored, monkeypatch, tmp_path: Path
):
    """`--max-hours` had passed, or its training failed."""
    begun: list[str] = []
    run = PointRunner.run

    def first_alone(runner, point, **options):
        begun.append(point.name)
        if point.name == "mine-r_2-seed_1" and begun.count(point.name) == 1:
            raise ResourceError("out of memory at batch 1", "memory", "a smaller model")
        return run(runner, point, **options)

    monkeypatch.setattr(PointRunner, "run", first_alone)
    section = "sweep: {vary: {adapter.r: [2], train.seed: [0, 1]}, choose: {by: acc}}"
    code, out, err = ft("sweep", write(section))
    assert code == 6, err
    assert begun.count("mine-r_2-seed_1") == 1
    assert not (tmp_path / "adapters" / "mine-r_2-seed_1" / "card.json").exists()
    assert "r 2 (" in out
    assert "the only setting with a result" in out


def test_the_forecast_has_a_line_a_point_and_writes_nothing(ft, write, tmp_path: Path):
    code, out, err = ft("sweep", write(SIZES), "--dry-run")
    assert code == 0, err
    assert "mine-train_size_32-seed_0   4 steps of 8 rows, peak " in out
    assert "mine-train_size_16-seed_1   2 steps of 8 rows, peak " in out
    assert "points                      4\n" in out
    assert "40 docs to score" in out  # 16 of validation, 24 of test
    assert "time in all" in out
    assert "24 items, 1 comparison with the reference (Holm): a difference of " in out
    assert " points or more is found with 80 % power" in out
    assert {path.name for path in tmp_path.iterdir()} == {"adapters"}
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == ["mine"]


@pytest.mark.slow  # several sweeps
def test_looks_of_base_models_are_counted_too(ft, write, tmp_path: Path):
    vary = "sweep: {trains: false, vary: {eval.num_fewshot: [0, 1]}"
    assert ft("sweep", write(vary + "}"))[0] == 0  # both on test
    code, out, err = ft("sweep", write(vary + ", choose: {by: acc}}"))
    assert code == 0, err
    (look,) = report(tmp_path, "sweep.json")["choice"]["looks"]
    assert look.startswith("base--tiny/demo_sentiment@test-1shot-")
    assert "Looks at this test set so far: 1 evaluation of base models besides" in out


def test_more_comparisons_need_a_larger_difference():
    """Normal quantiles of 0.975 and 0.99375 (0.05 / 8), and of 0.8: 1.960, 2.498, 0.842."""
    assert holm_factor(1) == 1.0
    assert abs(holm_factor(4) - (2.4977 + 0.8416) / (1.9600 + 0.8416)) < 1e-4
