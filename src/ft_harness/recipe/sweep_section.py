"""The recipe's sweep section: what varies between the runs of one study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ft_harness.recipe.section import Section

Values = Annotated[tuple[Any, ...], Field(min_length=1)]
Axis = dict[str, Values]
Group = Annotated[Axis, Field(min_length=1)]


class Choice(Section):
    """In the recipe's sweep section: how one setting is chosen; it alone, and the reference, are
    scored on test."""

    by: str | None = Field(
        default=None, min_length=1, description="metric; null: the task's primary one"
    )
    on: Literal["validation"] = Field(default="validation", description="the split that decides")


class SweepSection(Section):
    """What varies: the product of `vary`, of each group of `together`, and of `stretches`."""

    vary: Axis = Field(
        default_factory=dict, description="section.field -> values, in all combinations"
    )
    together: tuple[Group, ...] = Field(
        default=(), description="groups of fields whose lists, of equal length, are paired"
    )
    stretches: Axis = Field(
        default_factory=dict,
        description="fields of successive trainings, each of which continues the one before",
    )
    reference: dict[str, Any] = Field(
        default_factory=dict,
        description="what the others are compared with; a field left out: the recipe's own value, "
        "else its first one",
    )
    choose: Choice | None = Field(default=None, description="null: every point is scored on test")
    trains: bool = Field(default=True, description="false: only base models are scored")

    @field_validator("together", mode="before")
    @classmethod
    def _read_one_group(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value

    @field_validator("vary", "together", "stretches")
    @classmethod
    def _check_lists(cls, value: Any, info: ValidationInfo) -> Any:
        for group in value if isinstance(value, tuple) else (value,):
            if info.field_name == "vary":
                _refuse_equal(group)
            elif len({len(values) for values in group.values()}) > 1:
                lengths = ", ".join(f"{name} has {len(each)}" for name, each in group.items())
                raise ValueError(f"lists of one length, where {lengths}")
        return value

    @model_validator(mode="after")
    def _check_fields(self) -> SweepSection:
        names = [name for axis in self.axes() for name in axis]
        if not names:
            raise ValueError("vary, together or stretches with a field and its values")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"each field in one place; {', '.join(twice)} is in two")
        for name in names:
            above = [each for each in names if name.startswith(f"{each}.")]
            if above:
                raise ValueError(f"no field within another one; {name} is within {above[0]}")
        untrained = [name for name in self.stretches if not name.startswith(("train.", "data."))]
        if untrained:
            raise ValueError(
                f"stretches of fields of train or data, as {untrained[0]} can't change within one "
                "training"
            )
        if self.stretches and not self.trains:
            raise ValueError("trains: true with stretches, which are trainings")
        return self

    def axes(self) -> Iterator[Axis]:
        """Groups of fields that vary as one: each field of `vary`, each group, the stretches."""
        yield from ({name: values} for name, values in self.vary.items())
        yield from self.together
        if self.stretches:
            yield self.stretches

    def count(self) -> int:
        """Points of the product, equal ones too."""
        total = 1
        for axis in self.axes():
            total *= len(next(iter(axis.values()), ()))
        return total


def _refuse_equal(axis: Axis) -> None:
    for name, values in axis.items():
        written = [repr(value) for value in values]
        if len(set(written)) < len(written):
            raise ValueError(f"each value of {name} once")
