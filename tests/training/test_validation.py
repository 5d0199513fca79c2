"""Validation during training: the exact loss, the task's own metrics, the best weights, the early stop."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ft_harness.errors import Findings, InputError, NonFiniteError, ResourceError
from ft_harness.models.adapters import attached, read_card, read_history
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.pipeline import training_scores
from ft_harness.pipeline.preflight import Checked
from ft_harness.pipeline.training_scores import plan_scorer
from ft_harness.recipe import Recipe
from ft_harness.records import HistoryEntry
from ft_harness.records.finding import load_records
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import EpochScorer, TrainingPlan, build_training_set, loop, train
from ft_harness.training.batches import Share
from ft_harness.training.numerics import undisturbed
from ft_harness.training.objectives import Objective
from ft_harness.training.validation import epochs_of, measure_validation
from tests.builders.command import assert_three_lines
from tests.builders.interruptions import kill_at_step
from tests.builders.tiny import review_rows, write_jsonl
from tests.builders.weights import weights


@dataclass
class Bench:
    """A loaded tiny model and the reviews task."""

    base: BaseModel
    sections: dict

    def recipe(self, adapter: dict | None = None, **train_settings) -> Recipe:
        usual = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 0.01}
        return Recipe.model_validate(
            {
                **self.sections,
                "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1} | (adapter or {}),
                "train": usual | train_settings,
            }
        )

    def train(self, folder: Path, scorer: EpochScorer | None = None, **train_settings):
        recipe = self.recipe(**train_settings)
        checked = self.checked(recipe)
        data = build_training_set(checked.tasks, self.base, recipe, "task")
        return train(
            TrainingPlan(recipe, self.base, data),
            folder,
            scorer or plan_scorer(recipe, checked, self.base),
        )

    def checked(self, recipe: Recipe) -> Checked:
        spec = find_task("demo_sentiment", metadata=recipe.task_metadata())
        return Checked(spec, load_tasks(spec, ["train", "validation", "test"]), Findings())


@pytest.fixture(scope="module")
def sections(model_folder: Path, reviews: Path) -> dict:
    return {
        "model": {"pretrained": str(model_folder)},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(reviews)},
    }


@pytest.fixture(scope="module")
def bench(sections: dict) -> Bench:
    return Bench(load_base_model(Recipe.model_validate(sections).model), sections)


def fixed_scores(values: list[float | None], *, higher: bool = True) -> EpochScorer:
    """A scorer that gives these values of `acc`, one an evaluation."""
    left = iter(values)
    return EpochScorer(lambda _: {"acc": next(left)}, {"acc": higher})


def assert_equal_weights(left: Path, right: Path) -> None:
    one, other = weights(left), weights(right)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


# --- loss ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_the_loss_is_over_all_targets_whatever_the_batches(batch_size: int):
    """Rows with 1, 3 and 4 targets, their losses in sum 3, 3 and 2 nats: (3 + 3 + 2) / (1 + 3 + 4) = 1. The mean of the
    means of single rows would be (3 + 1 + 0.5) / 3 = 1.5."""
    rows = [
        SimpleNamespace(input_ids=[0] * n, loss=loss) for n, loss in ((1, 3.0), (3, 3.0), (4, 2.0))
    ]
    objective = Objective(
        collate=lambda batch: {"rows": batch, "labels": sum(len(row.input_ids) for row in batch)},
        sums=lambda model, inputs, labels: torch.tensor([sum(row.loss for row in inputs["rows"])]),
        counts=lambda batch: [batch["labels"]],
    )
    assert measure_validation(ON_CPU, None, objective, rows, Share(batch_size)) == (1.0, {})


ON_CPU = SimpleNamespace(device="cpu")  # what `measure_validation` asks of a base


def test_a_batch_that_memory_is_not_enough_for_is_halved():
    sizes: list[int] = []

    def sums(model, inputs, labels):
        sizes.append(labels)
        if labels > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return torch.tensor([2.0 * labels])

    objective = Objective(
        lambda batch: {"labels": len(batch)}, sums, lambda batch: [batch["labels"]]
    )
    rows = [SimpleNamespace(input_ids=[0]) for _ in range(4)]
    assert measure_validation(ON_CPU, None, objective, rows, Share(4)) == (2.0, {})
    assert sizes == [4, 2, 2]


def test_the_loss_in_the_history_is_that_of_a_plain_loop(bench: Bench, tmp_path: Path):
    """Every row alone, every logit, float64 sums: the definition by hand."""
    settings = {"num_train_epochs": 1, "loss_on": "prompt_and_answer"}
    bench.train(tmp_path / "a", **settings)
    recipe = bench.recipe(**settings)
    rows = build_training_set(bench.checked(recipe).tasks, bench.base, recipe, "task").validation
    total, targets = 0.0, 0
    with attached(tmp_path / "a", bench.base, ["the film"]) as (tuned, _), torch.no_grad():
        for row in rows:
            logits = tuned.model(torch.tensor([row.input_ids])).logits[0].double()
            losses = torch.nn.functional.cross_entropy(
                logits, torch.tensor(row.labels), reduction="none"
            )
            total += float(losses.sum())
            targets += sum(label != -100 for label in row.labels)
    assert targets > len(rows) == 16
    (found,) = [
        entry.eval_loss for entry in read_history(tmp_path / "a") if entry.eval_loss is not None
    ]
    assert found == pytest.approx(total / targets, rel=1e-5)


def test_a_measure_validation_that_is_not_finite_ends_the_training(
    bench: Bench, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(loop, "measure_validation", lambda *_: (float("nan"), {}))
    with pytest.raises(NonFiniteError, match="validation loss is not finite at step 8"):
        bench.train(tmp_path / "a", num_train_epochs=1)
    assert read_card(tmp_path / "a") is None


def test_looking_leaves_modes_and_random_numbers_as_they_were():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with undisturbed(model):
        assert not model[0].training
        random.random(), np.random.rand(), torch.rand(3)
    assert [module.training for module in model.modules()] == [True, True, False]
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


# --- when ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [8, 16]),  # 64 rows / 8: 8 steps an epoch
        ({"eval_strategy": "steps", "eval_steps": 6}, [6, 12, 16]),  # and at the end
        ({"max_steps": 11}, [8, 11]),
        ({"eval_strategy": "no"}, []),
    ],
)
def test_when_validation_is_looked_at(
    bench: Bench, tmp_path: Path, settings: dict, steps: list[int]
):
    bench.train(tmp_path / "a", **settings)
    assert [
        entry.step for entry in read_history(tmp_path / "a") if entry.eval_loss is not None
    ] == steps


def test_without_validation_docs_nothing_is_looked_at(bench: Bench, tmp_path: Path):
    recipe = bench.recipe(num_train_epochs=1)
    tasks = {"train": bench.checked(recipe).tasks["train"]}
    train(
        TrainingPlan(recipe, bench.base, build_training_set(tasks, bench.base, recipe, "task")),
        tmp_path / "a",
    )
    assert all(entry.eval_loss is None for entry in read_history(tmp_path / "a"))


def test_evaluations_do_not_change_the_weights(bench: Bench, tmp_path: Path):
    bench.train(tmp_path / "often", eval_strategy="steps", eval_steps=3, eval_scores=4)
    bench.train(tmp_path / "never", eval_strategy="no")
    assert_equal_weights(tmp_path / "often", tmp_path / "never")


def test_the_card_has_loss_and_scores_by_epoch(bench: Bench, tmp_path: Path):
    card = bench.train(tmp_path / "a", fixed_scores([0.25, None]))
    history = read_history(tmp_path / "a")
    first, second = card.cost.epochs
    losses = [entry.loss for entry in history if entry.loss is not None]
    assert first.loss == pytest.approx(sum(losses[:8]) / 8)
    assert (first.epoch, second.epoch) == (1, 2)
    assert (first.scores, second.scores) == ({"acc": 0.25}, {"acc": None})
    assert second.eval_loss == history[-1].eval_loss


def test_epochs_by_hand():
    """Losses 4 and 2 in the first epoch, 1 in the half one after it."""
    entries = [(0.5, 4.0), (1.0, 2.0), (1.5, 1.0)]
    history = [
        HistoryEntry(step=step, epoch=epoch, loss=loss)
        for step, (epoch, loss) in enumerate(entries, start=1)
    ]
    history.insert(2, HistoryEntry(step=2, epoch=1.0, eval_loss=2.5))
    assert [(each.epoch, each.loss, each.eval_loss) for each in epochs_of(history)] == [
        (1.0, 3.0, 2.5),
        (1.5, 1.0, None),
    ]
    assert epochs_of([]) == []


# --- scores --------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # trains and scores twice
@pytest.mark.parametrize("head", [False, True])
def test_scores_are_those_of_eval_afterwards(ft, tmp_path: Path, sections: dict, head: bool):
    """The last evaluation's metrics, and `ft-harness eval` on the same docs in a load of its own."""
    adapter = {"r": 4, "lora_alpha": 8, "task_type": "SEQ_CLS" if head else "CAUSAL_LM"}
    train_settings = {
        "num_train_epochs": 1,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.01,
        "seed": 3,
    }
    recipe = {**sections, "adapter": adapter, "train": {**train_settings, "eval_scores": 10}}
    source = tmp_path / "adapters" / "a" / "recipe.yaml"
    source.parent.mkdir(parents=True)
    source.write_text(json.dumps(recipe), encoding="utf-8")
    assert ft("train", source)[0] == 0
    sets = [f"--set=eval.{what}" for what in ("splits=[validation]", "limit=10", "seed=3")]
    code, _, error = ft("eval", source, "--adapter", source.parent, *sets)
    assert code == 0, error
    (record,) = [each.record for each in load_records([tmp_path / "results" / "a"])]
    scores = {score.metric: score.value for score in record.scores}
    found = read_history(source.parent)[-1].scores
    assert found is not None
    assert record.settings.limit == 10
    assert found == pytest.approx(scores)
    assert {"acc", "mcc", "f1_macro"} <= found.keys()


