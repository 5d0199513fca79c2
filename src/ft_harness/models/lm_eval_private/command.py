"""lm-eval's command, in steps."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from lm_eval import evaluator, loggers
from lm_eval._cli import HarnessCLI
from lm_eval.tasks import _factory

from ft_harness.models.lm_eval_private import models  # noqa: F401  # it replaces what lm-eval uses

# --- the command: its public entry point parses and runs at once, so that nothing could be checked
# in between


def parse_command(arguments: Sequence[str]) -> tuple[Namespace, Callable[[Namespace], None]]:
    """(lm-eval's parsed arguments, what runs them)."""
    command, before = HarnessCLI(), sys.argv
    sys.argv = ["lm-eval", *arguments]  # it reads them there, and writes `run` into them
    try:
        return command.parse_args(), command.execute
    finally:
        sys.argv = before


def saving_with(tracker: type) -> AbstractContextManager[None]:
    """Context in which lm-eval's command writes its files through `tracker`."""
    return _replaced(loggers, "EvaluationTracker", tracker)


def building_with(task_class: type) -> AbstractContextManager[None]:
    """Context in which lm-eval builds tasks of this class from YAMLs."""
    return _replaced(_factory, "ConfigurableTask", task_class)


def evaluating_with(around: Callable[..., Any]) -> AbstractContextManager[None]:
    """Context in which the command has tasks scored by `around`, which is given lm-eval's own
    function before that one's arguments."""
    return _replaced(evaluator, "evaluate", partial(around, evaluator.evaluate))


@contextmanager
def _replaced(module: Any, name: str, by: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, by)
    try:
        yield
    finally:
        setattr(module, name, before)
