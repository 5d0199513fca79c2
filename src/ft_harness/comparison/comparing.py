"""One base and one tuned evaluation -> their comparison, with its rows, cases and cautions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ft_harness.comparison import cautions, remarks
from ft_harness.comparison.amounts import counted
from ft_harness.comparison.cases import BY_LABEL, ConfusionPair, count_confusion, find_cases
from ft_harness.comparison.comparability import (
    EXECUTION,
    Mismatch,
    Terms,
    check_comparable,
    find_mismatches,
)
from ft_harness.comparison.families import role_of
from ft_harness.comparison.measurement import Baseline, Measurement
from ft_harness.comparison.pairing import Pairs, pair_items
from ft_harness.comparison.preferences import (
    compared_metrics,
    find_baselines,
    find_preference_cautions,
)
from ft_harness.comparison.primary import find_companions, find_primary, is_too_short_for_bleu
from ft_harness.comparison.rows import MAJORITY_CLASS, decide, make_baseline_row, make_rows
from ft_harness.comparison.study import AdapterRun, Comparison, Row
from ft_harness.data.data_report import DataReport
from ft_harness.errors import InputError
from ft_harness.metrics.labels import recalled_label
from ft_harness.records import Evaluation, Record, describe_record

Array = NDArray[np.float64]
_WITHOUT_OVERLAP = "{split} without overlap"  # split of rows without items of the training split
_PER_CLASS = 3  # items of a right answer on average; fewer are no classes but texts


class Comparing:
    """Two evaluations on their way to a comparison.

    Attributes:
        run: the adapter's; None: its folder is not known.
        notes: what a reader of the report must know about this pair.
    """

    def __init__(
        self,
        sides: tuple[Evaluation, Evaluation],
        terms: Terms,
        metrics: Sequence[str],
        run: AdapterRun | None,
    ) -> None:
        """
        Args:
            metrics: that lead, if one was scored; else the primary metric.

        Raises:
            NotComparableError, InputError: as in `compare`.
        """
        base, tuned = sides
        self.sides, self.records, self.run = sides, (base.record, tuned.record), run
        self.pairs, differing = pair_items(base, tuned)
        mismatches = find_mismatches(*self.records) | differing
        refused = [each for key, each in mismatches.items() if not terms.allows(key)]
        # Before anything is measured: a refusal names settings, which no number could make good.
        check_comparable(*self.records, refused)
        self.names = _shared_metrics(*self.records)
        # `_own_metrics` reads `self.names`, which holds the shared ones here and those with a row
        # after it.
        self.names = compared_metrics(self.names, self._own_metrics())
        self.measurement = Measurement(self.pairs)
        unscored = _find_unscored(self._own_metrics(), self.measurement)
        # Items that one side alone could not score make its number one of other items. Of a partial
        # evaluation the status has said so already.
        if unscored and "status" not in mismatches and not terms.allows(unscored.field):
            check_comparable(*self.records, [unscored])
        self.footnotes = list(terms.footnotes(*self.records, mismatches))
        targets, _ = self.pairs.texts("target")
        self.primary = find_primary(self.names, self._declared(), targets)
        self.leading = next((name for name in metrics if name in self.names), self.primary)
        data = run.data if run and run.data and run.data.task == base.record.settings.task else None
        self.kept = _leave_out_overlap(self.pairs, data, base.record.settings.split)
        self.notes = [
            *remarks.note_unknown_overlap(tuned.record, data),
            *self._note_undeclared(),
        ]

    def _own_metrics(self) -> list[str]:
        """The metrics with scores in the samples of both sides."""
        stated = {s.metric for record in self.records for s in record.scores if s.is_stated}
        return [name for name in self.names if name not in stated]

    def _declared(self) -> str | None:
        """The declared primary metric: the tuned record's, else that of its adapter's recipe (for
        the trained task), else the base record's."""
        recipe = self.run.card.recipe if self.run else {}
        task, section = recipe.get("task"), recipe.get("eval")
        # The metric of the trained task says nothing of a control.
        here = isinstance(task, dict) and task.get("name") == self.records[1].settings.task
        asked = section.get("primary_metric") if here and isinstance(section, dict) else None
        return self.records[1].primary_metric or asked or self.records[0].primary_metric

    def _note_undeclared(self) -> list[str]:
        # A recipe may name a metric that the task does not have; another one then leads, and the
        # report says so.
        declared = self._declared()
        if declared in (None, self.primary):
            return []
        who = describe_record(self.records[1])
        return [f"{who}: the primary metric {declared} was not scored, {self.primary} leads"]

    def compare(self) -> Comparison:
        """The comparison; none of its rows belongs to a family yet."""
        made = make_rows(self.names, self.records, self.measurement)
        left_out = dict.fromkeys(line for row in made.values() for line in row.footnotes)
        self.notes = [*_note(*self.records, [*self.footnotes, *left_out]), *self.notes]
        # Whether tuned is above the majority class is asked once, of all items, and holds for every
        # row of classes (decision 025).
        majority = self._majority(self.measurement)
        above = cautions.is_above_majority(majority, self.pairs) if majority else None
        # Rows without overlapping items come first, as they decide the verdicts of the rows with
        # them.
        clean = self._clean_rows()
        rows = {
            name: decide(self._annotate(row), above, clean.get(name)) for name, row in made.items()
        }
        headline = rows[self.leading]
        lost = cautions.find_lost_classes(rows, self.pairs, has_classes=majority is not None)
        said = cautions.find_cautions(rows, self.leading, self.sides, self.pairs, majority, lost)
        role = role_of(self.records[1], self.run)
        (golds, _), answers = self.pairs.texts("target"), self.pairs.texts("prediction")
        training = "" if role == "control task" else self._training()
        said += remarks.remark_collapse(answers, golds, training, self.records[1].adapter)
        said += find_preference_cautions(rows, self.measurement)
        baselines = find_baselines(rows, self.measurement)
        # The majority class is a row of accuracy, next to it.
        if majority:
            baselines.append(make_baseline_row(rows["acc"], MAJORITY_CLASS, majority.share))
        without = clean.get(self.leading)
        if self.kept is not None and without is not None:
            counts = len(self.pairs) - len(self.kept), len(self.kept)
            said.insert(0, remarks.remark_overlap(headline, without, *counts))
        return Comparison(
            base=self.records[0],
            tuned=self.records[1],
            rows=[*baselines, *rows.values()],
            role=role,
            leading=self.leading,
            companions=find_companions(self.leading, self.names),
            detectable=self._detectable(),
            changed=not _is_unchanged(self.pairs),
            above_majority=above,
            finding="",
            cautions=said,
            lost_classes=lost,
            cases=find_cases(*self.sides, self.pairs),
            confusion=_count_confusion(self.measurement),
            without=without,
            others_without=[row for name, row in clean.items() if name != self.leading],
        )

    def _training(self) -> str:
        """Steps and learning rate, where they are known."""
        if self.run is None:
            return ""
        rate = self.run.card.recipe.get("train", {}).get("learning_rate")
        steps = counted(self.run.card.steps, "step")
        return f"{steps} at a learning rate of {rate:g}" if isinstance(rate, float) else steps

    def _annotate(self, row: Row) -> Row:
        """Add footnotes: what differs between the sides, and what the number can't show."""
        notes = [*self.footnotes, *row.footnotes]
        if row.metric == "bleu" and is_too_short_for_bleu(self.pairs.texts("target")[0]):
            notes.append(remarks.BLEU_OF_SHORT_ANSWERS)
        return row.model_copy(update={"footnotes": notes})

    def _majority(self, measurement: Measurement) -> Baseline | None:
        """None where always giving one answer is no baseline: no classes, or several right."""
        # Where several answers of an item are right, the most frequent one of them is no baseline:
        # giving it always would score more than its share.
        several = any(each.foreign and each.foreign.several_right for each in self.records)
        if "acc" not in self._own_metrics() or several:
            return None
        targets, _ = self.pairs.columns("target")
        is_labelled = BY_LABEL in measurement.pairs.base.columns
        # Multiple choice with choices of its own in each item has nearly as many right answers as
        # items.
        if not is_labelled and len(targets.unique()) * _PER_CLASS > len(targets):
            return None
        return measurement.majority("acc")

    def _clean_rows(self) -> dict[str, Row]:
        """All metrics with scores in the samples, without the items that also occur in training."""
        if self.kept is None:
            return {}
        measurement = Measurement(self.kept)
        majority = self._majority(measurement)
        above = cautions.is_above_majority(majority, self.kept) if majority else None
        found: dict[str, Row] = {}
        names = dict.fromkeys((self.leading, self.primary, *self._own_metrics()))
        for name, row in make_rows(list(names), self.records, measurement).items():
            split = _WITHOUT_OVERLAP.format(split=row.split)
            footnotes = [*self.footnotes, *row.footnotes]
            changed = {"split": split, "footnotes": footnotes, "n_items": None}
            found[name] = decide(row.model_copy(update=changed), above)
        return found

    def _detectable(self) -> float | None:
        own = self.leading in self._own_metrics()
        return self.measurement.detectable(self.leading) if own else None

    def influence(self) -> Array | None:
        """What each item, or cluster, adds to the difference of the leading metric [units]."""
        own = self.leading in self._own_metrics()
        return self.measurement.influence(self.leading) if own else None


