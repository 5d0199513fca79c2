"""Recipes from YAML and `--set`, all faults at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ft_harness.errors import ConfigError, raise_problems, suggest
from ft_harness.recipe.adapter_section import AdapterSection
from ft_harness.recipe.fields import places_of
from ft_harness.recipe.overrides import lay_over, parse_override
from ft_harness.recipe.sections import Recipe
from ft_harness.storage.strict_files import KeyPath, read_yaml

RECIPE_FILE = "recipe.yaml"


def recipe_file(path: str | Path) -> Path:
    """The recipe's file, given the file or the adapter folder that holds it."""
    given = Path(path)
    return given / RECIPE_FILE if given.is_dir() else given


def _known_fields(location: KeyPath) -> list[str]:
    """Field names of the section that an error location points into."""
    section: type[BaseModel] = Recipe
    for name in location[:-1]:
        annotation = section.model_fields[name].annotation if name in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)


def _problem(
    location: KeyPath, errors: Sequence[Any], places: Mapping[KeyPath, str]
) -> ConfigError:
    """What is wrong with one field; a field of several types has an error for each of them."""
    error = errors[0]
    name = ".".join(location)
    place = next(
        places[location[:depth]]
        for depth in range(len(location), -1, -1)
        if location[:depth] in places
    )
    if (
        error["type"] == "extra_forbidden"
        and location[0] == "adapter"
        and location[-1] in AdapterSection.refused
    ):
        reason = AdapterSection.refused[location[-1]]
        return ConfigError(
            f"{place}: {name} can't be used here: {reason}", "a field that can", "remove the key"
        )
    if error["type"] == "extra_forbidden":
        known = _known_fields(location)
        elsewhere = [] if location[-1] in known else places_of(location[-1])
        hint = f"; did you mean {elsewhere[0]}?" if elsewhere else suggest(location[-1], known)
        return ConfigError(
            f"{place}: unknown key {name}{hint}",
            f"one of {', '.join(known)}",
            "rename or remove the key; ft-harness fields lists them all",
        )
    if error["type"] == "missing":
        return ConfigError(
            f"{place}: {name} is missing", f"a value for {name}", "add it; see ft-harness init"
        )
    expected = " or ".join(
        dict.fromkeys(item["msg"].removeprefix("Value error, ") for item in errors)
    )
    return ConfigError(
        f"{place}: {name} is {repr(error['input'])[:80]}", expected, "change the value"
    )


def _validate(content: dict[str, Any], places: Mapping[KeyPath, str]) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        fields: dict[KeyPath, list[Any]] = {}
        for item in error.errors():
            fields.setdefault(tuple(map(str, item["loc"][:2])), []).append(item)
        raise_problems([_problem(location, items, places) for location, items in fields.items()])
        raise AssertionError("a ValidationError holds at least one error") from error


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe (the file, or the adapter folder that holds it) and apply `a.b=c` overrides.

    Raises:
        ConfigError: not readable, unknown or missing keys, wrong values; all of them at once, with
            line numbers.
    """
    file = recipe_file(path)
    content, lines = read_yaml(file, ConfigError)
    return _with_overrides(
        content,
        {(): str(file)} | {path: f"{file}:{line}" for path, line in lines.items()},
        overrides,
    )


def recipe_of_task(name: str, include_path: str | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a task that has none: its name, and the overrides of its data.

    Raises:
        ConfigError: unknown keys, wrong values, or overrides of what only a recipe has.
    """
    for setting in overrides:
        if not setting.startswith(("data.", "task.")):
            raise ConfigError(
                f"--set {setting}: the task {name} is checked by itself, without model, training "
                "and evaluation",
                "data.X or task.X",
                f"check a recipe: ft-harness init NAME --task {name}",
            )
    return _with_overrides(
        {"task": {"name": name, "include_path": include_path}}, {(): f"task {name}"}, overrides
    )


def _with_overrides(
    content: dict[str, Any], places: dict[KeyPath, str], overrides: Sequence[str]
) -> Recipe:
    for setting in overrides:
        key_path, value = parse_override(setting)
        lay_over(content, key_path, value)
        places[key_path] = f"--set {setting}"
        places.setdefault(key_path[:1], f"--set {setting}")
    return _validate(content, places)
