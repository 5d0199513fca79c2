"""Training that is killed, stopped, damaged or poisoned: what was saved is whole, and what goes on ends the same."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ft_harness.errors import InputError, NonFiniteError, ResourceError, StorageLostError
from ft_harness.models.adapters import read_card, read_history
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.recipe import Recipe
from ft_harness.records import Card
from ft_harness.storage import DROPPED
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import (
    TrainingPlan,
    TrainingSet,
    build_training_set,
    checkpoints,
    guards,
    loop,
    run,
    train,
)
from ft_harness.training.loop import Loop
from tests.builders.command import assert_three_lines
from tests.builders.interruptions import around_losses
from tests.builders.weights import weights

pytestmark = pytest.mark.slow  # kills a training at every batch

# 10 rows in steps of 2 x 2: two whole windows and one of a single batch, so 3 steps an epoch, 5 batches; two epochs
ROWS, STEPS, BATCHES = 10, 6, 10
FILES = (
    *(
        "MANIFEST.json",
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.pt",
        "progress.json",
    ),
    *("rng_state.pth", "scheduler.pt"),
)


class Killed(BaseException):
    """Stands for the end of the process."""


class Stopped(BaseException):
    """What the command raises on a signal."""


@dataclass
class Bench:
    """A loaded tiny model and ten rows of the reviews task."""

    base: BaseModel
    model_folder: Path
    source: str

    def recipe(self, dropout: float = 0.1, **settings) -> Recipe:
        given = {
            "num_train_epochs": 2,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
        }
        return Recipe.model_validate(
            {
                "model": {"pretrained": str(self.model_folder)},
                "task": {"name": "demo_sentiment"},
                "data": {"source": self.source},
                "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": dropout},
                "train": given | {"learning_rate": 0.01, "save_steps": 1} | settings,
            }
        )

    def training_set(self, recipe: Recipe, start: int = 0) -> TrainingSet:
        tasks = load_tasks(
            find_task("demo_sentiment", metadata=recipe.task_metadata()),
            ["train", "validation", "test"],
        )
        data = build_training_set(tasks, self.base, recipe, "task")
        return replace(
            data, examples=data.examples[start : start + ROWS], validation=data.validation[:4]
        )

    def train(self, folder: Path, start: int = 0, **settings) -> Card:
        recipe = self.recipe(**settings)
        return train(TrainingPlan(recipe, self.base, self.training_set(recipe, start)), folder)


@pytest.fixture(scope="module")
def bench(model_folder: Path, reviews: Path) -> Bench:
    recipe = Recipe.model_validate(
        {"model": {"pretrained": str(model_folder)}, "task": {"name": "demo_sentiment"}}
    )
    return Bench(load_base_model(recipe.model), model_folder, str(reviews))


@pytest.fixture(scope="module")
def whole(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole") / "a"
    bench.train(folder)
    return folder


def assert_same(folder: Path, other: Path) -> None:
    """The same weights to the bit, and the same history line by line."""
    left, right = weights(folder), weights(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert (folder / "history.jsonl").read_text() == (other / "history.jsonl").read_text()


def names(folder: Path, below: str = "checkpoints") -> list[str]:
    return sorted(path.name for path in (folder / below).iterdir())


def at_batch(number: int, monkeypatch: pytest.MonkeyPatch, act: Callable) -> None:
    """Let `act(model, loss)` make the loss of this training batch, counted from 1 in this process."""
    seen = []

    def act_at(model, inputs, loss):
        seen.append(1)
        return act(model, loss) if len(seen) == number else loss

    around_losses(monkeypatch, act_at)


def kill(model, loss):
    raise Killed


def kill_at_batch(bench: Bench, folder: Path, number: int, **settings) -> None:
    with pytest.MonkeyPatch.context() as patched:
        at_batch(number, patched, kill)
        with pytest.raises(Killed):
            bench.train(folder, **settings)


# --- killed anywhere --------------------------------------------------------------------------------------------------


def test_killed_at_every_batch_and_continued_is_the_uninterrupted_run(
    bench: Bench, whole: Path, tmp_path: Path
):
    """With dropout, in the middle of epochs and of accumulations, and in a window that is not full."""
    assert [entry.step for entry in read_history(whole) if entry.loss is not None] == list(
        range(1, STEPS + 1)
    )
    for number in range(1, BATCHES + 1):
        folder = tmp_path / str(number)
        kill_at_batch(bench, folder, number)
        # steps done before batch b: batches 1, 2 are step 1, 3 and 4 step 2, 5 is step 3, 6 and 7 step 4, ...
        epoch, place = divmod(number - 1, 5)
        done = 3 * epoch + place // 2
        assert bench.train(folder).cost.resumed_from_step == (done or None)
        assert_same(folder, whole)
        assert not (folder / "checkpoints").exists()


class Death:
    """Kills at the n-th call of anything that a save does; nothing of it runs afterwards."""

    def __init__(self, patched: pytest.MonkeyPatch, number: int) -> None:
        self.left = number
        for place, name in (
            *(
                (checkpoints, "seal"),
                (checkpoints, "put_folder"),
                (checkpoints, "fault_of"),
                (checkpoints, "drop_folder"),
            ),
            *(
                (os, "fsync"),
                (os, "rename"),
                (os, "replace"),
                (shutil, "rmtree"),
                (checkpoints, "write_text"),
            ),
        ):
            patched.setattr(place, name, self.deadly(getattr(place, name)))

    def deadly(self, original: Callable) -> Callable:
        def call(*args, **options):
            self.left -= 1
            if self.left <= 0:
                raise Killed
            return original(*args, **options)

        return call


def save(folder: checkpoints.CheckpointFolder, step: int) -> None:
    """What a save of the loop comes to, with three small files."""
    with folder.writing(pytest.fail):
        place = folder.unfinished / f"checkpoint-{step}"
        place.mkdir(parents=True)
        for name in ("adapter_model.safetensors", "optimizer.pt", "progress.json"):
            (place / name).write_text(f"{name} of {step}")
        folder.put(step, None)


@pytest.mark.parametrize("again", [False, True], ids=["older", "damaged"])
def test_killed_anywhere_in_a_save_leaves_a_whole_checkpoint(again: bool, tmp_path: Path):
    """One is kept at a time. The save of step 2 is killed before each thing that it does; with a damaged one in its way
    too."""
    number, finished = 0, False
    while not finished:
        number += 1
        folder = checkpoints.CheckpointFolder(tmp_path / str(number), "plan", limit=1)
        save(folder, 1)
        if again:
            shutil.copytree(folder.path / "checkpoint-1", folder.path / "checkpoint-2")
        with pytest.MonkeyPatch.context() as patched, suppress(Killed):
            Death(patched, number)
            save(folder, 2)
            finished = True
        start = checkpoints._usable(folder.path, "plan", keeps_best=False)
        step = checkpoints.step_of(start)
        assert (start / "optimizer.pt").read_text() == f"optimizer.pt of {step}"
        assert (start.name, names(tmp_path / str(number), "")) == (
            "checkpoint-2",
            ["checkpoint-2"],
        ) or not finished
    assert number > 15  # files, syncs, renames, deletions


def test_killed_between_the_files_of_a_checkpoint(bench: Bench, whole: Path, tmp_path: Path):
    """Three of a checkpoint are written by torch.save: killed before the first and the last of the third checkpoint."""
    for number in (7, 9):
        with pytest.MonkeyPatch.context() as patched:
            Writes(patched, number, Killed())
            with pytest.raises(Killed):
                bench.train(tmp_path / str(number))
        assert bench.train(tmp_path / str(number)).cost.resumed_from_step == 2
        assert_same(tmp_path / str(number), whole)


class Writes:
    """The n-th file that torch writes fails."""

    def __init__(self, patched: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
        original, calls = torch.save, []

        def save(*given, **options):
            calls.append(1)
            if len(calls) == number:
                raise error
            original(*given, **options)

        patched.setattr(torch, "save", save)


FULL = (
    OSError(errno.ENOSPC, "No space left on device"),
    RuntimeError("Error: No space left on device (os error 28)"),
)


@pytest.mark.parametrize("error", FULL, ids=["system", "library"])
def test_a_full_disk_keeps_the_checkpoints_before_and_goes_on_when_there_is_room(
    error: Exception, bench: Bench, whole: Path, tmp_path: Path
):
    with pytest.MonkeyPatch.context() as patched:
        Writes(patched, 8, error)  # three files per checkpoint: in the third
        with pytest.raises(ResourceError, match="the disk is full") as caught:
            bench.train(tmp_path / "a")
    assert caught.value.exit_code == 5
    assert names(tmp_path / "a") == ["checkpoint-1", "checkpoint-2", "plan.json"]
    assert bench.train(tmp_path / "a").cost.resumed_from_step == 2
    assert_same(tmp_path / "a", whole)


@pytest.mark.parametrize("error", FULL, ids=["system", "library"])
def test_a_full_disk_at_the_end_keeps_the_last_checkpoint(
    error: Exception, bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*given, **options):
        raise error

    monkeypatch.setattr(run, "save_weights", refuse)
    with pytest.raises(ResourceError, match="the disk is full") as caught:
        bench.train(tmp_path / "a")
    assert caught.value.exit_code == 5
    assert read_card(tmp_path / "a") is None
    monkeypatch.undo()
    bench.train(tmp_path / "a")
    assert_same(tmp_path / "a", whole)


def test_changes_that_can_not_be_read_are_named(bench: Bench, killed: Path, tmp_path: Path):
    folder = shutil.copytree(killed, tmp_path / "a")
    (folder / "checkpoints" / "changes.jsonl").write_text('{"garbage": 1}\n')
    with pytest.raises(InputError, match=r"changes\.jsonl: not the changes of a training"):
        bench.train(folder)


def test_a_folder_that_is_lost_leaves_an_emergency_copy(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*given, **options):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoints, "put_folder", refuse)
    monkeypatch.setattr(checkpoints.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "copy"))
    with pytest.raises(StorageLostError, match="emergency copy of the weights in") as caught:
        bench.train(tmp_path / "a")
    assert caught.value.exit_code == 7
    assert weights(tmp_path / "copy")


# --- what is gone on from -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in step 5, with the checkpoints of steps 2, 3 and 4."""
    folder = tmp_path_factory.mktemp("killed") / "a"
    kill_at_batch(bench, folder, 8, save_total_limit=3)
    assert names(folder) == ["checkpoint-2", "checkpoint-3", "checkpoint-4", "plan.json"]
    return folder


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def opened(bench: Bench, folder: Path, **settings) -> checkpoints.CheckpointFolder:
    recipe = bench.recipe(**{"save_total_limit": 3} | settings)
    return checkpoints.open_checkpoints(
        TrainingPlan(recipe, bench.base, bench.training_set(recipe)), folder
    )


