"""Scores against what they cost: training examples and training time, one panel per task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ft_harness.comparison.aggregator import Comparison, Row, Verdict
from ft_harness.comparison.amounts import fixed
from ft_harness.report.figures.style import (
    BASE,
    GREY,
    TUNED,
    Form,
    Value,
    axis_scale,
    fit_scores,
    interval_of,
    render,
    short_name,
    short_names,
    write_nothing,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Measured = Sequence[tuple[float, Comparison, Row]]  # what it took, and what came of it
TRADEOFF_COLUMNS = [
    "task",
    "split",
    "metric",
    "adapter",
    "spent",
    "base",
    "tuned",
    "low",
    "high",
    "n",
    "verdict",
]
_PANEL = 2.7  # inches
_HOLLOW: Verdict = "improved, not above majority"


def score_by_size(measured: Measured, form: Form) -> bytes:
    """Score against training examples (logarithmic): the mean of each size as a line, its 95 %
    intervals as a band."""
    return _panels(measured, "training examples", form, curve=True)


def score_by_cost(measured: Measured, form: Form) -> bytes:
    """Score against training time, one point per adapter with its name and 95 % interval."""
    return _panels(measured, "training time (s)", form, curve=False)


def tradeoff_rows(measured: Measured) -> list[list[Value]]:
    """The numbers of scores against cost with the columns `TRADEOFF_COLUMNS`."""
    lines: list[list[Value]] = []
    for spent, comparison, row in measured:
        low, high = interval_of(comparison.tuned, row.metric)
        names: list[Value] = [row.task, row.split, row.metric, comparison.tuned.subject]
        lines.append([*names, spent, row.base, row.tuned, low, high, row.n, row.verdict])
    return lines


def _panels(measured: Measured, spent: str, form: Form, *, curve: bool) -> bytes:
    groups: dict[tuple[str, str, str, str], list[tuple[float, Comparison, Row]]] = {}
    for spent_on, comparison, row in measured:
        # a curve is of one protocol
        shots = f", {comparison.tuned.settings.num_fewshot}-shot" if curve else ""
        groups.setdefault((row.task, row.split, shots, row.metric), []).append(
            (spent_on, comparison, row)
        )

    tasks = short_names([task for task, *_ in groups])

    def draw(figure: Figure) -> None:
        panels = figure.subplots(max(1, len(groups)), 1, squeeze=False)
        for axes, ((task, split, shots, metric), entries) in zip(
            panels[:, 0], groups.items(), strict=False
        ):
            axes.set_title(f"{tasks[task]} ({split}{shots})", loc="left", fontsize=10)
            axes.set_xlabel(spent)
            axes.set_ylabel(short_name(axis_scale(metric)[1]))
            _draw_panel(axes, entries, curve=curve)
        if not groups:
            write_nothing(panels[0, 0], "nothing to compare")

    return render(draw, _PANEL * max(1, len(groups)), form)


def _draw_panel(axes: Axes, entries: Measured, *, curve: bool) -> None:
    shown = sorted(
        ((spent, each, row) for spent, each, row in entries if row.tuned is not None),
        key=lambda e: e[0],
    )
    if not shown:
        write_nothing(axes, "every score is undefined")
        return
    scale, _ = axis_scale(shown[0][2].metric)
    bases = sorted({row.base for _, _, row in shown if row.base is not None})
    for value in bases:
        axes.axhline(scale * value, color=BASE, linewidth=1.2, linestyle=":")
    if bases:
        edge = axes.get_yaxis_transform()
        axes.text(
            1.01,
            scale * bases[0],
            f"Base {fixed(scale * bases[0], 1)}",
            color=BASE,
            va="center",
            transform=edge,
        )
    for spent, comparison, row in shown:
        low, high = interval_of(comparison.tuned, row.metric)
        if low is not None and high is not None and not curve:
            axes.vlines(spent, scale * low, scale * high, color=TUNED, linewidth=1.2)
    if curve:
        _draw_curve(axes, shown, scale)
    names = short_names([each.tuned.subject for _, each, _ in shown])
    for spent, comparison, row in shown:
        fill: Literal["none", "full"] = "none" if row.verdict == _HOLLOW else "full"
        axes.plot(
            spent, scale * (row.tuned or 0.0), color=TUNED, marker="s", markersize=6, fillstyle=fill
        )
        if not curve:
            at = (spent, scale * (row.tuned or 0.0))
            name = _label(comparison, shown, names[comparison.tuned.subject])
            axes.annotate(name, at, (6, 5), textcoords="offset points", color=GREY, fontsize=9)
    if any(row.verdict == _HOLLOW for _, _, row in shown):
        axes.set_xlabel(f"{axes.get_xlabel()}; hollow: {_HOLLOW}")
    axes.margins(x=0.15, y=0.2)
    fit_scores(axes, shown[0][2].metric, [*bases, *(row.tuned for _, _, row in shown)])


def _label(comparison: Comparison, shown: Measured, short: str) -> str:
    """The adapter; with its shots where it has several points."""
    name = comparison.tuned.subject
    same = [each for _, each, _ in shown if each.tuned.subject == name]
    return short + (f", {comparison.tuned.settings.num_fewshot}-shot" if len(same) > 1 else "")


def _draw_curve(axes: Axes, shown: Measured, scale: float) -> None:
    """Means by size; where several adapters have one size, the band spans the mean of their
    intervals."""
    sizes = sorted({spent for spent, _, _ in shown})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.minorticks_off()
    by_size = [[(each, row) for spent, each, row in shown if spent == size] for size in sizes]
    means = [_mean([row.tuned for _, row in group]) for group in by_size]
    axes.plot(sizes, [scale * mean for mean in means], color=TUNED, linewidth=1.2)
    ends = [[interval_of(each.tuned, row.metric) for each, row in group] for group in by_size]
    if all(low is not None and high is not None for group in ends for low, high in group):
        lows = [scale * _mean([low for low, _ in group]) for group in ends]
        highs = [scale * _mean([high for _, high in group]) for group in ends]
        axes.fill_between(sizes, lows, highs, color=TUNED, alpha=0.15, linewidth=0)


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)
