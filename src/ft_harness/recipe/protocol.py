"""A protocol: how many few-shot examples, which ones, and the decoding of one evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """How a model is asked: few-shot examples and decoding.

    Attributes:
        shots: few-shot examples before each item.
        examples: fixed rows of the train split: first:N, last:N, or indices; None: a seeded sample.
        decoding: generation arguments that override the task's own.
    """

    shots: int = 0
    examples: str | tuple[int, ...] | None = None
    decoding: Mapping[str, Any] = field(default_factory=dict)

    def example_rows(self, total: int) -> list[int] | None:
        """Indices of the fixed examples in a train split of `total` rows, which may lack them;
        None: a sample."""
        if not isinstance(self.examples, str):
            return list(self.examples) if self.examples else None
        start = 0 if self.examples.startswith("first") else total - self.shots
        return list(range(start, start + self.shots))
