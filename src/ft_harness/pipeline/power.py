"""What a test set can show, in lines: from a number of items and a score, or from a base run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ft_harness.comparison.power import power_of_run, power_of_score
from ft_harness.comparison.sentences import state_power
from ft_harness.errors import ConfigError
from ft_harness.records import describe_record, load_records


class Target(NamedTuple):
    """What is asked about.

    Attributes:
        metric: None: acc, or the run's main metric.
        effect: an improvement whose items are counted; None: none.
        correlation: assumed, of base and tuned scores over items.
    """

    metric: str | None = None
    effect: float | None = None
    correlation: float = 0.0


def describe_power(
    results: Path | None, n: int | None, base: float | None, target: Target
) -> list[str]:
    """The smallest improvement that is found, and the items that the target takes.

    Raises:
        ConfigError: neither a base evaluation nor both numbers are given, or one is out of range.
        InputError: an evaluation has no such metric.
    """
    if results is None and n is not None and base is not None:
        metric = target.metric or "acc"
        return state_power(power_of_score(metric, n, base, target.effect, target.correlation))
    if results is None or n is not None or base is not None:
        raise ConfigError(
            "give either a base evaluation, or both --n and --base",
            "one of the two",
            "ft-harness power --n 300 --base 0.6, or ft-harness power results/base--<model>",
        )
    lines: list[str] = []
    for evaluation in load_records([results]):
        if evaluation.record.adapter is None:
            stated = state_power(power_of_run(evaluation, *target))
            lines += [f"{describe_record(evaluation.record)}:", *(f"  {line}" for line in stated)]
    return lines
