"""The work of `check`: recipes and tasks are checked, and results without faults are kept: as long
as everything that a check read is unchanged, the next one reuses them without loading torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from ft_harness import storage
from ft_harness.comparison.amounts import counted
from ft_harness.errors import ConfigError, Findings, FtHarnessError, Notice, ProblemsError
from ft_harness.paths import reports_dir, results_dir
from ft_harness.pipeline.experiment import Experiment, read_experiment
from ft_harness.pipeline.identity import NotToldByFilesError, identify
from ft_harness.recipe import recipe_file, recipe_of_task
from ft_harness.records import Frozen, base_subject, read_kept, write_kept
from ft_harness.storage import sha256_text
from ft_harness.sweep import Request, read_grid
from ft_harness.tasks.listing import TaskReader

_KEPT_FILE = "check.json"  # next to the adapter's evaluations


class _KeptCheck(Frozen):
    """The kept results of a check without faults."""

    made_of: str = Field(description="hash of all that decides what is found")
    notices: list[tuple[str, str]]
    facts: list[str]


@dataclass(frozen=True)
class CheckOptions:
    """The options of `check`.

    Attributes:
        overrides: `section.field=value`, for recipes and tasks.
        command: the command as it was given.
        baseline: report what the last text field alone gives away.
        privacy: look for personal data and keys in the training text.
    """

    overrides: Sequence[str] = ()
    include_path: str | None = None
    out: Path = Path()
    command: str = ""
    trust_task_code: bool = False
    baseline: bool = False
    privacy: bool = True


def check_all(names: Sequence[str], options: CheckOptions) -> Findings:
    """What `check` finds in recipes (names that are paths) and tasks (all others), faults included.

    Raises:
        ConfigError: there are no names.
    """
    if not names:
        raise ConfigError(
            "nothing was checked", "recipes or names of tasks", "see ft-harness tasks list"
        )
    findings = Findings()
    for name in names:
        found = Findings()
        try:
            is_path = recipe_file(name).is_file() or Path(name).name != name
            (_check_recipe if is_path else _check_task)(name, options, found)
        except ProblemsError as error:
            found.faults = error.problems
        except FtHarnessError as error:
            found.faults = [error]
        if len(names) > 1:
            found.facts = [f"{name}: {fact}" for fact in found.facts]
            found.notices = [
                Notice(f"{name}: {notice.what}", notice.action) for notice in found.notices
            ]
        findings.add(found)
    return findings


def _check_task(name: str, options: CheckOptions, found: Findings) -> None:
    from ft_harness.pipeline.task_checks import check_task, find_recipes_task

    recipe = recipe_of_task(name, options.include_path, options.overrides)
    definition = find_recipes_task(recipe, trust_code=options.trust_task_code)
    check_task(definition, found, baseline=options.baseline, privacy=options.privacy)


def _check_recipe(path: str, options: CheckOptions, found: Findings) -> None:
    experiment = read_experiment(
        Path(path),
        options.overrides,
        options.out,
        options.command,
        trust_task_code=options.trust_task_code,
    )
    reader = TaskReader()
    made_of = _made_of(experiment, options, reader)
    if not _find_kept(experiment, made_of, found):
        from ft_harness.pipeline.recipe_checks import check_recipe

        looks = {"baseline": options.baseline, "privacy": options.privacy}
        check_recipe(experiment, found, reader, **looks)
        _keep(experiment, made_of, found)
    if experiment.recipe.sweep is not None:
        request = Request(Path(path), experiment.name, tuple(options.overrides))
        points = len(read_grid(request).points)
        found.facts.insert(0, f"a sweep of {counted(points, 'point')}")
    # Of a kept check too: what is free is free now.
    found.facts += [
        f"folder {folder} can be written, {storage.free_bytes(folder) / 1e9:.0f} GB free"
        for folder in (results_dir(experiment.out), experiment.folder)
    ]


def _made_of(experiment: Experiment, options: CheckOptions, reader: TaskReader) -> str | None:
    """Everything that a check's results depend on; None: that can't be told from files."""
    try:
        made_of = identify(experiment, [experiment.folder], reader)
    except (NotToldByFilesError, FtHarnessError, OSError):
        return None
    return sha256_text(f"{made_of}, baseline {options.baseline}, privacy {options.privacy}")


def _kept_file(experiment: Experiment) -> Path:
    return results_dir(experiment.out) / experiment.name / _KEPT_FILE


def _find_kept(experiment: Experiment, made_of: str | None, found: Findings) -> bool:
    """Put what an earlier check found into `found`, if all is as it was and the folders can still
    be written."""
    results = results_dir(experiment.out)
    subjects = base_subject(experiment.recipe.model.pretrained), experiment.name
    folders = [results, *(results / name for name in subjects), experiment.folder]
    folders.append(reports_dir(experiment.out) / experiment.name)
    if made_of is None or any(map(storage.problems, folders)):
        return False
    try:
        kept = read_kept(_kept_file(experiment), _KeptCheck, "a check", "run it again")
    except FtHarnessError:
        return False
    if kept is None or kept.made_of != made_of:
        return False
    found.add(Findings(notices=[Notice(*each) for each in kept.notices], facts=kept.facts))
    return True


def _keep(experiment: Experiment, made_of: str | None, found: Findings) -> None:
    if made_of is not None:
        notices = [(each.what, each.action) for each in found.notices]
        kept = _KeptCheck(made_of=made_of, notices=notices, facts=found.facts)
        write_kept(_kept_file(experiment), kept)
