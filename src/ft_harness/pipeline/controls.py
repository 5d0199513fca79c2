"""Control tasks of a recipe: found and checked before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from ft_harness.data.files import Split
from ft_harness.errors import FtHarnessError, InputError, ProblemsError
from ft_harness.evaluation.backends import decoding
from ft_harness.models.base_model import load_context
from ft_harness.models.prompts import PromptForm
from ft_harness.recipe import Protocol, Recipe
from ft_harness.tasks.definition import TaskDefinition, find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.tasks.rendering import RenderedTask
from ft_harness.tasks.row_checks import Findings, check_rows


@dataclass(frozen=True)
class Control:
    """A control task with the docs that are scored: those of test, else of validation."""

    definition: TaskDefinition
    split: Split
    task: RenderedTask


def check_controls(
    recipe: Recipe, form: PromptForm, findings: Findings, *, trust_code: bool
) -> tuple[Control, ...]:
    """The recipe's control tasks; what is wrong with them is put into the findings."""
    found: list[Control] = []
    for name in recipe.controls.tasks:
        try:
            control = _load(find_task(name, recipe.task.include_path, trust_code=trust_code))
        except ProblemsError as error:
            findings.faults += error.problems
            continue
        except FtHarnessError as error:
            findings.faults.append(error)
            continue
        loaded = {control.split: control.task}
        findings.faults += check_rows(loaded, form, privacy=False).faults
        if not findings.faults:
            context = load_context(recipe.model)
            findings.faults += decoding.room_problems(loaded, [Protocol()], context)
        found.append(control)
    if found:
        findings.facts.append(f"control tasks: {', '.join(map(_describe, found))}")
    return tuple(found)


def _load(definition: TaskDefinition) -> Control:
    split: Split | None = next((s for s in ("test", "validation") if s in definition.splits), None)
    if split is None:
        raise InputError(
            f"controls.tasks: {definition.name} has neither a test nor a validation split",
            "held-out docs to score",
            "leave it out of controls.tasks",
        )
    return Control(definition, split, load_tasks(definition, [split])[split])


def _describe(control: Control) -> str:
    return f"{control.definition.name} ({control.split} {len(control.task.eval_docs)} docs)"