def test_a_checkpoint_with_a_damaged_file_is_named_and_skipped(
    bench: Bench, killed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert names(killed, "checkpoints/checkpoint-4") == [*FILES]
    recipe = bench.recipe(save_total_limit=3)
    data = bench.training_set(recipe)
    for name in FILES:
        for damage in (delete, truncate, flip):
            folder = shutil.copytree(killed, tmp_path / f"{name}-{damage.__name__}")
            damage(folder / "checkpoints/checkpoint-4" / name)
            caplog.clear()
            assert (
                checkpoints.open_checkpoints(
                    TrainingPlan(recipe, bench.base, data), folder
                ).start.name
                == "checkpoint-3"
            )
            (warning,) = caplog.messages
            assert f"checkpoint-4: {name} is " in warning
            assert "going on from checkpoint-3" in warning


def test_a_run_continued_from_the_checkpoint_before_the_damaged_one_ends_the_same(
    bench: Bench, killed: Path, whole: Path, tmp_path: Path
):
    """The damaged one is replaced when its step comes again."""
    folder = shutil.copytree(killed, tmp_path / "a")
    truncate(folder / "checkpoints/checkpoint-4/optimizer.pt")
    assert bench.train(folder, save_total_limit=3).cost.resumed_from_step == 3
    assert_same(folder, whole)


@pytest.mark.parametrize(("left", "lost"), [(slice(0), 4), (slice(1, None), 1), (slice(None), 0)])
def test_a_history_that_lacks_steps_is_told(
    bench: Bench,
    killed: Path,
    tmp_path: Path,
    left: slice,
    lost: int,
    caplog: pytest.LogCaptureFixture,
):
    """Four steps lie before the newest checkpoint."""
    folder = shutil.copytree(killed, tmp_path / "a")
    path = folder / "history.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[left]))
    opened(bench, folder)
    said = [message for message in caplog.messages if "learning curve" in message]
    told = (
        f"{path}: lacks {lost} of the 4 steps before the checkpoint; the learning curve has a gap"
    )
    assert said == ([told] if lost else [])


def test_without_a_usable_checkpoint_nothing_is_deleted(bench: Bench, killed: Path, tmp_path: Path):
    folder = shutil.copytree(killed, tmp_path / "a")
    for step in (2, 3, 4):
        truncate(folder / f"checkpoints/checkpoint-{step}/adapter_model.safetensors")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="no usable checkpoint") as caught:
        opened(bench, folder)
    assert caught.value.exit_code == 3
    assert all(
        f"checkpoint-{step}: adapter_model.safetensors is damaged" in caught.value.what
        for step in (2, 3, 4)
    )
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_an_older_version_or_another_training_left_is_not_gone_on_from(
    bench: Bench, killed: Path, tmp_path: Path
):
    folder = shutil.copytree(killed, tmp_path / "a")
    checkpoints.seal(folder / "checkpoints/checkpoint-4", 4, "of another")
    assert opened(bench, folder).start.name == "checkpoint-3"


