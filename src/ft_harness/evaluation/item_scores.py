"""A task's scores of one doc; a metric that fails, or does not end, fails its doc alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from lm_eval.api.metrics import mean, median, nanmean, perplexity
from lm_eval.api.task import ConfigurableTask, Task

from ft_harness.errors import FtHarnessError, first_line
from ft_harness.metrics import find_metric
from ft_harness.models import watcher
from ft_harness.storage.escaping import one_line

MOST_OVERDUE = 3  # docs whose metrics did not end, after which those of further docs are not run
_OF_NUMBERS = (mean, median, nanmean, perplexity)  # lm-eval's aggregates that take a number a doc
_OURS = "ft_harness.metrics."


class FailedScore:
    """In place of a metric's value for a doc: why there is none."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


@contextmanager
def failing_alone(task: ConfigurableTask, doc_ids: Iterator[int]) -> Iterator[None]:
    """Context in which a metric that raises, gives NaN or a text, or does not end, fails its doc,
    not the evaluation.

    lm-eval's aggregates, which nobody reads, are not made: they would fail there.

    Args:
        doc_ids: of the docs that will be scored, in that order.
    """
    names = list(task.higher_is_better())
    aggregates = dict.fromkeys(names, _no_aggregate)
    widths: dict[str, int] = {}

    def score(
        give: Callable[[Any, list[Any]], Any], doc: dict[str, Any], results: list[Any]
    ) -> dict[str, Any]:
        # What a task's own function changes in a doc is neither saved nor shown.
        scores = plain_scores(dict(give(deepcopy(doc), results)))
        if not any(name in scores for name in names):
            raise ValueError(f"it gives none of {', '.join(names)}")
        _check_scores(scores, names, widths)
        return scores

    def fail(doc_id: int, reason: str) -> dict[str, Any]:
        return dict.fromkeys(aggregates, FailedScore(reason))

    task.aggregation = lambda: aggregates
    try:
        with _each_alone(task, str(task.config.task), doc_ids, score, fail):
            yield
    finally:
        del task.aggregation  # that of its class again


@dataclass
class LeftOut:
    """What lm-eval's own scores leave out.

    Attributes:
        reasons: task -> doc -> why it has no score.
        undefined: metric of a task -> the first of its values that is not finite.
    """

    reasons: dict[str, dict[int, str]] = field(default_factory=dict)
    undefined: dict[tuple[str, str], float] = field(default_factory=dict)


@contextmanager
def left_out(name: str, task: Task, doc_ids: Iterator[int], found: LeftOut) -> Iterator[None]:
    """Context in which lm-eval scores a task without the docs whose metric raises, gives no number
    where its aggregate needs one, or does not end.

    Args:
        name: lm-eval's of the task.
        doc_ids: of the docs that will be scored, in that order.
        found: is told of the docs.
    """
    widths: dict[str, int] = {}

    def score(
        give: Callable[[Any, list[Any]], Any], doc: Any, results: list[Any]
    ) -> dict[str, Any]:
        changed = deepcopy(doc)
        scores, aggregates = dict(give(changed, results)), task.aggregation() or {}
        for metric, value in scores.items():
            aggregate = aggregates.get(metric, mean)  # as lm-eval itself chooses it
            is_ours = str(getattr(aggregate, "__module__", "")).startswith(_OURS)
            if not is_ours and aggregate not in _OF_NUMBERS:
                continue  # lm-eval knows what it takes: pairs, texts
            if isinstance(value, Real) and not math.isfinite(value):
                if aggregate is nanmean and math.isnan(value):
                    continue
                found.undefined.setdefault((name, metric), float(value))
            plain = plain_scores({metric: value})
            if is_ours:
                _check_scores(plain, [metric], widths)
            elif not isinstance(plain[metric], float):
                raise TypeError(f"{metric} is {str(value)[:80]}, not a number")
        if isinstance(doc, dict):  # lm-eval logs what a task's own function makes of it
            doc.clear()
            doc.update(changed)
        return scores

    def fail(doc_id: int, reason: str) -> dict[str, Any]:
        found.reasons.setdefault(name, {}).setdefault(doc_id, reason)
        return {}  # lm-eval makes each aggregate of the docs that have the metric

    with _each_alone(task, name, doc_ids, score, fail):
        yield


@contextmanager
def _each_alone(
    task: Task,
    name: str,
    doc_ids: Iterator[int],
    score: Callable[[Callable[[Any, list[Any]], Any], Any, list[Any]], dict[str, Any]],
    fail: Callable[[int, str], dict[str, Any]],
) -> Iterator[None]:
    """Context in which a task's scores of a doc are made by `score`, which is given the task's own
    function, or by `fail`, which is given the reason."""
    give, shown = task.process_results, one_line(name)
    overdue = 0

    def process_results(doc: Any, results: list[Any]) -> dict[str, Any]:
        nonlocal overdue
        doc_id = next(doc_ids)
        if overdue >= MOST_OVERDUE:
            return fail(doc_id, f"not tried, as the task's metric did not end for {overdue} docs")
        try:
            with watcher.scoring(f"doc {doc_id} of {shown}"):
                return score(give, doc, results)
        # Our own errors name what to change, and a machine without memory is no fault of one doc.
        except (FtHarnessError, MemoryError):
            raise
        except Exception as error:  # whatever a task's own function raises
            overdue += isinstance(error, watcher.OverdueError)
            said = f"{type(error).__name__}: {first_line(error)}"
            return fail(doc_id, f"the task's metric failed ({said})")

    # Set on the instance, where it hides that of the class; deleting it brings this back.
    task.process_results = process_results
    try:
        yield
    finally:
        del task.process_results


def _check_scores(
    scores: Mapping[str, float | list[float] | None],
    names: Sequence[str],
    widths: dict[str, int],
) -> None:
    """Refuse scores of one doc from which no value can be made.

    Args:
        names: of the task's metrics.
        widths: of the statistics of the docs before, metric -> how many; 0: one number, no list.

    Raises:
        TypeError, ValueError, IndexError: there is one.
    """
    for name in names:
        item = scores.get(name)
        if item is None:
            continue
        metric = find_metric(name)
        metric.check(item)
        width = len(item) if isinstance(item, list) else 0
        if name not in widths:
            metric.value([item])
            widths[name] = width
        elif widths[name] != width:
            raise ValueError(f"{name} is {width} numbers, for docs before {widths[name]}")


def _no_aggregate(items: Sequence[Any]) -> float:
    return 0.0


def failed_score(scores: Mapping[str, Any]) -> str | None:
    """Why a doc has no scores though it has responses; None: it has."""
    failed = (value for value in scores.values() if isinstance(value, FailedScore))
    return next((value.reason for value in failed), None)


def plain_scores(scores: Mapping[str, Any]) -> dict[str, float | list[float] | None]:
    """A task's scores of one doc as JSON knows them.

    Raises:
        ValueError, TypeError: one is NaN, infinite or no number.
    """
    for metric in scores:
        if not isinstance(metric, str):
            raise TypeError(f"{str(metric)[:80]} is no name of a metric")
    return {metric: _plain(value) for metric, value in scores.items()}


def _plain(value: Any) -> float | list[float] | None:
    if value is None:
        return None
    return [_number(part) for part in value] if isinstance(value, list | tuple) else _number(value)


def _number(value: Any) -> float:
    if isinstance(value, str):
        raise TypeError(f"{value[:80]!r} is no number")
    number = float(value)
    # NaN in a JSON file is read by Python alone, and a NaN among a thousand items makes the mean
    # one.
    if not math.isfinite(number):
        raise ValueError(f"it gives {number}")
    return number
