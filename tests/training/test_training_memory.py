"""Memory runs out in training: the same step again in smaller parts, the same weights; a single row ends the run."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ft_harness.errors import ResourceError
from ft_harness.models.adapters import read_history
from ft_harness.training import guards, run
from ft_harness.training.guards import MicroBatches, Snapshot, split_rows
from tests.builders.command import assert_three_lines
from tests.builders.interruptions import around_losses
from tests.builders.weights import largest_difference
from tests.models.test_out_of_memory import FORMS
from tests.training.test_never_lost import (
    Bench,
    Killed,
    at_batch,
    bench,
    kill,
    names,
    recipe_file,
)

__all__ = ["bench", "recipe_file"]  # fixtures
# ten rows in steps of 4 x 2: one whole window, and one of a single batch of two rows; so 2 steps, 3 batches an epoch
SETTINGS = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "dropout": 0.0}
BATCHES = 6


@pytest.fixture(scope="module")
def clean(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that has memory enough."""
    folder = tmp_path_factory.mktemp("clean") / "a"
    bench.train(folder, **SETTINGS)
    return folder


class Memory:
    """A machine on which backward runs out of memory, after most gradients were added, where a batch is too much.

    `too_much` is asked with (rows, number of the forward pass of training).
    """

    def __init__(
        self, patched: pytest.MonkeyPatch, too_much: Callable, error: Exception = FORMS["class"]
    ) -> None:
        self.rows: list[int] = []
        self.refusals = 0

        def watch(model, inputs, loss):
            self.rows.append(len(inputs["input_ids"]))
            if too_much(self.rows[-1], len(self.rows)):
                first = next(
                    each for each in model.parameters() if each.requires_grad
                )  # the last one that backward meets
                handle = first.register_hook(lambda _: self.refuse(handle, error))
            return loss

        around_losses(patched, watch)

    def refuse(self, handle, error: Exception) -> None:
        handle.remove()
        self.refusals += 1
        raise error


def steps_of(folder: Path) -> list[int]:
    return [entry.step for entry in read_history(folder) if entry.loss is not None]


def losses_of(folder: Path) -> list[float]:
    return [entry.loss for entry in read_history(folder) if entry.loss is not None]


