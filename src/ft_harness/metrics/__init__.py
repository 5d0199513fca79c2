"""Per-item scores and their aggregation, usable from any task YAML under the stock `lm_eval`.

A metric gives each doc a number or a short list of statistics (counts); its aggregate is a function of the *sums* of
these statistics and the number of docs. So intervals and paired tests resample sums and never score text again, and
lm-eval's own aggregation (`!function ft_harness.metrics.aggregate_f1`, ...) is the same function.

This room imports nothing of ours but `errors`, so that a task YAML needs only this package installed.
"""

from ft_harness.metrics.answers import normalize_answer, score_answer, token_f1
from ft_harness.metrics.core import Metric, Statistics
from ft_harness.metrics.labels import label_metrics, label_statistics, predicted_choice, score_label
from ft_harness.metrics.registry import aggregation, find_metric

aggregate_mean = aggregation("token_f1")
aggregate_f1_macro = aggregation("f1_macro")
aggregate_precision = aggregation("precision_label")
aggregate_recall = aggregation("recall_label")
aggregate_f1 = aggregation("f1_label")

__all__ = [
    "Metric",
    "Statistics",
    "find_metric",
    "label_metrics",
    "label_statistics",
    "normalize_answer",
    "predicted_choice",
    "score_answer",
    "score_label",
    "token_f1",
]
