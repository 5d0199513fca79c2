"""The before/after dot plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ft_harness.comparison.aggregator import MOST_SHOWN, Comparison, Row, Study
from ft_harness.comparison.amounts import fixed, scale_of
from ft_harness.comparison.features import name_tuned
from ft_harness.report.figures.style import (
    BASE,
    GREY,
    TUNED,
    Form,
    Value,
    interval_of,
    render,
    short_name,
    short_names,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORE_COLUMNS = [
    "task",
    "split",
    "adapter",
    "metric",
    "who",
    "value",
    "low",
    "high",
    "n",
    "verdict",
]


_MOST_SPACED = 8  # rows with several lines of text each
_DENSE_HEIGHT = 0.3  # inches of a row of a dense figure


def before_after(study: Study, form: Form) -> bytes:
    """The before/after plot: the primary metric of each comparison that has one, base and tuned
    with 95 % intervals, from 0 to 100 %.

    A comparison is a row, from top to bottom, as many as fit a page, more than 8 with a line of
    text each; the best rule without a model, such as the majority class, is a tick. An undefined
    value is named, not drawn; a perplexity, which has no largest value, is left to the table.
    """
    compared = _compared(study)[:MOST_SHOWN]
    height = _DENSE_HEIGHT if len(compared) > _MOST_SPACED else 0.8  # of a row, in inches
    return render(
        lambda figure: _draw(figure, study, compared), 0.8 + height * max(1, len(compared)), form
    )


def score_rows(study: Study) -> list[list[Value]]:
    """The numbers of the before/after plot, 0 to 1 (or as far as the metric goes), with the columns
    `SCORE_COLUMNS`."""
    lines: list[list[Value]] = []
    for comparison, row in _compared(study):
        names: list[Value] = [row.task, row.split, comparison.tuned.subject, row.metric]
        for who, value, record in (
            ("base", row.base, comparison.base),
            ("tuned", row.tuned, comparison.tuned),
        ):
            low, high = interval_of(record, row.metric)
            verdict = row.verdict if who == "tuned" else None
            lines.append([*names, who, value, low, high, row.n, verdict])
        lines += [
            [*names, rule, value, None, None, row.n, None]
            for rule, value in _baselines(comparison, row)
        ]
    return lines


def _compared(study: Study) -> list[tuple[Comparison, Row]]:
    return [
        (comparison, row)
        for comparison in study.comparisons
        for row in comparison.rows
        if row.primary
        and row.tuned_subject is not None
        and math.isfinite(scale_of(row.metric) or math.inf)
    ]


def _baselines(comparison: Comparison, row: Row) -> list[tuple[str, float]]:
    """(rule, what it scores) of the rules without a model."""
    return [
        (other.base_subject, other.base)
        for other in comparison.rows
        if other.tuned_subject is None and other.metric == row.metric and other.base is not None
    ]


def _best_baseline(comparison: Comparison, row: Row) -> tuple[str, float] | None:
    return max(_baselines(comparison, row), key=lambda each: each[1], default=None)


def _draw(figure: Figure, study: Study, compared: Sequence[tuple[Comparison, Row]]) -> None:
    axes = figure.subplots()
    is_dense = len(compared) > _MOST_SPACED
    draw, name = (_draw_dense_row, _dense_name) if is_dense else (_draw_row, _row_name)
    for place, (comparison, row) in enumerate(compared):
        draw(axes, place, comparison, row)
    axes.set_xlim(0, 100)
    axes.set_ylim(max(1, len(compared)) - 0.45, -0.55)
    axes.set_xlabel("score (%), bars: 95 % interval")
    named = [name_tuned(study, each) for each, _ in compared]
    short, tasks = short_names(named), short_names([row.task for _, row in compared])
    labels = [
        name((tasks[row.task], short[its]), each, row)
        for its, (each, row) in zip(named, compared, strict=True)
    ]
    axes.set_yticks(range(len(compared)), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _row_name(names: tuple[str, str], comparison: Comparison, row: Row) -> str:
    (task, adapter), metric = names, short_name(row.metric)
    shots = comparison.tuned.settings.num_fewshot
    verdict = f"\n{row.verdict}" if row.verdict else ""
    return f"{task} ({row.split})\n{adapter}, {shots}-shot\n{metric}, n = {row.n}{verdict}"


def _dense_name(names: tuple[str, str], comparison: Comparison, row: Row) -> str:
    return f"{', '.join(names)}, {comparison.tuned.settings.num_fewshot}-shot"


def _draw_row(axes: Axes, place: int, comparison: Comparison, row: Row) -> None:
    """Base above tuned, so that their intervals don't hide each other; next to them the numbers, in
    the same order."""
    scale = 100 / (scale_of(row.metric) or 100)
    heights = (place - 0.22, place + 0.02)
    _draw_sides(axes, heights, comparison, row)
    sides = (("Base", row.base, BASE), ("Tuned", row.tuned, TUNED))
    for height, (name, value, colour) in zip(heights, sides, strict=True):
        said = f"{name} undefined" if value is None else f"{name} {fixed(scale * value, 1)}"
        _write_beside(axes, height, said, colour)
    if found := _best_baseline(comparison, row):
        word = found[0].removesuffix(" class").capitalize()
        _write_beside(axes, place + 0.26, f"{word} {fixed(scale * found[1], 1)}", GREY)


def _draw_dense_row(axes: Axes, place: int, comparison: Comparison, row: Row) -> None:
    """As `_draw_row`, with both numbers in one line."""
    scale = 100 / (scale_of(row.metric) or 100)
    _draw_sides(axes, (place - 0.14, place + 0.14), comparison, row)
    before, after = (
        "undefined" if value is None else f"{fixed(scale * value, 1)}"
        for value in (row.base, row.tuned)
    )
    _write_beside(axes, place, f"{before} to {after}", GREY)


def _draw_sides(axes: Axes, heights: tuple[float, float], comparison: Comparison, row: Row) -> None:
    """Base and tuned at these heights with their intervals, the line between them, and the majority
    class."""
    scale = 100 / (scale_of(row.metric) or 100)
    if row.base is not None and row.tuned is not None:
        axes.plot([scale * row.base, scale * row.tuned], heights, color=GREY, linewidth=1, zorder=2)
    sides = ((row.base, comparison.base, BASE, "o"), (row.tuned, comparison.tuned, TUNED, "s"))
    for height, (value, record, colour, marker) in zip(heights, sides, strict=True):
        low, high = interval_of(record, row.metric)
        if low is not None and high is not None:
            axes.hlines(height, scale * low, scale * high, color=colour, linewidth=2, zorder=3)
        if value is not None:
            axes.plot(
                scale * value,
                height,
                color=colour,
                marker=marker,
                markersize=7,
                clip_on=False,
                zorder=4,
            )
    if found := _best_baseline(comparison, row):
        middle = sum(heights) / 2
        ends = middle - 0.26, middle + 0.46
        axes.vlines(scale * found[1], *ends, color=GREY, linewidth=1.5, linestyle=":")


def _write_beside(axes: Axes, height: float, text: str, colour: str) -> None:
    edge = axes.get_yaxis_transform()
    axes.annotate(
        text,
        (1, height),
        (10, 0),
        xycoords=edge,
        textcoords="offset points",
        color=colour,
        va="center",
    )
