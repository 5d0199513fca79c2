"""Which evaluations belong together, whether they may be compared, and their items paired one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness import sentences
from ft_harness.errors import InputError, NotComparableError
from ft_harness.records import Evaluation, Record, Sample
from ft_harness.score_table import Outcomes, find_samples, read_outcomes

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

EXECUTION = ("batch_size", "device")  # may differ, and is noted: changes scores by rounding only
_MAY_DIFFER = {*EXECUTION, "data_hash"}  # data_hash depends on the order of docs; items are compared one by one


def match_evaluations(evaluations: Sequence[Evaluation]) -> tuple[list[tuple[Evaluation, Evaluation]], list[str]]:
    """Each adapter's evaluation with the base evaluation most like it, and a note for each that stays alone.

    A place is model, task, split, shots and limit.
    """
    bases = [evaluation for evaluation in evaluations if evaluation.record.adapter is None]
    matched, notes = [], []
    for tuned in evaluations:
        if tuned.record.adapter is None:
            continue
        partners = [base for base in bases if _place(base.record) == _place(tuned.record)]
        if partners:
            matched.append((min(partners, key=lambda base: len(find_mismatches(base.record, tuned.record))), tuned))
        else:
            notes.append(f"{sentences.describe(tuned.record)}: no base model was scored in this place, not compared")
    used = {base.folder for base, _ in matched}
    alone = [base.record for base in bases if base.folder not in used]
    notes += [f"{sentences.describe(record)}: no adapter was scored in this place, not compared" for record in alone]
    return matched, notes


def _place(record: Record) -> tuple[Any, ...]:
    settings = record.settings
    return record.model.identity, settings.task, settings.split, settings.num_fewshot, settings.limit


def conditions_of(record: Record) -> dict[str, Any]:
    """Everything that makes a record's scores, besides the adapter."""
    model = record.model
    precision = {"model": model.identity, "dtype": model.dtype, "quantization": model.quantization, "head": model.head}
    return precision | record.settings.model_dump()


def find_mismatches(base: Record, tuned: Record) -> dict[str, str]:
    """Field -> one line with both values, for what the records say and must be equal."""
    left, right = (
        conditions_of(record) | {f"metric {score.metric}": score.signature for score in record.scores}
        for record in (base, tuned)
    )
    differing = [key for key in left | right if key not in _MAY_DIFFER and left.get(key) != right.get(key)]
    lines = {key: f"{key}: base {left.get(key)!r}, tuned {right.get(key)!r}" for key in differing}
    if {base.status, tuned.status} != {"complete"}:
        lines["status"] = f"status: base {base.status!r}, tuned {tuned.status!r}"
    return lines


@dataclass(frozen=True, eq=False)
class Pairs:
    """The items that base and tuned both have, in the order of the base's samples.

    Attributes:
        base_rows, tuned_rows: [items], where each item stands in the outcomes of its side.
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
        """The number of each item's cluster, from 0; None where the task names none, or no two items share one."""
        import pyarrow.compute as pc

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
    """Whether these are all of n rows in their order, so that a million need not be put in order again."""
    return len(rows) == n and bool((rows == np.arange(n)).all())


def pair_items(base: Evaluation, tuned: Evaluation) -> tuple[Pairs, dict[str, str]]:
    """The items that both have, paired by key, and one line for each way in which the items differ.

    Raises:
        InputError: samples can't be read, or repeat an item key.
    """
    import pyarrow.compute as pc

    left, right = _read_unique(base), _read_unique(tuned)
    found = pc.index_in(left.texts.column("item_key"), value_set=right.texts.column("item_key"))
    base_rows = np.flatnonzero(found.is_valid().to_numpy())
    pairs = Pairs(left, right, base_rows, found.drop_null().to_numpy().astype(np.int64))
    lines = {}
    if not len(left.texts) == len(right.texts) == len(pairs):
        lines["items"] = (
            f"items: base {len(left.texts)}, tuned {len(right.texts)}; "
            f"{len(left.texts) - len(pairs)} only in base, {len(right.texts) - len(pairs)} only in tuned"
        )
    for field in ("prompt_hash", "target_hash"):
        lines |= _differing_texts(field, pairs)
    return pairs, lines


def _differing_texts(field: str, pairs: Pairs) -> dict[str, str]:
    if (columns := pairs.columns(field))[0].equals(columns[1]):
        return {}
    before, after = pairs.texts(field)
    differing = [row for row, (b, t) in enumerate(zip(before, after, strict=True)) if b != t]
    first = differing[0]
    key = pairs.only(np.arange(len(pairs)) == first).texts("item_key")[0][0]
    line = (
        f"{field}: differs for {len(differing)} of {len(pairs)} items, first {key}: "
        f"base {before[first]!r}, tuned {after[first]!r}"
    )
    return {field: line}


def _read_unique(evaluation: Evaluation) -> Outcomes:
    import pyarrow.compute as pc

    outcomes = read_outcomes(evaluation)
    repeated = len(outcomes.texts) - pc.count_distinct(outcomes.texts.column("item_key")).as_py()
    if repeated:
        raise InputError(
            f"{evaluation.folder}: {repeated} samples repeat the item_key of another",
            "one sample per item",
            "delete this evaluation's folder and run the same command again",
        )
    return outcomes


def read_samples(base: Evaluation, tuned: Evaluation, keys: Collection[str]) -> list[tuple[Sample, Sample]]:
    """Both samples of these items, sorted by item key."""
    before, after = find_samples(base, keys), find_samples(tuned, keys)
    return [(before[key], after[key]) for key in sorted(keys)]


def check_comparable(base: Record, tuned: Record, refused: Collection[str]) -> None:
    if refused:
        differences = "".join(f"\n  {line}" for line in refused)
        raise NotComparableError(
            f"{sentences.describe(base)} and {sentences.describe(tuned)} were not measured the same way:{differences}",
            "equal settings, items, prompts, targets and metric signatures on both sides",
            "evaluate both again with the same settings, or name each difference to accept with --allow-mismatch",
        )
