"""What all figures share: how they look, their names and axes, and how they become bytes: equal
input gives equal bytes.

No date, no program name, fixed ids, no user style. Colours are Okabe and Ito's, which stay apart
for colour-blind readers; shapes differ too, for print.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from ft_harness.comparison.amounts import scale_of, shorten
from ft_harness.records import Record
from ft_harness.storage.escaping import visible

if TYPE_CHECKING:  # matplotlib is imported when something is drawn
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:
    Axes = Figure = Any

Form = Literal["png", "svg"]
Value = str | float | None
BASE, TUNED, GREY = "#0072B2", "#D55E00", "#595959"
LABEL_GAP = 0.08  # of the axes' height: two labels at the right edge stay readable
_METADATA: dict[Form, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
_STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 200,
    "font.size": 10,
    "savefig.dpi": 200,
    "svg.hashsalt": "ft-harness",
    "text.parse_math": False,
}
_WIDTH = 7.0  # inches: a text column of a paper or of a README
_DECADE = 10.0  # ratio of scores from which an axis is logarithmic
_MOST_DECADES = 2  # with ticks between the powers of ten
_HIGHEST = sys.float_info.max_10_exp  # power of ten
_FREE = 0.08  # of the range of the scores, left free at both ends
_NAME_LIMIT = 28  # characters: room for the axis stays


def render(draw: Callable[[Figure], None], height: float, form: Form) -> bytes:
    """The bytes of one figure; a `Figure` of its own draws with Agg and leaves pyplot alone."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format=form, metadata=_METADATA[form])
    return stream.getvalue()


def short_name(name: str) -> str:
    """A name from outside as figures write it: on one line and with nothing that can't be seen."""
    return shorten(visible(name.replace("\n", " "), 2 * _NAME_LIMIT), _NAME_LIMIT)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names as figures write them, told apart: where one is too long, all lose the words that they
    begin with together, then each what is in its middle."""
    shown = {name: visible(name.replace("\n", " ")) for name in names}
    if len(shown) < 2 or max(map(len, shown.values())) <= _NAME_LIMIT:
        return {name: short_name(name) for name in names}
    # Whole words: a "0.0001" and a "0.001" both begin with "0.0".
    alike = takewhile(lambda each: len(set(each)) == 1, zip(*shown.values(), strict=False))
    start = "".join(each[0] for each in alike)
    shared = max(start.rfind(mark) for mark in "-/ ") + 1
    cut = {name: f"…{text[shared:]}" if shared else text for name, text in shown.items()}
    short = {name: _cut_middle(text) for name, text in cut.items()}
    found = dict(short)
    for name, text in cut.items():
        # The middle may be all that tells two apart: then it is what stays.
        twins = [other for key, other in cut.items() if short[key] == short[name] and key != name]
        if twins:
            found[name] = _cut_ends(text, max(_first_difference(text, each) for each in twins))
    return _number_twins(found)


def _cut_middle(text: str) -> str:
    half = (_NAME_LIMIT - 1) // 2
    is_short = len(text) <= _NAME_LIMIT
    return text if is_short else f"{text[: _NAME_LIMIT - 1 - half]}…{text[-half:]}"


def _cut_ends(text: str, place: int) -> str:
    """What is around a place of a long text."""
    start = max(0, min(place - _NAME_LIMIT // 2, len(text) - _NAME_LIMIT + 2))
    return f"…{text[start : start + _NAME_LIMIT - 2]}…"


def _first_difference(text: str, other: str) -> int:
    pairs = zip(text, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(text), len(other)))


def _number_twins(names: dict[str, str]) -> dict[str, str]:
    """Names that are equal all the same get a number."""
    seen: dict[str, int] = {}
    found: dict[str, str] = {}
    for name, text in names.items():
        seen[text] = seen.get(text, 0) + 1
        found[name] = text if seen[text] == 1 else f"{text} ({seen[text]})"
    return found


def interval_of(record: Record, metric: str) -> tuple[float | None, float | None]:
    """What figures draw around a score: its interval; a bootstrap percentile interval need not
    contain the value."""
    found = (score for score in record.scores if score.metric == metric)
    return next(((score.low, score.high) for score in found), (None, None))


def axis_scale(metric: str) -> tuple[float, str]:
    """How figures draw a score: its factor and the label of its axis, per cent if the largest value
    is 1."""
    scale = scale_of(metric)
    return (100.0, f"{metric} (%)") if scale == 1 else (1.0, metric)


def fit_scores(axes: Axes, metric: str, values: Sequence[float | None]) -> None:
    """Make the axis of the scores logarithmic where they have no largest value and range over more
    than a decade, as perplexities may."""
    known = [value for value in values if value is not None]
    if not math.isinf(scale_of(metric) or 0.0) or not known or min(known) <= 0:
        return
    if max(known) < _DECADE * min(known):
        return
    axes.set_yscale("log")
    low, high = math.log10(min(known)), math.log10(max(known))
    steps = (1, 2, 5) if high - low < _MOST_DECADES else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    made = [step * 10.0**power for power in powers if power <= _HIGHEST for step in steps]
    ticks = [tick for tick in made if not math.isinf(tick)]
    axes.set_yticks(ticks, [f"{tick:,.12g}" for tick in ticks])
    axes.minorticks_off()
    free = _FREE * (high - low)
    axes.set_ylim(_power(low - free), _power(high + free))


def _power(exponent: float) -> float:
    """That power of 10; the smallest or largest number where it lies beyond."""
    smallest, largest = sys.float_info.min, sys.float_info.max
    if exponent <= math.log10(smallest):
        return smallest
    return largest if exponent >= math.log10(largest) else 10.0**exponent


def label_ends(axes: Axes, ends: list[tuple[str, str, float]], gap: float = LABEL_GAP) -> None:
    """(name, colour, last value) at the right edge, each at the height of its value, moved apart
    where they are closer than `gap`, a share of the axes' height."""
    to_share = axes.transScale + axes.transLimits
    right = axes.get_xlim()[1]
    named = sorted(
        (float(to_share.transform((right, last))[1]), name, colour) for name, colour, last in ends
    )
    shown: list[float] = []
    for height, _, _ in named:
        shown.append(height if not shown else max(height, shown[-1] + gap))
    excess = (sum(shown) - sum(height for height, _, _ in named)) / max(1, len(named))
    for height, (_, name, colour) in zip(shown, named, strict=True):
        axes.text(1.01, height - excess, name, transform=axes.transAxes, color=colour, va="center")


def write_nothing(axes: Axes, said: str) -> None:
    """Say in the middle of a figure why it shows nothing."""
    axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", color=GREY)
