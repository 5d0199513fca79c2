"""Learning curves of one adapter: loss, learning rate and gradient norm by optimiser step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ft_harness.aggregator import AdapterRun
from ft_harness.plots.style import BASE, GREY, TUNED, Form, Value, label_ends, render, write_nothing
from ft_harness.records import HistoryEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = list[tuple[float, float]]
CURVE_COLUMNS = ["step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm"]


def learning_curves(run: AdapterRun, form: Form) -> bytes:
    """Training loss as a line and validation loss as points; under them learning rate and gradient norm where known.

    A history without losses says so.
    """
    return render(lambda figure: _draw(figure, run.history), 2.9 + 1.3 * len(_others(run.history)), form)


def curve_rows(run: AdapterRun) -> list[list[Value]]:
    """The figure's numbers: a line an entry of the history, with the columns `CURVE_COLUMNS`."""
    return [[getattr(entry, column) for column in CURVE_COLUMNS] for entry in run.history]


def _others(history: Sequence[HistoryEntry]) -> list[tuple[str, Points]]:
    """The panels under the loss."""
    rates = [(float(entry.step), entry.learning_rate) for entry in history if entry.learning_rate is not None]
    norms = [(float(entry.step), entry.grad_norm) for entry in history if entry.grad_norm is not None]
    return [(name, points) for name, points in (("learning rate", rates), ("gradient norm", norms)) if points]


def _draw(figure: Figure, history: Sequence[HistoryEntry]) -> None:
    others = _others(history)
    panels = figure.subplots(1 + len(others), 1, sharex=True, squeeze=False, height_ratios=[2.2, *[1] * len(others)])
    loss, *rest = panels[:, 0]
    _draw_loss(loss, history)
    for axes, (name, points) in zip(rest, others, strict=True):
        axes.plot(*zip(*points, strict=True), color=GREY, linewidth=1.2, marker="" if points[1:] else "o")
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
    panels[-1, 0].set_xlabel("optimiser step")
    figure.align_ylabels()


def _draw_loss(axes: Axes, history: Sequence[HistoryEntry]) -> None:
    training = [(entry.step, entry.loss) for entry in history if entry.loss is not None]
    validation = [(entry.step, entry.eval_loss) for entry in history if entry.eval_loss is not None]
    axes.set_ylabel("loss\n(nats per trained token)")
    if not training and not validation:
        write_nothing(axes, "no loss was recorded")
        return
    ends: list[tuple[str, str, float]] = []
    if training:
        axes.plot(*zip(*training, strict=True), color=BASE, linewidth=1.2, marker="" if training[1:] else "o")
        ends.append(("training", BASE, training[-1][1]))
    if validation:
        axes.plot(*zip(*validation, strict=True), color=TUNED, linestyle="--", linewidth=0.8, marker="s", markersize=6)
        ends.append(("validation", TUNED, validation[-1][1]))
    label_ends(axes, ends)
