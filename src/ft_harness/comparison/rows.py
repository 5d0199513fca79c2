"""The rows of one pair of evaluations: each number with its names, its settings and its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ft_harness import stats
from ft_harness.comparison import remarks
from ft_harness.comparison.measurement import Majority, Measurement
from ft_harness.comparison.study import Row, Verdict
from ft_harness.comparison.terms import conditions_of
from ft_harness.metrics import find_metric
from ft_harness.records import Record

MAJORITY_CLASS = "majority class"


def make_rows(
    names: Sequence[str], sides: tuple[Record, Record], measurement: Measurement
) -> dict[str, Row]:
    """Metric -> its row; a row on fewer than all pairs says so in a footnote."""
    rows = {name: make_row(name, sides, measurement) for name in names}
    pairs = measurement.pairs
    left_out = note_left_out(rows, len(pairs))
    either = len(pairs.base.texts) + len(pairs.tuned.texts) - len(pairs)
    return {
        name: row.model_copy(update={"footnotes": left_out.get(row.n, []), "n_items": either})
        for name, row in rows.items()
    }


def make_row(name: str, sides: tuple[Record, Record], measurement: Measurement) -> Row:
    """One metric of base and tuned; no row is primary before all comparisons are known."""
    base, tuned = sides
    found = measurement.difference(name)
    low, high = found.interval or (None, None)
    row = Row(
        task=base.settings.task,
        split=base.settings.split,
        metric=name,
        base_subject=base.subject,
        tuned_subject=tuned.subject,
        base_settings=_show_settings(base, name),
        tuned_settings=_show_settings(tuned, name),
        base=found.base,
        tuned=found.tuned,
        delta=found.delta,
        low=low,
        high=high,
        p=found.p,
        p_adjusted=None,
        primary=False,
        n=found.n,
        verdict=None,
        n_clusters=found.clusters,
        interval_method=found.interval_method,
        p_method=found.p_method,
    )
    return row.model_copy(update={"verdict": judge(row)})


def make_majority_row(accuracy: Row, majority: Majority) -> Row:
    """What always answering the most frequent gold label scores, on the items of the accuracy."""
    changed: dict[str, Any] = {
        **dict.fromkeys(("tuned_subject", "tuned_settings", "tuned", "delta", "low", "high")),
        **dict.fromkeys(("p", "verdict", "interval_method", "p_method")),
        "base_subject": MAJORITY_CLASS,
        "base_settings": {},
        "base": majority.share,
        "footnotes": [],
    }
    return accuracy.model_copy(update=changed)


def judge(row: Row) -> Verdict | None:
    """Improved or worse needs both: an interval without 0, and p (adjusted, if primary) < 0.05."""
    if row.delta is None:
        return None
    p = row.p_adjusted if row.primary else row.p
    if p is None or row.low is None or row.high is None:
        return "no evidence"
    if p >= stats.ALPHA or row.low <= 0 <= row.high:
        return "no evidence"
    return "improved" if (row.low > 0) == find_metric(row.metric).higher_is_better else "worse"


def note_left_out(rows: Mapping[str, Row], items: int) -> dict[int, list[str]]:
    """Number of scored items -> a line for all metrics that have no score of the others."""
    found: dict[int, list[str]] = {}
    for name, row in rows.items():
        if row.n < items:
            found.setdefault(row.n, []).append(name)
    return {n: [remarks.note_unscored(names, items - n, items)] for n, names in found.items()}


def _show_settings(record: Record, metric: str) -> dict[str, Any]:
    """What made one number, for its row: where it is stored, by what it was scored and how."""
    signature = next(score.signature for score in record.scores if score.metric == metric)
    adapter = record.adapter.name if record.adapter else None
    shown = {
        key: value for key, value in conditions_of(record).items() if key not in ("task", "split")
    }
    return {"eval_id": record.eval_id, "adapter": adapter, "signature": signature} | shown
