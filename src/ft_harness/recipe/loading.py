"""Recipes from YAML and `--set`, all faults at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ft_harness.errors import ConfigError, raise_problems, suggest
from ft_harness.recipe.adapter_section import AdapterSection
from ft_harness.recipe.sections import Recipe
from ft_harness.storage.strict_files import KeyPath, read_yaml

RECIPE_FILE = "recipe.yaml"


def recipe_file(path: str | Path) -> Path:
    """The recipe's file, given the file or the adapter folder that holds it."""
    given = Path(path)
    return given / RECIPE_FILE if given.is_dir() else given


def _section_at(location: Sequence[Any]) -> type[BaseModel] | None:
    """The section that a location names; None: a field, or nothing."""
    section: type[BaseModel] = Recipe
    for name in location:
        field = section.model_fields.get(str(name))
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            return None
        section = found[0]
    return section


def _field_of(location: Sequence[Any]) -> KeyPath:
    """The field of an error's location, without the types and numbers within it."""
    depth = 3 if _section_at(location[:2]) else 2
    return tuple(map(str, location[:depth]))


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
        section = _section_at(location[:-1])
        known = list(section.model_fields) if section else []
        hint = suggest(location[-1], known)
        return ConfigError(
            f"{place}: unknown key {name}{hint}",
            f"one of {', '.join(known)}",
            "rename or remove the key",
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


def _parse_override(setting: str) -> tuple[KeyPath, Any]:
    """`a.b=c` -> (("a", "b"), c). Lists, mappings and null are read as YAML, all else is typed by
    its field.

    Of whole sections `adapter=none` alone has a value.
    """
    name, separator, text = setting.partition("=")
    path = tuple(name.split("."))
    if setting == "adapter=none":
        return path, text
    if not separator or len(path) < 2:
        raise ConfigError(
            f"--set {setting}",
            "section.field=value, like train.learning_rate=1e-4",
            "correct the option",
        )
    if (text[:1] in "[{" and text) or text in ("null", "None"):
        try:
            return path, yaml.safe_load(text) if text != "None" else None
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--set {setting}: not valid YAML", "a list like [a, b]", "correct the option"
            ) from error
    return path, text


def _override(content: dict[str, Any], path: KeyPath, value: Any) -> None:
    for name in path[:-1]:
        child = content.setdefault(name, {})
        if not isinstance(child, dict):
            raise ConfigError(
                f"--set {'.'.join(path)}: {name} is no section",
                "section.field=value",
                "correct the option",
            )
        content = child
    content[path[-1]] = value


def _validate(content: dict[str, Any], places: Mapping[KeyPath, str]) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        fields: dict[KeyPath, list[Any]] = {}
        for item in error.errors():
            fields.setdefault(_field_of(item["loc"]), []).append(item)
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
        key_path, value = _parse_override(setting)
        _override(content, key_path, value)
        places[key_path] = f"--set {setting}"
        places.setdefault(key_path[:1], f"--set {setting}")
    return _validate(content, places)
