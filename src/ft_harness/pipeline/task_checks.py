"""Find faults of a task without a recipe and without a model; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping

from ft_harness.data.data_report import data_notices, describe_data
from ft_harness.data.files import Split
from ft_harness.errors import Findings, InputError, raise_problems
from ft_harness.recipe import Recipe
from ft_harness.tasks.checks import definition_problems
from ft_harness.tasks.data_items import check_baseline, report_data
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.gold_answers import check_gold
from ft_harness.tasks.listing import TaskReader
from ft_harness.tasks.loading import load_tasks
from ft_harness.tasks.rendering import RenderedTask
from ft_harness.tasks.row_checks import check_rows


def find_recipes_task(
    recipe: Recipe, *, trust_code: bool = False, reader: TaskReader | None = None
) -> TaskDefinition:
    """Find the task that is to be checked: the one that a recipe asks for, with the recipe's
    data."""
    section, metadata = recipe.task, recipe.task_metadata()
    return find_task(section.name, section.include_path, metadata, trust_code, reader)


def check_task(
    definition: TaskDefinition,
    findings: Findings | None = None,
    *,
    baseline: bool = False,
    privacy: bool = True,
) -> Findings:
    """Check a task without a recipe, on every split that it has.

    Args:
        findings: what is found is put here too, whatever is raised.

    Raises:
        FtHarnessError: the fault, or a `ProblemsError` with all of them.
    """
    findings = Findings() if findings is None else findings
    raise_problems(definition_problems(definition))
    splits = definition.splits
    if not splits:
        raise InputError(
            f"the task {definition.name} names no split", "test_split, or others", "fix its YAML"
        )
    loaded = load_tasks(definition, splits)
    findings.facts += [
        f"task {definition.name} ({definition.task_hash})",
        count_docs(loaded),
        f"{count_metrics(loaded)} metrics, on mock answers too",
    ]
    findings.add(check_rows(loaded, privacy=privacy))
    raise_problems(findings.faults)
    findings.add(check_gold(loaded))
    raise_problems(findings.faults)
    data = report_data(loaded)
    findings.notices += data_notices(data)
    findings.facts += describe_data(data)
    findings.facts += [check_baseline(loaded)] if baseline else []
    return findings


def count_docs(loaded: Mapping[Split, RenderedTask]) -> str:
    """What a check of a task says of its docs: how many each split has, in words."""
    return ", ".join(f"{split} {len(task.eval_docs)} docs" for split, task in loaded.items())


def count_metrics(loaded: Mapping[Split, RenderedTask]) -> int:
    """What a check of a task says of its metrics: how many it has."""
    return len(next(iter(loaded.values())).higher_is_better())