def test_memory_that_is_not_enough_for_scores_stops_nothing(
    bench: Bench, tmp_path: Path, monkeypatch, caplog
):
    faults = [RuntimeError("CUDA out of memory"), ResourceError("one request", "memory", "less")]
    left = iter(faults)

    def fail(base, job):
        raise next(left)

    monkeypatch.setattr(training_scores, "score_once", fail)
    bench.train(tmp_path / "a", eval_scores=4)
    found = [entry.scores for entry in read_history(tmp_path / "a") if entry.eval_loss is not None]
    assert len(found) == 2
    assert all(set(scores.values()) == {None} for scores in found)
    assert "not scored this time: one request" in caplog.text
    monkeypatch.undo()
    bench.train(tmp_path / "b", eval_strategy="no")
    assert_equal_weights(tmp_path / "a", tmp_path / "b")


def test_scores_do_not_depend_on_the_eval_section(bench: Bench):
    """What may choose the weights must not rest on what is no part of the adapter."""
    recipe = bench.recipe(eval_scores=5)
    other = recipe.model_copy(
        update={"eval": recipe.eval.model_copy(update={"seed": 9, "limit": 1, "num_fewshot": 2})}
    )
    seen = []
    for each in (recipe, other):
        scorer = plan_scorer(each, bench.checked(each), bench.base)
        seen.append(scorer.score_epoch(bench.base.model))
    assert seen[0] == seen[1]


