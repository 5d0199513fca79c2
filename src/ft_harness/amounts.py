"""Scores, differences, times and sizes as a report shows them: every number is rounded here, once."""

from __future__ import annotations

from ft_harness.aggregator import Row
from ft_harness.metrics import find_metric

NONE = "-"


def amount(metric: str, value: float | None) -> str:
    """A score: per cent for metrics between 0 and 1."""
    if value is None:
        return NONE
    found = find_metric(metric)
    return f"{100 * value:z.{found.digits}f} %" if found.scale == 1 else f"{value:z.{found.digits}f}"


def difference(metric: str, delta: float | None) -> str:
    """A signed difference: percentage points for metrics between 0 and 1."""
    if delta is None:
        return NONE
    found = find_metric(metric)
    return f"{100 * delta if found.scale == 1 else delta:+z.{found.digits}f}"


def interval(row: Row) -> str:
    if row.low is None or row.high is None:
        return NONE
    return f"{difference(row.metric, row.low)} to {difference(row.metric, row.high)}"


def probability(p: float | None) -> str:
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int | None) -> str:
    """Bytes in binary units."""
    if count is None:
        return NONE
    value, units = float(count), ["KiB", "MiB", "GiB"]
    unit = "B"
    while value >= 1024 and units:
        value, unit = value / 1024, units.pop(0)
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
