"""Learning curves of one adapter by optimiser step: losses, scores, learning rate, gradient norm.

Where an adapter goes on from others, their histories come first, one stretch after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ft_harness.comparison.aggregator import AdapterRun
from ft_harness.comparison.amounts import scale_of
from ft_harness.records import HistoryEntry
from ft_harness.report.figures.style import (
    BASE,
    GREY,
    TUNED,
    Form,
    Value,
    label_ends,
    render,
    short_name,
    write_nothing,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]
Line = list[list[Point]]  # its points, stretch by stretch
CURVE_COLUMNS = [
    "adapter",
    "step",
    "total_step",
    "epoch",
    "loss",
    "eval_loss",
    "learning_rate",
    "grad_norm",
]
_MOST_SCORES = 4  # lines that a panel takes; the csv has all
_SCORE_COLOURS = (TUNED, BASE, "#009E73", "#CC79A7")
_SCORE_MARKERS = ("s", "o", "^", "D")
_SCORE_GAP = 0.14  # between labels of a panel that is lower than the loss's
_MANY = 200  # steps of which a line is drawn thinner
_CHARACTERS = 70  # of a stretch's name over the whole width


@dataclass(frozen=True)
class _Stretch:
    """One training.

    Attributes:
        start: optimiser steps of the trainings before it.
        best_step: its own step whose weights were kept; None: the last one's.
    """

    name: str
    history: list[HistoryEntry]
    start: int
    best_step: int | None

    @property
    def steps(self) -> int:
        return max((entry.step for entry in self.history), default=0)


def learning_curves(run: AdapterRun, form: Form) -> bytes:
    """Training loss as a line and validation loss as points; under them scores, learning rate and
    gradient norm, where they are known. The weights that were kept are ringed where they aren't the
    last.

    A history without losses says so.
    """
    return render(
        lambda figure: _draw(figure, run),
        2.9 + 1.3 * sum(_height(lines) for _, lines in _panels(run)),
        form,
    )


def _height(lines: Sequence[tuple[str, Line]]) -> float:
    """Of a panel, against that of one quantity: several lines have labels."""
    return 1.4 if lines[1:] else 1.0


def curve_columns(run: AdapterRun) -> list[str]:
    """The columns of learning curves' numbers: `CURVE_COLUMNS`, and one for each score."""
    return [*CURVE_COLUMNS, *_metrics(run)]


def curve_rows(run: AdapterRun) -> list[list[Value]]:
    """The numbers of learning curves: one line per entry of the histories, in `curve_columns`."""
    metrics = _metrics(run)
    return [
        [
            *(stretch.name, entry.step, stretch.start + entry.step),
            *(getattr(entry, column) for column in CURVE_COLUMNS[3:]),
            *((entry.scores or {}).get(metric) for metric in metrics),
        ]
        for stretch in _stretches(run)
        for entry in stretch.history
    ]


def _stretches(run: AdapterRun) -> list[_Stretch]:
    """The trainings with a history, oldest first."""
    card = run.card
    earlier = zip(card.lineage, run.earlier, strict=False)
    known = [(each.name, history, each.best_step) for each, history in earlier if history]
    found: list[_Stretch] = []
    for name, history, best_step in [*known, (card.name, run.history, card.best_step)]:
        start = found[-1].start + found[-1].steps if found else 0
        found.append(_Stretch(name, history, start, best_step))
    return found


def _metrics(run: AdapterRun) -> list[str]:
    entries = [entry for stretch in _stretches(run) for entry in stretch.history]
    return list(dict.fromkeys(metric for entry in entries for metric in entry.scores or {}))


def _shown_metrics(run: AdapterRun) -> list[str]:
    """Those whose largest value is 1, the one that chose first."""
    first = run.card.recipe.get("train", {}).get("metric_for_best_model")
    bounded = [metric for metric in _metrics(run) if scale_of(metric) == 1]
    return sorted(bounded, key=lambda metric: metric != first)[:_MOST_SCORES]


def _line(stretches: Sequence[_Stretch], name: str, metric: str | None = None) -> Line:
    """The points of one quantity, or of one score."""
    return [
        [
            (float(stretch.start + entry.step), float(value))
            for entry in stretch.history
            if (value := (entry.scores or {}).get(metric) if metric else getattr(entry, name))
            is not None
        ]
        for stretch in stretches
    ]


