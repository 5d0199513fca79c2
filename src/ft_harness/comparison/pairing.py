"""Match evaluations of base and tuned, and pair their items one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ft_harness.comparison.comparability import (
    FACTORS,
    STRICT,
    Mismatch,
    Terms,
    filter_of,
    find_mismatches,
)
from ft_harness.errors import InputError
from ft_harness.records import Evaluation, Record, Sample, describe_record
from ft_harness.records.score_table import Outcomes, find_samples, read_outcomes

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


_PLACE = ("model", "task", "split", "shots", "limit", "filter")


def match_evaluations(
    evaluations: Sequence[Evaluation], terms: Terms = STRICT
) -> tuple[list[tuple[Evaluation, Evaluation]], list[Evaluation], list[str]]:
    """Match each adapter's evaluation with the most similar base evaluation; also return the bases
    without a partner, and a note with the reason for everything that has none.

    Evaluations are matched by model, task, split, shots, limit and filter, except declared factors.
    """
    bases = [evaluation for evaluation in evaluations if evaluation.record.adapter is None]
    tuned = [evaluation for evaluation in evaluations if evaluation.record.adapter is not None]
    by_place: dict[tuple[Any, ...], list[Evaluation]] = {}
    for base in bases:
        by_place.setdefault(_place(base.record, terms), []).append(base)
    matched: list[tuple[Evaluation, Evaluation]] = []
    notes: list[str] = []
    # The base may have been scored under several conditions; the one that differs least is the one
    # meant. Whether even that differs too much is decided later, by name of the field.
    for each in tuned:
        if partners := by_place.get(_place(each.record, terms), []):
            # nearly always there is one, and nothing to weigh
            closest = partial(_distance, each.record)
            found = min(partners, key=closest) if len(partners) > 1 else partners[0]
            matched.append((found, each))
        else:
            notes.append(_say_alone(each.record, bases, "base", terms))
    used = {id(base) for base, _ in matched}
    alone = [base for base in bases if id(base) not in used]
    # In a study of base models alone nothing is missing a partner.
    if tuned:
        notes += [_say_alone(base.record, tuned, "adapter", terms) for base in alone]
    return matched, alone, notes


def _distance(tuned: Record, base: Evaluation) -> tuple[int, bool]:
    """How unlike two evaluations of one place are; of equally like ones that of the same docs is
    the closest (a study of training sizes scores the base on several train splits)."""
    # Only a tie-breaker: the hash depends on the order of the docs, which is no difference.
    other_docs = base.record.settings.data_hash != tuned.settings.data_hash
    return len(find_mismatches(base.record, tuned)), other_docs


def _place(record: Record, terms: Terms) -> tuple[Any, ...]:
    """The parts of an evaluation's place, as `_PLACE` names them."""
    settings = record.settings
    free = {field for factor in terms.factors for field in FACTORS[factor]}
    model = None if "model" in free else record.model.identity
    shots = None if "num_fewshot" in free else settings.num_fewshot
    return model, settings.task, settings.split, shots, settings.limit, filter_of(record)


def _say_alone(record: Record, others: Sequence[Evaluation], of: str, terms: Terms) -> str:
    """Why an evaluation has no partner: how the closest one on the other side differs."""
    who = describe_record(record)
    if not others:
        return f"{who}: not compared, no {of} was scored"
    here = _place(record, terms)

    def differing(other: Evaluation) -> list[str]:
        there = _place(other.record, terms)
        parts = zip(_PLACE, here, there, strict=True)
        return [f"{name} is {own}, there {its}" for name, own, its in parts if own != its]

    # The one that needs the fewest changes to be scored the same way.
    closest = min(others, key=lambda other: len(differing(other)))
    reason, where = "; ".join(differing(closest)), describe_record(closest.record)
    if not reason:
        return f"{who}: not compared, {where} was matched with an evaluation more like it"
    return f"{who}: not compared, no {of} was scored the same way; the closest is {where}: {reason}"


