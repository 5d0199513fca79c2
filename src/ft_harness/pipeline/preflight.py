"""Every room's faults, collected before a model is loaded and reported together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ft_harness import storage
from ft_harness.data.data_report import DataReport, describe_data
from ft_harness.data.files import Split
from ft_harness.errors import (
    ConfigError,
    FtHarnessError,
    InputError,
    ProblemsError,
    raise_problems,
    suggest,
)
from ft_harness.evaluation.backends import decoding
from ft_harness.models import adapters, base_model, heads
from ft_harness.models.lm_eval_private import compiled_templates
from ft_harness.models.prompts import PLAIN, PromptForm, prompt_form
from ft_harness.recipe import Protocol, Recipe
from ft_harness.tasks import fewshot
from ft_harness.tasks import loading as tasks
from ft_harness.tasks.checks import prompt_problems
from ft_harness.tasks.examples import answer_text, prompt_of
from ft_harness.tasks.items import check_baseline, report_data
from ft_harness.tasks.loading import TaskSpec

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask


@dataclass(frozen=True)
class Checked:
    """What the checks left behind for the run: the task objects, so that data is read once, and
    what was checked.

    Attributes:
        form: how the prompts are rendered.
        data: what the docs are; None where no adapter is made.
    """

    tasks: dict[Split, ConfigurableTask]
    task_hash: str
    training_hash: str
    report: list[str]
    form: PromptForm = PLAIN
    data: DataReport | None = None


def task_spec(recipe: Recipe, *, trust_code: bool = False) -> TaskSpec:
    """The task that a recipe asks for."""
    return TaskSpec(recipe.task.name, recipe.task.include_path, recipe.task_metadata(), trust_code)


def needed_splits(recipe: Recipe, *, trains: bool) -> tuple[Split, ...]:
    """The splits that are scored; where an adapter is made, train, and validation if something
    rests on it."""
    made: set[Split] = {"train", "validation"} if recipe.train.needs_validation else {"train"}
    wanted = {*recipe.eval.splits, *made} if trains else set(recipe.eval.splits)
    return tuple(split for split in ("train", "validation", "test") if split in wanted)


def _check_docs(
    checked: dict[Split, ConfigurableTask], form: PromptForm = PLAIN
) -> list[FtHarnessError]:
    """Render every doc's prompt and answer once; the first fault of each split."""
    from tqdm import tqdm

    problems: list[FtHarnessError] = []
    for task in checked.values():
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            continue
        try:
            with compiled_templates():
                for doc in tqdm(task.eval_docs, desc=f"Checking {task.config.task}"):
                    prompt_of(task, doc, form)
                    answer_text(task, doc)
        except FtHarnessError as error:
            problems.append(error)
    return problems


def check_task(spec: TaskSpec, *, baseline: bool = False) -> list[str]:
    """Check a task without a recipe, on every split that it has; what was checked, a line each.

    Raises:
        FtHarnessError: the fault, or a `ProblemsError` with all of them.
    """
    path = tasks.find_task(spec)
    splits = tasks.splits_of(spec)
    if not splits:
        raise InputError(
            f"the task {spec.name} names no split", "test_split, or others", "mend its YAML"
        )
    loaded = tasks.load_tasks(spec, splits)
    raise_problems(
        [problem for task in loaded.values() for problem in prompt_problems(task)]
        or _check_docs(loaded)
    )
    counts = ", ".join(f"{split} {len(task.eval_docs)} docs" for split, task in loaded.items())
    metrics = next(iter(loaded.values())).higher_is_better()
    name = f"task {spec.name} ({tasks.task_hash(path, trust_code=spec.trust_code)})"
    found = [*describe_data(report_data(loaded)), *([check_baseline(loaded)] if baseline else [])]
    return [name, counts, f"{len(metrics)} metrics, on mock answers too", *found]


