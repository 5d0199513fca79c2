"""Write a recipe's file, or change single fields of it: comments, order and all other lines
stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from ft_harness.recipe.sections import Recipe
from ft_harness.recipe.values import write_value
from ft_harness.storage.strict_files import KeyPath, parse_yaml

_LINE = re.compile(r"(?P<key>\s*[\w]+\s*:)(?P<value>.*?)(?P<comment>\s+#.*)?")
_INDENT = "  "


def edit(text: str, recipe: Recipe) -> str:
    """The text of a recipe's file, changed so that it says what the recipe does. Where its lines
    can't be changed one by one (sections in braces, values over several lines) it is written anew,
    without comments."""
    content, places = parse_yaml(text)
    lines = text.splitlines()
    said, wanted = Recipe.model_validate(content).written(), recipe.written()
    changes = [
        ((section, field), value)
        for section, fields in wanted.items()
        for field, value in fields.items()
        if field not in said.get(section, {}) or said[section][field] != value
    ]
    for path, value in sorted(changes, key=lambda change: -places.get(change[0], 0)):
        _change(lines, places, path, value)
    edited = "\n".join(lines) + "\n"
    return edited if _says(edited, wanted) else write_recipe(wanted)


def write_recipe(written: Mapping[str, Any]) -> str:
    """A recipe's fields as YAML."""
    return yaml.safe_dump(dict(written), sort_keys=False, allow_unicode=True)


def _says(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return Recipe.model_validate(parse_yaml(text)[0]).written() == wanted
    except (yaml.YAMLError, ValidationError):
        return False


def _change(lines: list[str], places: dict[KeyPath, int], path: KeyPath, value: Any) -> None:
    """Replace a field's line, or add one under its section. What comes out is read again."""
    section, field = path
    shown = f"{field}: {write_value(value)}"
    if path in places:
        line = _LINE.fullmatch(lines[places[path] - 1])
        if line:
            indent = lines[places[path] - 1].partition(field)[0]
            lines[places[path] - 1] = f"{indent}{shown}{line['comment'] or ''}"
    elif path[:1] in places:
        place = places[path[:1]]
        line = _LINE.fullmatch(lines[place - 1])
        if line and line["value"].strip() in ("", "{}"):
            lines[place - 1] = f"{line['key']}{line['comment'] or ''}"
            children = [at for key, at in places.items() if key[:1] == (section,) and len(key) == 2]
            first = lines[min(children) - 1] if children else _INDENT
            lines.insert(place, f"{first[: len(first) - len(first.lstrip())] or _INDENT}{shown}")
            places.update({key: at + (at > place) for key, at in places.items()})
    else:
        lines += ["", f"{section}:", f"{_INDENT}{shown}"]
        places[section,] = len(lines) - 1
