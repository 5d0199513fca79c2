"""Measure a sweep: its points -> the fields that vary (axes), the settings, and each one's effect
against the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ft_harness import stats
from ft_harness.comparison.measurement import Measurement
from ft_harness.comparison.pairing import pair_items
from ft_harness.comparison.primary import find_primary
from ft_harness.comparison.study import AdapterRun
from ft_harness.comparison.sweep_study import (
    Change,
    Effect,
    Effort,
    MeasuredSplit,
    PointResult,
    Setting,
    SettingScore,
    SweepStudy,
    find_best_stretch,
)
from ft_harness.comparison.untuned import interval_of_mean
from ft_harness.metrics import find_metric
from ft_harness.records import Evaluation, Score
from ft_harness.records.score_table import read_outcomes

SPLITS: tuple[MeasuredSplit, ...] = ("test", "validation")


@dataclass(frozen=True)
class Measured:
    """A point with its evaluations by split, train left out, and its adapter.

    Attributes:
        bases: the base's evaluations in the same protocol; none where nothing was trained.
        run: None: nothing was trained, or it failed.
    """

    point: PointResult
    evaluations: Mapping[str, Evaluation]
    bases: Mapping[str, Evaluation]
    run: AdapterRun | None = None


@dataclass(frozen=True)
class Axes:
    """What varies in a sweep that is measured: groups of fields that vary as one, without the
    seeds.

    Attributes:
        stretches: the group of trainings that continue each other; none: ().
    """

    groups: Sequence[Sequence[str]]
    stretches: Sequence[str] = ()


_Group = list[Measured]
_Pair = tuple[Evaluation, Evaluation]


def measure_sweep(name: str, axes: Axes, trains: bool, measured: Sequence[Measured]) -> SweepStudy:
    """The settings of a sweep in the order of their first points, and the effect of each against
    the reference.

    Raises:
        InputError: samples can't be read.
    """
    # By the text of their values: lists and mappings, which a field may hold, are not hashable.
    groups: dict[str, _Group] = {}
    for each in measured:
        groups.setdefault(repr(each.point.values), []).append(each)
    settings = _add_efforts([_setting(group) for group in groups.values()], axes.stretches)
    # The grid marks one setting, whose seeds are all marked alike.
    (reference,) = (group for group in groups.values() if group[0].point.is_reference)
    others = [group for group in groups.values() if group is not reference]
    effects = [effect for split in SPLITS for effect in _effects(reference, others, split)]
    return SweepStudy(
        name=name,
        axes=[list(axis) for axis in axes.groups],
        stretches=list(axes.stretches),
        trains=trains,
        points=[each.point for each in measured],
        settings=settings,
        effects=effects,
        overfitting=_find_overfitting(axes, settings, groups),
    )


def find_effect(
    before: Sequence[Measured], after: Sequence[Measured], split: MeasuredSplit, metric: str
) -> Effect | None:
    """The change of one metric from one setting to another, over the seeds that both have; None
    where one was not scored on this split.

    Raises:
        InputError: samples can't be read.
    """
    both = _shared_seeds(before, after, split)
    if not both:
        return None
    old, new = before[0].point.values, after[0].point.values
    return Effect(
        values=new,
        differs_in=[name for name in new if new[name] != old[name]],
        split=split,
        metric=metric,
        change=_Pairing(both).change(metric),
    )


class _Pairing:
    """Pairs of evaluations, one per seed, matched item by item."""

    def __init__(self, pairs: Sequence[_Pair]) -> None:
        self._records = [(before.record, after.record) for before, after in pairs]
        matched = [pair_items(*each) for each in pairs]
        # Prompts may differ, as shots and templates are what a sweep varies. Items and right
        # answers may not: then there are no pairs.
        self._same_items = not any(
            {"items", "target_hash"} & mismatches.keys() for _, mismatches in matched
        )
        self._measurements = [Measurement(each) for each, _ in matched]

    def change(self, metric: str) -> Change:
        """The change over all seeds. With one seed this is an ordinary pair of evaluations; with
        several the interval covers other seeds and other items, see `stats.seed_spread`."""
        seeds = len(self._measurements)
        if not self._same_items:
            return _unknown(seeds, "other items or answers")
        names = [{score.metric for score in record.scores} for record in sum(self._records, ())]
        if not all(metric in each for each in names):
            return _unknown(seeds, f"{metric} was not scored for both")
        if seeds == 1:
            found = self._measurements[0].difference(metric)
            low, high = found.interval or (None, None)
            return Change(
                before=found.base, after=found.tuned, delta=found.delta, low=low, high=high,
                p=found.p, seeds=1, n=found.n, note=found.no_interval,
            )  # fmt: skip
        return self._over_seeds(metric)

    def _over_seeds(self, metric: str) -> Change:
        values = [each.values(metric) for each in self._measurements]
        before, after = (_mean([pair[side] for pair in values]) for side in (0, 1))
        n = min(len(each.scored(metric)[0]) for each in self._measurements)
        differences = [b - a for a, b in values if a is not None and b is not None]
        # A mean over the seeds that happen to be defined would be of other seeds than it says.
        if len(differences) < len(values):
            return _unknown(len(values), "undefined")
        influences = [each.influence(metric) for each in self._measurements]
        known = [each for each in influences if each is not None]
        deltas = np.array(differences, dtype=np.float64)
        # influences are set side by side, item by item, so that seeds must have the same items
        items = {record.settings.data_hash for pair in self._records for record in pair}
        # Else there is a mean without an interval, which a table shows as such.
        spread = None
        if len(items) == 1 and len(known) == len(values) and len({*map(len, known)}) == 1:
            spread = stats.seed_spread(deltas, np.array(known))
        # Student's quantile is 12.7 at one degree of freedom, so that with two seeds the interval
        # of an accuracy can reach beyond what is possible.
        possible = stats.possible_range(find_metric(metric), is_difference=True)
        low, high = _within(spread.interval if spread else None, *possible)
        return Change(
            before=before, after=after, delta=float(deltas.mean()), low=low, high=high,
            p=spread.p if spread else None, seeds=len(values), n=n,
        )  # fmt: skip


def _unknown(seeds: int, note: str) -> Change:
    numbers = dict.fromkeys(("before", "after", "delta", "low", "high", "p"))
    return Change(**numbers, seeds=seeds, n=0, note=note)


def _shared_seeds(before: Sequence[Measured], after: Sequence[Measured], split: str) -> list[_Pair]:
    """The evaluations of each seed that both settings have."""
    own = {repr(each.point.seeds): each.evaluations.get(split) for each in before}
    found: list[_Pair] = []
    for each in after:
        left, right = own.get(repr(each.point.seeds)), each.evaluations.get(split)
        if left is not None and right is not None:
            found.append((left, right))
    return found


def _effects(reference: _Group, others: Sequence[_Group], split: MeasuredSplit) -> list[Effect]:
    """Of all settings on one split, p adjusted over them."""
    # The reference decides: settings with another primary metric would have no difference to show.
    metric = primary_of(reference, split)
    if metric is None:
        return []
    every = (find_effect(reference, group, split, metric) for group in others)
    found = [each for each in every if each is not None]
    # A reader picks among the settings of a sweep, so that here p is adjusted (decision 028).
    known = {place: each.change.p for place, each in enumerate(found)}
    tested = {place: p for place, p in known.items() if p is not None}
    for place, p in zip(tested, stats.holm(list(tested.values())), strict=True):
        found[place] = found[place].model_copy(update={"p_adjusted": p})
    return found


def _find_overfitting(
    axes: Axes, settings: Sequence[Setting], groups: Mapping[str, _Group]
) -> Effect | None:
    """What the stretches after the best one lose, if the last is not the best."""
    found = find_best_stretch(settings, axes.stretches)
    if found is None:
        return None
    score, best, last = found
    if best is last:
        return None
    before, after = (groups[repr(each.values)] for each in (best, last))
    return find_effect(before, after, score.split, score.metric)


def primary_of(group: Sequence[Measured], split: str) -> str | None:
    """What a sweep's setting scored in its primary metric; None: it was not scored on this
    split."""
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
    # Failed points have no evaluations: a setting is measured over the seeds that are left, and
    # says how many.
    scored = [each.evaluations[split] for each in done if split in each.evaluations]
    if not scored:
        return []
    # A seed without a base leaves no pairs for the change over all seeds.
    bases = [each.bases[split] for each in done if split in each.bases]
    paired = list(zip(bases, scored, strict=True)) if len(bases) == len(scored) else []
    pairing = _Pairing(paired) if len(paired) > 1 else None
    primary = primary_of(done, split)
    # Seeds that also draw the items (`eval.seed`) were scored on different ones.
    same_items = len({each.record.settings.data_hash for each in scored}) == 1
    tables = [{score.metric: score for score in each.record.scores} for each in scored]
    found: list[SettingScore] = []
    for metric in (name for name in tables[0] if all(name in table for table in tables)):
        own = [table[metric] for table in tables]
        known = [score.value for score in own if score.value is not None]
        low, high = _interval(scored, own) if same_items else (None, None)
        of_base = [
            next((s.value for s in e.record.scores if s.metric == metric), None) for e in bases
        ]
        found.append(
            SettingScore(
                split=split,
                metric=metric,
                values=[score.value for score in own],
                evaluations=[each.record.eval_id for each in scored],
                mean=_mean(known) if len(known) == len(own) else None,
                low=low,
                high=high,
                deviation=float(np.std(known, ddof=1)) if len(known) > 1 else None,
                n=min(score.n for score in own),
                same_items=same_items,
                base=_mean(of_base),
                change=pairing.change(metric) if pairing else None,
                is_primary=metric == primary,
                higher_is_better=own[0].higher_is_better,
            )
        )
    return found


def _interval(
    scored: Sequence[Evaluation], own: Sequence[Score]
) -> tuple[float | None, float | None]:
    """The interval of one score, or of the mean over seeds that were scored on the same items."""
    ends = own[0].low, own[0].high
    if len(own) == 1:
        return ends
    if any(score.value is None or score.is_stated for score in own):
        return None, None
    metric = own[0].metric
    statistics = [read_outcomes(each).statistics(metric) for each in scored]
    low, high = interval_of_mean(metric, [score.value for score in own], statistics)
    # Scores that are equal in each item and seed have no spread; the interval of one seed still
    # knows how few items there are.
    if low == high:  # neither seeds nor items differ
        return ends
    return _within((low, high), *stats.possible_range(find_metric(metric)))


def _within(
    interval: tuple[float | None, float | None] | None, least: float, most: float
) -> tuple[float | None, float | None]:
    """The interval cut to possible values: few seeds that differ much make it too wide."""
    low, high = interval or (None, None)
    return (None, None) if low is None or high is None else (max(low, least), min(high, most))


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


def _add_efforts(settings: Sequence[Setting], stretches: Sequence[str]) -> list[Setting]:
    """The settings, each stretch with what those before it took too."""
    found: dict[str, Setting] = {}
    for each in settings:  # a stretch comes after those that it goes on from
        shorter = {name: each.values[name][:-1] for name in stretches}
        before = found.get(repr(each.values | shorter)) if stretches else None
        if before is not None and before.effort is not None and each.effort is not None:
            each = each.model_copy(update={"effort": before.effort.add(each.effort)})
        found[repr(each.values)] = each
    return list(found.values())


def _rows_of_step(recipe: Mapping[str, Any]) -> int:
    train = recipe["train"]
    return int(train["per_device_train_batch_size"] * train["gradient_accumulation_steps"])
