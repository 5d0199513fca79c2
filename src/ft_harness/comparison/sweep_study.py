"""The types of a sweep's study: its points, their settings (points that differ in seeds alone), and
what each setting changes against the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from ft_harness.comparison.amounts import Sides, digits_of, shown_value
from ft_harness.records import Frozen

MeasuredSplit = Literal["validation", "test"]


def name_values(values: Mapping[str, Any], fields: Sequence[str] = ()) -> str:
    """`train_size 200, r 8`: these fields, or all, by their own names."""
    shown = fields or list(values)
    return ", ".join(f"{field_name(name)} {shown_value(values[name])}" for name in shown)


def field_name(name: str) -> str:
    """The field's name without its section."""
    return name.rpartition(".")[2]


class PointResult(Frozen):
    """One point of a sweep and what became of it."""

    name: str
    values: dict[str, Any] = Field(description="section.field -> value, seeds left out")
    seeds: dict[str, int] = Field(description="the seeds that vary")
    is_reference: bool
    adapter: str | None = Field(
        default=None, description="the subject that was scored; null: a base model, or none"
    )
    reason: str | None = Field(default=None, description="why there is no result; null: there is")


class Change(Frozen):
    """Of a setting: a metric before and after on the same items, over one seed or several."""

    before: float | None
    after: float | None
    delta: float | None
    low: float | None = Field(
        description="lower end of the 95 % interval; of several seeds for other seeds and items"
    )
    high: float | None
    p: float | None
    seeds: int
    n: int
    note: str | None = Field(default=None, description="why there is no difference; null: there is")

    def digits(self, metric: str) -> int:
        """Decimals with which the scores and their difference are shown."""
        return digits_of(Sides(metric, self.before, self.after, self.low, self.high))


class SettingScore(Frozen):
    """One metric of one setting over its seeds."""

    split: MeasuredSplit
    metric: str
    values: list[float | None] = Field(description="of each seed")
    evaluations: list[str] = Field(description="eval_id of each seed's")
    mean: float | None
    low: float | None = Field(
        description="lower end of the 95 % interval: of the score, for one seed; of the mean, for "
        "other seeds and other items alike, for several on the same items; else null"
    )
    high: float | None
    deviation: float | None = Field(description="standard deviation over the seeds; null: one")
    n: int = Field(description="items of a seed, the fewest")
    same_items: bool = Field(
        default=True, description="whether all seeds have the same; else the mean has no interval"
    )
    base: float | None = Field(
        default=None, description="of the base scored the same way; null: nothing was trained"
    )
    change: Change | None = Field(
        default=None, description="from that base, over several seeds; null: one seed, or no base"
    )
    is_primary: bool
    higher_is_better: bool


class Effort(Frozen):
    """What a setting takes, the mean over its seeds; a stretch with all those that led there."""

    parameters: int | None = Field(description="of the base model; null: not known")
    trainable_parameters: int = Field(description="0: nothing was trained")
    rows: int = Field(description="that training reads, epochs included; 0: nothing was trained")
    seconds: float | None = Field(
        description="of training, of scoring where nothing was trained; null: not known"
    )

    def add(self, later: Effort) -> Effort:
        """With what another training takes that goes on from this one."""
        known = self.seconds is not None and later.seconds is not None
        return later.model_copy(
            update={
                "rows": self.rows + later.rows,
                "seconds": (self.seconds or 0.0) + (later.seconds or 0.0) if known else None,
            }
        )


class Setting(Frozen):
    """Points that differ in seeds alone."""

    values: dict[str, Any]
    is_reference: bool
    points: list[str] = Field(description="those with a result")
    failed: list[str]
    seeds: int = Field(description="points with a result")
    scores: list[SettingScore]
    effort: Effort | None = Field(description="null: no point has a result")

    def score(self, split: str, metric: str | None = None) -> SettingScore | None:
        """The score of a metric; None: of the primary one."""
        found = (each for each in self.scores if each.split == split)
        return next(
            (each for each in found if (each.metric == metric if metric else each.is_primary)), None
        )


