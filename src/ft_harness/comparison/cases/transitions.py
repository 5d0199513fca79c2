"""Which items were corrected or broken from base to tuned, and which labels were taken for which
(confusion)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ft_harness.metrics.registry import DECIDING_METRICS, GRADED_METRICS
from ft_harness.records import Frozen

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Transition = Literal[
    "still right", "corrected", "broken", "not corrected", "better", "worse", "same"
]
THRESHOLD = 0.1  # change of a graded score from which an answer counts as better or worse
_ROUNDING = 1e-9


class ConfusionPair(Frozen):
    """Confusion matrices before and after, [labels, labels + 1]: rows gold, columns predicted,
    last: no label."""

    labels: list[str]
    base: list[list[int]]
    tuned: list[list[int]]


def count_confusion(labels: Sequence[str], base: Array, tuned: Array) -> ConfusionPair:
    """Gold against predicted labels, from the statistics of macro F1 [items, 3 x labels] of base
    and of tuned."""
    return ConfusionPair(labels=list(labels), base=_confusion(base), tuned=_confusion(tuned))


def _confusion(statistics: Array) -> list[list[int]]:
    """Counts [labels, labels + 1]; an item's gold label has tp or fn, its predicted one tp or
    fp."""
    true, false, missed = (statistics[:, part::3] for part in range(3))
    gold, predicted = true + missed, true + false
    # An answer that names no label is counted nowhere among the predicted ones.
    unreadable = 1 - predicted.sum(axis=1, keepdims=True)
    matrix: list[list[int]] = (
        (gold.T @ np.hstack([predicted, unreadable])).astype(np.int64).tolist()
    )
    return matrix


def find_deciding(names: Collection[str]) -> str | None:
    """The metric that says which items were corrected or broken: right or wrong, else better or
    worse; None: neither is there."""
    return next((name for name in (*DECIDING_METRICS, *GRADED_METRICS) if name in names), None)


def find_transitions(metric: str, base: Array, tuned: Array) -> dict[Transition, Rows]:
    """Transition -> the items in it, from the deciding metric's scores [items] (NaN: none) on both
    sides.

    Items without a score on a side are in no transition. A graded score must change by at least 0.1
    to be better or worse.
    """
    # NaN would count as wrong on its side, and make a transition of a missing score.
    scored = ~(np.isnan(base) | np.isnan(tuned))
    if metric in DECIDING_METRICS:
        before, after = base == 1, tuned == 1
        found: dict[Transition, NDArray[np.bool_]] = {
            "still right": before & after,
            "corrected": ~before & after,
            "broken": before & ~after,
            "not corrected": ~before & ~after,
        }
    else:
        change = np.nan_to_num(tuned - base)
        # 0.3 - 0.2 is a little less than 0.1 in floating point.
        better, worse = change >= THRESHOLD - _ROUNDING, change <= _ROUNDING - THRESHOLD
        found = {"better": better, "worse": worse, "same": ~better & ~worse}
    return {transition: np.flatnonzero(scored & items) for transition, items in found.items()}
