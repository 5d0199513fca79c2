"""Preflight: collect every wing's faults before a model is loaded, and report them together; and
what a checked recipe trains on and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ft_harness import storage
from ft_harness.comparison.requirements import Requirement, check_names
from ft_harness.data.data_report import DataReport, data_notices, describe_data
from ft_harness.data.files import Split
from ft_harness.errors import (
    ConfigError,
    Findings,
    FtHarnessError,
    InputError,
    Notice,
    ProblemsError,
    raise_problems,
    suggest,
)
from ft_harness.evaluation import chosen_docs
from ft_harness.evaluation.backends import decoding
from ft_harness.models import adapters, base_model, heads
from ft_harness.models.chat_templates import prompt_form
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.pipeline.controls import Control, check_controls
from ft_harness.pipeline.reading import Reading
from ft_harness.pipeline.task_checks import count_docs, count_metrics, find_recipes_task
from ft_harness.recipe import Choice, EvalSection, Protocol, Recipe, idle_fields
from ft_harness.tasks import fewshot
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.listing import TaskReader
from ft_harness.tasks.loading import load_tasks, task_training_problems
from ft_harness.tasks.rendering import RenderedTask


@dataclass(frozen=True)
class Scope:
    """How far a preflight goes.

    Attributes:
        trains: an adapter is to be made.
        trust_code: run the code that a task from elsewhere names.
        here: the recipe is to run on this machine's device; else on a GPU.
        privacy: look for personal data and keys in the training text.
    """

    trains: bool
    trust_code: bool = False
    here: bool = True
    privacy: bool = False


@dataclass(frozen=True)
class Checked:
    """What preflight leaves behind for the run: the task objects, so that data is read once, and
    what was found.

    Attributes:
        form: how the prompts are rendered.
        data: what the docs are; None where no adapter is made.
        controls: tasks that training should not harm.
    """

    definition: TaskDefinition
    tasks: dict[Split, RenderedTask]
    findings: Findings
    form: PromptForm = PLAIN
    data: DataReport | None = None
    controls: tuple[Control, ...] = ()


def count_scored(checked: Checked, section: EvalSection) -> int:
    """How many docs a recipe that passed preflight scores, each once for each protocol."""
    docs = (
        len(chosen_docs(len(checked.tasks[split].eval_docs), split, section)[0])
        for split in section.splits
    )
    return sum(docs) * len(section.protocols())


def needed_splits(recipe: Recipe, *, trains: bool) -> tuple[Split, ...]:
    """The splits that a run needs: those that are scored; where an adapter is made, train, and
    validation if something rests on it."""
    made: set[Split] = {"train", "validation"} if recipe.train.needs_validation else {"train"}
    wanted = {*recipe.eval.splits, *made} if trains else set(recipe.eval.splits)
    return tuple(split for split in ("train", "validation", "test") if split in wanted)


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


def _check_model_once(recipe: Recipe, scope: Scope, reading: Reading) -> list[FtHarnessError]:
    """As `_check_model`, once for recipes that differ in neither model nor adapter."""
    kind = ("model", repr(recipe.model), repr(recipe.adapter), scope.trains, scope.here)
    found: list[FtHarnessError] = reading.once(
        kind, {}, lambda: _check_model(recipe, trains=scope.trains, here=scope.here)
    )
    return found


def _check_validation(recipe: Recipe, loaded: Mapping[Split, RenderedTask]) -> list[FtHarnessError]:
    """Faults of the validation during training: no docs, or a metric that the task lacks."""
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
    recipe: Recipe, loaded: Mapping[Split, RenderedTask], *, trains: bool
) -> list[FtHarnessError]:
    """No room for the prompt next to an answer; scores during training are made with the task's own
    decoding."""
    during = [Protocol()] if trains and recipe.train.eval_scores else []
    asked = [*recipe.eval.protocols(), *during]
    context = base_model.load_context(recipe.model)
    return [*decoding.room_problems(loaded, asked, context)]


def check_required(required: Sequence[Requirement], found: Iterable[Checked]) -> None:
    """In preflight: everything required is scored.

    Raises:
        ConfigError: something is not.
    """
    for each in found:
        metrics = next(iter(each.tasks.values())).higher_is_better()
        check_names(required, metrics, has_controls=bool(each.controls))


def check_choice(choice: Choice | None, found: Iterable[Checked]) -> None:
    """In preflight: what a sweep chooses by is scored.

    Raises:
        InputError: it isn't.
    """
    if choice is None or choice.by is None:
        return
    for each in found:
        metrics = next(iter(each.tasks.values())).higher_is_better()
        if choice.by not in metrics:
            raise InputError(
                f"sweep.choose: the task has no metric {choice.by}{suggest(choice.by, metrics)}",
                f"one of {', '.join(sorted(metrics))}",
                "change sweep.choose.by",
            )


def check(
    recipe: Recipe,
    folders: list[Path],
    scope: Scope,
    findings: Findings | None = None,
    reading: Reading | None = None,
) -> Checked:
    """Preflight of model folder, task, data, labels and output folders.

    Args:
        findings: what is known already and reported together with what is found here; all of it
            is put there too, whatever is raised.
        reading: what checks of other recipes have read.

    Raises:
        FtHarnessError: the fault, or a `ProblemsError` with all of them.
    """
    findings = Findings() if findings is None else findings
    reading = Reading() if reading is None else reading
    faults = findings.faults
    faults += _check_model_once(recipe, scope, reading)
    for folder in folders:
        faults += storage.problems(folder)
    form = PLAIN
    try:
        form = prompt_form(recipe.task, recipe.model)
    except FtHarnessError as error:
        faults.append(error)
    checked: Checked | None = None
    try:
        splits = needed_splits(recipe, trains=scope.trains)
        definition, loaded = reading.tasks(
            (recipe.task.name, recipe.task.include_path, recipe.task_metadata(), splits),
            lambda: _load(recipe, scope, splits, reading.yamls),
        )
        checked = Checked(definition, loaded, findings, form)
        findings.facts += [
            f"model {recipe.model.pretrained}",
            f"task {recipe.task.name} ({definition.task_hash})",
            count_docs(loaded),
            f"{count_metrics(loaded)} metrics",
        ]
        _check_loaded(recipe, checked, scope, reading)
    except ProblemsError as error:
        faults += error.problems
    except FtHarnessError as error:
        faults.append(error)
    controls = check_controls(recipe, form, findings, reading, trust_code=scope.trust_code)
    raise_problems(faults)
    assert checked is not None, "without a task there is a fault"
    checked = replace(checked, controls=controls)
    findings.facts += _facts(recipe, checked)
    if not scope.trains:
        return checked
    data = reading.report(checked.tasks, form)
    findings.facts += describe_data(data)
    findings.notices += data_notices(data)
    return replace(checked, data=data)


def _load(
    recipe: Recipe, scope: Scope, splits: Sequence[Split], yamls: TaskReader
) -> tuple[TaskDefinition, dict[Split, RenderedTask]]:
    definition = find_recipes_task(recipe, trust_code=scope.trust_code, reader=yamls)
    return definition, load_tasks(definition, splits)


def _check_loaded(recipe: Recipe, checked: Checked, scope: Scope, reading: Reading) -> None:
    """Faults of the docs, and of the recipe's demands on them."""
    loaded, form, findings = checked.tasks, checked.form, checked.findings
    faults = findings.faults
    findings.notices += [
        Notice(f"{field} is not used: {why}", f"leave {field} out, or change what puts it out")
        for field, why in idle_fields(recipe, trains=scope.trains)
    ]
    objective = recipe.train.objective
    faults += task_training_problems(loaded["train"], objective) if scope.trains else []
    faults += _check_validation(recipe, loaded) if scope.trains else []
    faults += decoding.problems(loaded, recipe.eval.protocols())
    faults += _check_primary(recipe, loaded)
    rows = reading.rows(loaded, form, privacy=scope.privacy)
    findings.add(rows)
    # Few-shot examples are rendered from the same rows: their faults are those above.
    faults += [] if rows.faults else fewshot.problems(loaded, recipe.eval)
    faults += [] if faults else _check_room(recipe, loaded, trains=scope.trains)
    if recipe.adapter.has_head:
        config = None if faults else base_model.load_config(recipe.model)
        faults += heads.problems(recipe, loaded.values(), config)


def _check_primary(recipe: Recipe, loaded: Mapping[Split, RenderedTask]) -> list[FtHarnessError]:
    """A primary metric that the recipe declares and the task does not score; the task's own is
    looked at with its YAML."""
    task = next(iter(loaded.values()))
    declared, known = recipe.eval.primary_metric, list(task.higher_is_better())
    if declared is None or declared in known:
        return []
    name = task.config.task.partition("@")[0]
    return [
        InputError(
            f"eval.primary_metric: {name} does not score {declared!r}{suggest(declared, known)}",
            f"one of {', '.join(known)}",
            "change eval.primary_metric, or add the metric to the task's metric_list",
        )
    ]


def _facts(recipe: Recipe, checked: Checked) -> list[str]:
    form = checked.form
    return [
        *(
            [f"chat template {form.chat_template_hash}", *form.notes]
            if form.apply_chat_template
            else []
        ),
        *fewshot.describe(checked.tasks, recipe.eval),
    ]
