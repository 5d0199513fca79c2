"""Which evaluations belong together, whether they may be compared, and their items paired one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness import sentences
from ft_harness.errors import ConfigError, InputError, NotComparableError, suggest
from ft_harness.records import Evaluation, Record, Sample, Settings
from ft_harness.score_table import Outcomes, find_samples, read_outcomes

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

EXECUTION = ("batch_size", "device")  # may differ, and is noted: changes scores by rounding only
# Hashes of the docs in their order and of a part of the task: items, prompts and targets are compared one by one.
_MAY_DIFFER = {*EXECUTION, "data_hash", "request_hash"}
FACTORS: dict[str, tuple[str, ...]] = {
    "shots": ("num_fewshot", "fewshot_ids", "fewshot_hash", "fewshot_as_multiturn", "prompt_hash"),
    "decoding": ("generation_kwargs",),
    "quantization": ("quantization",),
    "prompt": (
        *("task", "task_version", "task_hash", "chat_template_hash", "system_instruction", "fewshot_as_multiturn"),
        "prompt_hash",
    ),
    "model": ("model",),
    "head": ("head", "text_fields", "back_end", "prompt_hash"),
}  # what a study may vary on purpose -> the fields that may differ then
_OF_ITEMS = ("items", "prompt_hash", "target_hash")
_IN_SIGNATURES = {"task", "shots", "back-end", "dtype", "max_length"}  # parts that are compared as settings
_SHOWN = 48  # characters of a value in a message


@dataclass(frozen=True)
class Mismatch:
    """What is not the same on both sides."""

    field: str
    base: str
    tuned: str

    def __str__(self) -> str:
        return f"{self.field}: base {self.base}, tuned {self.tuned}"


@dataclass(frozen=True)
class Terms:
    """On which terms numbers may stand side by side though not all is equal.

    Attributes:
        factors: of `FACTORS`, what the study varies on purpose.
        allow_mismatch: further fields that may differ; `metric` stands for the signatures of all metrics.
    """

    factors: tuple[str, ...] = ()
    allow_mismatch: tuple[str, ...] = ()

    def factor_of(self, key: str) -> str | None:
        """The declared factor that a field belongs to."""
        return next((factor for factor in self.factors if key in FACTORS[factor]), None)

    def allows(self, key: str) -> bool:
        named = key in self.allow_mismatch or key.partition(" ")[0] in self.allow_mismatch
        return named or self.factor_of(key) is not None

    def footnotes(self, base: Record, tuned: Record, mismatches: dict[str, Mismatch]) -> Iterator[str]:
        """A line for each difference that stands beside the numbers, and one for what neither side tells."""
        for key, mismatch in mismatches.items():
            factor = self.factor_of(key)
            yield f"declared factor {factor}, {mismatch}" if factor else f"accepted difference, {mismatch}"
        unknown = find_unknown(base, tuned)
        if unknown and base.foreign:
            yield f"{base.foreign.program} does not say, so that equality was not checked: {', '.join(unknown)}"


_STRICT = Terms()


def check_terms(terms: Terms) -> None:
    """Every factor must be one of `FACTORS`, and every field that may differ one that is held against the other side's.

    Raises:
        ConfigError: one is not.
    """
    given: list[tuple[str, str, str, Collection[str]]] = [
        ("--factor", "factor", name, FACTORS) for name in terms.factors
    ]
    fields = _fields()
    given += [("--allow-mismatch", "field", name.partition(" ")[0], fields) for name in terms.allow_mismatch]
    for option, what, name, known in given:
        if name not in known:
            raise ConfigError(
                f"unknown {what} {name!r}{suggest(name, known)}", f"one of {', '.join(known)}", f"correct {option}"
            )


def _fields() -> Collection[str]:
    """What may be accepted as different by name."""
    settings = [field for field in Settings.model_fields if field not in _MAY_DIFFER]
    return [*_OF_ITEMS, "metric", "status", "model", "dtype", "quantization", "head", "filter", *settings]


def match_evaluations(
    evaluations: Sequence[Evaluation], terms: Terms = _STRICT
) -> tuple[list[tuple[Evaluation, Evaluation]], list[str]]:
    """Each adapter's evaluation with the base evaluation most like it, and a note for each that stays alone.

    A place is model, task, split, shots, limit and filter, without what is a declared factor.
    """
    bases = [evaluation for evaluation in evaluations if evaluation.record.adapter is None]
    by_place: dict[tuple[Any, ...], list[Evaluation]] = {}
    for base in bases:
        by_place.setdefault(_place(base.record, terms), []).append(base)
    matched, notes = [], []
    for tuned in evaluations:
        if tuned.record.adapter is None:
            continue
        partners = by_place.get(_place(tuned.record, terms), [])
        if partners:
            matched.append((min(partners, key=lambda base: len(find_mismatches(base.record, tuned.record))), tuned))
        else:
            notes.append(f"{sentences.describe(tuned.record)}: no base model was scored in this place, not compared")
    used = {id(base) for base, _ in matched}
    alone = [base.record for base in bases if id(base) not in used]
    notes += [f"{sentences.describe(record)}: no adapter was scored in this place, not compared" for record in alone]
    return matched, notes


def _place(record: Record, terms: Terms) -> tuple[Any, ...]:
    settings = record.settings
    free = {field for factor in terms.factors for field in FACTORS[factor]}
    model = None if "model" in free else record.model.identity
    shots = None if "num_fewshot" in free else settings.num_fewshot
    return model, settings.task, settings.split, shots, settings.limit, _filter(record)


def _filter(record: Record) -> str | None:
    return record.foreign.filter if record.foreign else None


def conditions_of(record: Record) -> dict[str, Any]:
    """Everything that makes a record's scores, besides the adapter; what is not known is None."""
    found = _stated(record)
    return found | dict.fromkeys(set(_unknown(record)) & found.keys())


