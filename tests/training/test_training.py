"""Training: what an adapter is made of, what stops it, and that a killed run continues to the same weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.models.adapters import AdapterFolder, read_card, read_history, write_card
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.recipe import Recipe
from ft_harness.tasks.examples import Example
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import TrainingPlan, TrainingSet, build_training_set, finished_card, train
from ft_harness.training.objectives import make_collate
from tests.builders.interruptions import kill_at_step
from tests.builders.weights import largest_difference


@dataclass
class Bench:
    """A loaded tiny model and the reviews task."""

    base: BaseModel
    model_folder: Path
    source: str

    def recipe(self, **train_settings) -> Recipe:
        settings = {
            "num_train_epochs": 2,
            "per_device_train_batch_size": 8,
            "learning_rate": 0.01,
        } | train_settings
        return Recipe.model_validate(
            {
                "model": {"pretrained": str(self.model_folder)},
                "task": {"name": "demo_sentiment"},
                "data": {"source": self.source},
                "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1},
                "train": settings,
            }
        )

    def training_set(self, recipe: Recipe) -> TrainingSet:
        tasks = load_tasks(
            find_task("demo_sentiment", metadata=recipe.task_metadata()),
            ["train", "validation", "test"],
        )
        return build_training_set(tasks, self.base, recipe, "task")


@pytest.fixture(scope="module")
def bench(model_folder: Path, reviews: Path) -> Bench:
    recipe = Recipe.model_validate(
        {"model": {"pretrained": str(model_folder)}, "task": {"name": "demo_sentiment"}}
    )
    return Bench(load_base_model(recipe.model), model_folder, str(reviews))


def train_into(bench: Bench, folder: Path, **settings):
    recipe = bench.recipe(**settings)
    return train(TrainingPlan(recipe, bench.base, bench.training_set(recipe)), folder)


def test_an_adapter_folder_says_what_it_is_made_of(bench: Bench, tmp_path: Path):
    before = {name: tensor.clone() for name, tensor in bench.base.model.state_dict().items()}
    card = train_into(bench, tmp_path / "a")
    assert card == read_card(tmp_path / "a")
    assert card.steps == bench.recipe().train.planned_steps(64) == 16  # 64 rows / 8 * 2 epochs
    assert card.examples == 64
    # r * (in + out) of q, k, v, o, gate, up, down in each of two layers: 4*(64 + 48 + 48 + 64 + 96 + 96 + 96) * 2
    assert card.trainable_parameters == 4096
    history = read_history(tmp_path / "a")
    assert [entry.step for entry in history if entry.loss is not None] == list(range(1, 17))
    assert [entry.step for entry in history if entry.eval_loss is not None] == [8, 16]
    assert history[-2].loss < history[0].loss
    assert set(card.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert not list((tmp_path / "a").rglob("*.bin")) + list((tmp_path / "a").rglob("*.pt"))
    after = bench.base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_killed_run_continues_to_the_same_weights(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train_into(bench, tmp_path / "whole", gradient_accumulation_steps=2)
    kill_at_step(6, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_into(bench, tmp_path / "killed", gradient_accumulation_steps=2)
    assert read_card(tmp_path / "killed") is None
    monkeypatch.undo()
    card = train_into(bench, tmp_path / "killed", gradient_accumulation_steps=2)
    assert (
        card.cost.resumed_from_step == 5
    )  # a checkpoint each tenth of 64 / 8 / 2 * 2 = 8 steps, so each step
    assert largest_difference(tmp_path / "whole", tmp_path / "killed") == 0.0
    assert AdapterFolder(tmp_path / "whole").identity == AdapterFolder(tmp_path / "killed").identity
    steps = [entry.step for entry in read_history(tmp_path / "killed") if entry.loss is not None]
    assert steps == list(range(1, 9))


def test_a_damaged_newest_checkpoint_is_passed_over(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kill_at_step(20, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_into(bench, tmp_path / "a", num_train_epochs=3)
    monkeypatch.undo()
    (
        tmp_path / "a" / "checkpoints" / "checkpoint-18" / "optimizer.pt"
    ).unlink()  # each ceil(24 / 10) = 3 steps
    assert train_into(bench, tmp_path / "a", num_train_epochs=3).cost.resumed_from_step == 15


def test_accumulation_does_not_change_the_gradient(bench: Bench, tmp_path: Path):
    settings = {"num_train_epochs": 1, "max_grad_norm": 1e9}
    recipes = {"one": (8, 1), "two": (4, 2), "eight": (1, 8)}
    for name, (batch, accumulation) in recipes.items():
        recipe = bench.recipe(
            **settings, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation
        )
        recipe = recipe.model_copy(
            update={"adapter": recipe.adapter.model_copy(update={"lora_dropout": 0.0})}
        )
        train(TrainingPlan(recipe, bench.base, bench.training_set(recipe)), tmp_path / name)
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5
    assert largest_difference(tmp_path / "one", tmp_path / "eight") < 1e-5


def test_the_first_loss_that_is_not_finite_stops_training(bench: Bench, tmp_path: Path):
    with pytest.raises(NonFiniteError, match="at step"):
        train_into(bench, tmp_path / "a", learning_rate=1e30)
    assert read_card(tmp_path / "a") is None
    assert not (tmp_path / "a" / "adapter_model.safetensors").exists()
    assert all(torch.isfinite(p).all() for p in bench.base.model.parameters())


def test_a_finished_adapter_is_reused_and_never_overwritten(bench: Bench, tmp_path: Path):
    card = train_into(bench, tmp_path / "a", num_train_epochs=1)
    recipe = bench.recipe(num_train_epochs=1)
    assert (
        finished_card(TrainingPlan(recipe, bench.base, bench.training_set(recipe)), tmp_path / "a")
        == card
    )
    other = bench.recipe(num_train_epochs=1, learning_rate=0.02)
    with pytest.raises(InputError, match=r"recipe\.train\.learning_rate: 0\.01 -> 0\.02") as caught:
        finished_card(TrainingPlan(other, bench.base, bench.training_set(other)), tmp_path / "a")
    assert "--name" in caught.value.action


def test_unknown_target_modules_are_named(bench: Bench, tmp_path: Path):
    recipe = bench.recipe()
    recipe = recipe.model_copy(
        update={"adapter": recipe.adapter.model_copy(update={"target_modules": ["nothing"]})}
    )
    with pytest.raises(InputError, match="target_modules"):
        train(TrainingPlan(recipe, bench.base, bench.training_set(recipe)), tmp_path / "a")


def test_an_adapter_of_a_version_with_fewer_fields_is_still_finished(bench: Bench, tmp_path: Path):
    """A recipe field that a later version adds has its default; another value than that is a difference."""
    recipe = bench.recipe()
    card = train_into(bench, tmp_path / "a")
    adapter = {key: value for key, value in card.recipe["adapter"].items() if key != "use_rslora"}
    older = card.model_copy(
        update={"recipe": {**card.recipe, "adapter": adapter}, "fingerprint": "of another version"}
    )
    write_card(tmp_path / "a", older)
    assert (
        finished_card(TrainingPlan(recipe, bench.base, bench.training_set(recipe)), tmp_path / "a")
        == older
    )
    other = recipe.model_copy(
        update={"adapter": recipe.adapter.model_copy(update={"use_rslora": True})}
    )
    with pytest.raises(InputError, match=r"recipe\.adapter\.use_rslora: False -> True"):
        finished_card(TrainingPlan(other, bench.base, bench.training_set(other)), tmp_path / "a")


def test_rows_without_targets_are_refused(bench: Bench, tmp_path: Path):
    """transformers' Trainer would show a loss of 0, and save an adapter that learnt nothing."""
    recipe = bench.recipe()
    data = bench.training_set(recipe)
    with pytest.raises(InputError, match="the training split is empty"):
        train(TrainingPlan(recipe, bench.base, replace(data, examples=[])), tmp_path / "a")
    masked = [replace(example, answer_ids=[]) for example in data.examples[:2]]
    with pytest.raises(
        InputError, match=r"2 of 64 training rows have no trained token \(the first is row 0\)"
    ) as caught:
        train(
            TrainingPlan(recipe, bench.base, replace(data, examples=[*masked, *data.examples[2:]])),
            tmp_path / "a",
        )
    assert caught.value.exit_code == 3
    assert not (tmp_path / "a").exists()


def test_eos_carries_loss_where_it_pads_too():
    """The usual collators mask every pad token, and with it the end of the answer: the model never stops."""
    collate = make_collate(2)  # EOS is the pad token
    batch = collate(
        [Example([1, 5], [6, 2], truncated=False), Example([1, 5, 7, 8], [6, 2], truncated=False)]
    )
    assert batch["input_ids"].tolist() == [[1, 5, 6, 2, 2], [1, 5, 7, 8, 6]]
    assert batch["labels"].tolist() == [[-100, 6, 2, -100, -100], [-100, -100, -100, 6, 2]]
