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

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Python sets an imported module as an attribute of its package; `report` and `sweep` are
        # wings and public functions, and the name stays the function's (decision 004)
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
