"""lm-eval's own command, with our model back-ends registered and our tasks known without
`--include_path`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.config.evaluate_config import EvaluatorConfig
from lm_eval.utils import setup_logging

from ft_harness.errors import FtHarnessError, InputError, raise_problems, suggest
from ft_harness.evaluation.backends import register_models
from ft_harness.models.lm_eval_private import parse_command, sandbox_templates
from ft_harness.paths import task_yamls_dir
from ft_harness.tasks.checks import code_problems
from ft_harness.tasks.loading import task_files

_NOT_FOUND = "Tasks not found: "


def run_lm_eval(arguments: Sequence[str], *, trust_code: bool = False) -> None:
    """What `lm_eval ARGUMENTS` does; it prints its own table.

    Args:
        trust_code: run the code that YAMLs from elsewhere name.

    Raises:
        InputError: no such task, or a YAML is broken.
        PolicyError: a YAML from elsewhere names code of its own.
    """
    setup_logging()
    register_models()
    sandbox_templates()
    parsed, execute = parse_command(arguments)
    if hasattr(parsed, "include_path"):  # run, ls tasks, validate
        parsed.include_path = [str(task_yamls_dir()), *_folders(parsed)]
        if not trust_code:
            raise_problems(
                [problem for path in _strangers(parsed) for problem in code_problems(path)]
            )
    try:
        execute(parsed)
    except FtHarnessError:
        raise
    except Exception as error:  # lm-eval checks few of its arguments
        raise _stopped(error) from error


def _folders(parsed: Namespace) -> list[str]:
    """The user's folders of task YAMLs: of the arguments, else of lm-eval's own configuration
    file."""
    config = getattr(parsed, "config", None)
    written: dict[str, Any] = EvaluatorConfig.load_yaml_config(config) if config else {}
    given = parsed.include_path or written.get("include_path") or []
    return [given] if isinstance(given, str) else list(given)


def _strangers(parsed: Namespace) -> list[Path]:
    """YAMLs that are not shipped: of the include path, and those that are given as files or
    folders."""
    _, *folders = parsed.include_path
    tasks = getattr(parsed, "tasks", None) or []
    names = (
        tasks.split(",")
        if isinstance(tasks, str)
        else [name for task in tasks for name in task.split(",")]
    )
    given = [Path(name) for name in names]
    files = [file for path in given if path.is_dir() for file in path.glob("*.yaml")]
    files += [
        file for path in given if path.suffix == ".yaml" for file in path.parent.glob(path.name)
    ]
    return files + [path for folder in folders for path in sorted(Path(folder).rglob("*.yaml"))]


def _stopped(error: Exception) -> InputError:
    text = str(error)
    if text.startswith(_NOT_FOUND):
        return _no_such_task(text.removeprefix(_NOT_FOUND))
    reason = text.splitlines()[0][:300] if text else "no reason given"
    return InputError(
        f"lm-eval stopped: {type(error).__name__}: {reason}",
        "arguments that it takes",
        "--debug shows the traceback",
    )


def _no_such_task(names: str) -> InputError:
    return InputError(
        f"no task {names}{suggest(names, task_files())}",
        "tasks of ft-harness or lm-eval, or YAML files",
        "see ft-harness tasks list, or ft-harness lm-eval ls tasks",
    )