def _unknown(record: Record) -> list[str]:
    return record.foreign.unknown if record.foreign else []


def find_unknown(base: Record, tuned: Record) -> list[str]:
    """What neither side tells, where one version of one program made both: there it need not differ."""
    if not base.foreign or not tuned.foreign or base.foreign.program != tuned.foreign.program:
        return []
    return [key for key in base.foreign.unknown if key in tuned.foreign.unknown]


def _stated(record: Record) -> dict[str, Any]:
    model = record.model
    precision = {"model": model.identity, "dtype": model.dtype, "quantization": model.quantization, "head": model.head}
    return precision | record.settings.model_dump() | {"filter": _filter(record)}


def find_mismatches(base: Record, tuned: Record) -> dict[str, Mismatch]:
    """What the records say and must be equal, by field; what one side does not say is not equal to anything."""
    left, right = (
        _stated(record) | {f"metric {score.metric}": _own_signature(score.signature) for score in record.scores}
        for record in (base, tuned)
    )
    unknown, same = (set(_unknown(base)), set(_unknown(tuned))), set(find_unknown(base, tuned))
    found: dict[str, Mismatch] = {}
    for key in left | right:
        sides = zip((left, right), unknown, strict=True)
        before, after = ("unknown" if key in hidden else repr(side.get(key)) for side, hidden in sides)
        if key not in _MAY_DIFFER | same and (before != after or before == "unknown"):
            found[key] = Mismatch(key, before, after)
    if {base.status, tuned.status} != {"complete"}:
        found["status"] = Mismatch("status", repr(base.status), repr(tuned.status))
    return found


def _own_signature(signature: str) -> str:
    """A signature without the settings in it, which are compared by themselves."""
    return "|".join(part for part in signature.split("|") if part.partition(":")[0] not in _IN_SIGNATURES)


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


def pair_items(base: Evaluation, tuned: Evaluation) -> tuple[Pairs, dict[str, Mismatch]]:
    """The items that both have, paired by key, and what differs of them.

    Raises:
        InputError: samples can't be read, or repeat an item key.
    """
    import pyarrow.compute as pc

    left, right = _read_unique(base), _read_unique(tuned)
    found = pc.index_in(left.texts.column("item_key"), value_set=right.texts.column("item_key"))
    base_rows = np.flatnonzero(found.is_valid().to_numpy())
    pairs = Pairs(left, right, base_rows, found.drop_null().to_numpy().astype(np.int64))
    found = {}
    if not len(left.texts) == len(right.texts) == len(pairs):
        sides = (f"{len(side.texts)} ({len(side.texts) - len(pairs)} only here)" for side in (left, right))
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


def check_comparable(base: Record, tuned: Record, refused: Sequence[Mismatch]) -> None:
    """
    Raises:
        NotComparableError: there is something to refuse; it shows what, in a column for each side.
    """
    if refused:
        raise NotComparableError(
            f"{sentences.describe(base)} and {sentences.describe(tuned)} were not measured the same way:"
            f"{_show(refused)}",
            "equal settings, items, prompts, targets and metric signatures on both sides",
            "evaluate both again with the same settings, or name each difference to accept with --allow-mismatch, "
            "or what the study varies with --factor",
        )


def _show(mismatches: Sequence[Mismatch]) -> str:
    """A line a field, its values in two columns."""
    table = [("", "base", "tuned"), *((each.field, _cut(each.base), _cut(each.tuned)) for each in mismatches)]
    first, second = (max(len(row[column]) for row in table) for column in (0, 1))
    return "".join(f"\n  {field:{first}}  {base:{second}}  {tuned}" for field, base, tuned in table)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]} …"
