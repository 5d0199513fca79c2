"""The report's section on perplexity: the items that weigh most in it, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.amounts import NONE, amount, fixed, shorten
from ft_harness.comparison.features import name_of
from ft_harness.records import Record
from ft_harness.report.cells import count
from ft_harness.report.document import Block, Cell, Heading, Number, Paragraph, Table
from ft_harness.report.view import main_comparisons

_TEXT = 160  # characters of an item's text


@dataclass(frozen=True)
class Outlier:
    """In the section on perplexity: one item, its losses in nats per unit."""

    item_key: str
    text: str
    units: int
    base: float
    tuned: float


@dataclass(frozen=True)
class Outliers:
    """In the section on perplexity: the items with the largest loss per unit under the tuned model,
    largest first.

    Attributes:
        tuned: the record that they were found in.
        metric: token_ppl, byte_ppl or char_ppl.
        share: of the tuned model's whole loss that is theirs, 0 to 1.
        base_without, tuned_without: perplexities of the other items; None: there are none.
    """

    tuned: Record
    metric: str
    items: list[Outlier]
    share: float
    base_without: float | None
    tuned_without: float | None


def perplexity_section(study: Study, outliers: Sequence[Outliers]) -> list[Block]:
    """A sentence and a table for each main comparison whose outliers are known."""
    return [
        block
        for comparison in main_comparisons(study)
        for found in outliers
        if (found.tuned.subject, found.tuned.eval_id)
        == (comparison.tuned.subject, comparison.tuned.eval_id)
        for block in _outliers(
            f"{name_of(study, comparison)} ({comparison.tuned.settings.split})", found
        )
    ]


def _outliers(title: str, found: Outliers) -> list[Block]:
    unit = found.metric.removesuffix("_ppl")
    before, after = (
        amount(found.metric, value) for value in (found.base_without, found.tuned_without)
    )
    said = (
        f"The {len(found.items)} items with the largest loss per {unit} after tuning hold "
        f"{fixed(100 * found.share, 1)} % of all loss. Without them {found.metric} is "
        f"{before} before and {after} after."
    )
    lines: list[list[Cell]] = [
        [
            item.item_key,
            count(item.units),
            _loss(item.base),
            _loss(item.tuned),
            shorten(item.text, _TEXT) or NONE,
        ]
        for item in found.items
    ]
    header = ["Item", f"{unit.capitalize()}s", "Loss, Base", "Loss, Tuned", "Text"]
    table = Table(
        "outliers", f"Items with the largest loss per {unit}, {title}", header, lines, "tnnnt"
    )
    return [Heading(3, title), Paragraph(said), table]


def _loss(value: float) -> Number:
    return Number(fixed(value, 2), value)
