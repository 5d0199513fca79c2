"""The report's section on cases: what became of the items, in which slices, and a few items of each
kind to read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

from ft_harness.comparison.aggregator import MOST_SHOWN, Comparison, Study
from ft_harness.comparison.amounts import NONE, difference, fixed
from ft_harness.comparison.cases import (
    CASES_FILE,
    DECIDING_METRICS,
    THRESHOLD,
    Case,
    CaseSummary,
    Transition,
)
from ft_harness.comparison.features import name_of
from ft_harness.report.answer_difference import find_difference
from ft_harness.report.cells import UNDEFINED, count, shown_answer
from ft_harness.report.document import (
    Block,
    Bullets,
    Cell,
    Heading,
    Marked,
    Number,
    Paragraph,
    Table,
    Verbatim,
)
from ft_harness.report.slice_section import LEGEND, slice_blocks
from ft_harness.report.view import main_comparisons

# shown only with a remark
_UNCHANGED: tuple[Transition, ...] = ("still right", "same")
_SAID = (
    "Slices are groups of items that share a trait; those with too few items are not counted. "
    f"{CASES_FILE} has items of each kind to read, with a column for remarks; the page has the "
    "slices, and every item to search."
)
_MANY_CHOICES = 6  # whose log-likelihoods still fit in columns


def case_summary(study: Study) -> list[Block]:
    """In the section on cases: what became of the items, one line per main comparison."""
    compared = [each for each in main_comparisons(study) if each.cases.counts]
    found = {name for each in compared for name in each.cases.counts or {}}
    shown = [name for name in get_args(Transition) if name in found]
    lines: list[list[Cell]] = []
    for each in compared:
        counts, verdicts = each.cases.counts or {}, [s.verdict for s in each.cases.slices or []]
        lines.append(
            [
                name_of(study, each),
                each.base.settings.split,
                *(count(counts.get(name)) for name in shown),
                *(count(verdicts.count(verdict)) for verdict in ("gained", "lost")),
            ]
        )
    header = ["Task", "Split", *(name.capitalize() for name in shown)]
    header += ["Slices gained", "Slices lost"]
    title = "What became of the items"
    kinds = "tt" + "n" * (len(header) - 2)
    return [Table("outcomes", title, header, lines, kinds), Paragraph(_SAID)] if lines else []


def case_section(study: Study) -> list[Block]:
    """The section on cases: slices, and items to read, of the first main comparisons."""
    every = main_comparisons(study)
    compared = every[:MOST_SHOWN]
    first = next((each for each in compared if each.cases.slices), None)  # above the legend
    blocks = [block for each in compared for block in _cases(study, each, legend=each is first)]
    said = f"The first {MOST_SHOWN} of {len(every)} comparisons; {CASES_FILE} has the items of all."
    return [Paragraph(said), *blocks] if len(every) > MOST_SHOWN else blocks


def _cases(study: Study, comparison: Comparison, *, legend: bool) -> list[Block]:
    title = f"{name_of(study, comparison)} ({comparison.base.settings.split})"
    summary = comparison.cases
    if summary.counts is None or summary.cases is None:
        return [Heading(3, title), Paragraph(summary.reason or "No cases.")]
    blocks: list[Block] = [
        Heading(3, title),
        _transitions(summary, title),
        *slice_blocks(summary, title),
    ]
    blocks += [Paragraph(LEGEND)] if legend else []
    if summary.metric is not None and summary.metric not in DECIDING_METRICS:
        step = difference(summary.metric, THRESHOLD).removeprefix("+")
        blocks.insert(
            2, Paragraph(f"Better or worse: {summary.metric} changed by at least {step} points.")
        )
    for transition, cases in summary.cases.items():
        shown = [case for case in cases if transition not in _UNCHANGED or case.why]
        if shown:
            number = summary.counts[transition]
            blocks.append(Heading(4, f"{transition.capitalize()} ({len(shown)} of {number} shown)"))
            blocks += [block for case in shown for block in _case(case)]
    return [*blocks, *_replies(summary)]


def _replies(summary: CaseSummary) -> list[Block]:
    """The models' own answers, where only given answers were compared."""
    if not summary.replies:
        return []
    blocks: list[Block] = [
        Heading(4, f"What the models write ({len(summary.replies)} prompts)"),
        Paragraph("Their own greedy answers; no score rests on them."),
    ]
    for reply in summary.replies:
        lines: list[list[Cell]] = [
            ["Base", shown_answer(reply.base)],
            ["Tuned", shown_answer(reply.tuned)],
        ]
        table = Table(None, "Answers of the models' own", ["", "Answer"], lines, "tt")
        blocks += [Verbatim(reply.prompt), table]
    return blocks