def test_leftovers_of_a_killed_save_are_deleted(bench: Bench, killed: Path, tmp_path: Path):
    folder = shutil.copytree(killed, tmp_path / "a")
    for name in (".unfinished/checkpoint-5", f"{DROPPED}checkpoint-1"):
        (folder / "checkpoints" / name).mkdir(parents=True)
        (folder / "checkpoints" / name / "optimizer.pt").write_text("torn")
    assert opened(bench, folder).start.name == "checkpoint-4"
    assert names(folder) == names(killed)


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"learning_rate": 0.02}, r"recipe\.train\.learning_rate: 0\.01 -> 0\.02"),
        ({"seed": 1}, r"recipe\.train\.seed: 0 -> 1"),
        ({"dropout": 0.2}, r"recipe\.adapter\.lora_dropout: 0\.1 -> 0\.2"),
        ({"gradient_accumulation_steps": 3}, r"recipe\.train\.effective_batch_size: 4 -> 6"),
    ],
)
def test_a_changed_setting_refuses_to_go_on(
    settings: dict, difference: str, bench: Bench, killed: Path, tmp_path: Path
):
    folder = shutil.copytree(killed, tmp_path / "a")
    with pytest.raises(
        InputError, match=f"the unfinished training there differs \\({difference}\\)"
    ) as caught:
        opened(bench, folder, **settings)
    assert caught.value.exit_code == 3
    assert "--name NEW" in caught.value.action
    assert names(folder) == names(killed)