def _check_model(recipe: Recipe, *, trains: bool, here: bool) -> list[FtHarnessError]:
    """Faults of the base model's folder and quantisation, and of the modules that an adapter is to
    be made for."""
    head = recipe.adapter.has_head
    found = base_model.problems(recipe.model, head=head, here=here)
    if found or not trains:
        return found
    return [
        *adapters.target_problems(recipe.adapter, base_model.empty_model(recipe.model, head=head))
    ]


def _check_validation(
    recipe: Recipe, loaded: Mapping[Split, ConfigurableTask]
) -> list[FtHarnessError]:
    """Faults of what looks at validation during training: no docs, or a metric that the task has
    not."""
    train = recipe.train
    if not train.needs_validation:
        return []
    if not len(loaded["validation"].eval_docs):
        return [
            InputError(
                "the validation split is empty, and train."
                + ("eval_scores" if train.eval_scores else "* needs it"),
                "validation docs, which no adapter is trained on",
                "give the data a validation split (see data.*), or leave that out of train",
            )
        ]
    known = ["loss", *loaded["validation"].higher_is_better()]
    if train.metric_for_best_model in known:
        return []
    asked = train.metric_for_best_model
    expected = f"one of {', '.join(known)}"
    return [
        ConfigError(
            f"train.metric_for_best_model is {asked!r}{suggest(asked, known)}",
            expected,
            "change it",
        )
    ]


def _check_room(
    recipe: Recipe, loaded: Mapping[Split, ConfigurableTask], *, trains: bool
) -> list[FtHarnessError]:
    """No room for the prompt beside an answer; scores during training are made with the task's own
    decoding."""
    asked = [
        *recipe.eval.protocols(),
        *([Protocol()] if trains and recipe.train.eval_scores else []),
    ]
    context = base_model.load_context(recipe.model)
    return [*decoding.room_problems(loaded, asked, context)]


def check(
    recipe: Recipe,
    folders: list[Path],
    *,
    trains: bool,
    trust_code: bool = False,
    found: Sequence[FtHarnessError] = (),
    here: bool = True,
) -> Checked:
    """Check model folder, task, data, labels and output folders.

    Args:
        found: faults that are known already, reported together with those that are found here.
        here: the recipe is to run on this machine's device; else on a GPU.

    Raises:
        FtHarnessError: the fault, or a `ProblemsError` with all of them.
    """
    problems = [*found, *_check_model(recipe, trains=trains, here=here)]
    for folder in folders:
        problems += storage.problems(folder)
    form = PLAIN
    loaded: dict[Split, ConfigurableTask] = {}
    task_hash = training_hash = ""
    try:
        form = prompt_form(recipe.task, recipe.model)
    except FtHarnessError as error:
        problems.append(error)
    try:
        spec = task_spec(recipe, trust_code=trust_code)
        path = tasks.find_task(spec)
        task_hash = tasks.task_hash(path, trust_code=trust_code)
        training_hash = tasks.training_hash(path, trust_code=trust_code)
        loaded = tasks.load_tasks(spec, needed_splits(recipe, trains=trains))
        problems += tasks.training_problems(loaded["train"]) if trains else []
        problems += _check_validation(recipe, loaded) if trains else []
        problems += fewshot.problems(loaded, recipe.eval)
        problems += decoding.problems(loaded, recipe.eval.protocols())
        problems += _check_docs(loaded, form)
        problems += [] if problems else _check_room(recipe, loaded, trains=trains)
        if recipe.adapter.has_head:
            config = None if problems else base_model.load_config(recipe.model)
            problems += heads.problems(recipe, loaded.values(), config)
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
    report += (
        [f"chat template {form.chat_template_hash}", *form.notes]
        if form.apply_chat_template
        else []
    )
    report += fewshot.describe(loaded, recipe.eval)
    report += [
        f"folder {folder} can be written, {storage.free_bytes(folder) / 1e9:.0f} GB free"
        for folder in folders
    ]
    data = report_data(loaded, form) if trains else None
    return Checked(
        loaded, task_hash, training_hash, report + (describe_data(data) if data else []), form, data
    )
