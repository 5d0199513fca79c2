"""The subclass of `evaluate.Metric`; in a module of its own because `import evaluate` takes
seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import evaluate
from datasets import Features, Value
from datasets import Sequence as Several

from ft_harness.metrics.core import Scores
from ft_harness.metrics.registry import find_metric

Inputs = list[tuple[Any, Any]]
TEXT, NUMBER = Value("string"), Value("float64")
# Types of (prediction, reference) that a module takes; the first that holds the given data is used.
TEXTS: Inputs = [(TEXT, TEXT), (TEXT, Several(TEXT))]
ANSWER_LISTS: Inputs = [(TEXT, Several(TEXT))]
COUNTS: Inputs = [(NUMBER, NUMBER)]
LABELS: Inputs = [(TEXT, TEXT), (NUMBER, NUMBER)]
LOG_LIKELIHOODS: Inputs = [(Several(NUMBER), TEXT), (Several(NUMBER), NUMBER)]


class EvaluateMetric(evaluate.Metric):  # type: ignore[misc]
    """Per-item scores of this package, aggregated by their own `Metric.value`."""

    def __init__(
        self,
        name: str,
        score: Callable[[Any, Any], Scores],
        names: list[str],
        signature: str,
        inputs: Inputs,
        **options: Any,
    ) -> None:
        self._score, self._names, self._signature, self._inputs = score, names, signature, inputs
        super().__init__(config_name=name, **options)
        self.info.module_name = name  # the prefix of evaluate.combine

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self._signature,
            citation="",
            inputs_description="\n        predictions and references are lists of one length.\n",
            features=[
                Features({"predictions": left, "references": right}) for left, right in self._inputs
            ],
        )

    def _compute(
        self, predictions: Sequence[Any], references: Sequence[Any]
    ) -> dict[str, float | None]:
        items = [self._score(*pair) for pair in zip(predictions, references, strict=True)]
        return {
            name: find_metric(name).value([item[name] for item in items]) for name in self._names
        }