def find_best_stretch(
    settings: Sequence[Setting], stretches: Sequence[str]
) -> tuple[SettingScore, Setting, Setting] | None:
    """Of a sweep's settings: (the best's score, best, last) of the stretches that have the
    reference's values of all else that varies: on validation, else on test.

    None: the last has no score, or there is only one.
    """
    reference = next(each for each in settings if each.is_reference).values
    held = [name for name in reference if name not in stretches]
    chain = [each for each in settings if all(each.values[n] == reference[n] for n in held)]
    if not stretches or len(chain) < 2:
        return None
    # Validation first: what test shows must not have chosen where to stop.
    for split in ("validation", "test"):
        scores = [(each.score(split), each) for each in chain]
        known = [(score, each) for score, each in scores if score and score.mean is not None]
        if known:
            sign = 1 if known[0][0].higher_is_better else -1
            # Of equal stretches `max` keeps the first, the shorter training.
            score, best = max(known, key=lambda entry: sign * (entry[0].mean or 0.0))
            return (score, best, chain[-1]) if known[-1][1] is chain[-1] else None
    return None


class Effect(Frozen):
    """Of a setting: its primary metric against the reference's, item by item and seed by seed."""

    values: dict[str, Any]
    differs_in: list[str] = Field(description="fields in which it is not the reference")
    split: MeasuredSplit
    metric: str
    change: Change
    p_adjusted: float | None = Field(
        default=None, description="Holm over the settings of this split"
    )

    @property
    def is_significant(self) -> bool:
        """Whether p, adjusted, and the interval both say that there is a difference."""
        # p is adjusted over the settings and the interval is not, so that they may disagree.
        ends = (self.change.low, self.change.high)
        if self.p_adjusted is None or ends[0] is None or ends[1] is None:
            return False
        return self.p_adjusted < 0.05 and not ends[0] <= 0 <= ends[1]


class ChoiceMade(Frozen):
    """Of a sweep's study: which setting was chosen on validation."""

    metric: str
    split: MeasuredSplit
    ranking: list[dict[str, Any]] = Field(description="values of the settings, best first")
    simplest: dict[str, Any]
    is_within_noise: bool = Field(
        description="whether the best is not shown to be better than the simplest"
    )
    looks: list[str] = Field(
        description="what has been scored on this test set so far, the reference left out"
    )

    @property
    def chosen(self) -> dict[str, Any]:
        return self.ranking[0]


class SweepStudy(Frozen):
    """What varied, the result of each point, and what each setting changes."""

    name: str
    axes: list[list[str]] = Field(description="groups of fields that vary as one, without seeds")
    stretches: list[str] = Field(description="the axis of trainings that continue each other")
    trains: bool
    points: list[PointResult]
    settings: list[Setting]
    effects: list[Effect]
    overfitting: Effect | None = Field(
        default=None,
        description="from the best stretch to the last one; null: the last one is the best, or has "
        "no score",
    )
    choice: ChoiceMade | None = Field(
        default=None, description="null: nothing was to be chosen, or nothing could be"
    )
    written: dict[str, Any] | None = Field(
        default=None, description="what its recipe and its options say; null: not known"
    )

    @property
    def reference(self) -> Setting:
        return next(each for each in self.settings if each.is_reference)

    @property
    def split(self) -> MeasuredSplit:
        """The deciding split: test, if the reference was scored there and nothing is chosen."""
        # A choice is made on validation; ranking the settings by test as well would undo that.
        tested = any(each.split == "test" for each in self.reference.scores)
        return "test" if tested and self.choice is None else "validation"

    @property
    def varied(self) -> list[str]:
        """The fields that vary, without the seeds."""
        return [name for axis in self.axes for name in axis]

    def subjects(self) -> set[str]:
        """The adapters of the reference, and of the setting that was chosen."""
        chosen = self.choice.chosen if self.choice else None
        return {
            each.adapter
            for each in self.points
            if each.adapter and (each.is_reference or each.values == chosen)
        }

    def digits(self, split: str) -> int | None:
        """Decimals with which the primary numbers of all settings on a split add up; None: there
        are none."""
        scores = [each.score(split) for each in self.settings]
        made = [(each.metric, each.change) for each in scores if each and each.change]
        made += [(each.metric, each.change) for each in self.effects if each.split == split]
        return max((change.digits(metric) for metric, change in made), default=None)

    def lacks_choice(self) -> bool:
        """Whether a choice was asked for that could not be made."""
        return self.choice is None and bool((self.written or {}).get("sweep", {}).get("choose"))

    def failed(self) -> list[PointResult]:
        return [each for each in self.points if each.reason is not None]
