"""The recipe's controls section: tasks that training should not harm."""

from __future__ import annotations

from pydantic import Field, field_validator

from ft_harness.data.files import Split
from ft_harness.recipe.eval_section import EvalSection, ShotCounts
from ft_harness.recipe.section import Section


class ControlsSection(Section):
    """What is scored before and after, next to the trained task; it does not affect the adapter."""

    tasks: tuple[str, ...] = Field(
        default=(),
        description="tasks of ft-harness or lm-eval; one without data of its own is scored on the "
        "recipe's; []: none",
    )
    num_fewshot: ShotCounts = Field(
        default=0, description="few-shot examples; a list: each number is scored"
    )
    limit: int | None = Field(
        default=200, ge=1, description="docs of each task, a seeded sample; null: all"
    )

    @field_validator("tasks", "num_fewshot")
    @classmethod
    def _check_lists(cls, value: object) -> object:
        if isinstance(value, tuple) and len(set(value)) < len(value):
            raise ValueError("each value of the list once")
        return value

    def scoring(self, evaluation: EvalSection, split: Split) -> EvalSection:
        """How a control task is scored: one split, with the recipe's batch size and seed."""
        return EvalSection(
            splits=(split,),
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            batch_size=evaluation.batch_size,
            seed=evaluation.seed,
        )
