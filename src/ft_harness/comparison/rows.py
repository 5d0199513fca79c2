"""The rows of one pair of evaluations: each number with its names, its settings and its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ft_harness import stats
from ft_harness.comparison import remarks
from ft_harness.comparison.comparability import conditions_of
from ft_harness.comparison.measurement import Difference, Measurement
from ft_harness.comparison.study import Row, Verdict
from ft_harness.metrics import find_metric
from ft_harness.metrics.preference import MARGIN, REWARD
from ft_harness.records import Record, Score

MAJORITY_CLASS = "majority class"


def make_rows(
    names: Sequence[str], sides: tuple[Record, Record], measurement: Measurement
) -> dict[str, Row]:
    """Metric -> its row; a row on fewer than all pairs says so in a footnote."""
    shown = tuple(map(_show_conditions, sides))
    rows = {name: make_row(name, sides, measurement, shown) for name in names}
    pairs = measurement.pairs
    left_out = note_left_out(rows, len(pairs))
    # Items of base or tuned: what one side lacks counts as left out too.
    either = len(pairs.base.texts) + len(pairs.tuned.texts) - len(pairs)
    return {
        name: row.model_copy(update={"footnotes": left_out.get(row.n, []), "n_items": either})
        for name, row in rows.items()
    }


def make_row(
    name: str,
    sides: tuple[Record, Record],
    measurement: Measurement,
    shown: tuple[dict[str, Any], ...],
) -> Row:
    """The row of one metric of base and tuned; no row is primary before all comparisons are known.

    Args:
        shown: what made the numbers of each side.

    A score that another program only stated has a difference, but neither interval nor p.
    """
    base, tuned = sides
    stated = [_find_score(side, name) for side in sides]
    # Another program's aggregate without samples: there are two numbers to subtract, and nothing to
    # test.
    if any(score.is_stated for score in stated):
        found = _state_difference(*stated)
    else:
        found = measurement.difference(name)
    low, high = found.interval or (None, None)
    row = Row(
        task=base.settings.task,
        split=base.settings.split,
        metric=name,
        base_subject=base.subject,
        tuned_subject=tuned.subject,
        base_settings=shown[0] | {"signature": _find_score(base, name).signature},
        tuned_settings=shown[1] | {"signature": _find_score(tuned, name).signature},
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
        no_interval=found.no_interval,
        is_stated=any(score.is_stated for score in stated),
    )
    return decide(row, None)


def make_baseline_row(accuracy: Row, rule: str, share: float) -> Row:
    """The row of a rule without a model, on the items of the accuracy.

    Args:
        rule: its name.
        share: of the items that it gets right.
    """
    # A rule has no tuned side, so that there is nothing to subtract or to test.
    changed: dict[str, Any] = {
        **dict.fromkeys(("tuned_subject", "tuned_settings", "tuned", "delta", "low", "high")),
        **dict.fromkeys(("p", "verdict", "interval_method", "p_method", "no_interval")),
        "base_subject": rule,
        "base_settings": {},
        "base": share,
        "footnotes": [],
    }
    return accuracy.model_copy(update=changed)


def decide(row: Row, above_majority: bool | None, clean: Row | None = None) -> Row:
    """A row with its verdict and what decided it.

    Improved or worse needs both: an interval without 0, and p < 0.05 (adjusted, where that was
    asked for); where no interval holds there is no verdict. Where items also occur in the training
    split, the others decide.

    Args:
        above_majority: whether the model is of use as a classifier; None: it is none.
        clean: the same metric without those items, decided before; None: there are none.
    """
    if row.delta is None or row.is_stated or row.no_interval is not None:
        return row.model_copy(update={"verdict": None, "decided_by": None})
    verdict, decided_by = _judge(row)
    if verdict == "improved" and above_majority is False:
        verdict = "improved, not above majority"
    if clean is not None and (found := clean.verdict or "no evidence") != verdict:
        verdict, decided_by = found, "items without overlap"
    return row.model_copy(update={"verdict": verdict, "decided_by": decided_by})


def _judge(row: Row) -> tuple[Verdict, Literal["interval", "test", "items without overlap"] | None]:
    """(verdict, which of interval and test prevented one if they disagree)."""
    p = row.p if row.p_adjusted is None else row.p_adjusted
    # Interval and p come from one distribution, but for small samples and adjusted p they may still
    # part; then the one that denies a verdict decides (decision 025).
    outside = row.low is not None and row.high is not None and not row.low <= 0 <= row.high
    if p is None or not outside or p >= stats.ALPHA:
        disagree = p is not None and row.low is not None and outside != (p < stats.ALPHA)
        return "no evidence", ("test" if outside else "interval") if disagree else None
    better = (row.delta or 0) > 0
    return ("improved" if better == find_metric(row.metric).higher_is_better else "worse"), None


def note_left_out(rows: Mapping[str, Row], items: int) -> dict[int, list[str]]:
    """Under a comparison's rows: number of scored items -> a line for all metrics that have no
    score of the others."""
    found: dict[int, list[str]] = {}
    for name, row in rows.items():
        if row.n < items:
            found.setdefault(row.n, []).append(name)
    return {n: [remarks.note_unscored(names, items - n, items)] for n, names in found.items()}


def _show_conditions(record: Record) -> dict[str, Any]:
    """What made a record's numbers, for their rows: where they are stored, by what they were scored
    and how; the signature is each number's own."""
    adapter = record.adapter.name if record.adapter else None
    # They are fields of the row itself.
    shown = {
        key: value for key, value in conditions_of(record).items() if key not in ("task", "split")
    }
    return {"eval_id": record.eval_id, "adapter": adapter, "signature": ""} | shown


def _find_score(record: Record, metric: str) -> Score:
    # The implicit reward accuracy has no score in a record, since it needs both sides.
    made_of = MARGIN if metric == REWARD else metric
    return next(score for score in record.scores if score.metric == made_of)


def _state_difference(base: Score, tuned: Score) -> Difference:
    n = min(base.n, tuned.n)
    if base.value is None or tuned.value is None:
        return Difference(base.value, tuned.value, n, None, no_interval="undefined")
    delta = tuned.value - base.value
    return Difference(base.value, tuned.value, n, None, delta, no_interval="stated")
