"""A field's value on one line, as a recipe's file and `--set` hold it."""

from __future__ import annotations

from typing import Any

import yaml

_WIDEST = 1_000_000  # characters of a line that YAML does not break


def write_value(value: Any) -> str:
    """A value as YAML on one line."""
    text = _dump(value, None)
    # In double quotes a line break is written as \n.
    return text if "\n" not in text else _dump(value, '"')


def _dump(value: Any, style: str | None) -> str:
    text: str = yaml.safe_dump(
        value, default_style=style, default_flow_style=True, allow_unicode=True, width=_WIDEST
    )
    return text.removesuffix("\n").removesuffix("\n...")
