"""lm-eval's own command, with our model back-ends registered and our tasks known without
`--include_path`, and with the guarantees of our own commands."""

from __future__ import annotations

import io
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from lm_eval.config.evaluate_config import EvaluatorConfig
from lm_eval.utils import setup_logging, simple_parse_args_string

from ft_harness.errors import (
    ConfigError,
    FtHarnessError,
    InputError,
    NonFiniteError,
    PolicyError,
    ResourceError,
    first_line,
    raise_problems,
    suggest,
)
from ft_harness.evaluation.backends import register_models
from ft_harness.evaluation.lm_eval_files import CheckedTracker, output_problems
from ft_harness.evaluation.lm_eval_scoring import Scoring
from ft_harness.models.lm_eval_private.command import (
    building_with,
    evaluating_with,
    parse_command,
    saving_with,
)
from ft_harness.models.trust import trusting
from ft_harness.paths import task_yamls_dir
from ft_harness.storage import learn_secrets
from ft_harness.tasks.checks import code_problems
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.listing import TaskReader, task_files
from ft_harness.tasks.named_rows import NamedRowsTask

_NOT_FOUND = "Tasks not found: "
_CACHES = ("use_cache", "cache_requests")
_CODE = "trust_remote_code"


def run_lm_eval(arguments: Sequence[str], *, trust_code: bool = False) -> None:
    """What `lm_eval ARGUMENTS` does; it prints its own table.

    Args:
        trust_code: run the code that YAMLs from elsewhere name.

    Raises:
        ConfigError: arguments that are not supported, or an output folder that can't be written.
        InputError: no such task, or a YAML is broken.
        PolicyError: code of a task from elsewhere or of a model would run.
        NonFiniteError: a score is NaN or infinite; what --output_path asks for is saved.
        IncompleteError: docs have no score; likewise.
    """
    command = _parse(arguments)
    if command is None:
        return
    parsed, execute = command
    # Arguments come from the command line and from a configuration file; both can break a promise.
    settings = _settings(parsed)
    # A token among the model arguments would else be written into lm-eval's results.
    learn_secrets(settings)
    scoring = Scoring(settings.get("output_path"))
    with (
        trusting(trust_code),
        building_with(NamedRowsTask),
        evaluating_with(scoring.evaluate),
        saving_with(CheckedTracker),
    ):
        # As lm-eval's own entry point does before it runs anything.
        setup_logging()
        register_models()
        raise_problems(_problems(settings))
        # Our folder is always among them, so that shipped tasks need no option.
        if hasattr(parsed, "include_path"):  # run, ls tasks, validate
            given = settings.get("include_path") or []
            folders = [given] if isinstance(given, str) else list(given)
            parsed.include_path = [str(task_yamls_dir()), *folders]
            if not trust_code:
                reader = TaskReader()
                named = [
                    TaskDefinition(path.stem, reader.follow(path))
                    for path in _strangers(folders, settings.get("tasks") or [])
                ]
                raise_problems([fault for task in named for fault in code_problems(task)])
        _execute(execute, parsed, scoring)
        _check_scores(scoring, settings)


def _execute(execute: Callable[[Namespace], None], parsed: Namespace, scoring: Scoring) -> None:
    """Run lm-eval.

    Raises:
        InputError, PolicyError: it stopped.
    """
    CheckedTracker.undefined = []
    try:
        execute(parsed)
    except FtHarnessError as error:
        _with_answers(error, scoring.kept)
        raise
    except SystemExit as stop:
        # Its validation ends so; nothing else that it calls has a say in the exit code.
        if parsed.command != "validate":
            raise
        raise InputError(
            f"not all tasks of {parsed.tasks} were found, see above",
            "tasks of ft-harness or lm-eval, or YAML files",
            "see ft-harness tasks list, or ft-harness lm-eval ls tasks",
        ) from stop
    except Exception as error:  # lm-eval checks few of its arguments
        raise _with_answers(_stopped(error), scoring.kept) from error


def _check_scores(scoring: Scoring, settings: Mapping[str, Any]) -> None:
    """Refuse to call a run done whose scores are not of all docs.

    Raises:
        NonFiniteError: a score is NaN or infinite.
        IncompleteError: docs have no score.
    """
    if undefined := CheckedTracker.undefined:
        saved = "; the results are saved as they are" if settings.get("output_path") else ""
        raise NonFiniteError(
            "; ".join(undefined),
            f"a number for every metric{saved}",
            "fix the task's metric; --log_samples with --output_path shows for which docs",
        )
    scoring.check_complete(bool(settings.get("log_samples")))