def _panels(run: AdapterRun) -> list[tuple[str, list[tuple[str, Line]]]]:
    """(axis, its lines by name) of the panels under the loss."""
    stretches, metrics = _stretches(run), _metrics(run)
    others = [metric for metric in metrics if scale_of(metric) != 1][:1]
    groups = [
        (
            "score (%)",
            [(metric, _line(stretches, "scores", metric)) for metric in _shown_metrics(run)],
        ),
        *((metric, [(metric, _line(stretches, "scores", metric))]) for metric in others),
        ("learning rate", [("", _line(stretches, "learning_rate"))]),
        ("gradient norm", [("", _line(stretches, "grad_norm"))]),
    ]
    return [
        (axis, lines) for axis, lines in groups if any(part for _, line in lines for part in line)
    ]


def _draw(figure: Figure, run: AdapterRun) -> None:
    stretches, others = _stretches(run), _panels(run)
    heights = [2.2, *(_height(lines) for _, lines in others)]
    panels = figure.subplots(1 + len(others), 1, sharex=True, squeeze=False, height_ratios=heights)[
        :, 0
    ]
    _draw_loss(panels[0], stretches, run.card.loss_unit)
    for axes, (axis, lines) in zip(panels[1:], others, strict=True):
        axes.set_ylabel(axis)
        if lines[0][0]:
            _draw_scores(axes, lines, percent=axis == "score (%)")
        else:
            _plot(axes, lines[0][1], color=GREY, linewidth=1.2)
            axes.set_ylim(bottom=0)
    for axes in panels:
        for stretch in stretches[1:]:
            axes.axvline(stretch.start + 0.5, color=GREY, linewidth=0.8, linestyle=":")
    if stretches[1:]:
        _name_stretches(panels[0], stretches)
    panels[-1].set_xlabel("optimiser step")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()


def _plot(
    axes: Axes, line: Line, *, color: str, linewidth: float, linestyle: str = "-", marker: str = ""
) -> None:
    """A line that ends where its stretch does; a single point is always seen."""
    thin = 0.5 if sum(map(len, line)) > _MANY else 1.0
    for part in line:
        if part:
            axes.plot(
                *zip(*part, strict=True), color=color, linewidth=thin * linewidth,
                linestyle=linestyle,
                marker=marker or ("" if part[1:] else "o"), markersize=5,
            )  # fmt: skip


def _draw_loss(axes: Axes, stretches: Sequence[_Stretch], unit: str) -> None:
    training, validation = _line(stretches, "loss"), _line(stretches, "eval_loss")
    axes.set_ylabel(f"loss\n({unit})")
    if not any(training) and not any(validation):
        write_nothing(axes, "no loss was recorded")
        return
    _plot(axes, training, color=BASE, linewidth=1.2)
    _plot(axes, validation, color=TUNED, linewidth=0.8, linestyle="--", marker="s")
    for stretch, points in zip(stretches, validation, strict=True):
        at = [value for step, value in points if step == stretch.start + (stretch.best_step or -1)]
        if at and stretch.best_step != stretch.steps:
            place = (stretch.start + (stretch.best_step or 0), at[0])
            axes.plot(*place, color=GREY, marker="o", markersize=12, fillstyle="none", linestyle="")
            axes.annotate(
                "kept",
                place,
                (0, 9),
                textcoords="offset points",
                color=GREY,
                ha="center",
                fontsize=9,
            )
    named = (("training", BASE, training), ("validation", TUNED, validation))
    label_ends(axes, [(name, colour, _last(line)) for name, colour, line in named if any(line)])


def _draw_scores(axes: Axes, lines: Sequence[tuple[str, Line]], *, percent: bool) -> None:
    ends: list[tuple[str, str, float]] = []
    scale = 100.0 if percent else 1.0
    for (metric, line), colour, marker in zip(lines, _SCORE_COLOURS, _SCORE_MARKERS, strict=False):
        scaled = [[(step, scale * value) for step, value in part] for part in line]
        if any(scaled):
            _plot(axes, scaled, color=colour, linewidth=0.8, linestyle="--", marker=marker)
            ends.append((short_name(metric), colour, _last(scaled)))
    axes.margins(y=0.15)
    label_ends(axes, ends, _SCORE_GAP)


def _last(line: Line) -> float:
    return next(part[-1][1] for part in reversed(line) if part)


def _name_stretches(axes: Axes, stretches: Sequence[_Stretch]) -> None:
    """The adapters' names over their stretches, or numbers where a name has no room."""
    total = stretches[-1].start + stretches[-1].steps or 1
    room = [math.floor(_CHARACTERS * stretch.steps / total) for stretch in stretches]
    fits = all(
        len(short_name(stretch.name)) <= most for stretch, most in zip(stretches, room, strict=True)
    )
    for number, stretch in enumerate(stretches, start=1):
        place = (stretch.start + (stretch.steps + 1) / 2, 1.02)
        axes.text(
            *place, short_name(stretch.name) if fits else str(number),
            transform=axes.get_xaxis_transform(),
            color=GREY, fontsize=9, ha="center", va="bottom",
        )  # fmt: skip
