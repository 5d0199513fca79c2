"""Every room's faults, collected before a model is loaded and reported together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ft_harness import base_model, storage, tasks
from ft_harness.errors import FtHarnessError, ProblemsError, raise_problems
from ft_harness.examples import answer_text, prompt_of
from ft_harness.files import Split
from ft_harness.recipe import Recipe
from ft_harness.tasks import TaskSpec

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask


@dataclass(frozen=True)
class Checked:
    """What the checks left behind for the run: the task objects, so that data is read once, and what was checked."""

    tasks: dict[Split, ConfigurableTask]
    task_hash: str
    report: list[str]


def task_spec(recipe: Recipe) -> TaskSpec:
    """The task that a recipe asks for."""
    return TaskSpec(recipe.task.name, recipe.task.include_path, recipe.task_metadata())


def needed_splits(recipe: Recipe, *, trains: bool) -> tuple[Split, ...]:
    """The splits that are scored, and train where an adapter is made."""
    wanted = {*recipe.eval.splits, "train"} if trains else set(recipe.eval.splits)
    return tuple(split for split in ("train", "validation", "test") if split in wanted)


def _check_docs(checked: dict[Split, ConfigurableTask]) -> list[FtHarnessError]:
    """Render every doc's prompt and answer once; the first fault of each split."""
    from tqdm import tqdm

    problems: list[FtHarnessError] = []
    for task in checked.values():
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            continue
        try:
            for doc in tqdm(task.eval_docs, desc=f"Checking {task.config.task}"):
                prompt_of(task, doc)
                answer_text(task, doc)
        except FtHarnessError as error:
            problems.append(error)
    return problems


def check(recipe: Recipe, folders: list[Path], *, trains: bool) -> Checked:
    """Check model folder, task, data, labels and output folders.

    Raises:
        FtHarnessError: the fault, or a `ProblemsError` with all of them.
    """
    problems: list[FtHarnessError] = [*base_model.problems(recipe.model)]
    for folder in folders:
        problems += storage.problems(folder)
    loaded: dict[Split, ConfigurableTask] = {}
    task_hash = ""
    try:
        spec = task_spec(recipe)
        path = tasks.find_task(spec)
        task_hash = tasks.task_hash(path)
        loaded = tasks.load_tasks(spec, needed_splits(recipe, trains=trains))
        problems += tasks.training_problems(loaded["train"]) if trains else []
        problems += _check_docs(loaded)
    except ProblemsError as error:
        problems += error.problems
    except FtHarnessError as error:
        problems.append(error)
    raise_problems(problems)
    counts = ", ".join(f"{split} {len(task.eval_docs)} docs" for split, task in loaded.items())
    metrics = len(next(iter(loaded.values())).higher_is_better())
    report = [
        f"model {recipe.model.pretrained}",
        f"task {recipe.task.name} ({task_hash})",
        counts,
        f"{metrics} metrics",
    ]
    report += [f"folder {folder} can be written" for folder in folders]
    return Checked(loaded, task_hash, report)