# --- the best ------------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """A scorer of given values that keeps the weights it was shown, evaluation by evaluation."""

    values: list[float | None]
    higher: bool = True

    def __post_init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def scorer(self) -> EpochScorer:
        return EpochScorer(self._score, {"acc": self.higher})

    def _score(self, model) -> dict[str, float | None]:
        from peft import get_peft_model_state_dict

        self.seen.append(
            {key: tensor.clone() for key, tensor in get_peft_model_state_dict(model).items()}
        )
        return {"acc": self.values[len(self.seen) - 1]}


EVALUATED = {
    "num_train_epochs": 1.25,
    "eval_strategy": "steps",
    "eval_steps": 3,
    "eval_scores": 4,
    "save_steps": 5,
}
CHOSEN = EVALUATED | {
    "load_best_model_at_end": True,
    "metric_for_best_model": "acc",
    "save_total_limit": 1,
}


@pytest.mark.parametrize(("higher", "best"), [(True, 6), (False, 9)])
def test_the_best_weights_are_kept(bench: Bench, tmp_path: Path, higher: bool, best: int):
    """acc at steps 3, 6, 9 and 10: of four values the largest, or the smallest. Checkpoints come every 5 steps; of more
    than one only the best would stay."""
    watched = Watched([0.5, 0.9, 0.1, 0.6], higher)
    card = bench.train(tmp_path / "a", watched.scorer(), **CHOSEN)
    assert (card.best_step, card.best_value, card.steps) == (best, 0.9 if higher else 0.1, 10)
    seen, found = watched.seen[best // 3 - 1], weights(tmp_path / "a")
    assert all(torch.equal(found[key], seen[key]) for key in found)
    assert any(not torch.equal(watched.seen[-1][key], seen[key]) for key in found)


def test_by_default_the_last_weights_are_kept(bench: Bench, tmp_path: Path):
    watched = Watched([0.5, 0.9, 0.1, 0.6])
    card = bench.train(tmp_path / "a", watched.scorer(), **EVALUATED)
    assert (card.best_step, card.best_value) == (None, None)
    assert all(
        torch.equal(tensor, watched.seen[-1][key])
        for key, tensor in weights(tmp_path / "a").items()
    )


def test_a_best_one_that_is_never_defined_is_an_error(bench: Bench, tmp_path: Path):
    with pytest.raises(InputError, match="acc was undefined at every evaluation"):
        bench.train(tmp_path / "a", fixed_scores([None] * 4), **CHOSEN)


@pytest.mark.parametrize(
    ("values", "threshold", "steps"),
    [
        (
            [0.5, 0.9, 0.8, 0.7, 1.0],
            0.0,
            12,
        ),  # 0.8 and 0.7 are two evaluations without a better one
        ([0.5, 0.9, 0.8, 0.95, 0.9, 0.9], 0.0, 18),  # 0.95 starts the count again
        ([0.5, 0.9, 0.95, 0.99], 0.2, 12),  # better, but by less than counts
        ([0.5, 0.9, None, 0.7], 0.0, 12),  # undefined is not better
    ],
)
def test_patience_ends_the_training(
    bench: Bench, tmp_path: Path, values: list, threshold: float, steps: int
):
    stopped = {
        "early_stopping_patience": 2,
        "early_stopping_threshold": threshold,
        "metric_for_best_model": "acc",
    }
    settings = EVALUATED | {"num_train_epochs": 3} | stopped
    assert bench.train(tmp_path / "a", fixed_scores(values), **settings).steps == steps


@pytest.mark.slow  # trains twice for each kill
@pytest.mark.parametrize("killed_at", [4, 7, 10, 12])
def test_a_killed_run_keeps_its_patience_and_its_best(
    bench: Bench, tmp_path: Path, monkeypatch, killed_at: int
):
    """acc 0.5, 0.9, 0.8, 0.7 at steps 3, 6, 9, 12: stopped after 12 with the weights of 6, wherever it was killed."""
    settings = CHOSEN | {
        "num_train_epochs": 3,
        "early_stopping_patience": 2,
        "save_steps": 1,
        "save_total_limit": 1,
    }
    values = {3: 0.5, 6: 0.9, 9: 0.8, 12: 0.7, 15: 1.0}

    def scorer() -> EpochScorer:
        """By the step, as an evaluation that is done again finds the same."""
        return EpochScorer(lambda model: {"acc": values[next(steps)]}, {"acc": True})

    steps = iter(sorted(values))
    whole = bench.train(tmp_path / "whole", scorer(), **settings)
    assert (whole.steps, whole.best_step) == (12, 6)
    steps = iter(sorted(values))
    kill_at_step(killed_at, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        bench.train(tmp_path / "killed", scorer(), **settings)
    monkeypatch.undo()
    steps = iter(step for step in sorted(values) if step >= killed_at)
    card = bench.train(tmp_path / "killed", scorer(), **settings)
    assert card.cost.resumed_from_step == killed_at - 1
    assert (card.steps, card.best_step, card.best_value) == (12, 6, 0.9)
    assert_equal_weights(tmp_path / "whole", tmp_path / "killed")
    histories = [read_history(tmp_path / name) for name in ("whole", "killed")]
    assert histories[0] == histories[1]


# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eval_strategy": "steps"}, "train.eval_steps is None"),
        ({"eval_steps": 5}, "train.eval_steps is 5"),
        ({"eval_strategy": "no", "eval_scores": 5}, "train.eval_scores is 5"),
        (
            {"eval_strategy": "no", "load_best_model_at_end": True},
            "train.load_best_model_at_end is True",
        ),
        (
            {"eval_strategy": "no", "early_stopping_patience": 1},
            "train.early_stopping_patience is 1",
        ),
        ({"metric_for_best_model": "acc"}, "train.metric_for_best_model is 'acc'"),
        (
            {
                "metric_for_best_model": "acc",
                "eval_scores": 5,
                "lr_scheduler_type": "reduce_lr_on_plateau",
            },
            "train.metric_for_best_model is 'acc'",
        ),
    ],
)
def test_settings_that_do_not_go_together(
    ft, tmp_path: Path, no_model, settings_file, settings: dict, message: str
):
    code, _, error = ft("train", settings_file(train=settings))
    assert code == 2
    assert message in error


