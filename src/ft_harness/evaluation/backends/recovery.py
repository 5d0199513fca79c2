"""When memory runs out, compute the same requests again in smaller batches; one that doesn't fit
alone fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from ft_harness.evaluation.backends.store import Ledger
from ft_harness.models.memory import attempt

B = TypeVar("B")


@dataclass
class Effort:
    """What it took to answer when memory could run out, counted in requests: computed, reused,
    failed, budgets halved.

    Attributes:
        computed: by the model.
        reused: taken from the store.
        failed: memory was not enough for them.
        halvings: how often the budget of a length class was halved.
    """

    computed: int = 0
    reused: int = 0
    failed: int = 0
    halvings: int = 0

    def __add__(self, other: Effort) -> Effort:
        return Effort(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )


@dataclass
class Allowance:
    """The smaller batches after memory ran out: bytes that one may take, for each class of lengths
    (powers of two)."""

    effort: Effort
    _limits: dict[int, int] = field(default_factory=dict)

    def limit(self, length: int) -> int | None:
        """Bytes for batches of sequences of `length` tokens; None: memory never ran out with
        such."""
        return self._limits.get(length.bit_length())

    def allows(self, length: int, needed: int) -> bool:
        limit = self.limit(length)
        return limit is None or needed <= limit

    def halve(self, length: int, needed: int) -> None:
        """From now on allow half of what the batch that ran out of memory needed."""
        self.effort.halvings += 1
        # By classes of length: what ran out of memory at 2,000 tokens says nothing of batches of
        # 50.
        self._limits[length.bit_length()] = needed // 2


class Work(Protocol[B]):
    """Numbered requests that are computed in batches, smaller ones when memory runs out."""

    def numbers(self, batch: B) -> list[int]:
        """The requests that a batch answers."""

    def cost(self, batch: B) -> tuple[int, int]:
        """(tokens of the longest sequence, bytes) of a batch."""

    def compute(self, batch: B) -> Mapping[int, Any]:
        """The response of each request of a batch."""

    def split(self, batch: B) -> Sequence[B]:
        """Smaller batches of the same requests, each within the allowance or of one item; empty: it
        is one item."""

    def anew(self, numbers: Sequence[int]) -> Sequence[B]:
        """Batches of these requests alone."""


def in_parts(
    batch: B, work: Work[B], allowance: Allowance, effort: Effort
) -> Iterator[Mapping[int, Any]]:
    """The responses of a batch, part by part where memory runs out for all; None for an item that
    doesn't fit."""
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        length, needed = work.cost(part)
        # One item is tried even beyond the allowance: the formula may be wrong, and there is
        # nothing smaller.
        if allowance.allows(length, needed) or not work.split(part):
            found = attempt(partial(work.compute, part))
            if found is not None:
                effort.computed += len(found)
                yield found
                continue
            allowance.halve(length, needed)
        smaller = work.split(part)
        # The last of the list is taken next, so that parts are computed in their order.
        waiting += reversed(smaller)
        if not smaller:
            failed = work.numbers(part)
            effort.failed += len(failed)
            yield dict.fromkeys(failed)


def complete(
    batches: Iterable[B],
    work: Work[B],
    ledger: Ledger,
    allowance: Allowance,
    effort: Effort | None = None,
) -> dict[int, Any]:
    """The response of each request by number; None where memory was not enough for it alone.

    A batch that is stored completely is not computed. One that is stored in part is computed whole,
    so that its numbers equal those of an uninterrupted run; but if memory ran out before, only what
    is missing.

    Args:
        allowance: what `work` plans its batches by too.
        effort: where requests are counted; None: the allowance's.
    """
    effort = effort or allowance.effort
    responses: dict[int, Any] = {}
    for batch in batches:
        numbers = work.numbers(batch)
        stored = ledger.stored(numbers)
        missing = [number for number in numbers if number not in stored]
        # A batch that is computed in part has other sums in its last digits than one computed
        # whole.
        whole = bool(missing) and not ledger.failed_before(missing)
        if not whole:
            responses |= stored
            effort.reused += len(stored)
        for part in [batch] if whole else work.anew(missing):
            for found in in_parts(part, work, allowance, effort):
                ledger.keep(found)
                responses |= found
    return responses
