"""The figures of a study, the numbers that they show, and their files next to the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ft_harness.comparison.aggregator import MOST_SHOWN, Study
from ft_harness.comparison.sweep_study import SweepStudy
from ft_harness.errors import ConfigError, suggest
from ft_harness.report import csv_text, sized, timed
from ft_harness.report import figures as plots
from ft_harness.report.figures import Form
from ft_harness.storage import sha256_text, write_bytes, write_text

FORMS: tuple[Form, ...] = ("png", "svg")
_STEM = 80  # characters of a figure's file name
Draw = Callable[[Form], bytes]


def write_figures(study: Study, folder: Path) -> tuple[dict[str, str], list[str], dict[str, bytes]]:
    """Every figure as png and svg, its numbers next to it as csv: stems of the files by key, all
    files, and svg images by key."""
    stems: dict[str, str] = {}
    written: list[str] = []
    images: dict[str, bytes] = {}
    for key, draw, numbers in study_figures(study):
        stem = stems[key] = _stem(key)
        for form in FORMS:
            images[key] = draw(form)
            write_bytes(folder / f"{stem}.{form}", images[key])
        write_text(folder / f"{stem}.csv", numbers)
        written += [f"{stem}.{ending}" for ending in (*FORMS, "csv")]
    return stems, written, images


def draw_figure(study: Study, key: str, form: Form) -> bytes:
    """One figure of a study's report, by its key.

    Raises:
        ConfigError: the study has nothing for it.
    """
    known = {name: draw for name, draw, _ in study_figures(study)}
    if key not in known:
        raise ConfigError(
            f"no figure {key!r} of this study{suggest(key, known)}",
            f"one of {', '.join(known) or 'none: it has no figures'}",
            "choose one of them",
        )
    return known[key](form)


def _stem(key: str) -> str:
    """A file name that stays in its folder, whatever an adapter is called; two names never share
    one."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", key.replace(":", "_", 1))[:_STEM]
    return safe if safe == key.replace(":", "_", 1) else f"{safe}-{sha256_text(key)[:8]}"


def study_figures(study: Study) -> Iterator[tuple[str, Draw, str]]:
    """(key, how it is drawn, its numbers as csv) of each figure that the study has something
    for."""
    if scores := plots.score_rows(study):  # perplexities alone have no common axis
        yield (
            "before_after",
            partial(plots.before_after, study),
            csv_text(plots.SCORE_COLUMNS, scores),
        )
    for run in study.focus().adapters[:MOST_SHOWN]:
        rows = plots.curve_rows(run)
        numbers = csv_text(plots.curve_columns(run), rows)
        yield f"curves:{run.card.name}", partial(plots.learning_curves, run), numbers
    if study.sweep is not None:
        yield from _sweep_figures(study.sweep)
        return
    drawn = {
        "training_size": (sized(study), plots.score_by_size),
        "cost": (timed(study), plots.score_by_cost),
    }
    for key, (measured, draw) in drawn.items():
        if measured:
            rows = plots.tradeoff_rows(measured)
            yield key, partial(draw, measured), csv_text(plots.TRADEOFF_COLUMNS, rows)


def _sweep_figures(sweep: SweepStudy) -> Iterator[tuple[str, Draw, str]]:
    """One figure per axis that varied, and one against time."""
    for number, axis in enumerate(sweep.axes):
        numbers = csv_text(plots.SWEEP_COLUMNS, plots.sweep_rows(sweep, axis))
        yield f"sweep_{number}", partial(plots.score_by_axis, sweep, axis), numbers
    numbers = csv_text(plots.SWEEP_COLUMNS, plots.sweep_rows(sweep, sweep.varied))
    yield "sweep_cost", partial(plots.score_by_time, sweep), numbers
