"""Differences and their intervals on a common axis, as cards and tables of the page draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ft_harness.comparison.amounts import scale_of
from ft_harness.report.document import Drawn

_MARGIN = 0.04  # of the axis' width, left free at both ends
_WIDE = 10.0  # ratio of two perplexities from which an axis is logarithmic


def draw_differences(
    metrics: Sequence[str], rows: Sequence[tuple[float | None, ...]]
) -> list[Drawn | None]:
    """Each (base, delta, low, high) on one axis; None where something of it is undefined.

    The axis is in parts of the metrics' largest values. Perplexities have none: where they range
    over more than a decade, the axis is that of their ratio to the base, and logarithmic.
    """
    known = [
        (metric, [number for number in row if number is not None])
        for metric, row in zip(metrics, rows, strict=True)
    ]
    whole = [(metric, row) for metric, row in known if len(row) == len(rows[0])]
    ratios = [(base + end) / base for _, (base, *ends) in whole if base for end in (0.0, *ends)]
    is_ratio = all(math.isinf(scale_of(metric) or 0.0) for metric, _ in whole)
    is_wide = is_ratio and ratios and min(ratios) > 0 and max(ratios) >= _WIDE * min(ratios)
    placed: list[tuple[float, ...] | None] = []
    for metric, row in known:
        if len(row) < len(rows[0]) or (is_wide and not row[0]):
            placed.append(None)
            continue
        base, *numbers = row
        if is_wide:
            placed.append(tuple(math.log((base + each) / base) for each in numbers))
        else:
            placed.append(tuple(each / _whole(metric) for each in numbers))
    ends = [end for numbers in placed for end in numbers or ()]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    return [_place(numbers, low, high) for numbers in placed]


def _whole(metric: str) -> float:
    """The metric's largest value, 1 where it has none."""
    scale = scale_of(metric)
    return scale if scale and math.isfinite(scale) else 1.0


def _place(numbers: tuple[float, ...] | None, low: float, high: float) -> Drawn | None:
    """Where the numbers are on an axis from `low` to `high`."""
    if numbers is None or low == high:
        return None
    width = (high - low) * (1 + 2 * _MARGIN)
    start = low - (high - low) * _MARGIN
    return Drawn(*(round(100 * (place - start) / width, 2) for place in (0.0, *numbers)))