def _shared_metrics(base: Record, tuned: Record) -> list[str]:
    """Names, in the order of the base.

    Raises:
        InputError: there are none.
    """
    tuned_metrics = {score.metric for score in tuned.scores}
    names = [score.metric for score in base.scores if score.metric in tuned_metrics]
    if not names:
        raise InputError(
            f"{describe_record(base)} and {describe_record(tuned)} share no metric",
            "at least one metric that both were scored with",
            "add a metric_list to the task's YAML and evaluate both again",
        )
    return names


def _leave_out_overlap(pairs: Pairs, data: DataReport | None, split: str) -> Pairs | None:
    """The items that don't also occur in the training split; None where none does, or that isn't
    known."""
    overlap = data.overlap(split) if data else None
    if not overlap or not overlap.items:
        return None
    hashes = frozenset(overlap.items)
    keys, _ = pairs.texts("item_key")
    # An item key is the doc's hash and, after the last dash, its occurrence; the data report knows
    # hashes.
    kept = np.array([str(key).rpartition("-")[0] not in hashes for key in keys], dtype=np.bool_)
    return None if kept.all() else pairs.only(kept)


def _count_confusion(measurement: Measurement) -> ConfusionPair | None:
    """None where the task's metrics are not those of labels, or don't name them all."""
    columns = measurement.pairs.base.columns
    if BY_LABEL not in columns:
        return None
    labels = [label for name in columns if (label := recalled_label(name))]
    base, tuned, _ = measurement.scored(BY_LABEL)
    # Macro F1 is counted as three numbers per class; with fewer named labels the columns could not
    # be told apart.
    return count_confusion(labels, base, tuned) if base.shape[1] == 3 * len(labels) else None


