"""What tests of this wing share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ft_harness.records import Evaluation, Record, Sample
from tests.builders.records import write_evaluation

Write = Callable[[Record, Sequence[Sample]], Evaluation]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes each evaluation to a folder of its own."""
    written: list[Evaluation] = []

    def write_next(record: Record, samples: Sequence[Sample]) -> Evaluation:
        written.append(write_evaluation(tmp_path / f"{len(written):03d}", record, samples))
        return written[-1]

    return write_next
