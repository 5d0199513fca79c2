"""The recipe's train.preference section: TRL's DPOConfig, as far as it decides the loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from ft_harness.recipe.section import Section


class PreferenceSection(Section):
    """The recipe's train.preference section: the loss of learning from pairs of a chosen and a
    rejected answer."""

    loss: Literal["sigmoid", "ipo", "sigmoid_norm"] = Field(
        default="sigmoid", description="DPO; IPO; DPO with log p per token"
    )
    beta: float = Field(
        default=0.1, gt=0, description="how strongly the model is held to the reference; IPO's tau"
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="share of pairs assumed to be the wrong way round; TRL's loss robust",
    )
    sft_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the chosen answers' loss per token, which is added",
    )

    @field_validator("label_smoothing")
    @classmethod
    def _check_smoothing(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("loss", "sigmoid") != "sigmoid":
            raise ValueError("0, or loss: sigmoid with it")
        return value
