"""The types of a study: rows, comparisons, families, adapters, and all of them as what a report
shows, before any of it is drawn."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ft_harness.comparison.cases import CaseSummary, ConfusionPair
from ft_harness.comparison.measurement import NoInterval
from ft_harness.comparison.repeats import Repeats
from ft_harness.comparison.sweep_study import SweepStudy
from ft_harness.comparison.untuned import Untuned
from ft_harness.data.data_report import DataReport
from ft_harness.metrics.registry import DECIDING_METRICS
from ft_harness.records import Card, Frozen, HistoryEntry, Numerous, Record

Verdict = Literal["improved", "improved, not above majority", "worse", "no evidence"]
Role = Literal["trained task", "same data", "control task"]
Family = Literal["trained task", "control task"]
MOST_SHOWN = 30  # comparisons in figures, case sheets and confusion matrices; tables hold all


class Row(Numerous):
    """Of a study: one before/after number, an object of `rows.json`. Full precision; None where
    undefined."""

    task: str
    split: str
    metric: str
    base_subject: str
    tuned_subject: str | None
    base_settings: dict[str, Any]
    tuned_settings: dict[str, Any] | None
    base: float | None
    tuned: float | None = Field(description="null in the row of the majority class")
    delta: float | None = Field(description="tuned minus base")
    low: float | None = Field(description="lower end of the paired 95 % interval of delta")
    high: float | None
    p: float | None
    p_adjusted: float | None = Field(
        description="Holm over the family, where that was asked for; null: p itself decides"
    )
    primary: bool = Field(description="the primary metric of a trained task on test")
    n: int
    verdict: Verdict | None
    family: Family | None = Field(
        default=None, description="of the deciding rows; null: this row is descriptive"
    )
    decided_by: Literal["interval", "test", "items without overlap"] | None = Field(
        default=None, description="what prevented a verdict; null: interval and test agree"
    )
    n_clusters: int | None = Field(
        default=None, description="clusters that the n items make; null: each item alone"
    )
    interval_method: str | None = None
    p_method: str | None = None
    no_interval: NoInterval | None = Field(
        default=None,
        description="why there is neither interval nor p; null: there are both, or nothing was "
        "compared",
    )
    n_items: int | None = Field(default=None, description="items that base or tuned has; null: n")
    is_stated: bool = Field(
        default=False, description="another program's number as it stated it: nothing was tested"
    )
    footnotes: list[str] = Field(
        default=[],
        description="declared factors, accepted differences, and what could not be compared",
    )


class Comparison(Frozen):
    """Of a study: one task on one split, with base and tuned records, their rows, cases and
    words."""

    base: Record
    tuned: Record
    rows: list[Row] = Field(
        description="the majority class (classification), then one row per metric"
    )
    role: Role = Field(
        default="trained task",
        description="the task that the adapter was trained on, another form of its data, or a "
        "task that the training should not have harmed",
    )
    leading: str | None = Field(
        default=None, description="metric of the headline; null: that of the primary row"
    )
    companions: list[str] = Field(
        default=[], description="metrics that belong next to the headline, in their order"
    )
    detectable: float | None = Field(
        description="smallest difference of the headline's metric found with 80 % power"
    )
    finding: str = Field(description="the plain sentence of the headline")
    cautions: list[str] = Field(
        default=[], description="cautions next to the finding, one or two sentences each"
    )
    lost_classes: str | None = Field(
        default=None,
        description="the caution on classes whose recall is shown to have fallen; null: none is",
    )
    changed: bool = Field(default=True, description="whether any score of any item changed")
    above_majority: bool | None = Field(
        default=None,
        description="whether tuned is shown to be above the majority class and gives more than one "
        "answer; null: no classes, or not known",
    )
    cases: CaseSummary
    confusion: ConfusionPair | None = Field(
        default=None, description="gold against predicted labels; null: no classification"
    )
    without: Row | None = Field(
        default=None,
        description="the headline without the items that also occur in the training split, exactly "
        "or nearly; null: there are none, or the adapter has no data report",
    )
    others_without: list[Row] = Field(
        default=[], description="the same for all other metrics with scores in the samples"
    )

    @property
    def sentence(self) -> str:
        """The finding and its cautions."""
        return " ".join([self.finding, *self.cautions])

    @property
    def answer(self) -> Row:
        """The row that is reported: the headline, on unseen items if these have a difference."""
        # Without a difference of its own (too few items are left) it can't be stated.
        clean = self.without
        return self.headline if clean is None or clean.delta is None else clean

    @property
    def headline(self) -> Row:
        """The row that answers the question: the leading metric's, else the primary one, else 0/1
        scores, else the first."""
        measured = [row for row in self.rows if row.tuned_subject is not None]
        # What the reader asked for with --metric comes before what the task declares.
        primary = [row for row in measured if row.metric == self.leading]
        primary += [row for row in measured if row.primary]
        deciding = [row for name in DECIDING_METRICS for row in measured if row.metric == name]
        return [*primary, *deciding, *measured][0]

    def clean_rows(self) -> list[Row]:
        """All metrics without the items that also occur in the training split."""
        return [*([self.without] if self.without else []), *self.others_without]


class FamilyOf(Frozen):
    """Of a study: the deciding rows of one kind, among which a reader may pick the best."""

    name: Family
    members: list[str] = Field(description="adapter, task, split and metric of each")
    holm: bool = Field(description="whether p was adjusted over the members")


class AdapterRun(Frozen):
    """Of a study: one adapter, what it is made of, how its training went, and what its data is
    (None: not known)."""

    card: Card
    history: list[HistoryEntry]
    data: DataReport | None = None
    earlier: list[list[HistoryEntry]] = Field(
        default=[],
        description="histories of the card's lineage, in its order; one made elsewhere is empty",
    )
    written: dict[str, Any] | None = Field(
        default=None, description="what its recipe says, defaults left out; null: not known"
    )


class Study(Frozen):
    """The whole study: everything a report shows. Studies are compared by identity, so that derived
    results can be cached by study; comparing contents would take longer."""

    name: str
    comparisons: list[Comparison] = Field(
        description="sorted by task, then test, validation, train"
    )
    adapters: list[AdapterRun]
    notes: list[str] = Field(
        description="what a reader must know: overlap, invalid, truncated, mismatches allowed"
    )
    command: str = Field(description="the command that makes this report again")
    repeats: list[Repeats] = Field(
        default=[],
        description="one for each recipe that was trained, or adapter scored, with several seeds",
    )
    families: list[FamilyOf] = Field(default=[], description="what was decided, and how many")
    untuned: list[Untuned] = Field(
        default=[], description="models without an adapter that no comparison has as its base"
    )
    unread: list[str] = Field(
        default=[], description="files that should hold an evaluation and could not be read"
    )
    sweep: SweepStudy | None = Field(
        default=None, description="what varied on purpose; null: not one sweep"
    )

    # pydantic would compare contents, and refuse to hash lists.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def focus(self) -> Study:
        """The part to be read adapter by adapter: for a sweep with adapters, those of the reference
        and of the chosen setting; else the study itself."""
        if self.sweep is None or not self.sweep.trains:
            return self
        names = self.sweep.subjects()
        changed = {
            "comparisons": [each for each in self.comparisons if each.tuned.subject in names],
            "adapters": [each for each in self.adapters if each.card.name in names],
            "repeats": [each for each in self.repeats if names.issuperset(each.subjects)],
        }
        return self.model_copy(update=changed)

    def rows(self) -> list[Row]:
        """All rows, in the order of `rows.json`; those without overlapping items follow their
        comparison's."""
        return [
            row
            for comparison in self.comparisons
            for row in [*comparison.rows, *comparison.clean_rows()]
        ]