def _transitions(summary: CaseSummary, title: str) -> Table:
    """Counts of all items, and of each gold answer where these are classes."""
    counts = summary.counts or {}
    header = [name.capitalize() for name in counts]
    line: list[Cell] = [count(number) for number in counts.values()]
    kinds = "n" * len(header)
    if summary.by_gold is None:
        return Table("transitions", f"Transitions of {title}", header, [line], kinds)
    lines: list[list[Cell]] = [["all", *line]]
    lines += [
        [gold, *(count(number) for number in found.values())]
        for gold, found in summary.by_gold.items()
    ]
    return Table(
        "transitions", f"Transitions of {title}", ["Gold answer", *header], lines, f"t{kinds}"
    )


def _case(case: Case) -> list[Block]:
    """The prompt as a block, the answers as a table under it, then what is known of the item."""
    return [
        Heading(5, f"Item {case.item_key}"),
        Verbatim(case.prompt),
        _answers(case),
        *([Bullets(remarks)] if (remarks := _remarks(case)) else []),
    ]


def _answers(case: Case) -> Table:
    """Gold and both answers; where they were chosen, with the log-likelihood of each choice and
    its probability among them as share."""
    base, tuned = mark_answers(case.base_answer, case.tuned_answer)
    lines: list[list[Cell]] = [["Gold", case.gold], ["Base", base], ["Tuned", tuned]]
    choices = case.choices if case.choices and len(case.choices) <= _MANY_CHOICES else []
    lines[0] += [NONE] * len(choices)
    lines[1] += _log_likelihoods([choice.base for choice in choices])
    lines[2] += _log_likelihoods([choice.tuned for choice in choices])
    header = ["", "Answer", *(f"log p of {choice.name}" for choice in choices)]
    return Table(None, f"Answers to item {case.item_key}", header, lines, "tt" + "n" * len(choices))


def _log_likelihoods(values: Sequence[float | None]) -> list[Number]:
    best = max((value for value in values if value is not None), default=0.0)
    weights = [0.0 if value is None else math.exp(value - best) for value in values]
    return [
        UNDEFINED if value is None else Number(fixed(value, 2), value, weight / sum(weights))
        for value, weight in zip(values, weights, strict=True)
    ]


def mark_answers(base: str | None, tuned: str | None) -> tuple[Cell, Cell]:
    """In the section on cases: both answers as a reader sees them, with what distinguishes them
    marked."""
    texts = shown_answer(base), shown_answer(tuned)
    if not base or not tuned:
        return texts
    before, after = find_difference(*texts)
    return (Marked(texts[0], tuple(before), "base"), Marked(texts[1], tuple(after), "tuned"))


def _remarks(case: Case) -> list[str]:
    found = []
    if case.why:
        found.append(f"Why, from {CASES_FILE}: {case.why}")
    if case.nearest:
        text = " / ".join(case.nearest.text.splitlines())
        share = f"{fixed(100 * case.nearest.similarity, 0)} %"
        found.append(
            f"Nearest training example ({share} of the words in common, answer "
            f"{case.nearest.answer}): {text}"
        )
    if case.tags:
        found.append(f"Slices: {'; '.join(case.tags)}")
    return found