def test_a_changed_data_row_refuses_to_go_on(bench: Bench, killed: Path, tmp_path: Path):
    folder = shutil.copytree(killed, tmp_path / "a")
    with pytest.raises(InputError, match=r"differs \(data_hash: '\w{16}' -> '\w{16}'\)"):
        bench.train(folder, start=1, save_total_limit=3)
    assert names(folder) == names(killed)


def test_before_the_first_checkpoint_nothing_stands_against_another_recipe(
    bench: Bench, tmp_path: Path
):
    kill_at_batch(bench, tmp_path / "a", 1)
    assert (
        bench.train(tmp_path / "a", learning_rate=0.02, max_steps=1).cost.resumed_from_step is None
    )


def test_another_micro_batch_goes_on_with_the_same_steps(bench: Bench, tmp_path: Path):
    """Without dropout the weights are those of the uninterrupted run; the card tells of the change."""
    bench.train(tmp_path / "whole", dropout=0.0)
    kill_at_batch(bench, tmp_path / "a", 4, dropout=0.0)
    changed = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "save_steps": 4}
    card = bench.train(tmp_path / "a", dropout=0.0, **changed)
    assert card.cost.resumed_from_step == 1
    noted = [
        (change.step, change.setting, change.before, change.after)
        for change in card.cost.resumed_with
    ]
    assert noted == [
        (2, "gradient_accumulation_steps", 2, 4),
        (2, "per_device_train_batch_size", 2, 1),
        (2, "save_steps", 1.0, 4.0),
    ]
    left, right = weights(tmp_path / "whole"), weights(tmp_path / "a")
    assert max(float((left[name] - right[name]).abs().max()) for name in left) < 1e-6


def test_save_steps_of_the_continued_run_hold(bench: Bench, killed: Path, tmp_path: Path):
    """Not those of the run that was killed: 1."""
    folder = shutil.copytree(killed, tmp_path / "a")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run, "save_weights", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            bench.train(folder, save_total_limit=3, save_steps=7)
    kept = [
        "changes.jsonl",
        "checkpoint-3",
        "checkpoint-4",
        "checkpoint-6",
        "plan.json",
    ]  # the last step has its own
    assert names(folder) == kept


