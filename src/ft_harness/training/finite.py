"""Numbers that are not finite: what is said of them, and that no checkpoint holds any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ft_harness.errors import NonFiniteError

_MOST_NAMED = 32  # rows of a batch


def not_finite(
    what: str, step: int, learning_rate: float, rows: Sequence[int] = ()
) -> NonFiniteError:
    """The fault of a step; `rows` are those of the train split that it was computed from."""
    named = ", ".join(map(str, rows[:_MOST_NAMED])) + (", ..." if len(rows) > _MOST_NAMED else "")
    where = f"; rows {named} of the train split" if rows else ""
    return NonFiniteError(
        f"the {what} is not finite at step {step} (learning rate {learning_rate:.3g}{where})",
        f"a finite {what} at every step",
        "lower train.learning_rate under another --name, or mend these rows",
    )


def rows_of(batches: Sequence[Any], examples: Sequence[Any]) -> list[int]:
    """Which rows of the train split stand in these batches, from 0; of equal rows the first."""
    numbers: dict[tuple[int, ...], int] = {}
    for number, example in enumerate(examples):
        numbers.setdefault(tuple(example.input_ids), number)
    found: list[int] = []
    for batch in batches:
        marks = batch.get("attention_mask")
        for place, ids in enumerate(batch["input_ids"].tolist()):
            width = int(marks[place].sum()) if marks is not None else len(ids)
            found += [numbers[tuple(ids[:width])]] if tuple(ids[:width]) in numbers else []
    return sorted(found)


def check_weights(model: Any, step: int, learning_rate: float) -> None:
    """Raises:
    NonFiniteError: a trained weight is NaN or infinite; it is not saved.
    """
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise not_finite("adapter", step, learning_rate)
