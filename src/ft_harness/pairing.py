"""Which evaluations belong together, whether they may be compared, and their items paired one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ft_harness import sentences
from ft_harness.errors import InputError, NotComparableError
from ft_harness.records import Evaluation, Record, Sample

Pairs = list[tuple[Sample, Sample]]  # base and tuned outcome of each item, sorted by item key

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
    precision = {"model": model.identity, "dtype": model.dtype, "quantization": model.quantization}
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


def pair_items(base: Evaluation, tuned: Evaluation) -> tuple[Pairs, dict[str, str]]:
    """The items that both have, paired by key, and one line for each way in which the items differ."""
    left, right = _index_samples(base), _index_samples(tuned)
    pairs = [(left[key], right[key]) for key in sorted(left.keys() & right.keys())]
    lines = {}
    if left.keys() != right.keys():
        lines["items"] = (
            f"items: base {len(left)}, tuned {len(right)}; "
            f"{len(left) - len(pairs)} only in base, {len(right) - len(pairs)} only in tuned"
        )
    for field in ("prompt_hash", "target_hash"):
        differing = [(b, t) for b, t in pairs if getattr(b, field) != getattr(t, field)]
        if differing:
            b, t = differing[0]
            lines[field] = (
                f"{field}: differs for {len(differing)} of {len(pairs)} items, first {b.item_key}: "
                f"base {getattr(b, field)!r}, tuned {getattr(t, field)!r}"
            )
    return pairs, lines


def _index_samples(evaluation: Evaluation) -> dict[str, Sample]:
    samples = list(evaluation.samples())
    indexed = {sample.item_key: sample for sample in samples}
    if len(indexed) != len(samples):
        raise InputError(
            f"{evaluation.folder}: {len(samples) - len(indexed)} samples repeat the item_key of another",
            "one sample per item",
            "delete this evaluation's folder and run the same command again",
        )
    return indexed


def check_comparable(base: Record, tuned: Record, refused: Collection[str]) -> None:
    if refused:
        differences = "".join(f"\n  {line}" for line in refused)
        raise NotComparableError(
            f"{sentences.describe(base)} and {sentences.describe(tuned)} were not measured the same way:{differences}",
            "equal settings, items, prompts, targets and metric signatures on both sides",
            "evaluate both again with the same settings, or name each difference to accept with --allow-mismatch",
        )
