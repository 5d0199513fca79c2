"""Points of a sweep: ordinary recipes, named by the values that vary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ft_harness.comparison.amounts import shown_value
from ft_harness.recipe import Recipe, check_name
from ft_harness.storage import canonical_json, sha256_text

_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")
_VALUE, _NAME, _HASH = 24, 80, 8  # characters


@dataclass(frozen=True)
class Point:
    """One run of a sweep: its name, its recipe and the values that vary.

    Attributes:
        name: the sweep's name and what varies, a legal folder name.
        values: `section.field` -> value of what varies, as the checked recipe has it.
        recipe: all of it.
        adapter: name of the adapter that it scores: points that differ in eval share one.
        made_by: the recipe of that adapter, scored as the sweep's own recipe says.
        follows: name of the adapter that its training continues; None: a new one.
        seeds: those of the values that repeat a setting.
        place: on each axis, as the section has them.
        repeat: which of the seeds it has, from 0.
        is_reference: whether all but the seeds is the reference.
    """

    name: str
    values: Mapping[str, Any]
    recipe: Recipe
    adapter: str
    made_by: Recipe
    follows: str | None
    seeds: Mapping[str, int]
    place: tuple[int, ...]
    repeat: int
    is_reference: bool

    @property
    def base(self) -> str:
        """What the base is loaded by."""
        return self.recipe.model.model_dump_json()

    @property
    def setting(self) -> dict[str, Any]:
        """The values without the seeds."""
        return {name: value for name, value in self.values.items() if name not in self.seeds}


def value_of(recipe: Recipe, name: str) -> Any:
    """What a point's recipe has for a field that varies: the value of `section.field`, or of a key
    of a field that is a mapping; None where that is absent."""
    found: Any = recipe.resolved()
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def short_names(names: Sequence[str]) -> dict[str, str]:
    """How points name the fields that vary: a field's own name; with its section's where two fields
    share one."""
    last = [name.rpartition(".")[2] for name in names]
    return {
        name: own if last.count(own) == 1 else name.replace(".", "_")
        for name, own in zip(names, last, strict=True)
    }


def point_name(name: str, values: Mapping[str, Any], short: Mapping[str, str]) -> str:
    """`NAME-train_size_400-seed_1`: a legal folder name, other for other values.

    A value that a name can't hold, or that is too long, is replaced by its hash.
    """
    parts = [f"{short[field]}_{_spell(value)}" for field, value in values.items()]
    full = "-".join([name, *parts])
    if len(full) <= _NAME:
        return check_name(full)
    digest = sha256_text(canonical_json([name, dict(values)]))[:_HASH]
    return check_name(f"{full[: _NAME - _HASH - 1]}-{digest}")


def _spell(value: Any) -> str:
    """As a part of a folder's name."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value) if is_number else shown_value(value)
    text = text.replace("e+", "e") if isinstance(value, float) else text
    last = text.rstrip("/").rpartition("/")[2] if isinstance(value, str) else text  # of a path
    spelt = _UNSAFE.sub("_", last).strip("_")
    plain = text.replace("=", "_").replace(", ", "_").replace("/", "_")
    if spelt == plain and len(spelt) <= _VALUE:
        return spelt
    return f"{spelt[:_VALUE]}_{sha256_text(canonical_json(value))[:_HASH]}".lstrip("_")