def _parse(arguments: Sequence[str]) -> tuple[Namespace, Callable[[Namespace], None]] | None:
    """lm-eval's parsed arguments, and what runs them; None where its parser has shown its help. It
    prints its faults, and exits.

    Raises:
        ConfigError: arguments that it doesn't take.
    """
    said = io.StringIO()
    try:
        # argparse prints its usage, some eighty lines, before the fault.
        with redirect_stderr(said):
            return parse_command(arguments)
    except ValueError as error:  # of JSON in an argument
        raise ConfigError(
            first_line(error), "arguments of lm-eval", "see ft-harness lm-eval run --help"
        ) from error
    except SystemExit as stop:
        if not stop.code:  # --help
            return None
        lines = said.getvalue().strip().splitlines() or ["arguments that lm-eval doesn't take"]
        raise ConfigError(
            lines[-1].partition("error: ")[2] or lines[-1],
            "arguments of lm-eval",
            "see ft-harness lm-eval --help, or ft-harness lm-eval run --help",
        ) from stop


def _settings(parsed: Namespace) -> dict[str, Any]:
    """The arguments over those of lm-eval's own configuration file.

    Raises:
        ConfigError: the file is missing, or no mapping.
    """
    # lm-eval takes what is empty as not given; 0 is a value (`--limit 0`, a seed).
    given = {key: value for key, value in vars(parsed).items() if value or value == 0}
    config = given.get("config")
    try:
        written = EvaluatorConfig.load_yaml_config(config) if config else {}
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"--config {config}: can't be read ({first_line(error)})",
            "a YAML file with arguments of lm-eval run",
            "check the path",
        ) from error
    settings: dict[str, Any] = {**written, **given}
    if isinstance(settings.get("model_args"), str):
        settings["model_args"] = simple_parse_args_string(settings["model_args"])
    return settings


def _problems(settings: Mapping[str, Any]) -> list[FtHarnessError]:
    """Faults: arguments that would break a guarantee."""
    problems: list[FtHarnessError] = [
        ConfigError(
            f"--{name}: lm-eval's cache knows neither the adapter nor the prompt's tokens, "
            "and is a file that runs code when it is read",
            "answers of the model itself",
            "leave it out; ft-harness eval keeps answers in a store of its own",
        )
        for name in _CACHES
        if settings.get(name)
    ]
    if settings.get(_CODE) or (settings.get("model_args") or {}).get(_CODE):
        problems.append(
            PolicyError(
                f"{_CODE}: code of a model or data set would run",
                "models and data sets without code of their own; no flag allows it",
                "leave it out, or use lm_eval itself at your own risk",
            )
        )
    device = str(settings.get("device") or "")
    if device.startswith("cuda") and not torch.cuda.is_available():
        problems.append(
            ResourceError(
                f"--device {device}: there is no such GPU, or its driver is too old",
                "a device of this machine",
                "use --device cpu, or a build of PyTorch for the driver",
            )
        )
    if settings.get("output_path"):
        problems += output_problems(str(settings["output_path"]))
    return problems


def _strangers(folders: Sequence[str], tasks: str | Sequence[str]) -> list[Path]:
    """YAMLs that are not shipped: of the include path, and those that are given as files or
    folders."""
    listed = [tasks] if isinstance(tasks, str) else tasks
    given = [Path(name) for task in listed if isinstance(task, str) for name in task.split(",")]
    files = [file for path in given if path.is_dir() for file in path.glob("*.yaml")]
    # `--tasks` takes patterns, as `my_tasks/*.yaml`.
    files += [
        file for path in given if path.suffix == ".yaml" for file in path.parent.glob(path.name)
    ]
    return files + [path for folder in folders for path in sorted(Path(folder).rglob("*.yaml"))]


def _with_answers(error: FtHarnessError, kept: str | None) -> FtHarnessError:
    """The error, with where the model's answers are that had come before it."""
    if kept is not None:
        error.what += f"; the model had answered, and its answers are kept in {kept}"
    return error


def _stopped(error: Exception) -> InputError:
    # lm-eval raises plain ValueErrors, which only their words distinguish.
    text = str(error)
    if text.startswith(_NOT_FOUND):
        names = text.removeprefix(_NOT_FOUND)
        return InputError(
            f"no task {names}{suggest(names, task_files())}",
            "tasks of ft-harness or lm-eval, or YAML files",
            "see ft-harness tasks list, or ft-harness lm-eval ls tasks",
        )
    reason = text.splitlines()[0][:300] if text else "no reason given"
    return InputError(
        f"lm-eval stopped: {type(error).__name__}: {reason}",
        "arguments that it takes, and functions and metrics of the task that take every doc",
        "correct these and run it again; --debug shows the traceback",
    )
