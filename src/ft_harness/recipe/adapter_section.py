"""The recipe's adapter section: PEFT's LoraConfig."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ft_harness.recipe.section import Section


class AdapterSection(Section):
    """PEFT's LoraConfig, by its own field names."""

    task_type: Literal["CAUSAL_LM", "SEQ_CLS"] = Field(
        default="CAUSAL_LM", description="SEQ_CLS: a classification head, for multiple_choice tasks"
    )
    r: int = Field(default=16, ge=1, le=1024)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    use_rslora: bool = False
