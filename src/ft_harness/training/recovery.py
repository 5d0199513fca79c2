"""A micro-batch that memory is not enough for: the same rows in smaller parts, the same gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ft_harness.errors import ResourceError
from ft_harness.models.memory import attempt, is_out_of_memory
from ft_harness.training.random_state import RandomState

if TYPE_CHECKING:
    import torch

Batch = dict[str, Any]


class Snapshot:
    """Gradients and random generators before a part; an error inside backward leaves some gradients half added."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        self._gradients = [(p, None if p.grad is None else p.grad.clone()) for p in parameters]
        self._random = RandomState()

    def restore(self) -> None:
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        self._random.restore()


def count_rows(batch: Batch) -> int:
    return len(batch["input_ids"])


def cut(batch: Batch, rows: int) -> list[Batch]:
    """Parts of at most so many rows each."""
    every = count_rows(batch)
    return [
        {
            name: values[start : start + rows] for name, values in batch.items()
        }  # all are tensors [B, ...]
        for start in range(0, every, rows)
    ]


class MicroBatches:
    """How many rows are computed at once: as many as the recipe says, until memory runs out; then fewer to the end.

    Attributes:
        limit: rows at once; None: memory never ran out.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit

    def compute(
        self,
        batch: Batch,
        gradients_of: Callable[[Batch], torch.Tensor],
        parameters: list[torch.nn.Parameter],
        changed: Callable[[int, int], None],
    ) -> torch.Tensor:
        """Add a batch's gradients to those of the parameters; its loss, the sum of its parts' losses.

        Args:
            gradients_of: runs forward and backward of a part, whose loss is normalised by the whole step's count.
            changed: is told (rows at once before, and from now on).

        Raises:
            ResourceError: memory is not enough for a single row.
        """
        waiting, losses = [batch], []
        while waiting:
            part = waiting.pop()
            if self.limit is not None and count_rows(part) > self.limit:
                waiting += reversed(cut(part, self.limit))
                continue
            before = Snapshot(parameters)
            loss = attempt(partial(gradients_of, dict(part)))  # a copy: labels are taken out of it
            if loss is not None:
                losses.append(loss)
                continue
            before.restore()
            rows, width = part["input_ids"].shape
            if rows == 1:
                raise out_of_memory(f"a single row of {width} tokens")
            self.limit = (rows + 1) // 2
            changed(rows, self.limit)
            waiting.append(part)
        return sum(losses[1:], losses[0])


def out_of_memory(what: str) -> ResourceError:
    return ResourceError(
        f"memory ran out in training with {what}",
        "memory for one row, forward and backward",
        "set train.gradient_checkpointing=true, lower model.max_length, use model.quantization, or free memory; "
        "then run the same command again",
    )


@contextmanager
def or_out_of_memory() -> Iterator[None]:
    """Memory that runs out where no smaller batch would help, as in the optimizer's own step.

    Raises:
        ResourceError: it did.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory("the batch of the recipe, outside the rows' own gradients") from error
