"""The report's part on slices: which groups of items gained or lost."""

from __future__ import annotations

from ft_harness.comparison.amounts import Sides, digits_of
from ft_harness.comparison.cases import MIN_ITEMS, CaseSummary, Slice, Transition
from ft_harness.report.cells import chance, change, count, score, span_of
from ft_harness.report.document import Block, Cell, Paragraph, Table

_CHANGED: tuple[Transition, ...] = ("corrected", "better", "broken", "worse")
LEGEND = (
    "Slices show where to look; they prove nothing, since they were not chosen before the results "
    "were seen. p (Holm) is adjusted over the tested slices of one comparison, and slices overlap. "
    f"Slices of fewer than {MIN_ITEMS} items are not tested, nor are those that depend on a "
    "model's own answers: where the base was unsure there is room to gain, and "
    "where it was sure there is more to lose, whatever the training did."
)


def slice_blocks(summary: CaseSummary, title: str) -> list[Block]:
    """What a report says of slices: a sentence, the slices that lost or gained, and a table of all
    others; nothing if there are no slices."""
    slices = summary.slices
    if not slices or summary.metric is None:
        return []
    tested = [each for each in slices if each.verdict]
    lost = [each for each in tested if each.verdict == "lost"]
    lost.sort(key=lambda each: each.delta or 0.0)
    gained = [each for each in tested if each.verdict == "gained"]
    gained.sort(key=lambda each: -(each.delta or 0.0))
    others = [each for each in slices if each.verdict not in ("lost", "gained")]
    some = (
        f" of {summary.n_sliced:,} items drawn"
        if summary.n_sliced and summary.n_sliced < sum((summary.counts or {}).values())
        else ""
    )
    sentence = f"Of {len(tested)} tested slices{some} {len(gained)} gained, {len(lost)} lost"
    sentence += f" and {len(tested) - len(gained) - len(lost)} show no evidence of a difference."
    blocks: list[Block] = [
        Paragraph(sentence if tested else "There are too few items to test a slice.")
    ]
    if lost or gained:
        blocks.append(
            _table(summary, [*lost, *gained], ("slices", f"Slices that lost or gained, {title}"))
        )
    if others:
        blocks.append(Paragraph("All other slices:"))
        blocks.append(
            _table(summary, others, ("other_slices", f"Other slices of {title}"), appendix=True)
        )
    kinds = [[kind, definition] for kind, definition in summary.definitions.items()]
    return [
        *blocks,
        Table("slice_kinds", f"What the slices of {title} are", ["Slice", "By"], kinds, "tt", True),
    ]


def _table(
    summary: CaseSummary, slices: list[Slice], name: tuple[str, str], *, appendix: bool = False
) -> Table:
    metric = summary.metric or ""
    changed = [transition for transition in _CHANGED if transition in (summary.counts or {})]
    header = ["Slice", "n", "Base", "Tuned", "Difference", "95 % interval", "p (Holm)"]
    header += [*(transition.capitalize() for transition in changed), "Verdict"]
    lines: list[list[Cell]] = [
        [
            f"{found.kind}: {found.value}",
            count(found.n),
            *_numbers(metric, found),
            chance(found.p_adjusted),
            *(count(found.counts[transition]) for transition in changed),
            found.verdict or ("not tested" if found.from_answers else "too few"),
        ]
        for found in slices
    ]
    return Table(*name, header, lines, f"tnnnnin{'n' * len(changed)}t", appendix=appendix)


def _numbers(metric: str, found: Slice) -> list[Cell]:
    """Base, tuned, their difference and its interval, which add up as they are shown."""
    digits = digits_of(Sides(metric, found.base, found.tuned, found.low, found.high))
    return [
        score(metric, found.base, digits),
        score(metric, found.tuned, digits),
        change(metric, found.delta, digits),
        span_of(metric, found.low, found.high, digits),
    ]
