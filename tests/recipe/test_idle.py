"""What a recipe says without effect: each is warned of, nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.recipe import idle_fields, load_recipe
from tests.recipe.test_recipe import SHIPPED, write

IDLE = [
    (["train.early_stopping_threshold=0.5"], "train.early_stopping_threshold"),
    (["train.eval_scores=8", "train.metric_for_best_model=acc"], "train.metric_for_best_model"),
    (["train.lr_scheduler_type=constant", "train.warmup_steps=10"], "train.warmup_steps"),
    (["train.lr_scheduler_type=greedy", "train.warmup_steps=10"], "train.warmup_steps"),
    (["eval.splits=[test]", "eval.train_limit=7"], "eval.train_limit"),
    (["controls.limit=7"], "controls.limit"),
    (["controls.num_fewshot=2"], "controls.num_fewshot"),
    (["model.revision=v2"], "model.revision"),
    (["model.pretrained=/models/x", "model.revision=v2"], "model.revision"),
    (["eval.server={url: 'http://h:1'}", "eval.batch_size=4"], "eval.batch_size"),
]
IN_USE = [
    ["train.early_stopping_threshold=0.5", "train.early_stopping_patience=2"],
    ["train.eval_scores=8", "train.metric_for_best_model=acc", "train.load_best_model_at_end=true"],
    ["train.lr_scheduler_type=constant_with_warmup", "train.warmup_steps=10"],
    ["train.lr_scheduler_type=constant", "train.warmup_steps=0"],
    ["train.lr_scheduler_type=constant"],
    ["eval.limit=5", "eval.train_limit=7"],
    ["controls.limit=7", "controls.tasks=[control_words]"],
    ["model.pretrained=org/x", "model.revision=v2"],
]


@pytest.mark.parametrize(("settings", "field"), IDLE, ids=str)
def test_a_field_that_another_puts_out_of_use_is_named(
    settings: list[str], field: str, tmp_path: Path
):
    (found,) = idle_fields(load_recipe(write(tmp_path), settings), trains=True)
    assert found[0] == field


@pytest.mark.parametrize("settings", IN_USE, ids=str)
def test_a_field_in_use_is_not_named(settings: list[str], tmp_path: Path):
    assert [*idle_fields(load_recipe(write(tmp_path), settings), trains=True)] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_no_shipped_recipe_says_anything_without_effect(path: Path):
    assert [*idle_fields(load_recipe(path), trains=True)] == []


def test_a_field_of_training_is_not_named_where_nothing_is_trained(tmp_path: Path):
    settings = ["train.lr_scheduler_type=constant", "train.warmup_steps=10"]
    assert [*idle_fields(load_recipe(write(tmp_path), settings), trains=False)] == []


def test_check_warns_of_it(ft, tmp_path: Path):
    path = write(tmp_path, "task: {name: demo_sentiment}\nmodel: {revision: v2}\n")
    code, out, err = ft("check", path)
    assert code == 0, err
    assert "model.revision is not used: bundled is a folder" in out
