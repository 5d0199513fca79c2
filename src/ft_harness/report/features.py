"""What tells the comparisons of a study apart, and which of it the main table shows as rows and as columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ft_harness.aggregator import Comparison, Row, Study
from ft_harness.amounts import NONE
from ft_harness.cases import DECIDING_METRICS
from ft_harness.errors import ConfigError, suggest
from ft_harness.records import Record

TITLES = {
    "model": "Model",
    "task": "Task",
    "adapter": "Adapter",
    "shots": "Shots",
    "decoding": "Decoding",
    "input": "Input",
    "quantization": "Quantisation",
    "limit": "Items",
    "seed": "Training seed",
    "split": "Split",
    "metric": "Metric",
}
_ARROW = " -> "  # from base to tuned, where a study varies it
_ALWAYS = ("task", "split", "metric")
_SETTINGS = tuple(feature for feature in TITLES if feature not in _ALWAYS)  # columns where they vary


@dataclass(frozen=True)
class View:
    """What the main table shows.

    Attributes:
        rows: features that lead each line, in this order; those that are missing but vary follow.
        columns: a feature whose values stand side by side; None: a line a number.
        metrics: the metrics shown; none: the primary one of each comparison.
    """

    rows: tuple[str, ...] = ()
    columns: str | None = None
    metrics: tuple[str, ...] = ()


def make_view(rows: str | None, columns: str | None, metrics: str | None) -> View:
    """The view of comma-separated names.

    Raises:
        ConfigError: a feature is unknown or stands in rows and columns.
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
        raise ConfigError(f"{columns!r} stands in rows and in columns", "one place for each", "leave one of them out")
    return View(rows=chosen, columns=columns, metrics=shown)


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in (names or "").split(",") if name.strip()))


def check_metrics(study: Study, view: View) -> None:
    """Every metric of the view must be one of the study's.

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


def features_of(study: Study, comparison: Comparison, row: Row | None = None) -> dict[str, str]:
    """Feature -> value as text, of a comparison; with a row, its split and metric too."""
    record = comparison.tuned
    after = _varied(record)
    before = _varied(comparison.base) if any(each.footnotes for each in comparison.rows) else after
    train: Any = _recipes(_Same(study)).get(record.subject, {}).get("train")
    found = {
        **{name: _both(before[name], after[name]) for name in before},
        "adapter": record.subject,
        "limit": "all" if record.settings.limit is None else str(record.settings.limit),
        "seed": str(train["seed"]) if isinstance(train, dict) and "seed" in train else NONE,
        "split": record.settings.split,
    }
    return found | ({"split": row.split, "metric": _metric_name(row)} if row else {})


def _varied(record: Record) -> dict[str, str]:
    """What a study may vary between base and tuned on purpose."""
    settings = record.settings
    return {
        "model": record.model.pretrained,
        "task": settings.task,
        "shots": str(settings.num_fewshot),
        "decoding": _decoding(settings.generation_kwargs),
        "input": ", ".join(settings.text_fields) if settings.text_fields else "prompt",
        "quantization": record.model.quantization or "none",
    }


def _both(base: str, tuned: str) -> str:
    return tuned if base == tuned else f"{base}{_ARROW}{tuned}"


def _decoding(arguments: dict[str, Any]) -> str:
    shown = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(arguments.items())]
    return ", ".join(shown) or "as the task says"


def _metric_name(row: Row) -> str:
    return f"{row.metric}, majority class" if row.tuned_subject is None else row.metric


class _Same:
    """A study as a key: equal to itself alone, since comparing what is in it would take longer than what is cached."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def __hash__(self) -> int:
        return id(self.study)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.study is self.study


@lru_cache(maxsize=2)
def _recipes(key: _Same) -> dict[str, dict[str, Any]]:
    """Adapter -> the recipe in its card."""
    return {run.card.name: run.card.recipe for run in reversed(key.study.adapters)}


@lru_cache(maxsize=2)
def _known_values(key: _Same) -> dict[tuple[str, str, str], set[str]]:
    """(task, split, feature) -> its known values."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for comparison in key.study.comparisons:
        features = features_of(key.study, comparison)
        for name in _SETTINGS:
            values = found.setdefault((features["task"], features["split"], name), set())
            values |= {features[name]} - {NONE}
    return found


def varying(study: Study, task: str | None = None) -> list[str]:
    """The features of which several known values stand on one split of one task, of any task or of this one."""
    found = _known_values(_Same(study))
    several = {name for (of, _, name), values in found.items() if task in (None, of) and len(values) > 1}
    several |= {
        name for (of, _, name), values in found.items() if task in (None, of) and any(_ARROW in each for each in values)
    }
    return [name for name in _SETTINGS if name in several]


def name_of(study: Study, comparison: Comparison) -> str:
    """The task; with what tells its comparisons apart where there are several on one of its splits."""
    features = features_of(study, comparison)
    words = {"shots": "{}-shot", "limit": "{} items", "seed": "seed {}", "decoding": "decoding {}"}
    words |= {"input": "input {}", "quantization": "quantisation {}"}
    told = [words.get(name, "{}").format(features[name]) for name in varying(study, features["task"])]
    return ", ".join([features["task"], *told])


def leading(study: Study, view: View) -> list[str]:
    """The features that lead a line of the main table: those asked for, then whatever tells two lines apart.

    What the values in the columns tell by themselves (of each adapter its seed) leads no line.
    """
    told = [name for name in varying(study) if not view.columns or not determines(study, view.columns, name)]
    needed = ["task", *told, "split", "metric"]
    asked = [*view.rows, *(name for name in needed if name not in view.rows)]
    return [name for name in asked if name != view.columns]


def determines(study: Study, known: str, name: str) -> bool:
    """Whether each value of one feature goes with one value of another; never so for splits and metrics."""
    if known in ("split", "metric"):
        return False
    found: dict[str, set[str]] = {}
    for comparison in study.comparisons:
        features = features_of(study, comparison)
        found.setdefault(features[known], set()).add(features[name])
    return all(len(values) == 1 for values in found.values())


def is_control(study: Study, comparison: Comparison) -> bool:
    """Whether the task is another than the adapter was trained on, where its card tells that."""
    task = _recipes(_Same(study)).get(comparison.tuned.subject, {}).get("task")
    trained_on = task.get("name") if isinstance(task, dict) else None
    return bool(trained_on) and comparison.tuned.settings.task != trained_on


def main_comparisons(study: Study) -> list[Comparison]:
    """Those with a primary metric, on the task that the adapter was trained on (on any, if there is no such)."""
    primary = [each for each in study.comparisons if any(row.primary for row in each.rows)]
    return [each for each in primary if not is_control(study, each)] or primary


def headline(rows: Sequence[Row]) -> Row:
    """The deciding row of a comparison: the primary one, else 0/1 scores, else the first."""
    measured = [row for row in rows if row.tuned_subject is not None]
    primary = [row for row in measured if row.primary]
    deciding = [row for metric in DECIDING_METRICS for row in measured if row.metric == metric]
    return [*primary, *deciding, *measured][0]
