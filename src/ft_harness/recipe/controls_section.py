"""The recipe's controls section: tasks that the training should not have harmed."""

from __future__ import annotations

from pydantic import Field, field_validator

from ft_harness.recipe.eval_section import EvalSection
from ft_harness.recipe.section import Section


class ControlsSection(Section):
    """What is scored before and after next to the trained task; nothing of it makes the adapter."""

    tasks: tuple[str, ...] = Field(
        default=(), description="tasks of ft-harness or lm-eval, scored zero-shot; []: none"
    )
    limit: int | None = Field(
        default=200, ge=1, description="docs of each task, a seeded sample; null: all"
    )

    @field_validator("tasks")
    @classmethod
    def _check_tasks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each task once")
        return value

    def protocol(self, evaluation: EvalSection) -> EvalSection:
        """How a control task is scored: without examples, with the recipe's batch size and seed."""
        return EvalSection(limit=self.limit, batch_size=evaluation.batch_size, seed=evaluation.seed)