@pytest.mark.parametrize(
    ("apart", "save_steps", "kept"),
    [(0.0, 0.3, [2, 4, 6]), (60.0, 0.3, [6]), (60.0, 2, [2, 4, 6])],
    ids=["far apart", "close to each other", "as many steps as asked for"],
)
def test_a_share_of_a_short_training_is_not_saved(
    apart: float, save_steps: float, kept: list[int], bench: Bench, tmp_path: Path, monkeypatch
):
    """Six steps, of which a share of 0.3 are 1.8: the last one is saved in any case."""
    monkeypatch.setattr(loop, "_WORTH_SAVING", apart)
    monkeypatch.setattr(run, "save_weights", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        bench.train(tmp_path / "a", save_total_limit=3, save_steps=save_steps)
    found = [name for name in names(tmp_path / "a") if name.startswith("checkpoint-")]
    assert found == [f"checkpoint-{step}" for step in kept]


def test_a_run_that_was_killed_after_its_last_step_does_no_further_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In the middle of an epoch, whose rows are not all read."""
    bench.train(tmp_path / "whole", max_steps=4)

    def end(*given, **options):
        raise Killed

    monkeypatch.setattr(run, "save_weights", end)
    with pytest.raises(Killed):
        bench.train(tmp_path / "a", max_steps=4)
    monkeypatch.undo()
    card = bench.train(tmp_path / "a", max_steps=4)
    assert (card.steps, card.cost.resumed_from_step) == (4, 4)
    assert_same(tmp_path / "a", tmp_path / "whole")


def test_the_best_checkpoint_is_kept_and_looked_at(bench: Bench, tmp_path: Path):
    """One is kept beside the newest; without it the best weights could not be given at the end."""
    settings = {
        "learning_rate": 0.5,
        "load_best_model_at_end": True,
        "save_total_limit": 1,
        "num_train_epochs": 3,
    }
    kill_at_batch(bench, tmp_path / "a", 15, **settings)  # in step 9, two epochs evaluated
    progress = json.loads((tmp_path / "a/checkpoints/checkpoint-8/progress.json").read_text())
    best = progress["best_step"]
    assert best in (3, 6)
    assert names(tmp_path / "a") == [f"checkpoint-{best}", "checkpoint-8", "plan.json"]
    truncate(tmp_path / f"a/checkpoints/checkpoint-{best}/adapter_model.safetensors")
    with pytest.raises(InputError, match=f"checkpoint-8: its best evaluation's checkpoint-{best}"):
        bench.train(tmp_path / "a", **settings)


# --- signals ------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch):
    """The command's own handlers: they raise."""

    def stop(number, frame):
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("batch", [3, 5, 7, 10])
def test_a_signal_saves_at_the_end_of_the_step(
    batch: int, number: int, bench: Bench, whole: Path, tmp_path: Path, stopping: None
):
    """Batch 5 is the last of an epoch, whose evaluation is made by the next run; 10 is the last of all."""
    step = {3: 2, 5: 3, 7: 4, 10: 6}[batch]

    def send(model, loss):
        signal.raise_signal(number)
        return loss

    with pytest.MonkeyPatch.context() as patched:
        at_batch(batch, patched, send)
        with pytest.raises(Stopped) as caught:
            bench.train(tmp_path / "a", save_steps=100)
    assert caught.value.args == (number,)
    assert names(tmp_path / "a") == [f"checkpoint-{step}", "plan.json"]
    handlers = {signal.getsignal(each).__name__ for each in (signal.SIGTERM, signal.SIGINT)}
    assert handlers == {"stop"}
    card = bench.train(tmp_path / "a", save_steps=100)
    assert card.cost.resumed_from_step == step
    assert_same(tmp_path / "a", whole)


def test_a_signal_in_an_evaluation_does_not_wait_for_it(
    bench: Bench, whole: Path, tmp_path: Path, stopping: None
):
    original, seen = run.make_objective, []

    def make(base, *given):
        objective = original(base, *given)

        def sums(model, inputs, labels):
            if not model.training:
                seen.append(1)
                signal.raise_signal(signal.SIGTERM)
            return objective.sums(model, inputs, labels)

        return objective._replace(sums=sums)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run, "make_objective", make)
        with pytest.raises(Stopped):
            bench.train(tmp_path / "a", save_steps=100)
    assert len(seen) == 1
    assert names(tmp_path / "a") == ["checkpoint-3", "plan.json"]
    bench.train(tmp_path / "a", save_steps=100)
    assert_same(tmp_path / "a", whole)


