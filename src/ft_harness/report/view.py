"""What a study's main table shows: the comparisons that decide, and which of their features are
rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

from ft_harness.comparison.features import TITLES, features_of, varying
from ft_harness.comparison.study import Comparison, Study
from ft_harness.errors import ConfigError, suggest


@dataclass(frozen=True)
class View:
    """What the main table shows.

    Attributes:
        rows: features that lead each line, in this order; those that are missing but vary follow.
        columns: a feature whose values are side by side; None: one line per number.
        metrics: the metrics shown; none: the primary one of each comparison.
    """

    rows: tuple[str, ...] = ()
    columns: str | None = None
    metrics: tuple[str, ...] = ()


def make_view(rows: str | None, columns: str | None, metrics: str | None) -> View:
    """The view of comma-separated names.

    Raises:
        ConfigError: a feature is unknown or is in rows and columns.
    """
    chosen, shown = _split(rows), _split(metrics)
    for name in [*chosen, *([columns] if columns else [])]:
        if name not in TITLES:
            raise ConfigError(
                f"unknown feature {name!r} for rows or columns{suggest(name, TITLES)}",
                f"one of {', '.join(TITLES)}",
                "correct --rows or --columns",
            )
    if columns in chosen:
        raise ConfigError(
            f"{columns!r} is in rows and in columns", "one place for each", "leave one of them out"
        )
    return View(rows=chosen, columns=columns, metrics=shown)


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in (names or "").split(",") if name.strip()))


def check_metrics(study: Study, view: View) -> None:
    """Every metric that the main table is asked for must be one of the study's.

    Raises:
        ConfigError: one is not.
    """
    known = list(dict.fromkeys(row.metric for row in study.rows()))
    for metric in view.metrics:
        if metric not in known:
            raise ConfigError(
                f"no comparison has the metric {metric!r}{suggest(metric, known)}",
                f"some of {', '.join(known)}",
                "correct --metrics",
            )


def leading(study: Study, view: View) -> list[str]:
    """The features that lead a line of the main table: those asked for, then whatever distinguishes
    two lines.

    A feature that follows from the values in the columns (such as an adapter's seed) leads no line.
    """
    distinguishing = [
        name
        for name in varying(study)
        if not view.columns or not determines(study, view.columns, name)
    ]
    needed = ["task", *distinguishing, "split", "metric"]
    asked = [*view.rows, *(name for name in needed if name not in view.rows)]
    return [name for name in asked if name != view.columns]


def determines(study: Study, known: str, name: str) -> bool:
    """Whether a column of the main table is told by another: each value of one feature goes with
    one value of the other; never so for splits and metrics."""
    if known in ("split", "metric"):
        return False
    found: dict[str, set[str]] = {}
    for comparison in study.comparisons:
        features = features_of(study, comparison)
        found.setdefault(features[known], set()).add(features[name])
    return all(len(values) == 1 for values in found.values())


def main_comparisons(study: Study) -> list[Comparison]:
    """The comparisons that decide: of the trained task or, if that was not scored, of control
    tasks; if nothing decides, all."""
    primary = [each for each in study.comparisons if any(row.primary for row in each.rows)]
    deciding = [each for each in study.comparisons if any(row.family for row in each.rows)]
    return primary or deciding or study.comparisons
