"""The fields that a recipe may have, as `--set` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from ft_harness.errors import ConfigError, suggest
from ft_harness.recipe.sections import Recipe
from ft_harness.recipe.values import write_value

_TYPES = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true | false",
    "null": "null",
}
_BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
}


@dataclass(frozen=True)
class RecipeField:
    """One field that a recipe may have.

    Attributes:
        name: `section.field`.
        type: the values that it takes, in words.
        default: of a recipe that leaves it out, as `--set` takes it; None: it is required.
        description: one line.
    """

    name: str
    type: str
    default: str | None
    description: str


def list_fields(section: str | None = None) -> list[RecipeField]:
    """The fields that a section, or the whole recipe, may have.

    Raises:
        ConfigError: there is no such section.
    """
    sections = _sections()
    if section is not None and section not in sections:
        raise ConfigError(
            f"a recipe has no section {section!r}{suggest(section, sections)}",
            f"one of {', '.join(sections)}",
            "ft-harness fields lists all",
        )
    chosen = {
        name: model
        for name, model in sections.items()
        if section in (None, name, name.partition(".")[0])
    }
    return [field for name, model in chosen.items() for field in _fields_of(name, model)]


def places_of(field: str) -> list[str]:
    """`section.field` of each section of a recipe that has a field of this name."""
    return [f"{name}.{field}" for name, model in _sections().items() if field in model.model_fields]


def _sections() -> dict[str, type[BaseModel]]:
    """Sections by name, those within others by both names."""
    found: dict[str, type[BaseModel]] = {}
    for name, model in inner_sections(Recipe).items():
        found[name] = model
        found |= {f"{name}.{each}": inner for each, inner in inner_sections(model).items()}
    return found


def inner_sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Fields of a recipe's section that are sections themselves."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found[name] = kind
    return found


def _fields_of(section: str, model: type[BaseModel]) -> list[RecipeField]:
    properties = model.model_json_schema()["properties"]
    return [
        RecipeField(
            f"{section}.{name}",
            _type_of(properties[name]),
            None
            if field.is_required()
            else write_value(to_jsonable_python(field.get_default(call_default_factory=True))),
            field.description or "",
        )
        for name, field in model.model_fields.items()
        if name not in inner_sections(model)
    ]


def _type_of(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type_of(each) for each in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if schema.get("type") == "array":
        inner = _type_of(schema["items"]) if "items" in schema else "values"
        return f"list of {inner}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        inner = _type_of(values) if isinstance(values, Mapping) else "values"
        return f"mapping to {inner}"
    bounds = [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return " ".join([_TYPES.get(schema.get("type", ""), "value"), *bounds])
