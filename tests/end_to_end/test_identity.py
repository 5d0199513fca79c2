"""A result that changes without its version would be reused as if it were the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import golden

KNOWN: dict[str, Any] = json.loads(golden.FILE.read_text(encoding="utf-8"))
AGAIN = "python -m tests.builders.golden writes the file anew"


def check(name: str, known: dict[str, Any], found: dict[str, Any], tolerance: float) -> None:
    """Fail where a value changed and its version didn't, and where only the file is out of date."""
    same = found["value"] == (
        known["value"]
        if isinstance(known["value"], str) or known["value"] is None
        else pytest.approx(known["value"], rel=tolerance, abs=tolerance)
    )
    if known["version"] == found["version"]:
        assert same, f"{name} changed: raise its version; then {AGAIN}"
    else:
        pytest.fail(f"{name} has another version: {AGAIN}")


def test_the_loader_gives_what_its_version_gave():
    check("the loader", KNOWN["loader"], golden.measure_loader(), 0)


def test_every_metric_gives_what_its_version_gave():
    found = golden.measure_metrics()
    assert found.keys() == KNOWN["metrics"].keys(), AGAIN
    assert len(found) > 30
    for name in found:
        check(f"the metric {name}", KNOWN["metrics"][name], found[name], 1e-12)


def test_scoring_and_training_give_what_their_versions_gave():
    """Other processors add in another order, so the numbers agree to rounding."""
    found = golden.measure_run()
    check("scoring", KNOWN["scoring"], found["scoring"], 1e-3)
    check("training", KNOWN["training"], found["training"], 1e-2)


TASK = """
task: mine_custom
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {data: {columns: {text: [], label: []}, labels: [negative, positive]}}
training_split: train
validation_split: validation
test_split: test
output_type: multiple_choice
doc_to_text: "Review: {{text}}\\nSentiment:"
doc_to_target: label
doc_to_choice: [bad, good]
metric_list: [METRIC]
"""
ACCURACY = "{metric: acc, aggregation: mean, higher_is_better: true}"
NORMED = "{metric: acc_norm, aggregation: mean, higher_is_better: true}"


def test_another_metric_asks_for_scores_and_not_for_a_training(
    ft, tmp_path: Path, model_folder: Path, reviews: Path
):
    task, recipe = tmp_path / "tasks" / "mine_custom.yaml", tmp_path / "mine" / "recipe.yaml"
    task.parent.mkdir()
    recipe.parent.mkdir()
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\n"
        f"task: {{name: mine_custom, include_path: {task.parent}}}\n"
        f"data: {{source: {reviews}}}\nadapter: {{r: 2}}\ntrain: {{max_steps: 2}}\n"
        "eval: {splits: [test], limit: 4}\n"
    )
    task.write_text(TASK.replace("METRIC", ACCURACY))
    code, _, said = ft("run", recipe)
    assert code == 0, said
    assert "finished already" not in said
    task.write_text(TASK.replace("METRIC", f"{ACCURACY}, {NORMED}"))
    code, _, said = ft("run", recipe)
    assert code == 0, said
    assert "mine: the adapter is finished already" in said
    assert "scored already" not in said


def test_a_change_without_a_version_fails():
    known = {"version": 1, "value": [1.0, 2.0]}
    check("same", known, {"version": 1, "value": [1.0, 2.0 + 1e-13]}, 1e-12)
    with pytest.raises(AssertionError, match="raise its version"):
        check("changed", known, {"version": 1, "value": [1.0, 2.1]}, 1e-12)
    with pytest.raises(pytest.fail.Exception, match="another version"):
        check("raised", known, {"version": 2, "value": [1.0, 2.1]}, 1e-12)
