"""What lm-eval finds through its entry points: a filter, a metric and an aggregation for the YAMLs
of tasks outside this package. (The models are the back-ends themselves.)

Releases of lm-eval up to 0.4.13 read no entry points. A metric must be registered where it is
made, its aggregation before it: lm-eval takes the direction of a metric from its decorator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.api.registry import register_aggregation, register_filter, register_metric

from ft_harness.metrics import aggregate_mean, cut_run_on, match_answer

mean = register_aggregation("ft_mean")(aggregate_mean)


@register_filter("ft_cut_run_on")
class CutRunOn(Filter):  # type: ignore[misc]
    """The filter that lm-eval's entry points offer: it ends each answer where it goes on with
    another turn or question, see `cut_run_on`."""

    def apply(self, resps: Iterable[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[Any]:
        """The cut texts, those of each doc in a list of its own."""
        return [[cut_run_on(text)[0] for text in texts] for texts in resps]


@register_metric(  # type: ignore[untyped-decorator]
    metric="ft_token_f1", higher_is_better=True, output_type="generate_until", aggregation="ft_mean"
)
def token_f1(references: Sequence[str], predictions: Sequence[str]) -> float:
    """The metric that lm-eval's entry points offer: token F1 of an answer, the largest over its
    references; of Chinese and other text without blanks by characters, see `match_answer`."""
    return match_answer(predictions[0], references)[1]
