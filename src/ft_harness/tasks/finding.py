"""The task of a name: ours, the user's, or lm-eval's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from ft_harness.errors import ConfigError, InputError, suggest
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.listing import TaskReader, task_files


@cache
def _lm_eval_index() -> dict[str, Any]:
    index: dict[str, Any] = TaskManager().task_index  # reads 14,000 files
    return index


def find_task(
    name: str,
    include_path: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    trust_code: bool = False,
    reader: TaskReader | None = None,
) -> TaskDefinition:
    """The task of this name: ours or the user's, else lm-eval's own.

    Args:
        include_path: another folder with task YAMLs.
        reader: what has read YAMLs already, where several tasks are looked for.

    Raises:
        ConfigError: no such task.
        InputError: a YAML is broken, or the name is a group of tasks.
        PolicyError: a YAML from elsewhere includes a file outside its own folder.
    """
    reader = reader or TaskReader()
    ours = task_files(include_path, reader)
    path = ours[name] if name in ours else _find_in_lm_eval(name, ours)
    files = reader.follow(path, trust_code=trust_code)
    return TaskDefinition(name, files, metadata or {}, trust_code)


def _find_in_lm_eval(name: str, ours: Mapping[str, Path]) -> Path:
    index = _lm_eval_index()
    entry = index.get(name)
    if entry is None:
        raise ConfigError(
            f"no task {name}{suggest(name, ours) or suggest(name, index)}",
            f"one of {', '.join(sorted(ours))}, or a task of lm-eval",
            "see ft-harness tasks list",
        )
    if entry.kind.name != "TASK" or entry.yaml_path is None:
        raise InputError(
            f"{name} is a {entry.kind.name.lower()} of lm-eval, not a single YAML task",
            "a task with a YAML of its own",
            "name one of its tasks",
        )
    return Path(entry.yaml_path)
