"""Typed rows -> figures, as bytes: the loss curve of an adapter and the before/after dot plot.

Equal input gives equal bytes: no date, no program name, fixed ids, no user style. Colours are Okabe and Ito's, which
stay apart for colour-blind readers; shapes differ too, for print.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ft_harness.aggregator import AdapterRun, Comparison, Row, Study
from ft_harness.markdown import visible
from ft_harness.metrics import find_metric
from ft_harness.records import HistoryEntry, Record, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Form = Literal["png", "svg"]
_METADATA: dict[Form, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
_BASE, _TUNED, _GREY = "#0072B2", "#D55E00", "#595959"
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
_LABEL_GAP = 0.08  # of the axes' height: two labels at the right edge stay readable


def _render(draw: Callable[[Axes], None], height: float, form: Form) -> bytes:
    """The bytes of one figure of one pair of axes; a `Figure` of its own draws with Agg and leaves pyplot alone."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.subplots())
        stream = io.BytesIO()
        figure.savefig(stream, format=form, metadata=_METADATA[form])
    return stream.getvalue()


# --- loss curve ----------------------------------------------------------------------------------------------------


def loss_curve(run: AdapterRun, form: Form) -> bytes:
    """Training loss by step as a line, validation loss as points; a history without losses says so."""
    return _render(lambda axes: _draw_loss(axes, run.history), 3.4, form)


def _draw_loss(axes: Axes, history: Sequence[HistoryEntry]) -> None:
    training = [(entry.step, entry.loss) for entry in history if entry.loss is not None]
    validation = [(entry.step, entry.eval_loss) for entry in history if entry.eval_loss is not None]
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("loss (nats per trained token)")
    if not training and not validation:
        axes.text(0.5, 0.5, "no loss was recorded", transform=axes.transAxes, ha="center", color=_GREY)
        return
    ends: list[tuple[str, str, float]] = []
    if training:
        axes.plot(*zip(*training, strict=True), color=_BASE, linewidth=1.2, marker="" if training[1:] else "o")
        ends.append(("training", _BASE, training[-1][1]))
    if validation:
        axes.plot(*zip(*validation, strict=True), color=_TUNED, linestyle="", marker="s", markersize=6)
        ends.append(("validation", _TUNED, validation[-1][1]))
    _label_ends(axes, ends)


def _label_ends(axes: Axes, ends: list[tuple[str, str, float]]) -> None:
    """Names at the right edge, each at the height of its last value, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    named = sorted(((last - low) / (high - low), name, colour) for name, colour, last in ends)
    heights = [height for height, _, _ in named]
    overlap = max(0.0, _LABEL_GAP - (heights[-1] - heights[0])) if len(named) > 1 else 0.0
    for (height, name, colour), shift in zip(named, (-overlap / 2, overlap / 2), strict=False):
        axes.text(1.01, height + shift, name, transform=axes.transAxes, color=colour, va="center")


# --- before and after ----------------------------------------------------------------------------------------------


def before_after(study: Study, form: Form) -> bytes:
    """The primary metric of each comparison that has one: base and tuned with 95 % intervals, from 0 to 100 %.

    A comparison is a row, from top to bottom; its majority class is a tick. An undefined value is named, not drawn;
    a perplexity, which has no largest value, is left to the table.
    """
    compared = [
        (comparison, row)
        for comparison in study.comparisons
        for row in comparison.rows
        if row.primary and math.isfinite(find_metric(row.metric).scale)
    ]
    return _render(lambda axes: _draw_before_after(axes, compared), 0.8 + 0.8 * max(1, len(compared)), form)


def _draw_before_after(axes: Axes, compared: Sequence[tuple[Comparison, Row]]) -> None:
    for place, (comparison, row) in enumerate(compared):
        _draw_row(axes, place, comparison, row)
    axes.set_xlim(0, 100)
    axes.set_ylim(max(1, len(compared)) - 0.45, -0.55)
    axes.set_xlabel("score (%), bars: 95 % interval")
    axes.set_yticks(range(len(compared)), [_row_name(comparison, row) for comparison, row in compared])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _row_name(comparison: Comparison, row: Row) -> str:
    task, adapter, metric = (_shorten(name) for name in (row.task, comparison.tuned.subject, row.metric))
    shots = comparison.tuned.settings.num_fewshot
    return f"{task} ({row.split})\n{adapter}, {shots}-shot\n{metric}, n = {row.n}"


def _shorten(name: str) -> str:
    shown = visible(name.replace("\n", " "), 2 * _NAME_LIMIT)
    return shown if len(shown) <= _NAME_LIMIT else f"{shown[: _NAME_LIMIT - 1]}…"


def _draw_row(axes: Axes, place: int, comparison: Comparison, row: Row) -> None:
    """Base above tuned, so that their intervals don't hide each other; beside them the numbers, in the same order."""
    scale = 100 / find_metric(row.metric).scale
    heights = (place - 0.22, place + 0.02)
    if row.base is not None and row.tuned is not None:
        axes.plot([scale * row.base, scale * row.tuned], heights, color=_GREY, linewidth=1, zorder=2)
    sides = (("Base", row.base, comparison.base, _BASE, "o"), ("Tuned", row.tuned, comparison.tuned, _TUNED, "s"))
    for height, (name, value, record, colour, marker) in zip(heights, sides, strict=True):
        _draw_interval(axes, height, _find_score(record, row.metric), scale, colour)
        if value is not None:
            axes.plot(scale * value, height, color=colour, marker=marker, markersize=7, clip_on=False, zorder=4)
        _write_beside(axes, height, f"{name} undefined" if value is None else f"{name} {scale * value:.1f}", colour)
    for other in comparison.rows:
        if other.tuned_subject is None and other.metric == row.metric and other.base is not None:
            axes.vlines(scale * other.base, place - 0.36, place + 0.36, color=_GREY, linewidth=1.5, linestyle=":")
            _write_beside(axes, place + 0.26, f"Majority {scale * other.base:.1f}", _GREY)


def _find_score(record: Record, metric: str) -> Score:
    return next(score for score in record.scores if score.metric == metric)


def _draw_interval(axes: Axes, height: float, score: Score, scale: float, colour: str) -> None:
    """A bar from end to end; a percentile interval of the bootstrap need not contain the value."""
    if score.low is not None and score.high is not None:
        axes.hlines(height, scale * score.low, scale * score.high, color=colour, linewidth=2, zorder=3)


def _write_beside(axes: Axes, height: float, text: str, colour: str) -> None:
    edge = axes.get_yaxis_transform()
    axes.annotate(text, (1, height), (10, 0), xycoords=edge, textcoords="offset points", color=colour, va="center")
