"""The report's section on data: splits, their overlap, and the numbers without it."""

from __future__ import annotations

from ft_harness.comparison.aggregator import Row, Study
from ft_harness.data.data_report import DataReport, SplitData, describe_findings
from ft_harness.report.cells import MEASURED, UNDEFINED, count, measured_cells, share
from ft_harness.report.document import Block, Cell, Paragraph, Table, bullets, titled

_BARS = "▁▂▃▄▅▆▇█"
_SPLIT_COLUMNS = {
    "Adapter": "t",
    "Task": "t",
    "Split": "t",
    "Docs": "n",
    "Majority": "n",
    "Random": "n",
    "5 %": "n",
    "Median": "n",
    "95 %": "n",
    "Longest": "n",
    "Lengths": "t",
}
_WHOLE_AND_REST = ("Base", "Tuned", "Difference", "95 % interval", "n")
_LEGEND = (
    "Majority and random: the score of always giving the most frequent answer, or a random one. "
    "Lengths: of the prompts, in characters; the bars are ten bins of equal width from the "
    "shortest to the longest."
)


def data_section(study: Study) -> list[Block]:
    """The section on data: tables and lines of the adapters whose data is known; nothing where
    there is none.

    Adapters of the same data are listed together.
    """
    known: dict[str, tuple[DataReport, list[str]]] = {}
    for run in study.adapters:
        if run.data:
            known.setdefault(run.data.model_dump_json(), (run.data, []))[1].append(run.card.name)
    if not known:
        return []
    reports = [(", ".join(names), report) for report, names in known.values()]
    lines = [
        [names, report.task, *_split_cells(data)]
        for names, report in reports
        for data in report.splits
    ]
    found = [
        f"{names}: {line}" if len(reports) > 1 else line
        for names, report in reports
        for line in describe_findings(report)
    ]
    kinds = "".join(_SPLIT_COLUMNS.values())
    return [
        Table("data", "Data by split", list(_SPLIT_COLUMNS), lines, kinds),
        Paragraph(_LEGEND),
        *bullets(found),
        *_affected(study),
    ]


def _split_cells(data: SplitData) -> list[Cell]:
    sizes = data.lengths
    lengths: list[Cell] = [UNDEFINED] * 4
    if sizes:
        lengths = [count(value) for value in (sizes.p5, sizes.median, sizes.p95, sizes.longest)]
    bars: Cell = _bars(sizes.counts) if sizes else UNDEFINED
    return [
        data.split,
        count(data.n),
        share(data.majority_share),
        share(data.random_share),
        *lengths,
        bars,
    ]


def _bars(counts: list[int]) -> str:
    """One bar per bin, the lowest for an empty one."""
    steps = len(_BARS) - 2
    return "".join(_BARS[1 + count * steps // max(counts) if count else 0] for count in counts)


def _affected(study: Study) -> list[Block]:
    """The deciding metric of each comparison whose items also occur in the training split, with and
    without them."""
    lines: list[list[Cell]] = []
    for comparison in study.comparisons:
        without = comparison.without
        if without:
            whole = next(
                row for row in comparison.rows if row.metric == without.metric and row.tuned_subject
            )
            lines += [_row_cells(row) for row in (whole, without)]
    header = ["Adapter", "Task", "Split", "Metric", *_WHOLE_AND_REST]
    kinds = "tttt" + "".join(MEASURED[name] for name in _WHOLE_AND_REST)
    return titled(Table("overlap", "With and without the overlap", header, lines, kinds))


def _row_cells(row: Row) -> list[Cell]:
    cells = measured_cells(row)
    return [
        row.tuned_subject or UNDEFINED,
        row.task,
        row.split,
        row.metric,
        *(cells[name] for name in _WHOLE_AND_REST),
    ]
