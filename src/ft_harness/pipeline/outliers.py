"""The items that weigh most in a perplexity, from the stored statistics of both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ft_harness.comparison.aggregator import Comparison, Study
from ft_harness.comparison.pairing import pair_items
from ft_harness.metrics import find_metric
from ft_harness.records import Evaluation
from ft_harness.report import Outlier, Outliers, main_comparisons

_METRICS = ("token_ppl", "byte_ppl", "char_ppl")  # the first that a comparison has
_SHOWN = 5


def find_outliers(study: Study, evaluations: Sequence[Evaluation]) -> list[Outliers]:
    """Those of each main comparison with a perplexity.

    Raises:
        InputError: samples can't be read.
    """
    by_id = {(each.record.subject, each.record.eval_id): each for each in evaluations}
    found: list[Outliers] = []
    for comparison in main_comparisons(study):
        names = {row.metric for row in comparison.rows}
        metric = next((name for name in _METRICS if name in names), None)
        if metric is not None:
            base, tuned = (
                by_id[record.subject, record.eval_id]
                for record in (comparison.base, comparison.tuned)
            )
            found += _find(comparison, metric, base, tuned)
    return found


def _find(
    comparison: Comparison, metric: str, base: Evaluation, tuned: Evaluation
) -> list[Outliers]:
    pairs, _ = pair_items(base, tuned)
    before, after = pairs.statistics(metric)
    scored = np.flatnonzero(~(np.isnan(before[:, 0]) | np.isnan(after[:, 0])))
    if not len(scored):
        return []
    loss = -after[scored, 0] / after[scored, 1]
    worst = scored[np.argsort(-loss, kind="stable")[:_SHOWN]]
    rest = np.setdiff1d(scored, worst)
    chosen = np.zeros(len(pairs), dtype=np.bool_)
    chosen[worst] = True
    (keys, _), (texts, _) = (pairs.only(chosen).texts(column) for column in ("item_key", "target"))
    told = dict(zip(np.flatnonzero(chosen).tolist(), zip(keys, texts, strict=True), strict=True))
    items = [_item(told[row], before[row], after[row]) for row in worst.tolist()]
    found = find_metric(metric)
    base_rest, tuned_rest = (
        found.value_of(side[rest].sum(axis=0), len(rest)) for side in (before, after)
    )
    share = float(after[worst, 0].sum() / after[scored, 0].sum()) if after[scored, 0].sum() else 0.0
    return [Outliers(comparison.tuned, metric, items, share, base_rest, tuned_rest)]


def _item(
    told: tuple[str | None, str | None], before: NDArray[np.float64], after: NDArray[np.float64]
) -> Outlier:
    key, text = told
    return Outlier(
        str(key),
        text or "",
        int(after[1]),
        -float(before[0] / before[1]),
        -float(after[0] / after[1]),
    )