def test_memory_that_runs_out_at_any_batch_changes_no_step(
    bench: Bench, clean: Path, tmp_path: Path
):
    """At each batch in turn, until there is none left: no step lost or done twice, the smaller size kept."""
    assert steps_of(clean) == [1, 2, 3, 4]
    number, refused = 0, True
    while refused:
        number += 1
        folder = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patched:
            memory = Memory(patched, lambda rows, count, number=number: count == number)
            card = bench.train(folder, **SETTINGS)
        refused = memory.refusals == 1
        assert largest_difference(folder, clean) < 1e-6
        assert steps_of(folder) == [1, 2, 3, 4]
        assert losses_of(folder) == pytest.approx(losses_of(clean), abs=1e-5)
        changes = [(each.step, each.before, each.after) for each in card.cost.micro_batch_changes]
        if refused:
            # batches 1 and 2 make step 1, batch 3 (of two rows) step 2, 4 and 5 step 3, 6 step 4
            step, rows = {1: (1, 4), 2: (1, 4), 3: (2, 2), 4: (3, 4), 5: (3, 4), 6: (4, 2)}[number]
            assert changes == [(step, rows, rows // 2)]
            assert max(memory.rows[number:]) == rows // 2
        assert card.trained_tokens == 10  # a label word a row
    assert number == BATCHES + 1
    assert changes == []


@pytest.mark.slow  # a training for each message
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_message_is_met_with_smaller_parts(
    form: str, bench: Bench, clean: Path, tmp_path: Path
):
    with pytest.MonkeyPatch.context() as patched:
        memory = Memory(patched, lambda rows, _: rows > 1, FORMS[form])
        card = bench.train(tmp_path / "a", **SETTINGS)
    assert memory.refusals == 2  # 4 -> 2 -> 1 rows, and never again
    assert [(each.before, each.after) for each in card.cost.micro_batch_changes] == [(4, 2), (2, 1)]
    assert largest_difference(tmp_path / "a", clean) < 1e-6


def test_draws_of_the_failed_try_are_given_back(bench: Bench, tmp_path: Path):
    """With dropout: the run that ran out of memory is to the bit the one that was cut at that batch without."""
    settings = SETTINGS | {"dropout": 0.3}
    with pytest.MonkeyPatch.context() as patched:
        Memory(patched, lambda rows, count: count == 2)
        bench.train(tmp_path / "failed", **settings)
    original, calls = MicroBatches.compute, []

    def compute(self, *given):
        calls.append(1)
        if len(calls) == 2:
            self.limit = 2
        return original(self, *given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MicroBatches, "compute", compute)
        bench.train(tmp_path / "cut", **settings)
    assert largest_difference(tmp_path / "failed", tmp_path / "cut") == 0.0


def test_a_snapshot_gives_back_gradients_and_all_generators():
    kept, fresh = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    kept.grad = torch.tensor([1.0, 2.0])
    before = Snapshot([kept, fresh])
    drawn = random.random(), np.random.rand(), float(torch.rand(1))
    kept.grad += 5
    fresh.grad = torch.ones(2)
    before.restore()
    assert kept.grad.tolist() == [1.0, 2.0]
    assert fresh.grad is None
    assert (random.random(), np.random.rand(), float(torch.rand(1))) == drawn


def test_parts_hold_each_row_once():
    batch = {"input_ids": torch.arange(10).reshape(5, 2), "labels": torch.arange(5)}
    parts = split_rows(batch, 2)
    assert [part["labels"].tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    assert torch.equal(torch.cat([part["input_ids"] for part in parts]), batch["input_ids"])


def test_a_row_that_does_not_fit_alone_ends_the_run_and_keeps_the_checkpoint(
    bench: Bench, tmp_path: Path
):
    with pytest.MonkeyPatch.context() as patched:
        memory = Memory(patched, lambda rows, count: count > 3)  # from step 3 on
        with pytest.raises(ResourceError) as caught:
            bench.train(tmp_path / "a", **SETTINGS)
    assert caught.value.exit_code == 5
    assert memory.refusals == 3  # 4, 2 and 1 rows
    assert "with a single row of" in caught.value.what
    assert caught.value.what.endswith("; the last checkpoint before it is kept")
    assert "train.gradient_checkpointing=true" in caught.value.action
    kept = names(tmp_path / "a")
    assert kept == ["changes.jsonl", "checkpoint-1", "checkpoint-2", "plan.json"]


def test_the_command_names_itself_to_go_on(ft, recipe_file: Path):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(guards, "attempt", lambda compute: None)
        code, _, err = ft("train", recipe_file, "--set", "train.seed=3")
    assert code == 5
    assert_three_lines(
        err, f"then run the same command again: ft-harness train {recipe_file} --set train.seed=3"
    )


def test_a_continued_run_begins_with_the_smaller_size_and_tells_of_it(
    bench: Bench, clean: Path, tmp_path: Path
):
    with pytest.MonkeyPatch.context() as patched:
        at_batch(7, patched, kill)
        Memory(patched, lambda rows, count: count == 1)
        with pytest.raises(Killed):
            bench.train(tmp_path / "a", **SETTINGS)
    with pytest.MonkeyPatch.context() as patched:
        memory = Memory(patched, lambda rows, count: False)
        card = bench.train(tmp_path / "a", **SETTINGS)
    assert max(memory.rows) == 2
    assert card.cost.resumed_from_step is not None
    assert [(each.step, each.before, each.after) for each in card.cost.micro_batch_changes] == [
        (1, 4, 2)
    ]
    assert largest_difference(tmp_path / "a", clean) < 1e-6


def test_memory_for_an_evaluation_is_no_matter_of_training(
    bench: Bench, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = run.make_objective

    def make(base, *given):
        objective = original(base, *given)

        def sums(model, inputs, labels):
            if not model.training and len(inputs["input_ids"]) > 1:
                raise FORMS["cuda"]
            return objective.sums(model, inputs, labels)

        return objective._replace(sums=sums)

    monkeypatch.setattr(run, "make_objective", make)
    card = bench.train(tmp_path / "a", **SETTINGS)
    assert card.cost.micro_batch_changes == []
    assert largest_difference(tmp_path / "a", clean) == 0.0
    measured, expected = (
        [entry.eval_loss for entry in read_history(folder) if entry.eval_loss is not None]
        for folder in (tmp_path / "a", clean)
    )
    assert measured == pytest.approx(expected, abs=1e-5)


def test_memory_for_the_optimizer_can_not_be_split(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def step(optimizer, closure=None):
        raise FORMS["class"]

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(ResourceError, match="outside forward and backward") as caught:
        bench.train(tmp_path / "a", **SETTINGS)
    assert caught.value.exit_code == 5
    assert "is kept" not in str(caught.value)  # it was the first step


def test_another_error_is_not_taken_for_it(bench: Bench, tmp_path: Path):
    with pytest.MonkeyPatch.context() as patched:
        memory = Memory(
            patched, lambda rows, _: True, RuntimeError("CUDA error: device-side assert triggered")
        )
        with pytest.raises(RuntimeError, match="device-side assert"):
            bench.train(tmp_path / "a", **SETTINGS)
    assert memory.refusals == 1
