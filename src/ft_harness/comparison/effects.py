"""Points of a sweep -> settings and their effects against the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ft_harness import stats
from ft_harness.comparison.measurement import Measurement
from ft_harness.comparison.pairing import pair_items
from ft_harness.comparison.primary import find_primary
from ft_harness.comparison.settings import (
    Effect,
    Effort,
    MeasuredSplit,
    PointResult,
    Setting,
    SettingScore,
    SweepStudy,
)
from ft_harness.comparison.study import AdapterRun
from ft_harness.comparison.untuned import interval_of_mean
from ft_harness.errors import InputError
from ft_harness.records import Evaluation, Score
from ft_harness.records.score_table import read_outcomes

SPLITS: tuple[MeasuredSplit, ...] = ("test", "validation")


@dataclass(frozen=True)
class Measured:
    """A point with its evaluations by split, train left out, and its adapter.

    Attributes:
        run: None: nothing was trained, or it failed.
    """

    point: PointResult
    evaluations: Mapping[str, Evaluation]
    run: AdapterRun | None = None


_Group = list[Measured]


def measure_sweep(
    name: str, axes: Sequence[Sequence[str]], trains: bool, measured: Sequence[Measured]
) -> SweepStudy:
    """The settings of a sweep in the order of their first points, and the effect of each against
    the reference.

    Raises:
        InputError: samples can't be read.
    """
    groups: dict[str, _Group] = {}
    for each in measured:
        groups.setdefault(repr(each.point.values), []).append(each)
    settings = [_setting(group) for group in groups.values()]
    (reference,) = (group for group in groups.values() if group[0].point.is_reference)
    others = [group for group in groups.values() if group is not reference]
    effects = [effect for split in SPLITS for effect in _effects(reference, others, split)]
    return SweepStudy(
        name=name,
        axes=[list(axis) for axis in axes],
        trains=trains,
        points=[each.point for each in measured],
        settings=settings,
        effects=effects,
    )


def compare_settings(
    before: Sequence[Measured], after: Sequence[Measured], split: MeasuredSplit, metric: str
) -> Effect | None:
    """The change of one metric from one setting to another, over the seeds that both have; None
    where one was not scored on this split.

    One seed is a pair of evaluations like any other. Of several the interval covers other seeds
    and other items alike, as `stats.seed_spread` says.
    """
    both = _shared_seeds(before, after, split)
    if not both:
        return None
    old, new = before[0].point.values, after[0].point.values
    known: dict[str, Any] = {
        "values": new,
        "differs_in": [name for name in new if new[name] != old[name]],
        "split": split,
        "metric": metric,
        "seeds": len(both),
        "p_adjusted": None,
    }
    nothing = dict.fromkeys(("reference", "value", "delta", "low", "high", "p"))
    pairs = [pair_items(*each) for each in both]
    if any({"items", "target_hash"} & mismatches.keys() for _, mismatches in pairs):
        note = "other items or answers than the reference's"
        return Effect(**known, **nothing, n=0, note=note)
    try:
        found = [Measurement(each) for each, _ in pairs]
        differences = [each.difference(metric) for each in found]
        influences = [each.influence(metric) for each in found]
    except (InputError, KeyError):
        return Effect(**known, **nothing, n=0, note=f"{metric} was not scored for both")
    first = differences[0]
    known |= {"n": min(each.n for each in differences)}
    if any(each.delta is None for each in differences):
        return Effect(**known, **nothing, note="undefined")
    known["reference"] = _mean([each.base for each in differences])
    known["value"] = _mean([each.tuned for each in differences])
    known["delta"] = _mean([each.delta for each in differences])
    if len(both) == 1:
        low, high = first.interval or (None, None)
        return Effect(**known, low=low, high=high, p=first.p)
    rows = [each for each in influences if each is not None]
    spread = None
    if len(rows) == len(both) and len({len(each) for each in rows}) == 1:
        deltas = np.array([each.delta for each in differences], dtype=np.float64)
        spread = stats.seed_spread(deltas, np.array(rows))
    low, high = (spread.interval if spread else None) or (None, None)
    return Effect(**known, low=low, high=high, p=spread.p if spread else None)


def _shared_seeds(
    before: Sequence[Measured], after: Sequence[Measured], split: str
) -> list[tuple[Evaluation, Evaluation]]:
    """The evaluations of each seed that both settings have."""
    own = {repr(each.point.seeds): each.evaluations.get(split) for each in before}
    found: list[tuple[Evaluation, Evaluation]] = []
    for each in after:
        left, right = own.get(repr(each.point.seeds)), each.evaluations.get(split)
        if left is not None and right is not None:
            found.append((left, right))
    return found


def _effects(reference: _Group, others: Sequence[_Group], split: MeasuredSplit) -> list[Effect]:
    """Of all settings on one split, p adjusted over them."""
    metric = primary_of(reference, split)
    if metric is None:
        return []
    every = (compare_settings(reference, group, split, metric) for group in others)
    found = [each for each in every if each is not None]
    places = [place for place, each in enumerate(found) if each.p is not None]
    adjusted = stats.holm([found[place].p or 0.0 for place in places])
    for place, p in zip(places, adjusted, strict=True):
        found[place] = found[place].model_copy(update={"p_adjusted": p})
    return found


def primary_of(group: Sequence[Measured], split: str) -> str | None:
    """The primary metric of a setting; None: it was not scored on this split."""
    scored = (each.evaluations.get(split) for each in group)
    first = next((each for each in scored if each is not None), None)
    if first is None or not first.record.scores:
        return None
    targets = read_outcomes(first).texts.column("target").to_pylist()
    names = [score.metric for score in first.record.scores]
    return find_primary(names, first.record.primary_metric, targets)


def _setting(group: _Group) -> Setting:
    done = [each for each in group if each.point.reason is None]
    return Setting(
        values=group[0].point.values,
        is_reference=group[0].point.is_reference,
        points=[each.point.name for each in done],
        failed=[each.point.name for each in group if each.point.reason is not None],
        seeds=len(done),
        scores=[score for split in SPLITS for score in _scores(done, split)],
        effort=_effort(done) if done else None,
    )


def _scores(done: _Group, split: MeasuredSplit) -> list[SettingScore]:
    """Every metric that all seeds have."""
    scored = [each.evaluations[split] for each in done if split in each.evaluations]
    if not scored:
        return []
    primary = primary_of(done, split)
    tables = [{score.metric: score for score in each.record.scores} for each in scored]
    outcomes = [read_outcomes(each) for each in scored]
    same = len({each.record.settings.data_hash for each in scored}) == 1
    found: list[SettingScore] = []
    for metric in (name for name in tables[0] if all(name in table for table in tables)):
        own = [table[metric] for table in tables]
        values = [score.value for score in own]
        known = [value for value in values if value is not None]
        low, high = (own[0].low, own[0].high) if len(own) == 1 else (None, None)
        if same and len(known) == len(own) > 1 and not own[0].is_stated:
            low, high = interval_of_mean(
                metric, values, [each.statistics(metric) for each in outcomes]
            )
            low, high = _own_ends(own[0]) if low == high else (low, high)
        found.append(
            SettingScore(
                split=split,
                metric=metric,
                values=values,
                mean=_mean(values) if len(known) == len(values) else None,
                low=low,
                high=high,
                deviation=float(np.std(known, ddof=1)) if len(known) > 1 else None,
                n=min(score.n for score in own),
                is_primary=metric == primary,
                higher_is_better=own[0].higher_is_better,
            )
        )
    return found


def _own_ends(score: Score) -> tuple[float | None, float | None]:
    """Where neither seeds nor items differ."""
    return score.low, score.high


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _effort(done: _Group) -> Effort:
    cards = [each.run.card for each in done if each.run]
    records = [each.record for point in done for each in point.evaluations.values()]
    parameters = next((record.model.parameters for record in records), None)
    if not cards:
        costs = [record.cost.seconds for record in records if record.cost]
        return Effort(
            parameters=parameters,
            trainable_parameters=0,
            rows=0,
            seconds=sum(costs) / len(done) if costs else None,
        )
    return Effort(
        parameters=parameters,
        trainable_parameters=cards[0].trainable_parameters,
        rows=cards[0].steps * _rows_of_step(cards[0].recipe),
        seconds=sum(card.cost.seconds for card in cards) / len(cards),
    )


def _rows_of_step(recipe: Mapping[str, Any]) -> int:
    train = recipe["train"]
    return int(train["per_device_train_batch_size"] * train["gradient_accumulation_steps"])
