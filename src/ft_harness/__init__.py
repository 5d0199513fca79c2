"""ft-harness: did the fine-tuning help, by how much, and how sure are we?

The public names load on first use, so that importing the package is light.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_NOTEBOOK = (
    "run",
    "sweep",
    "train",
    "evaluate",
    "report",
    "compare",
    "power",
    "load_recipe",
    "load_records",
)
_HOMES = {
    **dict.fromkeys(_NOTEBOOK, "ft_harness.notebook.api"),
    "task_yamls_dir": "ft_harness.paths",
}
_WINGS = ("report", "sweep")  # that have the name of a public function

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _WINGS:
        return import_module(f"ft_harness.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


class _Wing(ModuleType):
    """A wing that has the name of a public function: to call it is to call the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(_HOMES[name]), name)(*arguments, **options)


class _Package(ModuleType):
    """Importing a wing sets it as an attribute here."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _WINGS and isinstance(value, ModuleType):
            value.__class__ = _Wing
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
