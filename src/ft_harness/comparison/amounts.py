"""Scores, differences, intervals, p, times, sizes and values of settings as texts, for tables and
sentences: every number is rounded here, once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Protocol

from ft_harness.errors import InputError
from ft_harness.metrics import find_metric
from ft_harness.stats import ALPHA

NONE = "-"
MOST_DECIMALS = 6
_HUGE = 1e9  # from here on with an exponent
_FOREIGN_DIGITS = 4  # of a metric that only another program knows
# relative and absolute difference up to which two ends of an interval are one number
_SAME, _ZERO = 1e-9, 1e-12
_EXACT = 12  # significant digits of a number that are no noise of binary arithmetic


def scale_of(metric: str) -> float | None:
    """The largest value of the scale on which a metric's scores are shown; None: another program's
    metric, without a known one."""
    try:
        return find_metric(metric).scale
    except InputError:
        return None


def _factor(metric: str) -> float:
    # BLEU and chrF are between 0 and 100 already; a perplexity has no largest value.
    return 100.0 if scale_of(metric) == 1 else 1.0


def _usual_digits(metric: str) -> int:
    return _FOREIGN_DIGITS if scale_of(metric) is None else find_metric(metric).digits


def decimals(metric: str, low: float | None, high: float | None) -> int:
    """Decimals of all numbers of a row as texts: those of its metric, so that one score looks the
    same in every row and table; more only where an end of the interval of its difference would look
    like the other one, or like 0 though the interval leaves out 0."""
    digits = _usual_digits(metric)
    # More decimals can't part what is equal.
    if low is None or high is None or math.isclose(low, high, rel_tol=_SAME, abs_tol=_ZERO):
        return digits
    below, above = _factor(metric) * low, _factor(metric) * high
    # An interval of 0.0 to 0.0 would contradict the verdict next to it.
    while digits < MOST_DECIMALS and _hides(
        half_up(below, digits), half_up(above, digits), below, above
    ):
        digits += 1
    return digits


def _hides(shown_low: Decimal, shown_high: Decimal, low: float, high: float) -> bool:
    """Whether rounding makes one number of both ends, or puts 0 into an interval that leaves it
    out."""
    return shown_low == shown_high or (low > 0 and shown_low == 0) or (high < 0 and shown_high == 0)


def amount(metric: str, value: float | None, digits: int | None = None) -> str:
    """A score as text: per cent for metrics between 0 and 1; with the metric's own decimals if none
    are given."""
    if value is None:
        return NONE
    shown = _write(metric, value, digits)
    return f"{shown} %" if scale_of(metric) == 1 else shown


def _write(metric: str, value: float, digits: int | None, sign: str = "") -> str:
    shown, places = _factor(metric) * value, _usual_digits(metric) if digits is None else digits
    # A perplexity of a ruined model can have 300 digits before the point.
    if abs(shown) >= _HUGE:
        return f"{shown:{sign}.4g}"
    return fixed(shown, places, sign)


def half_up(value: float, places: int) -> Decimal:
    """A number rounded as by hand: a half goes away from 0, and 100 * 0.6375 is 63.75 although it
    is less in binary."""
    exact = Decimal(f"{value:.{_EXACT}g}")
    return exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def fixed(value: float, places: int, sign: str = "") -> str:
    """A number as text with so many decimals; `sign`: "+" shows that of positive ones too."""
    return f"{half_up(value, places):{sign}z.{places}f}"  # the `z` writes -0.0 as 0.0


def difference(metric: str, delta: float | None, digits: int | None = None) -> str:
    """A signed difference as text, without its unit: percentage points for metrics between 0 and
    1."""
    if delta is None:
        return NONE
    return _write(metric, delta, digits, "+")


def on_scale(metric: str, delta: float) -> float:
    """A difference as a number on the scale that is shown: percentage points for metrics between 0
    and 1."""
    return _factor(metric) * delta


class Numbers(Protocol):
    """The numbers of a row that decide its decimals: both scores, and the interval of their
    difference."""

    @property
    def metric(self) -> str: ...
    @property
    def base(self) -> float | None: ...
    @property
    def tuned(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class Sides:
    """Numbers that are not a row's, with their metric, as their decimals are found."""

    metric: str
    base: float | None
    tuned: float | None
    low: float | None
    high: float | None


def digits_of(row: Numbers) -> int:
    """Decimals of all numbers of a row as texts: as `decimals`, and one more where the rounded
    scores and their rounded difference add up only then (never with thirds: these keep theirs)."""
    digits = decimals(row.metric, row.low, row.high)
    if row.base is None or row.tuned is None:
        return digits
    before, after = (_factor(row.metric) * value for value in (row.base, row.tuned))
    if _adds_up(before, after, digits) or not _adds_up(before, after, digits + 1):
        return digits
    return digits + 1


def _adds_up(before: float, after: float, places: int) -> bool:
    """Whether a reader who subtracts the rounded scores gets their rounded difference."""
    if not max(abs(before), abs(after)) < _HUGE:
        return True
    shown_before, shown_after, delta = (
        half_up(value, places) for value in (before, after, after - before)
    )
    return shown_after - shown_before == delta


def interval(metric: str, low: float | None, high: float | None, digits: int | None = None) -> str:
    """Both ends of an interval as text; one number where they are the same."""
    if low is None or high is None:
        return NONE
    places = decimals(metric, low, high) if digits is None else digits
    ends = difference(metric, low, places), difference(metric, high, places)
    return f"{ends[0]}, no width" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def probability(p: float | None) -> str:
    """p as text, with enough digits to show on which side of 0.05 it lies."""
    if p is None:
        return NONE
    if p < 0.001:
        return "< 0.001"
    digits = 3 if p < 0.1 else 2
    # 0.0496 shown as 0.050 would look like no evidence.
    while (half_up(p, digits) < Decimal(str(ALPHA))) != (p < ALPHA):
        digits += 1
    return fixed(p, digits)


def duration(seconds: float) -> str:
    """Seconds as text, in seconds, minutes or hours."""
    if seconds < 60:
        return f"{fixed(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int | None) -> str:
    """Bytes as text, in binary units."""
    if count is None:
        return NONE
    value, units = float(count), ["KiB", "MiB", "GiB"]
    unit = "B"
    while value >= 1024 and units:
        value, unit = value / 1024, units.pop(0)
    return f"{count} B" if unit == "B" else f"{fixed(value, 1)} {unit}"


def shorten(text: str, most: int) -> str:
    """Text cut to this many characters, with an ellipsis as the last one, as tables and figures
    show it."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def rounded(value: float) -> str:
    """A number as text with two significant digits, but with all digits before the decimal
    point."""
    return f"{value:.2g}" if value < 9.5 else f"{value:,.0f}"


def counted(number: int, thing: str) -> str:
    """A number with the thing counted, in the plural where there are several: `1 item`, `2
    items`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def epochs(value: float) -> str:
    """A number of epochs as text."""
    shown = rounded(value)
    return f"{shown} epoch{'' if shown == '1' else 's'}"


def tokens(count: int) -> str:
    """A number of tokens as text, from a million on in millions."""
    return counted(count, "token") if count < 1e6 else f"{rounded(count / 1e6)} M tokens"


def shown_value(value: Any) -> str:
    """The value of a setting as text, for tables and sentences."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={shown_value(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown_value, value)) or "none"
    return str(value)
