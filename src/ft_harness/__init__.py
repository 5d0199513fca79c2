"""ft-harness: did the fine-tuning help, by how much, and how sure are we?

The public names load on first use, so that importing the package is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "load_recipe": "ft_harness.recipe",
    "train": "ft_harness.training",
    "evaluate": "ft_harness.evaluation",
    "load_records": "ft_harness.records",
    "compare": "ft_harness.comparison.aggregator",
    "aggregate": "ft_harness.comparison.aggregator",
    "render_markdown": "ft_harness.report",
    "render_html": "ft_harness.report",
    "task_yamls_dir": "ft_harness.paths",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
