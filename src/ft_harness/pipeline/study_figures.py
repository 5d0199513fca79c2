"""The figures of a study, and the numbers that they show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ft_harness import report
from ft_harness.comparison.aggregator import MOST_SHOWN, Study
from ft_harness.comparison.settings import SweepStudy
from ft_harness.report import figures as plots
from ft_harness.report.figures import Form

Draw = Callable[[Form], bytes]


def study_figures(study: Study) -> Iterator[tuple[str, Draw, str]]:
    """(key, how it is drawn, its numbers as csv) of each figure that the study has something
    for."""
    if scores := plots.score_rows(study):  # perplexities alone have no common axis
        yield (
            "before_after",
            partial(plots.before_after, study),
            report.csv_text(plots.SCORE_COLUMNS, scores),
        )
    for run in study.focus().adapters[:MOST_SHOWN]:
        rows = plots.curve_rows(run)
        numbers = report.csv_text(plots.curve_columns(run), rows)
        yield f"curves:{run.card.name}", partial(plots.learning_curves, run), numbers
    if study.sweep is not None:
        yield from _sweep_figures(study.sweep)
        return
    drawn = {
        "training_size": (report.sized(study), plots.score_by_size),
        "cost": (report.timed(study), plots.score_by_cost),
    }
    for key, (measured, draw) in drawn.items():
        if measured:
            rows = plots.tradeoff_rows(measured)
            yield key, partial(draw, measured), report.csv_text(plots.TRADEOFF_COLUMNS, rows)


def _sweep_figures(sweep: SweepStudy) -> Iterator[tuple[str, Draw, str]]:
    """One an axis of what varied, and one of time."""
    for number, axis in enumerate(sweep.axes):
        numbers = report.csv_text(plots.SWEEP_COLUMNS, plots.sweep_rows(sweep, axis))
        yield f"sweep_{number}", partial(plots.score_by_axis, sweep, axis), numbers
    numbers = report.csv_text(plots.SWEEP_COLUMNS, plots.sweep_rows(sweep, sweep.varied))
    yield "sweep_cost", partial(plots.score_by_time, sweep), numbers