@dataclass(frozen=True, eq=False)
class Pairs:
    """The items that base and tuned both have, in the order of the base's samples.

    Attributes:
        base_rows, tuned_rows: [items], the row of each item in the outcomes of its side.
    """

    base: Outcomes
    tuned: Outcomes
    base_rows: Rows
    tuned_rows: Rows

    def __len__(self) -> int:
        return len(self.base_rows)

    def texts(self, column: str) -> tuple[list[str | None], list[str | None]]:
        """A column of text of base and of tuned."""
        before, after = self.columns(column)
        # Right answers and keys are the same on both sides; making Python strings of a column is
        # most of the cost.
        shown: list[str | None] = before.to_pylist()
        return shown, shown if before.equals(after) else after.to_pylist()

    def columns(self, column: str) -> tuple[Any, Any]:
        """As `texts`, as pyarrow keeps them."""
        sides = (self.base, self.base_rows), (self.tuned, self.tuned_rows)
        before, after = (
            outcomes.texts.column(column)
            if _is_all(rows, len(outcomes.texts))
            else outcomes.texts.column(column).take(rows)
            for outcomes, rows in sides
        )
        return before, after

    @property
    def clusters(self) -> Rows | None:
        """The number of each item's cluster, from 0; None where the task names none, or no two
        items share one."""
        column = self.base.texts.column("cluster").take(self.base_rows)
        if column.null_count:
            return None
        numbers = pc.dictionary_encode(column.combine_chunks()).indices.to_numpy().astype(np.int64)
        return None if len(numbers) == numbers.max(initial=-1) + 1 else numbers

    def statistics(self, metric: str) -> tuple[Array, Array]:
        """[items, K] of base and of tuned; a row of NaN where a side has no score."""
        before, after = self.base.statistics(metric), self.tuned.statistics(metric)
        return (
            before if _is_all(self.base_rows, len(before)) else before[self.base_rows],
            after if _is_all(self.tuned_rows, len(after)) else after[self.tuned_rows],
        )

    def only(self, kept: NDArray[np.bool_]) -> Pairs:
        """These of the items [items]."""
        return replace(self, base_rows=self.base_rows[kept], tuned_rows=self.tuned_rows[kept])


def _is_all(rows: Rows, n: int) -> bool:
    """Whether these are all of n rows in their order, so that a million need not be put in order
    again."""
    return len(rows) == n and bool((rows == np.arange(n)).all())


def pair_items(base: Evaluation, tuned: Evaluation) -> tuple[Pairs, dict[str, Mismatch]]:
    """Pair the items that both sides have by key, and find what differs in them.

    Raises:
        InputError: samples can't be read, or repeat an item key.
    """
    left, right = _read_unique(base), _read_unique(tuned)
    # Keys stay Arrow strings: a million of them are paired without a Python object each.
    found = pc.index_in(left.texts.column("item_key"), value_set=right.texts.column("item_key"))
    base_rows = np.flatnonzero(found.is_valid().to_numpy())
    pairs = Pairs(left, right, base_rows, found.drop_null().to_numpy().astype(np.int64))
    found = {}
    if not len(left.texts) == len(right.texts) == len(pairs):
        sides = (
            f"{len(side.texts)} ({len(side.texts) - len(pairs)} only here)"
            for side in (left, right)
        )
        found["items"] = Mismatch("items", *sides)
    for field in ("prompt_hash", "target_hash"):
        found |= _differing_texts(field, pairs)
    return pairs, found


def _differing_texts(field: str, pairs: Pairs) -> dict[str, Mismatch]:
    if (columns := pairs.columns(field))[0].equals(columns[1]):
        return {}
    before, after = pairs.texts(field)
    differing = [row for row, (b, t) in enumerate(zip(before, after, strict=True)) if b != t]
    first = differing[0]
    key = pairs.only(np.arange(len(pairs)) == first).texts("item_key")[0][0]
    where = f"{field} of {len(differing)} of {len(pairs)} items, first {key}"
    return {field: Mismatch(where, repr(before[first]), repr(after[first]))}


def _read_unique(evaluation: Evaluation) -> Outcomes:
    outcomes = read_outcomes(evaluation)
    # Two rows of one key would both be paired with the first of the other side; keys carry an
    # occurrence number, so that equal docs do not repeat one.
    repeated = len(outcomes.texts) - pc.count_distinct(outcomes.texts.column("item_key")).as_py()
    if repeated:
        raise InputError(
            f"{evaluation.folder}: {repeated} samples repeat the item_key of another",
            "one sample per item",
            "delete this evaluation's folder and run the same command again",
        )
    return outcomes


def read_samples(
    base: Evaluation, tuned: Evaluation, keys: Collection[str]
) -> list[tuple[Sample, Sample]]:
    """The samples of both sides for these items, sorted by item key."""
    before, after = find_samples(base, keys), find_samples(tuned, keys)
    return [(before[key], after[key]) for key in sorted(keys)]
