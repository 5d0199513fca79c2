"""Load a recipe: its file, `--set` over it, and all its faults at once; and the recipe that stands
for a task by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError

from ft_harness.errors import ConfigError, expected_values, raise_problems, suggest
from ft_harness.recipe.adapter_section import AdapterSection
from ft_harness.recipe.fields import inner_sections, places_of
from ft_harness.recipe.overrides import note_once, parse_override
from ft_harness.recipe.sections import Recipe
from ft_harness.storage.strict_files import KeyPath, read_yaml

RECIPE_FILE = "recipe.yaml"


def recipe_file(path: str | Path) -> Path:
    """The file that a recipe is loaded from, given that file or the adapter folder that holds
    it."""
    given = Path(path)
    return given / RECIPE_FILE if given.is_dir() else given


def _section_at(location: Sequence[Any]) -> type[BaseModel] | None:
    """The section that a location names; None: a field, or nothing."""
    section: type[BaseModel] = Recipe
    for name in location:
        found = inner_sections(section).get(str(name))
        if found is None:
            return None
        section = found
    return section


def _field_of(location: Sequence[Any]) -> KeyPath:
    """The field of an error's location, or its key where it is a mapping, without the types and
    numbers within it."""
    depth = 3 if _section_at(location[:2]) or _is_mapping(location[:2]) else 2
    return tuple(map(str, location[:depth]))


def _is_mapping(location: Sequence[Any]) -> bool:
    """Whether a location is that of a field that holds keys of its user's choice."""
    section = _section_at(location[:-1])
    field = section.model_fields.get(str(location[-1])) if section else None
    return field is not None and get_origin(field.annotation) is dict


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
    return ConfigError(
        f"{place}: {name} is {repr(error['input'])[:80]}",
        expected_values(errors),
        "change the value",
    )


@dataclass(frozen=True)
class Draft:
    """A recipe as it was read from its file and `--set`, before its fields are checked.

    Attributes:
        content: sections as YAML gives them.
        places: where each key was written, for messages.
    """

    content: Mapping[str, Any]
    places: Mapping[KeyPath, str]

    def recipe(self) -> Recipe:
        """The checked recipe.

        Raises:
            ConfigError: unknown or missing keys, wrong values; all of them at once.
        """
        try:
            return Recipe.model_validate(self.content)
        except ValidationError as error:
            fields: dict[KeyPath, list[Any]] = {}
            for item in error.errors():
                fields.setdefault(_field_of(item["loc"]), []).append(item)
            raise_problems(
                [_problem(location, items, self.places) for location, items in fields.items()]
            )
            raise AssertionError("a ValidationError holds at least one error") from error

    def with_values(self, values: Mapping[str, Any], places: Mapping[str, str]) -> Draft:
        """With `section.field` -> value laid over it; `places` say where each is written.

        Raises:
            ConfigError: a field lies below a value that is not a section.
        """
        content, known = deepcopy(dict(self.content)), dict(self.places)
        for name, value in values.items():
            *above, last = path = tuple(name.split("."))
            section = content
            for part in above:
                section = section.setdefault(part, {})
                if not isinstance(section, dict):
                    raise ConfigError(
                        f"{places[name]}: {part} is not a section",
                        "section.field=value",
                        "correct it",
                    )
            section[last] = value
            # A fault within a field is reported for the field.
            known |= {path: places[name], path[:2]: places[name]}
            known.setdefault(path[:1], places[name])
        return Draft(content, known)

    def accepts(self, name: str, value: Any) -> bool:
        """Whether the field `section.field` takes this value."""
        try:
            Recipe.model_validate(self.with_values({name: value}, {name: name}).content)
        except ValidationError as error:
            field = _field_of(name.split("."))
            return all(_field_of(item["loc"]) != field for item in error.errors())
        return True


def read_draft(path: str | Path, overrides: Sequence[str] = (), kept: Sequence[str] = ()) -> Draft:
    """Read a recipe (the file, or the adapter folder that holds it) and lay `a.b=c` over it.

    Args:
        kept: overrides of an earlier call, over which the others are laid.

    Raises:
        ConfigError: the file can't be read, or an override is malformed.
    """
    file = recipe_file(path)
    content, lines = read_yaml(file, ConfigError)
    places = {(): str(file)} | {key: f"{file}:{line}" for key, line in lines.items()}
    return _with_overrides(_with_overrides(Draft(content, places), kept), overrides)


def load_recipe(
    path: str | Path, overrides: Sequence[str] = (), kept: Sequence[str] = ()
) -> Recipe:
    """Read a recipe (the file, or the adapter folder that holds it) and apply `a.b=c` overrides.

    Args:
        kept: overrides of an earlier call, over which the others are laid.

    Raises:
        ConfigError: not readable, unknown or missing keys, wrong values; all of them at once, with
            line numbers.
    """
    return read_draft(path, overrides, kept).recipe()


def recipe_of_task(name: str, include_path: str | None, overrides: Sequence[str] = ()) -> Recipe:
    """Load the recipe that stands for a task by itself: its name, and the overrides of its data.

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
    content = {"task": {"name": name, "include_path": include_path}}
    given: dict[KeyPath, str] = {("task", "name"): f"check {name}"}
    if include_path is not None:
        given["task", "include_path"] = f"--include-path {include_path}"
    draft = Draft(content, {(): f"task {name}"})
    return _with_overrides(draft, overrides, given).recipe()


def _with_overrides(
    draft: Draft,
    overrides: Sequence[str],
    given: Mapping[KeyPath, str] = MappingProxyType({}),
) -> Draft:
    """`given`: what sets a field already, as a message names it."""
    known = dict(given)
    for setting in dict.fromkeys(overrides):
        path, value = parse_override(setting)
        note_once(setting, path, known)
        name = ".".join(path)
        draft = draft.with_values({name: value}, {name: f"--set {setting}"})
    return draft