def _find_unscored(names: Sequence[str], measurement: Measurement) -> Mismatch | None:
    """The metric with the most items that have a score on one side only."""
    sides = {name: measurement.unscored(name) for name in names}
    if not names:  # only what another program stated
        return None
    worst = max(names, key=lambda name: sum(sides[name]))
    if not sum(sides[worst]):
        return None
    shown = (f"{side} of {len(measurement.pairs)}" for side in sides[worst])
    return Mismatch(f"items without a score of {worst}", *shown)


def _note(base: Record, tuned: Record, footnotes: Sequence[str]) -> list[str]:
    """What a reader must know of one comparison."""
    left, right = base.settings.model_dump(), tuned.settings.model_dump()
    notes = [
        line.replace("accepted difference,", "accepted difference from its base,", 1)
        for line in footnotes
    ]
    notes += [
        f"{key}: base {left[key]!r}, tuned {right[key]!r}"
        for key in EXECUTION
        if left[key] != right[key]
    ]
    return [
        *(f"{describe_record(tuned)}: {note}" for note in notes),
        *remarks.note_bad_items(base),
        *remarks.note_bad_items(tuned),
    ]


def _is_unchanged(pairs: Pairs) -> bool:
    """Whether every item has the same scores and the same answer on both sides."""
    before, after = pairs.columns("prediction")
    # Equal answers alone are not enough: log-likelihoods move without any answer changing.
    if not len(pairs) or not before.equals(after):
        return False
    sides = (pairs.statistics(name) for name in pairs.base.columns if name in pairs.tuned.columns)
    return all(np.array_equal(before, after, equal_nan=True) for before, after in sides)