def test_killed_while_an_evaluation_is_made_up_for(
    bench: Bench, whole: Path, tmp_path: Path, stopping: None, monkeypatch: pytest.MonkeyPatch
):
    """Its line is in the history, the checkpoint still says that it is due: it is there once."""

    def send(model, loss):
        signal.raise_signal(signal.SIGTERM)
        return loss

    with pytest.MonkeyPatch.context() as patched:
        at_batch(5, patched, send)  # the last of an epoch
        with pytest.raises(Stopped):
            bench.train(tmp_path / "a", save_steps=100)
    monkeypatch.setattr(Loop, "_save", lambda loop: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        bench.train(tmp_path / "a", save_steps=100)
    assert [entry.step for entry in read_history(tmp_path / "a")] == [1, 2, 3, 3]
    monkeypatch.undo()
    bench.train(tmp_path / "a", save_steps=100)
    assert_same(tmp_path / "a", whole)


TWICE = """
import os, signal, sys, time
from ft_harness.training.guards import Stops
stops = Stops()
with stops.deferred():
    os.kill(os.getpid(), signal.SIGTERM)
    print(stops.requested, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""


def test_a_second_signal_leaves_at_once():
    done = subprocess.run(
        [sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == f"{int(signal.SIGTERM)}\n"
    assert done.returncode == -signal.SIGTERM
    assert "a second signal leaves at once" in done.stderr


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stops = guards.Stops()
        with stops.deferred():
            signal.raise_signal(signal.SIGINT)
        assert stops.requested is None
    finally:
        signal.signal(signal.SIGINT, before)


# --- numbers that are not finite ----------------------------------------------------------------------------------


def nan_loss(model, loss):
    return loss * torch.nan


def nan_gradient(model, loss):
    """A finite loss; the square root's slope at 0 is infinite, and 0 times that is NaN."""
    parameter = next(each for each in model.parameters() if each.requires_grad)
    return loss + torch.sqrt((parameter * 0.0).sum())


@pytest.mark.parametrize(
    ("poison", "what", "batches"),
    [(nan_loss, "loss", 1), (nan_gradient, "gradient norm", 2)],
    ids=["loss", "gradient"],
)
@pytest.mark.parametrize("batch", [1, 6, 8])
def test_a_number_that_is_not_finite_stops_before_the_optimizer(
    batch: int, poison: Callable, what: str, batches: int, bench: Bench, tmp_path: Path
):
    """Batch 6 is the first of step 4, batch 8 that of step 5: the weights saved are those before it."""
    step = {1: 1, 6: 4, 8: 5}[batch]
    with pytest.MonkeyPatch.context() as patched:
        at_batch(batch, patched, poison)
        with pytest.raises(NonFiniteError) as caught:
            bench.train(tmp_path / "a")
    assert caught.value.exit_code == 8
    start = f"the {what} is not finite at step {step} (learning rate "
    assert caught.value.what.startswith(start)
    rows = (
        caught.value.what.partition("; rows ")[2].partition(" of the train split)")[0].split(", ")
    )
    assert (
        len(rows) == 2 * batches
    )  # two rows per batch; a gradient is that of the step's two batches
    assert all(0 <= int(row) < ROWS for row in rows)
    folders = [path for path in names(tmp_path / "a") if path.startswith("checkpoint-")]
    assert max([0, *(int(name.removeprefix("checkpoint-")) for name in folders)]) == step - 1
    assert caught.value.what.endswith("; the last checkpoint before it is kept") == (step > 1)
    assert ("checkpoint" in str(caught.value)) == (step > 1)
    saved = [
        load_file(tmp_path / "a/checkpoints" / name / "adapter_model.safetensors")
        for name in folders
    ]
    assert all(torch.isfinite(tensor).all() for tensors in saved for tensor in tensors.values())


def test_the_rows_of_a_bad_batch_are_those_that_were_in_it(bench: Bench, tmp_path: Path):
    """One row alone is made to fail, by its tokens."""
    recipe = bench.recipe(per_device_train_batch_size=1, gradient_accumulation_steps=4)
    data, original = bench.training_set(recipe), run.make_objective
    bad = data.examples[7].input_ids

    def make(base, *given):
        objective = original(base, *given)

        def sums(model, inputs, labels):
            loss = objective.sums(model, inputs, labels)
            return loss * torch.nan if inputs["input_ids"][0].tolist() == bad else loss

        return objective._replace(sums=sums)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run, "make_objective", make)
        with pytest.raises(NonFiniteError, match="; rows 7 of the train split"):
            train(TrainingPlan(recipe, bench.base, data), tmp_path / "a")


