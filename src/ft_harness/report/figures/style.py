"""What all figures share: how they look, their names and axes, and how they become bytes: equal
input gives equal bytes.

No date, no program name, fixed ids, no user style. Colours are Okabe and Ito's, which stay apart
for colour-blind readers; shapes differ too, for print.
"""

from __future__ import annotations

import io
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
    return {
        name: _cut_middle(f"…{text[shared:]}" if shared else text) for name, text in shown.items()
    }


def _cut_middle(text: str) -> str:
    half = (_NAME_LIMIT - 1) // 2
    is_short = len(text) <= _NAME_LIMIT
    return text if is_short else f"{text[: _NAME_LIMIT - 1 - half]}…{text[-half:]}"


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


def label_ends(axes: Axes, ends: list[tuple[str, str, float]], gap: float = LABEL_GAP) -> None:
    """Names at the right edge of a figure: (name, colour, last value), each at the height of its
    value, moved apart where they are closer than `gap`, a share of the axes' height."""
    low, high = axes.get_ylim()
    named = sorted(((last - low) / (high - low), name, colour) for name, colour, last in ends)
    shown: list[float] = []
    for height, _, _ in named:
        shown.append(height if not shown else max(height, shown[-1] + gap))
    excess = (sum(shown) - sum(height for height, _, _ in named)) / max(1, len(named))
    for height, (_, name, colour) in zip(shown, named, strict=True):
        axes.text(1.01, height - excess, name, transform=axes.transAxes, color=colour, va="center")


def write_nothing(axes: Axes, said: str) -> None:
    """Say in the middle of a figure why it shows nothing."""
    axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", color=GREY)
