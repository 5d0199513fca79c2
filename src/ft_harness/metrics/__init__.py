"""Per-item scores and their aggregation, usable from any task YAML under the stock `lm_eval`.

A metric gives each doc a number or a short list of statistics (counts); its aggregate is a function
of the *sums* of these statistics and the number of docs. So intervals and paired tests resample
sums and never score text again, and lm-eval's own aggregation (`!function
ft_harness.metrics.aggregate_f1`, ...) is the same function.

This wing imports nothing of ours except `errors`, so that a task YAML needs only this package.
"""

from ft_harness.metrics.answers import match_answer, normalize_answer, score_answer
from ft_harness.metrics.core import Metric, Scores, Statistics, add_up
from ft_harness.metrics.generation import cut_run_on
from ft_harness.metrics.label_words import parse_label
from ft_harness.metrics.labels import (
    confusion,
    label_answer_metrics,
    label_metrics,
    label_statistics,
    predicted_choice,
    score_label,
    score_label_answer,
)
from ft_harness.metrics.perplexity import score_answer_ppl, score_text_ppl
from ft_harness.metrics.preference import score_preference
from ft_harness.metrics.registry import aggregation, describe, find_metric, metric_versions
from ft_harness.metrics.squad import score_squad
from ft_harness.metrics.texts import score_text

aggregate_mean = aggregation("token_f1")
aggregate_balanced_acc = aggregation("balanced_acc")
aggregate_mcc = aggregation("mcc")
aggregate_f1_macro = aggregation("f1_macro")
aggregate_f1_micro = aggregation("f1_micro")
aggregate_f1_weighted = aggregation("f1_weighted")
aggregate_precision_micro = aggregation("precision_micro")
aggregate_precision_weighted = aggregation("precision_weighted")
aggregate_recall_micro = aggregation("recall_micro")
aggregate_recall_weighted = aggregation("recall_weighted")
aggregate_precision_macro = aggregation("precision_macro")
aggregate_recall_macro = aggregation("recall_macro")
aggregate_ece = aggregation("ece")
aggregate_brier = aggregation("brier")
aggregate_invalid = aggregation("invalid")
aggregate_empty = aggregation("empty")
aggregate_truncated = aggregation("truncated")
aggregate_run_on = aggregation("run_on")
aggregate_HasAns_exact = aggregation("HasAns_exact")  # noqa: N816
aggregate_HasAns_f1 = aggregation("HasAns_f1")  # noqa: N816
aggregate_NoAns_exact = aggregation("NoAns_exact")  # noqa: N816
aggregate_NoAns_f1 = aggregation("NoAns_f1")  # noqa: N816
aggregate_precision = aggregation("precision_label")
aggregate_recall = aggregation("recall_label")
aggregate_f1 = aggregation("f1_label")
aggregate_bleu = aggregation("bleu")
aggregate_chrf = aggregation("chrf")
aggregate_rouge1 = aggregation("rouge1")
aggregate_rouge2 = aggregation("rouge2")
aggregate_rougeL = aggregation("rougeL")  # noqa: N816 - the name of the metric
aggregate_rougeLsum = aggregation("rougeLsum")  # noqa: N816
aggregate_meteor = aggregation("meteor")
aggregate_token_ppl = aggregation("token_ppl")
aggregate_item_ppl = aggregation("item_ppl")
aggregate_byte_ppl = aggregation("byte_ppl")
aggregate_char_ppl = aggregation("char_ppl")
