"""What a metric is: how the statistics of single items become its value, and how far an item's
score may lie from the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = list[float]
# metric -> what one doc gives it; None if it can't be scored
Scores = dict[str, float | Statistics | None]
Sums = NDArray[np.float64]  # [..., K]: summed statistics, K per metric
Values = NDArray[np.float64]  # [...]
ALIKE = 0.05  # of the scale: scores that differ by less are nearly the same
# Standard deviations from the mean to an item that the test set lacks: of one side's scores; of
# each side's, where two are compared; of the changes, where most items change.
_REACH, _PAIRED_REACH, _CHANGE_REACH = 4.0, 2.0, 1.75
_SLACK = 1e-6
_CHANGING = 0.2  # of a side's standard deviation: half of the items change by more or less


@dataclass(frozen=True)
class Metric:
    """How the statistics of a metric become its value.

    Attributes:
        aggregate: (sums [..., K], n: a number or [...]) -> values [...]; NaN where undefined.
        scale: largest value (1; 2 for Brier's score, 100 for BLEU and chrF, infinite for
            perplexities, NaN for means of nats, which have neither a largest nor a smallest).
        least: smallest value, where `scale` is a number or infinite.
        digits: decimals that a report shows (of the per cent, where the largest value is 1).
        binary: each item is 0 or 1 and the value their mean.
        edges_of: what `edges` gives; None: the ends of a mean.
        weight: column of the statistics by which the value weights items, such as tokens; None:
            items count alike.
        descriptive: no interval holds for it, so that it has none, no test and no verdict.
        version: part of a score's identity; raise it when the same answers give another value.
        definition: what defines it beyond its name (normaliser, tokenizer, library and version), or
            a function that returns it for the language of the texts; "": the name is enough.
    """

    name: str
    aggregate: Callable[[Sums, Any], Values]
    higher_is_better: bool = True
    scale: float = 1.0
    least: float = 0.0
    digits: int = 1
    binary: bool = False
    version: int = 1
    edges_of: Callable[[Sequence[Sums]], list[Sums]] | None = None
    weight: int | None = None
    descriptive: bool = False
    definition: str | Callable[[str | None], str] = ""

    def check(self, item: float | Statistics) -> None:
        """Refuse what no item can give a mean: several numbers, or one beyond the scale.

        Raises:
            TypeError, ValueError: it is one.
        """
        if self.aggregate is not mean:
            return
        if isinstance(item, list):
            if len(item) != 1:
                raise TypeError(f"{self.name} is a list of {len(item)} numbers, not a number")
            (item,) = item
        slack = _SLACK * self.scale  # of what was rounded; no comparison with NaN is true
        if item < self.least - slack or item > self.scale + slack:
            raise ValueError(f"{self.name} is {item:g}, beyond {self.least:g} to {self.scale:g}")

    def edges(self, sides: Sequence[Sums]) -> list[Sums]:
        """An unseen item's statistics at the two ends of what is possible, for each side [G, 2, K]:
        for each of G kinds of items (such as gold labels); one kind where items differ by degree.

        The ends of a mean are `least` and `scale`; where fewer than half of the items have nearly
        the same score, as far from the mean as `reaches` says, if that is less.
        """
        if self.edges_of is not None:
            return self.edges_of(sides)
        scores = [side[:, 0] for side in sides]
        return [
            np.array([[[self.least], [self.scale]]])
            if usual_distance(side) < ALIKE * self.scale
            else (side.mean() + reach * np.array([[[-1.0], [1.0]]])).clip(self.least, self.scale)
            for side, reach in zip(scores, reaches(scores), strict=True)
        ]

    def value(self, statistics: Sequence[float | Statistics | None]) -> float | None:
        """The metric over the items that have statistics; None for no such item or where it is
        undefined."""
        scored = [item for item in statistics if item is not None]
        if not scored:
            return None
        return self.value_of(
            add_up(np.array(scored, dtype=np.float64).reshape(len(scored), -1)), len(scored)
        )

    def value_of(self, sums: Sums, n: int) -> float | None:
        """The metric of n items from the sums [K] of their statistics; None as in `value`."""
        if not n:
            return None
        value = float(self.aggregate(sums, n))
        return value if math.isfinite(value) else None


def usual_distance(scores: Values) -> Values:
    """How far apart most items' scores are, whatever a few of them do: median distance from the
    median of scores [n, ...]."""
    distance: Values = np.median(np.abs(scores - np.median(scores, axis=0)), axis=0)
    return distance


def reaches(sides: Sequence[Values]) -> list[Values]:
    """How far from the mean of a metric's scores [n, ...] that of an item may lie that the test set
    lacks, for each side.

    Four standard deviations of one side; of two sides two each, which allows a change of four.
    Where most items change, a change as large would be out of line: there one and three quarters
    standard deviations of the changes, if that is less.
    """
    spreads = [side.std(axis=0) for side in sides]
    if len(sides) == 1:
        return [_REACH * spreads[0]]
    changes = sides[1] - sides[0]
    is_usual = usual_distance(changes) >= _CHANGING * np.maximum(*spreads)
    most = np.where(is_usual, _CHANGE_REACH * changes.std(axis=0), np.inf)
    return [np.minimum(_PAIRED_REACH * spread, most) for spread in spreads]


def add_up(rows: Sums) -> Sums:
    """Sums [K] of per-item statistics [n, K], zeros for no items.

    Items are added one after the other, as the official SQuAD scorer does: its figures come out to
    the last digit. So does numpy with several columns, but not with one.
    """
    one_column = rows.shape[1] == 1 and len(rows) > 0
    sums: Sums = rows.cumsum(axis=0)[-1] if one_column else rows.sum(axis=0)
    return sums


def mean(sums: Sums, n: int) -> Values:
    """Value of a metric: mean of per-item numbers."""
    return sums[..., 0] / n


def ratio(numerator: Values, denominator: Values) -> Values:
    """Value of a metric: numerator / denominator, NaN where the denominator is 0."""
    is_defined = denominator > 0
    # nearly always of all: ten thousand weightings leave no class without weight
    if is_defined.all():
        values: Values = numerator / denominator
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(is_defined, numerator / denominator, np.nan)


def or_zero(values: Values) -> Values:
    """Values of a metric, 0 where they are undefined."""
    is_undefined = np.isnan(values)
    return np.where(is_undefined, 0.0, values) if is_undefined.any() else values
