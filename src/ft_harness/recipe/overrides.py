"""`--set section.field=value`: read, laid over a recipe, and written for what two recipes differ
in."""

from __future__ import annotations

from typing import Any

from ft_harness.errors import ConfigError
from ft_harness.recipe.fields import places_of
from ft_harness.recipe.sections import Recipe
from ft_harness.recipe.values import write_value
from ft_harness.storage.strict_files import KeyPath, parse_yaml_value

_NULLS = ("null", "None")


def parse_override(setting: str) -> tuple[KeyPath, Any]:
    """`a.b=c` -> (("a", "b"), c). Lists, mappings and null are read as YAML, all else is typed by
    its field.

    Of whole sections `adapter=none` alone has a value.

    Raises:
        ConfigError: no such assignment, or no YAML.
    """
    name, separator, text = setting.partition("=")
    path = tuple(name.split("."))
    if setting == "adapter=none":
        return path, text
    if not separator or len(path) < 2:
        places = places_of(name) if len(path) < 2 else []
        hint = f"; did you mean {places[0]}?" if len(places) == 1 else ""
        raise ConfigError(
            f"--set {setting}{hint}",
            "section.field=value, like train.learning_rate=1e-4",
            "correct the option; ft-harness fields lists them",
        )
    if (text[:1] in "[{" and text) or text in _NULLS:
        try:
            return path, parse_yaml_value(text) if text != "None" else None
        except ValueError as error:
            raise ConfigError(
                f"--set {setting}: not valid YAML", "a list like [a, b]", "correct the option"
            ) from error
    return path, text


def write_overrides(old: Recipe, new: Recipe) -> list[str] | None:
    """`section.field=value` for each field that the second recipe sets otherwise; where only the
    first one sets a field, its default.

    None: `--set` can't say it, as with a text that it would read as a list.
    """
    before, after, default = old.written(), new.written(), new.resolved()
    settings: list[str] = []
    for section in dict.fromkeys([*before, *after]):
        if section not in default:  # what varies is no field of one run
            if before.get(section) != after.get(section):
                return None
            continue
        left, right = before.get(section, {}), after.get(section, {})
        for field in dict.fromkeys([*left, *right]):
            value = right[field] if field in right else default[section][field]
            if field in left and left[field] == value:
                continue
            text = write_setting(value)
            if text is None:
                return None
            settings.append(f"{section}.{field}={text}")
    return settings


def write_setting(value: Any) -> str | None:
    """A value as `--set` takes it: the text that `parse_override` and the field's type make this
    value of; None: there is none, as of a text that would be read as a list."""
    if isinstance(value, str):
        return None if value[:1] in ("[", "{") or value in _NULLS else value
    return write_value(value)
