"""The report's section on data: splits, what stands in several of them, and the numbers without it."""

from __future__ import annotations

from ft_harness.aggregator import Row, Study
from ft_harness.amounts import NONE, amount, difference, interval
from ft_harness.data_report import DataReport, SplitData, describe_findings
from ft_harness.markdown import inline, table

_BARS = "▁▂▃▄▅▆▇█"
_SPLIT_HEADER = [
    "Adapter",
    "Task",
    "Split",
    "Docs",
    "Majority",
    "Random",
    "5 %",
    "Median",
    "95 %",
    "Longest",
    "Lengths",
]
_ROW_HEADER = ["Adapter", "Task", "Split", "Metric", "Base", "Tuned", "Difference", "95 % interval", "n"]
_LEGEND = (
    "Majority and random: what always giving the most frequent answer, or any, scores. Lengths: of the prompts, in "
    "characters; the bars are ten bins of equal width from the shortest to the longest."
)


def data_section(study: Study) -> list[str]:
    """Tables and lines of the adapters whose data is known; nothing where there is none.

    Adapters of the same data stand together.
    """
    known: dict[str, tuple[DataReport, list[str]]] = {}
    for run in study.adapters:
        if run.data:
            known.setdefault(run.data.model_dump_json(), (run.data, []))[1].append(run.card.name)
    if not known:
        return []
    reports = [(", ".join(names), report) for report, names in known.values()]
    lines = [[names, report.task, *_split_cells(data)] for names, report in reports for data in report.splits]
    found = [
        f"{names}: {line}" if len(reports) > 1 else line
        for names, report in reports
        for line in describe_findings(report)
    ]
    return [
        table(_SPLIT_HEADER, lines, "lllrrrrrrrl"),
        _LEGEND,
        *(["\n".join(f"- {inline(line)}" for line in found)] if found else []),
        *_affected(study),
    ]


def _share(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f} %"


def _split_cells(data: SplitData) -> list[str]:
    sizes = data.lengths
    lengths = [str(value) for value in (sizes.p5, sizes.median, sizes.p95, sizes.longest)] if sizes else [NONE] * 4
    bars = _bars(sizes.counts) if sizes else NONE
    return [data.split, str(data.n), _share(data.majority_share), _share(data.random_share), *lengths, bars]


def _bars(counts: list[int]) -> str:
    """A bar a bin, the lowest for none."""
    steps = len(_BARS) - 2
    return "".join(_BARS[1 + count * steps // max(counts) if count else 0] for count in counts)


def _affected(study: Study) -> list[str]:
    """The deciding metric of each comparison whose items also stand in the training split, with and without them."""
    lines: list[list[str]] = []
    for comparison in study.comparisons:
        without = comparison.without
        if without:
            whole = next(row for row in comparison.rows if row.metric == without.metric and row.tuned_subject)
            lines += [_row_cells(row) for row in (whole, without)]
    return ["### With and without the overlap", table(_ROW_HEADER, lines, "llllrrrrr")] if lines else []


def _row_cells(row: Row) -> list[str]:
    return [
        row.tuned_subject or NONE,
        row.task,
        row.split,
        row.metric,
        amount(row.metric, row.base),
        amount(row.metric, row.tuned),
        difference(row.metric, row.delta),
        interval(row),
        str(row.n),
    ]
