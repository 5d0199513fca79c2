"""Cut a test set into slices (by length, overlap, negation, ... and by a user's own field), and
test what became of base to tuned in each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ft_harness import stats
from ft_harness.comparison.cases.traits import Trait
from ft_harness.comparison.cases.transitions import Transition, find_transitions
from ft_harness.comparison.measurement import Measurement
from ft_harness.comparison.pairing import Pairs
from ft_harness.errors import InputError
from ft_harness.records import Numerous
from ft_harness.storage.progress import progress

Array = NDArray[np.float64]
Tags = list[str | None]  # [items], the slice of one kind that each item is in
Values = Sequence[str | float | None]
MIN_ITEMS = 20  # fewer are shown without a test
_MOST_CATEGORIES = 30
_MOST_DIGITS = 7
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_FLAGS = {  # score of a generated answer -> (kind of slice, definition)
    "invalid": ("unreadable answer", "whose answer names no label or can't be read"),
    "truncated": ("answer cut", "whose answer was cut at the longest allowed length"),
    "run_on": ("run-on answer", "whose answer goes on with another turn or question"),
}


class Slice(Numerous):
    """One slice of a test set: some of the items, and what became of them."""

    kind: str = Field(description="what they were sliced by")
    value: str
    n: int = Field(description="items with a score on both sides")
    base: float | None
    tuned: float | None
    delta: float | None
    low: float | None = Field(description="lower end of the paired 95 % interval of delta")
    high: float | None
    p: float | None = Field(
        description="null: fewer than 20 items, or chosen by what a model answered"
    )
    p_adjusted: float | None = Field(description="Holm over the tested slices of the comparison")
    verdict: Literal["gained", "lost", "no evidence"] | None = Field(description="null where p is")
    from_answers: bool = Field(default=False, description="chosen by what a model answered")
    counts: dict[Transition, int]


def tag_items(values: Values, trait: Trait) -> Tags:
    """For one trait, the slice that each item is in: its category, or the quarter of the items that
    its number is in.

    Quarters are named by the smallest and the largest number in them; equal numbers are never
    parted, so that there may be fewer.
    """
    if trait.unit is None:
        return [None if value is None else str(value) for value in values]
    numbers = np.array(
        [np.nan if value is None else float(value) for value in values], dtype=np.float64
    )
    known = ~np.isnan(numbers)
    if not known.any():
        return [None] * len(numbers)
    # Edges are numbers that occur: an interpolated one would name a length that no item has.
    edges = np.quantile(numbers[known], [0.25, 0.5, 0.75], method="inverted_cdf")
    quarters = np.searchsorted(edges, numbers)  # NaN comes last, and is left out below
    ranges = [
        numbers[known & (quarters == quarter)] * trait.scale
        for quarter in np.unique(quarters[known])
    ]
    names = dict(
        zip(np.unique(quarters[known]).tolist(), _name_ranges(ranges, trait.unit), strict=True)
    )
    return [
        names[quarter] if has else None
        for quarter, has in zip(quarters.tolist(), known.tolist(), strict=True)
    ]


def _name_ranges(ranges: Sequence[Array], unit: str) -> list[str]:
    """Smallest and largest number of each, with as many decimals as it takes to tell them apart."""
    names: list[str] = []
    # More decimals until no range ends in the number that the next one begins with.
    for digits in range(2 if unit == "nats" else 0, _MOST_DIGITS):
        ends = [(f"{found.min():,.{digits}f}", f"{found.max():,.{digits}f}") for found in ranges]
        names = [
            f"{low} {unit}" if low == high else f"{low} to {high} {unit}" for low, high in ends
        ]
        if all(high != low for (_, high), (low, _) in pairwise(ends)):
            break
    return names


def tag_flags(pairs: Pairs) -> dict[str, tuple[Tags, str]]:
    """Kind -> (tags, definition) of the slices by answers that can be no good: in base, tuned, both
    or neither."""
    found: dict[str, tuple[Tags, str]] = {}
    for score, (kind, definition) in _FLAGS.items():
        base, tuned = (side[:, 0] == 1 for side in pairs.statistics(score))
        words = np.where(
            base & tuned, "both", np.where(base, "base", np.where(tuned, "tuned", "neither"))
        )
        if (words != "neither").any():
            found[kind] = (words.tolist(), f"items {definition}")
    return found


def measure_slices(
    pairs: Pairs, metric: str, tags: Mapping[str, Tags], from_answers: Iterable[str]
) -> list[Slice]:
    """Every slice with its test.

    p-values are adjusted (Holm) over all slices that are tested: those of at least 20 items that
    were chosen by what the items are. A slice chosen by what a model answered is no sample of items
    on which base and tuned could be exchanged, so that its difference is shown but not tested.
    """
    found: list[Slice] = []
    chosen_by_answers = set(from_answers)
    names = [(kind, value) for kind, labels in tags.items() for value in _sort(set(labels))]
    for kind, value in progress(names, "Measuring the slices"):
        inside = np.array(tags[kind], dtype=object) == value
        made = _measure(pairs.only(np.asarray(inside, dtype=np.bool_)), metric, (kind, value))
        # Items where the base was unsure can hardly get worse: regression to the mean, which a test
        # would call a gain.
        hidden = {"p": None, "from_answers": True} if kind in chosen_by_answers else {}
        found.append(made.model_copy(update=hidden))
    tested = [each for each in found if each.p is not None]
    adjusted = iter(stats.holm([each.p for each in tested if each.p is not None]))
    return [each if each.p is None else _judge(each, next(adjusted)) for each in found]


def _sort(values: Iterable[str | None]) -> list[str]:
    """Ranges by their numbers, categories by name."""

    def rank(value: str) -> tuple[float, str]:
        # By text "100 to 200" would come before "20 to 30".
        number = _NUMBER.match(value)
        return float(number[0].replace(",", "")) if number else math.inf, value

    return sorted((value for value in values if value is not None), key=rank)


def _measure(pairs: Pairs, metric: str, name: tuple[str, str]) -> Slice:
    difference = Measurement(pairs).difference(metric)
    before, after = (side[:, 0] for side in pairs.statistics(metric))
    low, high = difference.interval or (None, None)
    return Slice(
        kind=name[0],
        value=name[1],
        n=difference.n,
        base=difference.base,
        tuned=difference.tuned,
        delta=difference.delta,
        low=low,
        high=high,
        p=difference.p if difference.n >= MIN_ITEMS else None,
        p_adjusted=None,
        verdict=None,
        counts={
            transition: len(items)
            for transition, items in find_transitions(metric, before, after).items()
        },
    )


def _judge(made: Slice, p_adjusted: float) -> Slice:
    """The slice with its adjusted p and verdict; all deciding metrics are better the higher they
    are."""
    verdict = "no evidence"
    if (
        p_adjusted < stats.ALPHA
        and made.low is not None
        and made.high is not None
        and not made.low <= 0 <= made.high
    ):
        verdict = "gained" if made.low > 0 else "lost"
    return made.model_copy(update={"p_adjusted": p_adjusted, "verdict": verdict})


def check_categories(field: str, tags: Tags) -> None:
    """Refuse a user's field that has too many values to slice by.

    Raises:
        InputError: it has more than 30 values.
    """
    distinct = set(tags) - {None}
    if len(distinct) > _MOST_CATEGORIES:
        raise InputError(
            f"--slice-by {field}: {len(distinct)} different values",
            f"a field with at most {_MOST_CATEGORIES}, such as a category or a source",
            "name another field, or put the values into groups in the data",
        )
