"""`init` writes a recipe whose first run is done in minutes, whatever the size of the task's
data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.recipe import load_recipe
from tests.builders.tiny import write_jsonl
from tests.tasks.test_rows import GENERATED, HEAD


def task_of(folder: Path, rows: int) -> Path:
    data = folder / "data.jsonl"
    write_jsonl(data, [{"q": f"q {i}", "a": f"{i}"} for i in range(rows)])
    tasks = folder / "tasks"
    tasks.mkdir()
    (tasks / "mine.yaml").write_text(HEAD.replace("SOURCE", json.dumps(str(data))) + GENERATED)
    return tasks


def test_large_data_is_stopped_after_500_steps(ft, tmp_path: Path):
    """6,000 rows: a tenth is validation, a tenth test; 4,800 / 16 = 300 steps an epoch, of two."""
    code, out, err = ft("init", "my", "--task", "mine", "--include-path", task_of(tmp_path, 6000))
    assert code == 0, err
    path, note = out.splitlines()
    assert path == "adapters/my/recipe.yaml"
    assert note == (
        "4,800 training rows are 600 steps in 2 epochs; the recipe stops after 500 "
        "(train.max_steps)"
    )
    assert load_recipe(path).train.max_steps == 500
    assert "remove it to use all data" in Path(path).read_text()


def test_a_task_of_pairs_is_trained_on_pairs(ft, tmp_path: Path):
    code, out, err = ft("init", "my-dpo", "--task", "preference_custom")
    assert code == 0, err
    recipe = load_recipe(out.splitlines()[0])
    assert recipe.train.objective == "preference"
    assert recipe.train.preference is not None
    assert (recipe.train.preference.loss, recipe.train.preference.beta) == ("sigmoid", 0.1)
    assert recipe.adapter.lora_dropout == 0
    assert recipe.train.learning_rate == 1e-4
    code, out, err = ft("init", "other", "--task", "demo_sentiment")
    assert code == 0, err
    assert load_recipe(out.splitlines()[0]).train.objective == "answer"


def test_small_data_is_trained_on_whole(ft, tmp_path: Path):
    """5,000 rows: 4,000 / 16 = 250 steps an epoch, 500 in two: no more than the limit."""
    code, out, err = ft("init", "my", "--task", "mine", "--include-path", task_of(tmp_path, 5000))
    assert code == 0, err
    assert out == "adapters/my/recipe.yaml\n"
    assert load_recipe("adapters/my").train.max_steps is None


def test_a_task_without_data_of_its_own_leaves_the_length_to_the_epochs(ft):
    assert ft("init", "my", "--task", "instruction_custom")[0] == 0
    assert load_recipe("adapters/my").train.max_steps is None


def test_data_that_cannot_be_read_is_taken_for_large(ft, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    code, out, _ = ft("init", "my", "--task", "sst2_custom")
    assert code == 0
    assert "the recipe stops after 500" in out
    assert load_recipe("adapters/my").train.max_steps == 500
