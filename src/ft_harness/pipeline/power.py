"""The power of a test set in lines, for `ft-harness power` and for runs: from a number of items and
a score, or from a base run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ft_harness.comparison.power import Power, power_of_run, power_of_score
from ft_harness.comparison.sentences import state_power
from ft_harness.errors import ConfigError, InputError
from ft_harness.pipeline.experiment import Say
from ft_harness.records import Evaluation, describe_record
from ft_harness.records.finding import load_records


class Target(NamedTuple):
    """The metric and improvement that `ft-harness power` is asked about.

    Attributes:
        metric: None: acc, or the run's main metric.
        effect: the improvement for which to count the items needed; None: none.
        correlation: assumed, of base and tuned scores over items.
    """

    metric: str | None = None
    effect: float | None = None
    correlation: float = 0.0


def find_power(
    results: Path | None, n: int | None, base: float | None, target: Target
) -> list[Power]:
    """What `ft-harness power` finds: the smallest improvement that is seen, and the items that the
    target takes; of a score, or of each base evaluation.

    Raises:
        ConfigError: neither a base evaluation nor both numbers are given, or one is out of range.
        InputError: an evaluation has no such metric.
    """
    return [power for _, power in _find(results, n, base, target)]


def describe_power(
    results: Path | None, n: int | None, base: float | None, target: Target
) -> list[str]:
    """What `ft-harness power` says: `find_power` in words, under the name of each evaluation.

    Raises:
        ConfigError, InputError: as there.
    """
    lines: list[str] = []
    for evaluation, power in _find(results, n, base, target):
        stated = state_power(power)
        if evaluation is None:
            return stated
        lines += [f"{describe_record(evaluation.record)}:", *(f"  {line}" for line in stated)]
    return lines


def say_power(evaluations: Sequence[Evaluation], task: str, say: Say) -> None:
    """In a run, before anything is trained: what the scored items of the trained task can show;
    nothing if too few have a score."""
    for evaluation in evaluations:
        settings = evaluation.record.settings
        if settings.task != task or settings.split == "train":
            continue
        if evaluation.record.status != "complete":
            continue
        try:
            found = power_of_run(evaluation)
        except InputError:
            continue
        say(f"{task}@{settings.split}: {state_power(found)[0]}")


def _find(
    results: Path | None, n: int | None, base: float | None, target: Target
) -> list[tuple[Evaluation | None, Power]]:
    if results is None and n is not None and base is not None:
        metric = target.metric or "acc"
        power = power_of_score(metric, n, base, target.effect, target.correlation)
        return [(None, power)]
    if results is None or n is not None or base is not None:
        raise ConfigError(
            "give either a base evaluation, or both --n and --base",
            "one of the two",
            "ft-harness power --n 300 --base 0.6, or ft-harness power results/base--<model>",
        )
    bases = [each for each in load_records([results]) if each.record.adapter is None]
    return [(each, power_of_run(each, *target)) for each in bases]