@pytest.fixture
def settings_file(tmp_path: Path, sections: dict):
    """Write a recipe of its own: its path."""

    def write(**others: dict) -> Path:
        path = tmp_path / "adapters" / "a" / "recipe.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**sections, **others}), encoding="utf-8")
        return path

    return write


def test_a_metric_that_the_task_has_not_is_refused(ft, no_model, settings_file):
    train_settings = {
        "eval_scores": 5,
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
    }
    code, _, error = ft("train", settings_file(train=train_settings))
    assert code == 2
    assert "train.metric_for_best_model is 'accuracy'" in error
    assert "one of loss, acc" in error


@pytest.mark.parametrize(
    "steered",
    [{"load_best_model_at_end": True}, {"eval_scores": 5}, {"early_stopping_patience": 2}],
)
def test_a_missing_validation_split_is_refused(
    ft, no_model, settings_file, tmp_path: Path, steered: dict
):
    folder = tmp_path / "data"
    write_jsonl(folder / "train.jsonl", review_rows(8))
    write_jsonl(folder / "test.jsonl", review_rows(8, start=50))
    write_jsonl(folder / "validation.jsonl", [])
    code, _, error = ft(
        "train",
        settings_file(data={"source": str(folder)}, eval={"splits": ["test"]}, train=steered),
    )
    assert code == 3
    assert_three_lines(error)
    assert "validation" in error


def test_validation_docs_that_steer_are_part_of_the_adapter(bench: Bench, tmp_path: Path):
    """Other validation docs choose other weights; where they are only looked at, the adapter is the same."""
    folder = tmp_path / "data"
    for split, start in (("train", 0), ("test", 50), ("validation", 30)):
        write_jsonl(folder / f"{split}.jsonl", review_rows(8, start))
    hashes = []
    for steered in (False, True):
        recipe = bench.recipe(load_best_model_at_end=steered)
        other = recipe.model_copy(
            update={"data": recipe.data.model_copy(update={"source": str(folder)})}
        )
        for each in (recipe, other):
            hashes.append(
                build_training_set(
                    bench.checked(each).tasks, bench.base, each, "task"
                ).validation_hash
            )
    assert hashes[:2] == [None, None]
    assert hashes[2] != hashes[3]
    assert None not in hashes[2:]
