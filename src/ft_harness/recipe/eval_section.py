"""The recipe's eval section: what is scored and how."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ft_harness.data.files import SPLITS, Split
from ft_harness.recipe.protocol import Protocol
from ft_harness.recipe.section import Section
from ft_harness.recipe.server_section import ServerSection

_ROWS = re.compile(r"(?:first|last):([1-9]\d{0,5})")
_Shots = Annotated[int, Field(ge=0)]
# a number of few-shot examples, or several
ShotCounts = (
    _Shots | Annotated[tuple[Annotated[_Shots, Field(strict=True)], ...], Field(min_length=1)]
)


class EvalSection(Section):
    """How base and adapter are scored."""

    splits: tuple[Split, ...] = Field(
        default=SPLITS, min_length=1, description="splits that are scored"
    )
    num_fewshot: ShotCounts = Field(
        default=0, description="few-shot examples; a list: each number is scored"
    )
    fewshot_ids: str | tuple[Annotated[int, Field(ge=0, strict=True)], ...] | None = Field(
        default=None,
        description="fixed rows of the train split: first:5, last:3, or indices; null: a seeded "
        "sample",
    )
    generation_kwargs: (
        dict[str, Any] | Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    ) = Field(
        default_factory=dict,
        description="decoding arguments that override the task's; a list: each is scored",
    )
    train_limit: int = Field(
        default=1000, ge=1, description="the train split is scored on a seeded sample of this size"
    )
    primary_metric: str | None = Field(
        default=None,
        min_length=1,
        description="metric that decides; null: the task's primary_metric, else what fits its type",
    )
    benchmark: str | None = Field(
        default=None,
        pattern=r"^[\w.-]+/[\w.-]+#[\w.-]+$",
        description="benchmark on the hub that this task is, DATASET#TASK: push reports the score "
        "under its name; null: none",
    )
    merge: bool = Field(default=False, description="score adapters merged into the base's weights")
    limit: int | None = Field(
        default=None, ge=1, description="docs of each split, a seeded sample; null: all"
    )
    batch_size: int = Field(
        default=32, ge=1, description="at most this many requests per forward pass"
    )
    seed: int = Field(
        default=1234,
        ge=0,
        lt=2**32,
        description="seed of samples, few-shot examples and sampled answers",
    )
    server: ServerSection | None = Field(
        default=None, description="what computes the scores; null: this machine"
    )

    @model_validator(mode="before")
    @classmethod
    def _count_fixed_rows(cls, content: Any) -> Any:
        """Fixed rows determine the number of shots."""
        if (
            isinstance(content, dict)
            and content.get("fewshot_ids")
            and "num_fewshot" not in content
        ):
            return {**content, "num_fewshot": _count_rows(content["fewshot_ids"])}
        return content

    @field_validator("fewshot_ids")
    @classmethod
    def _check_fixed_rows(cls, value: str | tuple[int, ...] | None, info: ValidationInfo) -> Any:
        count = _count_rows(value) if value is not None else None
        if count == 0 or (not isinstance(value, str | None) and len(set(value)) < len(value)):
            raise ValueError("first:N, last:N or a list of different row indices")
        asked = info.data.get("num_fewshot", count)
        if (
            count is not None
            and asked != count
            and not (isinstance(asked, tuple) and set(asked) == {0, count})
        ):
            raise ValueError(f"as many rows as num_fewshot says ({asked}), or no num_fewshot")
        return value

    @field_validator("num_fewshot", "generation_kwargs")
    @classmethod
    def _check_lists(cls, value: Any) -> Any:
        if isinstance(value, tuple) and any(value.count(each) > 1 for each in value):
            raise ValueError("each value of the list once")
        return value

    @field_validator("server")
    @classmethod
    def _check_server(
        cls, value: ServerSection | None, info: ValidationInfo
    ) -> ServerSection | None:
        if value is not None and info.data.get("merge"):
            raise ValueError("null where eval.merge is true: a server keeps adapters apart")
        return value

    def protocols(self) -> list[Protocol]:
        """Every number of shots with every decoding, in the order they were written."""
        shots, decodings = self.num_fewshot, self.generation_kwargs
        return [
            Protocol(count, self.fewshot_ids if count else None, decoding)
            for count in (shots if isinstance(shots, tuple) else (shots,))
            for decoding in (decodings if isinstance(decodings, tuple) else (decodings,))
        ]


def _count_rows(ids: Any) -> int:
    """How many rows `eval.fewshot_ids` names; 0 where it is malformed."""
    if isinstance(ids, str):
        match = _ROWS.fullmatch(ids)
        return int(match[1]) if match else 0
    return len(ids) if isinstance(ids, list | tuple) else 0
