"""A task's metrics and filters, tried on mock answers: lm-eval would fail only after the model has
answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from lm_eval.api.registry import get_filter
from lm_eval.api.task import ConfigurableTask

from ft_harness.errors import FtHarnessError, InputError, first_line
from ft_harness.metrics import find_metric
from ft_harness.models import watcher
from ft_harness.storage.escaping import one_line
from ft_harness.tasks.rendering import answer_text

_MOCK_DOCS = 3
_SEARCHED_DOCS = 200
_WRONG_TEXTS = ("a wrong answer", "", "\x00 ?? 。\n")


def filter_problems(task: ConfigurableTask) -> list[InputError]:
    """Faults of a task's filters, which lm-eval makes only when it scores."""
    problems: list[InputError] = []
    for pipeline in task.config.filter_list or []:
        for step in pipeline["filter"]:
            arguments = {key: value for key, value in step.items() if key != "function"}
            try:
                get_filter(step["function"])(**arguments)
            except Exception as error:  # an unknown name, or whatever its constructor raises
                problems.append(
                    InputError(
                        f"{task.config.task.partition('@')[0]}: the filter {pipeline['name']} "
                        "can't "
                        f"be made ({step['function']}: {first_line(error)})",
                        "filters of lm-eval, with arguments that they take",
                        "fix filter_list in the task's YAML",
                    )
                )
    return problems


def _mock_docs(task: ConfigurableTask) -> list[dict[str, Any]]:
    """The first doc of each of up to three right answers."""
    docs: dict[str, dict[str, Any]] = {}
    for index in range(min(len(task.eval_docs), _SEARCHED_DOCS)):
        doc = task.eval_docs[index]
        # the checks of rows report, with its place, what can't be rendered
        with suppress(InputError):
            docs.setdefault(repr(task.doc_to_target(doc)), doc)
        if len(docs) == _MOCK_DOCS:
            break
    return list(docs.values())


def _mock_results(task: ConfigurableTask, doc: dict[str, Any]) -> list[list[Any]]:
    """What a model might answer: each of some choices as the best one; the right text, a wrong one,
    none, garbage."""
    if task.OUTPUT_TYPE == "multiple_choice":
        count = len(task.doc_to_choice(doc))
        bests = sorted({*range(min(count, _MOCK_DOCS)), count - 1})
        return [
            [(-1.0 - (index != best), index == best) for index in range(count)] for best in bests
        ]
    if task.OUTPUT_TYPE == "generate_until":
        return [[answer_text(task, doc)], *([text] for text in _WRONG_TEXTS)]
    return [[(-3.5, False)]] if task.OUTPUT_TYPE == "loglikelihood" else [[-12.5]]


def mock_problems(task: ConfigurableTask) -> list[FtHarnessError]:
    """Faults of a task's metrics, found by scoring mock answers of up to three docs: what
    `process_results` gives must be listed, of numbers, and aggregate to a number or to nothing.
    lm-eval would fail after the model has answered."""
    if unmade := filter_problems(task):
        return [*unmade]
    if getattr(task.config.process_results, "__module__", "").startswith("lm_eval."):
        return []
    name = task.config.task
    items: dict[str, list[Any]] = {}
    for doc in _mock_docs(task):
        for results in _mock_results(task, doc):
            try:
                with watcher.scoring(f"a mock answer to {one_line(str(name))}"):
                    scores = task.process_results(doc, results)
            except FtHarnessError as error:
                return [error]
            except Exception as error:  # whatever a task's own function raises
                said = f"{type(error).__name__}: {first_line(error)}"
                return [_mock_problem(name, f"fails on the answer {results!r} ({said})")]
            if not isinstance(scores, Mapping):
                return [
                    _mock_problem(name, f"gives {type(scores).__name__}, not a mapping of metrics")
                ]
            if odd := [key for key in scores if not isinstance(key, str)]:
                return [_mock_problem(name, f"gives {_shown(odd[0])}, which is no metric's name")]
            for metric, value in scores.items():
                items.setdefault(metric, []).append(value)
    listed = list(task.higher_is_better())
    problems: list[FtHarnessError] = []
    if missing := [metric for metric in items if metric not in listed]:
        problems.append(
            _mock_problem(name, f"gives what metric_list leaves out: {', '.join(missing)}")
        )
    if idle := [metric for metric in listed if metric not in items]:
        problems.append(
            _mock_problem(name, f"never gives what metric_list names: {', '.join(idle)}")
        )
    return problems + [
        problem for metric in listed if metric in items for problem in _misfits(task, metric, items)
    ]


def _mock_problem(name: str, what: str) -> InputError:
    return InputError(
        f"{name.partition('@')[0]}: process_results {what}",
        "the metrics of metric_list, each a number, a list of numbers or null",
        "fix metric_list or process_results in the task's YAML",
    )


def _misfits(
    task: ConfigurableTask, metric: str, items: Mapping[str, list[Any]]
) -> Iterator[InputError]:
    """The fault of one metric's mock values, if there is one."""
    values, name = items[metric], task.config.task
    if odd := [value for value in values if not _is_score(value, metric)]:
        kind = type(odd[0]).__name__
        yield _mock_problem(name, f"gives {metric} as {_shown(odd[0])} ({kind})")
        return
    own = task.aggregation().get(metric)
    if own is None:
        yield _mock_problem(name, f"gives {metric}, which has no aggregation")
        return
    for aggregate in (own, find_metric(metric).value):
        try:
            total = aggregate(values)
        except Exception as error:  # a task's own aggregation, or another metric's statistics
            yield _mock_problem(
                name, f"gives {metric} in a form that can't be aggregated ({first_line(error)})"
            )
            return
        if not (total is None or _is_score(total)):
            yield _mock_problem(name, f"gives {metric}, whose aggregate is {_shown(total)}")
            return


def _is_score(value: Any, metric: str | None = None) -> bool:
    """A finite number, on the scale of the metric if one is given; a list of numbers, or None."""
    if value is None:
        return True
    is_list = isinstance(value, list | tuple)
    parts = value if is_list else [value]
    known = None if metric is None else find_metric(metric)
    try:
        if known is not None and not is_list:
            known.check(float(value))
        return bool(parts) and all(
            not isinstance(part, str) and math.isfinite(part) for part in parts
        )
    except Exception:  # whatever an object raises that is asked for its number
        return False


def _shown(value: Any) -> str:
    """The beginning of a value's text; of one that has none, nothing."""
    try:
        return repr(value)[:200]
    except Exception:
        return "an object"