def test_weights_that_are_not_finite_are_not_saved(bench: Bench, tmp_path: Path):
    """A step of the optimizer that goes wrong although the gradient is finite."""
    original = torch.optim.AdamW.step

    def step(optimizer, closure=None):
        original(optimizer, closure)
        optimizer.param_groups[0]["params"][0].data.fill_(torch.inf)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", step)
        with pytest.raises(NonFiniteError, match="is not finite at step 1"):
            bench.train(tmp_path / "a")
    assert names(tmp_path / "a") == ["plan.json"]


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe_file(model_folder: Path, reviews: Path, tmp_path: Path) -> Path:
    file = tmp_path / "adapters" / "small" / "recipe.yaml"
    file.parent.mkdir(parents=True)
    content = {
        "model": {"pretrained": str(model_folder)},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(reviews)},
        "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1},
        "train": {
            "num_train_epochs": 8,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
        },
    }
    file.write_text(yaml.safe_dump(content))
    return file


def started(recipe: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "ft_harness", "train", str(recipe), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def wait_for(process: subprocess.Popen, folder: Path, lines: int) -> None:
    history = folder / "history.jsonl"
    while process.poll() is None and not (
        history.exists() and history.read_text().count('"loss"') >= lines
    ):
        time.sleep(0.02)


def test_terminated_killed_and_run_again(recipe_file: Path, tmp_path: Path):
    """64 steps: SIGTERM saves at a step's end, SIGKILL is noticed by the next run, which ends with each step once."""
    folder = recipe_file.parent
    process = started(recipe_file, tmp_path)
    wait_for(process, folder, 4)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 143, err
    assert f"ft-harness train {recipe_file} --out {tmp_path}" in err
    stopped = max(entry.step for entry in read_history(folder))
    assert f"checkpoint-{stopped}" in names(folder)  # one is due each 7 steps
    process = started(recipe_file, tmp_path)
    wait_for(process, folder, stopped + 20)
    process.kill()
    process.communicate(timeout=200)
    process = started(recipe_file, tmp_path)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "small: the last run (process " in err
    assert "ended without saving (killed, perhaps for memory)" in err
    assert [entry.step for entry in read_history(folder) if entry.loss is not None] == list(
        range(1, 65)
    )


def test_another_recipe_in_an_unfinished_folder_is_refused_before_anything_is_scored(
    ft, recipe_file: Path
):
    folder = recipe_file.parent
    with pytest.MonkeyPatch.context() as patched:
        at_batch(3, patched, kill)
        short = ("--set", "train.num_train_epochs=1", "--set", "train.save_steps=1")
        assert ft("train", recipe_file, *short)[0] == 70  # whatever is raised is a fault
    changed = ("--set", "train.num_train_epochs=1", "--set", "train.learning_rate=0.5")
    code, _, err = ft("run", recipe_file, *changed)
    assert code == 3
    assert_three_lines(err, "recipe.train.learning_rate: 0.001 -> 0.5", "--name NEW")
    assert "scoring" not in err
    assert names(folder)[0] == "checkpoint-1"


def test_a_smaller_micro_batch_is_no_other_recipe(ft, recipe_file: Path, tmp_path: Path):
    """Neither in the folder that keeps a recipe from elsewhere, nor for the finished adapter."""
    short = ("--set", "train.num_train_epochs=1", "--name", "copy")
    smaller = (
        "--set",
        "train.per_device_train_batch_size=2",
        "--set",
        "train.gradient_accumulation_steps=4",
    )
    assert ft("train", recipe_file, *short)[0] == 0
    code, _, err = ft("train", recipe_file, *short, *smaller)
    assert (code, "the adapter is finished already" in err) == (0, True)
    code, _, err = ft("train", recipe_file, *short, "--set", "train.gradient_accumulation_steps=3")
    assert_three_lines(
        err,
        "holds a finished adapter that differs (recipe.train.effective_batch_size: 8 -> 12)",
        "--name NEW",
    )
    assert code == 3
