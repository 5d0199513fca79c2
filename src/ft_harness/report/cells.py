"""Numbers of rows as cells: the text that a reader sees, with the unrounded number behind it."""

from __future__ import annotations

from ft_harness.comparison.aggregator import Row
from ft_harness.comparison.amounts import NONE, amount, decimals, difference, interval, probability
from ft_harness.report.document import Cell, Number, Span

MEASURED = {
    "Base": "n",
    "Tuned": "n",
    "Difference": "n",
    "95 % interval": "i",
    "p": "n",
    "p (Holm)": "n",
    "n": "n",
    "Verdict": "t",
}  # columns of a row's numbers, and their kinds


UNDEFINED = Number(NONE, None)


def score(metric: str, value: float | None, digits: int | None = None) -> Number:
    return Number(amount(metric, value, digits), value)


def change(metric: str, delta: float | None, digits: int | None = None) -> Number:
    return Number(difference(metric, delta, digits), delta)


def chance(p: float | None) -> Number:
    return Number(probability(p), p)


def count(number: int | None) -> Number:
    return Number(NONE if number is None else f"{number:,}", number)


def share(value: float | None) -> Number:
    return Number(NONE if value is None else f"{100 * value:.1f} %", value)


def span_of(metric: str, low: float | None, high: float | None) -> Span:
    """An interval of a difference."""
    return Span(interval(metric, low, high), low, high)


def measured_cells(row: Row) -> dict[str, Cell]:
    """The cells of a row by the names of `MEASURED`."""
    digits = decimals(row.metric, row.low, row.high)
    return {
        "Base": score(row.metric, row.base, digits),
        "Tuned": score(row.metric, row.tuned, digits),
        "Difference": change(row.metric, row.delta, digits),
        "95 % interval": span_of(row.metric, row.low, row.high),
        "p": chance(row.p),
        "p (Holm)": chance(row.p_adjusted),
        "n": count(row.n),
        "Verdict": row.verdict or UNDEFINED,
    }
