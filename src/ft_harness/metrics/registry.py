"""All metrics by name, and their aggregation for lm-eval."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ft_harness.errors import InputError
from ft_harness.metrics import (
    answers,
    generation,
    labels,
    meteor,
    overlap,
    perplexity,
    preference,
    rouge,
    squad,
)
from ft_harness.metrics.core import Metric, Statistics

_FAMILIES = (*(answers, generation, labels, meteor, overlap, perplexity, preference, rouge, squad),)
_METRICS: dict[str, Metric] = {
    metric.name: metric for family in _FAMILIES for metric in family.METRICS
}


def find_metric(name: str) -> Metric:
    """The metric of a name (`f1_<label>` for any label).

    Raises:
        InputError: no such metric.
    """
    if name in _METRICS:
        return _METRICS[name]
    for prefix, aggregate in labels.PER_LABEL.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            return Metric(name, aggregate, edges_of=labels.label_edges)
    known = [*_METRICS, *(f"{prefix}<label>" for prefix in labels.PER_LABEL)]
    raise InputError(
        f"unknown metric {name}",
        f"one of {', '.join(known)}",
        "change metric_list in the task's YAML",
    )


def metric_versions(names: Sequence[str]) -> dict[str, int]:
    """The version of each of these metrics, by name, that is ours."""
    ours: dict[str, int] = {}
    for name in names:
        try:
            ours[name] = find_metric(name).version
        except InputError:
            # a metric of lm-eval's or of a stranger's code, which has an identity of its own
            continue
    return ours


def aggregation(name: str) -> Callable[[Sequence[float | Statistics | None]], float | None]:
    """The aggregation of a metric as lm-eval calls it: per-item statistics -> a number."""

    def aggregate(items: Sequence[float | Statistics | None]) -> float | None:
        return find_metric(name).value(items)

    return aggregate


def describe(name: str, language: str | None) -> str:
    """The definition of a metric by its name, for texts of a language; "" for one that is not
    ours."""
    definition = _METRICS[name].definition if name in _METRICS else ""
    return definition(language) if callable(definition) else definition


# 0/1 metrics that say whether an answer is right
DECIDING_METRICS = ("acc", "exact_match", preference.PREFERENCE)
# of tasks without one: how good an answer is, from 0 to 1
GRADED_METRICS = ("token_f1", "rougeL", "meteor")
BY_LABEL = "f1_macro"  # its statistics hold an item's gold and predicted label
