"""Control tasks of a recipe: found and checked before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ft_harness.data.files import Split
from ft_harness.errors import Findings, FtHarnessError, InputError, ProblemsError
from ft_harness.evaluation.backends import decoding
from ft_harness.models.base_model import load_context
from ft_harness.models.prompts import PromptForm
from ft_harness.pipeline.reading import Reading
from ft_harness.recipe import Recipe
from ft_harness.tasks import fewshot
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.tasks.rendering import RenderedTask


@dataclass(frozen=True)
class Control:
    """A control task with the docs that are scored: those of test, else of validation."""

    definition: TaskDefinition
    split: Split
    task: RenderedTask


def check_controls(
    recipe: Recipe, form: PromptForm, findings: Findings, reading: Reading, *, trust_code: bool
) -> tuple[Control, ...]:
    """The recipe's control tasks; what is wrong with them is put into the findings."""
    found: list[Control] = []
    folder, faults = recipe.task.include_path, findings.faults
    for name in recipe.controls.tasks:
        try:
            definition = find_task(name, folder, None, trust_code, reading.yamls)
            control = _load(definition, recipe, reading)
        except ProblemsError as error:
            faults += error.problems
            continue
        except FtHarnessError as error:
            faults.append(error)
            continue
        loaded = {control.split: control.task}
        scoring = recipe.controls.scoring(recipe.eval, control.split)
        rows = reading.rows(loaded, form, privacy=False).faults
        # examples are rendered from the same rows: their faults are those above
        faults += rows or map(_name_section, fewshot.problems(loaded, scoring))
        if not faults:
            context = load_context(recipe.model)
            faults += decoding.room_problems(loaded, scoring.protocols(), context)
        found.append(control)
    if found:
        named = [
            f"{each.definition.name} ({each.split} {len(each.task.eval_docs)} docs)"
            for each in found
        ]
        findings.facts.append(f"control tasks: {', '.join(named)}")
    return tuple(found)


def _load(definition: TaskDefinition, recipe: Recipe, reading: Reading) -> Control:
    """The task on its own data or, without any, on the recipe's, as another form of it."""
    split: Split | None = next((s for s in ("test", "validation") if s in definition.splits), None)
    if split is None:
        raise InputError(
            f"controls.tasks: {definition.name} has neither a test nor a validation split",
            "held-out docs to score",
            "leave it out of controls.tasks",
        )
    if not definition.names_data:
        definition = replace(definition, metadata=recipe.task_metadata())
    asked = (definition.name, str(definition.path), definition.metadata, (split,))
    definition, loaded = reading.tasks(asked, lambda: (definition, load_tasks(definition, [split])))
    return Control(definition, split, loaded[split])


def _name_section(fault: InputError) -> InputError:
    """The same fault, naming the field of the controls section."""
    parts = (fault.what, fault.expected, fault.action)
    return InputError(*(part.replace("eval.num_fewshot", "controls.num_fewshot") for part in parts))
