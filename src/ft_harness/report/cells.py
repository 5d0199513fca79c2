"""Numbers as cells of a report's tables: the text that a reader sees, with the unrounded number
behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ft_harness.comparison.aggregator import Row
from ft_harness.comparison.amounts import (
    NONE,
    amount,
    difference,
    digits_of,
    fixed,
    interval,
    probability,
)
from ft_harness.report.document import Cell, Number, Span

# columns of a row's numbers, and their kinds
MEASURED = {
    "Base": "n",
    "Tuned": "n",
    "Difference": "n",
    "95 % interval": "i",
    "p": "n",
    "p (Holm)": "n",
    "n": "n",
    "Verdict": "t",
    "Decided by": "t",
}
_WHERE_ANY = {"p (Holm)": "p_adjusted", "Decided by": "decided_by"}  # columns, and their fields


UNDEFINED = Number(NONE, None)


def score(metric: str, value: float | None, digits: int | None = None) -> Number:
    """A score as a cell."""
    return Number(amount(metric, value, digits), value)


def change(metric: str, delta: float | None, digits: int | None = None) -> Number:
    """A difference as a cell."""
    return Number(difference(metric, delta, digits), delta)


def spread_of(metric: str, value: float | None) -> Number:
    """A standard deviation or error as a cell: as a difference, in points where scores are in per
    cent, but without a direction."""
    return Number(difference(metric, value).removeprefix("+"), value)


def chance(p: float | None) -> Number:
    """A p as a cell."""
    return Number(probability(p), p)


def count(number: int | None) -> Number:
    """A whole number as a cell."""
    return Number(NONE if number is None else f"{number:,}", number)


def share(value: float | None) -> Number:
    """A share as a cell, in per cent."""
    return Number(NONE if value is None else f"{fixed(100 * value, 1)} %", value)


def span_of(metric: str, low: float | None, high: float | None, digits: int | None = None) -> Span:
    """The interval of a difference as a cell."""
    return Span(interval(metric, low, high, digits), low, high)


def score_span(metric: str, low: float | None, high: float | None) -> Span:
    """The interval of a score as a cell: unlike those of a difference, its ends have no sign."""
    if low is None or high is None:
        return Span(NONE, None, None)
    return Span(f"{amount(metric, low)} to {amount(metric, high)}", low, high)


def best_rule(metric: str, rules: Mapping[str, float]) -> Number:
    """The best score without a model, with the rule's name."""
    if not rules:
        return UNDEFINED
    rule, value = max(rules.items(), key=lambda each: each[1])
    return Number(f"{amount(metric, value)} ({rule})", value)


def measured_columns(rows: Sequence[Row]) -> list[str]:
    """The columns of `MEASURED` whose cells these rows need: an adjusted p, and what decided
    against a verdict, only where one of them has it."""
    return [
        name
        for name in MEASURED
        if name not in _WHERE_ANY or any(getattr(row, _WHERE_ANY[name]) is not None for row in rows)
    ]


def measured_cells(row: Row) -> dict[str, Cell]:
    """The cells of a comparison's row by the names of `MEASURED`."""
    digits = digits_of(row)
    return {
        "Base": score(row.metric, row.base, digits),
        "Tuned": score(row.metric, row.tuned, digits),
        "Difference": Number(difference(row.metric, row.delta, digits), row.delta),
        "95 % interval": span_of(row.metric, row.low, row.high, digits),
        "p": chance(row.p),
        "p (Holm)": chance(row.p_adjusted),
        "n": count(row.n),
        "Verdict": row.verdict or (not row.is_stated and row.no_interval) or UNDEFINED,
        "Decided by": row.decided_by or UNDEFINED,
    }


def shown_answer(answer: str | None) -> str:
    """A model's answer as a cell, even if there is none."""
    return "(no readable answer)" if answer is None else answer or "(empty)"
