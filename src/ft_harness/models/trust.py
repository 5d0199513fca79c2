"""Whose code may run: ours, lm-eval's own, and the code of a task that the user trusts.

A command's trust applies where lm-eval would import the code, however it got there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any

from ft_harness.errors import PolicyError
from ft_harness.paths import is_installed

TRUST_FLAG = "--trust-task-code"
# What anybody's task may name: the loader, and what scores and aggregates.
_OURS = re.compile(r"ft_harness\.(data\.load_splits|metrics\.(score|aggregate)_\w+)")
_TRUSTS: ContextVar[bool] = ContextVar("trusts_task_code", default=False)


@contextmanager
def trusting(code: bool) -> Iterator[None]:
    """Whether the code that tasks from elsewhere name may run within this context."""
    before = _TRUSTS.set(code)
    try:
        yield
    finally:
        _TRUSTS.reset(before)


def is_ours(name: str) -> bool:
    """Whether any task may run this function, as it is ours."""
    return _OURS.fullmatch(name) is not None


def our_function(name: str) -> Any:
    """Trusted code: a function of ours, from the installed package and never from a module next to
    the YAML.

    Raises:
        AttributeError: no such function.
    """
    module, _, function = name.rpartition(".")
    return getattr(import_module(module), function)


def check_code(what: str, folder: Path | None = None) -> None:
    """Refuse to run code that a task names if it is neither trusted nor installed.

    Args:
        what: the code, for the message.
        folder: of the file that names it; None: not known.

    Raises:
        PolicyError: a task from elsewhere would run it.
    """
    if _TRUSTS.get() or (folder is not None and is_installed(folder)):
        return
    where = f"{folder}: " if folder is not None else ""
    raise PolicyError(
        f"{where}a task would run code of its own ({what})",
        "a task without code, or ft_harness.data.load_splits and the scores of ft_harness.metrics",
        f"read the code, then pass {TRUST_FLAG}",
    )
