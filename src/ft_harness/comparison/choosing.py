"""Choose a setting of a sweep: ranked on validation, before test is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ft_harness.comparison.effects import Measured, find_effect
from ft_harness.comparison.sweep_study import ChoiceMade, MeasuredSplit, Setting, SettingScore


def choose(
    settings: Sequence[Setting],
    measured: Sequence[Measured],
    by: str | None,
    split: MeasuredSplit = "validation",
) -> ChoiceMade | None:
    """Rank the settings by the mean of a metric over their seeds, best first; of equal ones the
    simpler one. None: no setting has it on this split.

    The best is within noise of the simplest (the smallest base, then the fewest trainable
    parameters, then the fewest rows that training reads) unless the paired interval says that it
    is better.

    Args:
        by: None: the primary metric.
    """
    scored = [(each, found) for each in settings if (found := each.score(split, by)) is not None]
    known = [(each, found, found.mean) for each, found in scored if found.mean is not None]
    if not known:
        return None
    # Perplexities are ranked from the lowest.
    sign = -1 if known[0][1].higher_is_better else 1
    # Of equal means the simpler setting comes first, so that a tie is not decided by the order in
    # which points ran.
    known.sort(key=lambda entry: (sign * entry[2], _simplicity(entry[0])))
    ranking = [each for each, _, _ in known]
    simplest = min(ranking, key=_simplicity)
    metric = known[0][1].metric
    return ChoiceMade(
        metric=metric,
        split=split,
        ranking=[each.values for each in ranking],
        simplest=simplest.values,
        is_within_noise=_is_within_noise(simplest.values, known[0], measured, split),
        looks=[],
    )


def _simplicity(setting: Setting) -> tuple[int, int, int]:
    effort = setting.effort
    if effort is None:
        return 0, 0, 0
    return effort.parameters or 0, effort.trainable_parameters, effort.rows


def _is_within_noise(
    simplest: dict[str, Any],
    best: tuple[Setting, SettingScore, float],
    measured: Sequence[Measured],
    split: MeasuredSplit,
) -> bool:
    setting, score, _ = best
    if setting.values == simplest:
        return False
    before, after = (
        [each for each in measured if each.point.values == values]
        for values in (simplest, setting.values)
    )
    effect = find_effect(before, after, split, score.metric)
    # What can't be shown to be better counts as noise: too few items for an interval is no reason
    # to choose the larger setting.
    if effect is None or effect.change.low is None or effect.change.high is None:
        return True
    return effect.change.low <= 0 if score.higher_is_better else effect.change.high >= 0
