"""Guards of a training step: numbers that are not finite, with the rows they came from; signals;
memory that runs out, so that fewer rows are computed at once.

- Not finite: the step is not taken; the message names its rows. No checkpoint holds such a weight.
- SIGINT and SIGTERM: the step is finished and saved first; a second signal leaves at once.
- Out of memory: the same rows in smaller parts, which add up to the same gradient.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch

from ft_harness.errors import NonFiniteError, ResourceError
from ft_harness.models.memory import attempt, is_out_of_memory
from ft_harness.training.numerics import random_state, restore_random_state

Batch = dict[str, Any]
_MOST_NAMED = 32  # rows of a batch
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
logger = logging.getLogger(__name__)

# --- numbers that are not finite ----------------------------------------------------------------


def not_finite(
    what: str, step: int, learning_rate: float, rows: Sequence[int] = ()
) -> NonFiniteError:
    """The fault of a step whose numbers are not finite; `rows` are those of the train split that it
    was computed from."""
    more = ", ..." if len(rows) > _MOST_NAMED else ""
    named = ", ".join(map(str, rows[:_MOST_NAMED])) + more
    where = f"; rows {named} of the train split" if rows else ""
    return NonFiniteError(
        f"the {what} is not finite at step {step} (learning rate {learning_rate:.3g}{where})",
        f"a finite {what} at every step",
        "lower train.learning_rate under another --name, or fix these rows",
    )


def rows_of(batches: Sequence[Batch], examples: Sequence[Any]) -> list[int]:
    """For a fault of a step: which rows of the train split are in its batches, from 0; of equal
    rows the first."""
    numbers: dict[tuple[int, ...], int] = {}
    # By content: a batch does not say which rows it holds, and need not, as this is asked once,
    # when training ends.
    for number, example in enumerate(examples):
        numbers.setdefault(tuple(example.input_ids), number)
    found: list[int] = []
    for batch in batches:
        marks = batch.get("attention_mask")
        for place, ids in enumerate(batch["input_ids"]):
            row = tuple(ids[marks[place].bool()].tolist() if marks is not None else ids.tolist())
            found += [numbers[row]] if row in numbers else []
    return sorted(found)


def check_weights(model: Any, step: int, learning_rate: float) -> None:
    """Refuse to keep a trained weight that is not finite.

    Raises:
        NonFiniteError: there is one.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise not_finite("adapter", step, learning_rate)


# --- signals ------------------------------------------------------------------------------------


class CutShort(BaseException):
    """A signal arrived in the middle of a part of training that need not be finished."""


class Stops:
    """Signals that arrive while a training runs.

    Attributes:
        requested: the signal that arrived; None: none did.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._before: dict[int, Any] = {}
        self._cutting = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Signals wait for `leave`; only the main thread gets any. An ignored one stays ignored."""
        # Python refuses handlers elsewhere; a training inside somebody's thread has none.
        if threading.current_thread() is threading.main_thread():
            known = {number: signal.getsignal(number) for number in _SIGNALS}
            self._before = {
                number: handler for number, handler in known.items() if handler != signal.SIG_IGN
            }
        for number in self._before:
            signal.signal(number, self._arrived)
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def cutting(self, *, alone: bool) -> Iterator[None]:
        """Work that a signal may cut short, by `CutShort`, in a process that works alone."""
        self._cutting = alone
        try:
            yield
        finally:
            self._cutting = False

    def leave(self) -> None:
        """Do what the signal (SIGTERM, if another process got it) would have done; end the process
        if it did not."""
        number = self.requested or signal.SIGTERM
        self._give_back()
        # By the handler that was there before, so that a caller sees what it would have seen
        # without us.
        signal.raise_signal(number)
        sys.exit(128 + number)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)  # a second one leaves at once
        logger.warning(
            "stopping: a checkpoint is saved after this step; "
            "a second signal leaves at once without it"
        )
        if self._cutting:
            raise CutShort

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


# --- memory -------------------------------------------------------------------------------------


class Snapshot:
    """Gradients and random generators before a part of a step, which is computed anew if memory
    runs out.

    An error inside backward leaves some gradients half added.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        self._gradients = [(p, None if p.grad is None else p.grad.clone()) for p in parameters]
        self._random = random_state()

    def restore(self) -> None:
        """Restore gradients and random generators."""
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        restore_random_state(self._random)


def count_rows(batch: Batch) -> int:
    """When memory runs out: the rows of a step's batch."""
    return len(batch["input_ids"])


def split_rows(batch: Batch, rows: int) -> list[Batch]:
    """When memory runs out: a step's batch in parts of at most this many rows."""
    return [
        {name: values[at : at + rows] for name, values in batch.items()}  # all are tensors [B, ...]
        for at in range(0, count_rows(batch), rows)
    ]


class MicroBatches:
    """How many rows of a step are computed at once: as many as the recipe says, until memory runs
    out; then fewer to the end.

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
        """Add a batch's gradients to those of the parameters; its loss, the sum of its parts'.

        Args:
            gradients_of: runs forward and backward of a part, whose loss is divided by the targets
                of the whole step.
            changed: is given (rows at once before, and from now on).

        Raises:
            ResourceError: memory is not enough for a single row.
        """
        waiting, losses = [batch], []
        while waiting:
            part = waiting.pop()
            if self.limit is not None and count_rows(part) > self.limit:
                waiting += reversed(split_rows(part, self.limit))
                continue
            # A copy of the gradients for each part: memory that runs out in the middle of backward
            # leaves sums of which nobody knows what is in them.
            before = Snapshot(parameters)
            loss = attempt(partial(gradients_of, dict(part)))  # labels are taken out of it
            if loss is not None:
                losses.append(loss)
                continue
            before.restore()
            rows, width = count_rows(part), part["input_ids"].shape[-1]
            if rows == 1:
                raise out_of_memory(f"a single row of {width} tokens")
            self.limit = (rows + 1) // 2
            changed(rows, self.limit)
            waiting.append(part)
        return sum(losses[1:], losses[0])


def out_of_memory(what: str) -> ResourceError:
    """The fault of a training step that does not fit into memory, however it is split."""
    return ResourceError(
        f"memory ran out in training with {what}",
        "memory for one row, forward and backward",
        "set train.gradient_checkpointing=true, lower model.max_length, use model.quantization, "
        "or free memory; then run the same command again",
    )


@contextmanager
def or_out_of_memory() -> Iterator[None]:
    """Context for a part of a training step in which no smaller batch would help if memory runs
    out, such as the optimizer's.

    Raises:
        ResourceError: it did.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(
            "the recipe's batch, outside forward and backward (as in the optimizer)"
        ) from error
