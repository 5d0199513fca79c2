"""Adapters of one recipe that differ in their training seed only: what training adds to the error
of the test set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ft_harness import stats
from ft_harness.records import Frozen, Record


class Repeats(Frozen):
    """One recipe, trained with several seeds and scored on the same items against the same base."""

    task: str
    split: str
    metric: str
    subjects: list[str]
    seeds: list[int]
    deltas: list[float] = Field(description="tuned minus base, of each seed")
    mean: float
    low: float | None = Field(
        description="lower end of the 95 % interval for other items and other seeds alike"
    )
    high: float | None
    seed_deviation: float = Field(
        description="standard deviation of the deltas over the training seeds"
    )
    test_error: float = Field(
        description="standard error of the mean from the choice of test items alone"
    )
    units: int = Field(description="items, or clusters, that the errors rest on")


@dataclass(frozen=True, eq=False)
class Trained:
    """What one training came to in one place.

    Attributes:
        recipe: of its card; None: not known.
        influence: [units], of each item (or cluster) on delta; None: undefined.
    """

    tuned: Record
    recipe: dict[str, Any] | None
    metric: str
    delta: float | None
    influence: NDArray[np.float64] | None


def find_repeats(trained: Sequence[Trained]) -> list[Repeats]:
    """Those that differ in `train.seed` only, with their spread; trainings without a card or a
    difference stay out, and so do groups in which a seed occurs twice, whose adapters must differ
    in something else."""
    groups: defaultdict[str, list[Trained]] = defaultdict(list)
    for each in trained:
        if _seed(each) is not None and each.delta is not None and each.influence is not None:
            groups[_all_but_seed(each)].append(each)
    found = [
        _summarize(group)
        for group in groups.values()
        if len({_seed(each) for each in group}) == len(group) > 1
    ]
    return [repeats for repeats in found if repeats is not None]


def _seed(trained: Trained) -> int | None:
    seed = (trained.recipe or {}).get("train", {}).get("seed")
    return seed if isinstance(seed, int) else None


def _all_but_seed(trained: Trained) -> str:
    recipe = trained.recipe or {}
    train = {key: value for key, value in recipe.get("train", {}).items() if key != "seed"}
    units = 0 if trained.influence is None else len(trained.influence)
    return repr(
        (trained.tuned.settings.model_dump(), recipe | {"train": train}, trained.metric, units)
    )


def _summarize(group: Sequence[Trained]) -> Repeats | None:
    deltas = [each.delta for each in group if each.delta is not None]
    influences = [each.influence for each in group if each.influence is not None]
    spread = stats.seed_spread(np.array(deltas), np.array(influences))
    if spread is None:
        return None
    low, high = spread.interval or (None, None)
    settings = group[0].tuned.settings
    return Repeats(
        task=settings.task,
        split=settings.split,
        metric=group[0].metric,
        subjects=[each.tuned.subject for each in group],
        seeds=[seed for each in group if (seed := _seed(each)) is not None],
        deltas=deltas,
        mean=spread.mean,
        low=low,
        high=high,
        seed_deviation=spread.seed_deviation,
        test_error=spread.test_error,
        units=len(influences[0]),
    )
