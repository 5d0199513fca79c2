"""What a comparison of pairs of answers shows besides its scores: implicit rewards, what rules
without a model score, and how likely the chosen answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ft_harness.comparison.measurement import Measurement
from ft_harness.comparison.remarks import remark_baseline, remark_less_likely
from ft_harness.comparison.rows import make_baseline_row
from ft_harness.comparison.study import Row
from ft_harness.metrics.preference import LIKELIHOOD, LONGER, MARGIN, PREFERENCE, REWARD

LONGER_ANSWER, CHANCE = "longer answer wins", "chance"
_HALF = 0.5


def compared_metrics(names: Sequence[str], measured: Sequence[str]) -> list[str]:
    """For tasks of pairs: the metrics that get a row, the implicit reward accuracy after the
    preference accuracy, but none that depends on the data alone.

    Args:
        measured: those whose statistics both sides have.
    """
    if PREFERENCE not in names:
        return list(names)
    # Which answer is longer depends on the data alone: a row would show a difference of 0 for ever.
    kept = [name for name in names if name != LONGER]
    place = kept.index(PREFERENCE) + 1
    return [*kept[:place], *([REWARD] if MARGIN in measured else []), *kept[place:]]


def find_baselines(rows: Mapping[str, Row], measurement: Measurement) -> list[Row]:
    """For tasks of pairs: the scores of preferring the longer answer and of guessing; nothing for
    other tasks."""
    if PREFERENCE not in rows:
        return []
    row, longer = rows[PREFERENCE], measurement.baseline(LONGER, PREFERENCE)
    found = [make_baseline_row(row, LONGER_ANSWER, longer.share)] if longer else []
    return [*found, make_baseline_row(row, CHANCE, _HALF)]


def find_preference_cautions(rows: Mapping[str, Row], measurement: Measurement) -> list[str]:
    """Cautions on pairs of answers: the model is not shown to be better than a rule on lengths; the
    chosen answers became less likely although more of them are preferred."""
    if PREFERENCE not in rows:
        return []
    longer = measurement.baseline(LONGER, PREFERENCE)
    what = "always preferring the longer answer"
    found = [remark_baseline(what, longer.share, longer.interval) if longer else None]
    # DPO's loss only sees the distance of the two answers, so that it is often met by making both
    # less likely (decision 027, docs/preference.md).
    likelihood, gained = rows.get(LIKELIHOOD), rows[PREFERENCE].delta or 0.0
    if likelihood is not None and likelihood.verdict == "worse" and gained > 0:
        base, tuned, _ = measurement.scored(LIKELIHOOD)
        found.append(remark_less_likely(float((tuned[:, 0] - base[:, 0]).mean()), likelihood))
    return [remark for remark in found if remark]
