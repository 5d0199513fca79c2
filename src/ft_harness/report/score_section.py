"""The report's sections on scores, before and after: the main table, other arrangements of it,
other splits and other metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ft_harness.comparison.aggregator import MOST_SHOWN, Comparison, Row, Study
from ft_harness.comparison.amounts import NONE, decimals
from ft_harness.comparison.features import TITLES, features_of, name_of, varying
from ft_harness.comparison.repeats import Repeats
from ft_harness.records import Record
from ft_harness.report.cells import (
    MEASURED,
    UNDEFINED,
    change,
    count,
    measured_cells,
    measured_columns,
    span_of,
    spread_of,
)
from ft_harness.report.document import (
    Block,
    Cell,
    Figure,
    Heading,
    Lines,
    Number,
    Paragraph,
    Table,
    bullets,
    titled,
)
from ft_harness.report.label_section import per_label_metrics
from ft_harness.report.view import View, determines, leading, main_comparisons

_SPLITS = ("train", "validation", "test")
_SIDE_BY_SIDE = 6  # values of a feature that still fit side by side
_PIVOTED = ("Base", "Tuned", "Difference", "n", "Verdict")
_MOST_NAMED = 8  # models on each side of the main table
_NAMES = ("split", "metric", "adapter", "task")  # features whose values say what they are
_LEGEND = (
    "Differences are tuned minus base, in percentage points where the score is in %. The interval "
    "is the paired 95 % interval of the difference. A row is improved or worse only if its "
    "interval excludes 0 and p is below 0.05. Only the primary metric of each trained task and of "
    "each control task decides; all other rows are descriptive. "
)
_DECIDED_BY = (
    "The column Decided by names what prevented a verdict: interval or test where they disagree, "
    "or the items that do not also occur in the training split. "
)
_NOT_ABOVE = (
    "Not above majority: the tuned model is not shown to be better than always giving the most "
    "frequent answer, or gives one answer to nearly all items. "
)
_HOLM = "p (Holm), adjusted over the deciding rows of a family as requested, decides. "
_UNDEFINED = f"A {NONE} means undefined, or not computed for this row."
_CAPTION = (
    "Primary metrics before and after: a dot with its 95 % interval for base and tuned; the dotted "
    "tick is the majority class, or the best rule without a model"
)
Chosen = list[tuple[Comparison, Row]]


def score_section(study: Study, view: View) -> list[Block]:
    """The section with the main table, what it says, and its figure."""
    chosen = _choose(study, view)
    if not chosen:
        return [] if study.untuned else [Paragraph("Nothing was compared.")]
    if view.columns:
        table = _pivot(study, chosen, view, ("scores", "Scores before and after"))
    else:
        names = ("scores", "Scores before and after")
        table = _marked_table(study, chosen, leading(study, view), names)
    return [
        table,
        Paragraph(f"{_sides(chosen)} {_legend(study, chosen)}{_tests(chosen)}"),
        *_footnotes(study, chosen),
        Figure("before_after", _caption(study)),
    ]


def _sides(chosen: Chosen) -> str:
    """The models behind Base and Tuned; the first ones if there are many."""
    sides = {
        "Base": [each.base for each, _ in chosen],
        "Tuned": [each.tuned for each, _ in chosen],
    }
    said: list[str] = []
    for side, records in sides.items():
        names = list(dict.fromkeys(map(_name_model, records)))
        left = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        said.append(f"{side}: {', '.join(names[:_MOST_NAMED])}{left}.")
    return " ".join(said)


def _tests(chosen: Chosen) -> str:
    """The tests behind p, with the metrics that each is of."""
    found: dict[str, dict[str, None]] = {}
    for _, row in chosen:
        if row.p is not None and row.p_method:
            found.setdefault(row.p_method, {})[row.metric] = None
    said = [f"of {', '.join(metrics)}: {method}" for method, metrics in found.items()]
    return f" p {'; '.join(said)}." if said else ""


def _name_model(record: Record) -> str:
    return record.model.pretrained if record.adapter is None else record.subject


def _legend(study: Study, chosen: Chosen) -> str:
    """What the tables of this study need to be read; a verdict only where this one has it."""
    rows = study.rows()
    needed = {
        _DECIDED_BY: any(row.decided_by for row in rows),
        _NOT_ABOVE: any(row.verdict == "improved, not above majority" for _, row in chosen),
        _HOLM: any(row.p_adjusted is not None for row in rows),
    }
    return _LEGEND + "".join(text for text, is_needed in needed.items() if is_needed) + _UNDEFINED


def _caption(study: Study) -> str:
    """The figure's caption, which says so where it does not show all."""
    primary = sum(
        any(row.primary and row.tuned_subject is not None for row in each.rows)
        for each in study.comparisons
    )
    left = f"; the first {MOST_SHOWN} of {primary} comparisons, all are in before_after.csv"
    return _CAPTION + (left if primary > MOST_SHOWN else "")


def _footnotes(study: Study, chosen: Chosen) -> list[Block]:
    """What differs between the sides of the rows shown, or could not be compared."""
    found: dict[str, dict[str, None]] = {}
    for each, row in chosen:
        for note in row.footnotes:
            found.setdefault(note, {})[f"{name_of(study, each)} ({row.split})"] = None
    return bullets([f"{', '.join(names)}: {note}" for note, names in found.items()])


def _choose(study: Study, view: View) -> Chosen:
    """The rows of the main table: primary ones with their majority class, or what the view asks
    for."""
    arranged = bool(view.rows or view.columns)
    chosen: Chosen = []
    for comparison in study.comparisons if arranged else main_comparisons(study):
        if view.metrics:
            rows = [
                row
                for row in comparison.rows
                if row.metric in view.metrics and (row.tuned_subject or not arranged)
            ]
        elif arranged:
            rows = [comparison.headline]
        else:
            rows = _primary_rows(comparison)
        chosen += [(comparison, row) for row in rows]
    return chosen


def _primary_rows(comparison: Comparison) -> list[Row]:
    """The row that answers the question, the same without items that also occur in the training
    split, and the majority class."""
    answer = comparison.headline
    majority = [
        row for row in comparison.rows if row.tuned_subject is None and row.metric == answer.metric
    ]
    return [answer, *([comparison.without] if comparison.without else []), *majority]


def _marked_table(
    study: Study, chosen: Chosen, features: list[str], names: tuple[str, str]
) -> Table:
    """As `long_table`, but rows that decide nothing have no verdict: they are descriptive."""
    table = long_table(study, chosen, features, names)
    place = table.header.index("Verdict")
    lines = [
        [*line[:place], "descriptive", *line[place + 1 :]] if _is_descriptive(each, row) else line
        for line, (each, row) in zip(table.rows, chosen, strict=True)
    ]
    return replace(table, rows=lines)


def _is_descriptive(comparison: Comparison, row: Row) -> bool:
    decides = row.primary or row.family is not None or row == comparison.without
    return row.verdict is not None and not decides


def long_table(study: Study, chosen: Chosen, features: list[str], names: tuple[str, str]) -> Table:
    """Rows of scores as a table, one line each: its features, then its numbers. `names`: of the
    file, and the title."""
    measured = measured_columns([row for _, row in chosen])

    def line(place: int) -> list[Cell]:
        comparison, row = chosen[place]
        found, cells = features_of(study, comparison, row), measured_cells(row)
        return [*(found[name] for name in features), *(cells[name] for name in measured)]

    header = [*(TITLES[name] for name in features), *measured]
    kinds = "t" * len(features) + "".join(MEASURED[name] for name in measured)
    return Table(*names, header, Lines(len(chosen), line), kinds)


def _pivot(study: Study, chosen: Chosen, view: View, names: tuple[str, str]) -> Table:
    """The values of the feature in the columns side by side, with `_PIVOTED` below each other for
    each combination of the leading features. No number is a mean of several: whatever distinguishes
    two rows leads a line. `names`: of the file, and the title."""
    assert view.columns
    features = leading(study, view)
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for comparison, row in chosen:
        shown = features_of(study, comparison, row)
        found.setdefault(tuple(shown[name] for name in features), {})[shown[view.columns]] = row
    values = list(dict.fromkeys(value for by_value in found.values() for value in by_value))
    # The order in which a reader expects them, not that of the alphabet or of the files.
    if view.columns == "split":
        values.sort(key=lambda value: _SPLITS.index(value) if value in _SPLITS else len(_SPLITS))
    title = TITLES[view.columns]
    named = [value if view.columns in _NAMES else f"{title} {value}" for value in values]
    header = [*(TITLES[feature] for feature in features), "", *named]
    return Table(
        *names, header, _stack(found, values), "t" * (len(features) + 1) + "n" * len(values)
    )


def _stack(
    found: Mapping[tuple[str, ...], Mapping[str, Row]], values: Sequence[str]
) -> list[list[Cell]]:
    """For each name a line of each of `_PIVOTED`, with one cell per value."""
    lines: list[list[Cell]] = []
    for names, by_value in found.items():
        cells = {value: measured_cells(row) for value, row in by_value.items()}
        lines += [
            [
                *names,
                what,
                *(cells[value][what] if value in cells else UNDEFINED for value in values),
            ]
            for what in _PIVOTED
        ]
    return lines


def side_by_side_section(study: Study) -> list[Block]:
    """The section with other arrangements of the main table: for each feature that varies, a table
    with its values side by side; of two that vary together, one."""
    chosen = [(each, each.headline) for each in main_comparisons(study)]
    blocks: list[Block] = []
    shown: list[str] = []
    for feature in varying(study):
        values = {features_of(study, comparison)[feature] for comparison, _ in chosen}
        same = [
            other
            for other in shown
            if determines(study, other, feature) and determines(study, feature, other)
        ]
        if 1 < len(values) <= _SIDE_BY_SIDE and not same:
            shown.append(feature)
            title = f"By {TITLES[feature].lower()}"
            table = _pivot(study, chosen, View(columns=feature), (f"by_{feature}", title))
            blocks += [Heading(3, title), table]
    return blocks


def split_section(study: Study) -> list[Block]:
    """The section on scores of several splits: base, tuned and difference of the deciding metric on
    separate lines, with one column per split."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for comparison in study.comparisons:
        deciding = comparison.headline
        found.setdefault((name_of(study, comparison), deciding.metric), {})[deciding.split] = (
            deciding
        )
    several = {names: by_split for names, by_split in found.items() if len(by_split) > 1}
    splits = [split for split in _SPLITS if any(split in by_split for by_split in several.values())]
    header = ["Task", "Metric", "", *(split.capitalize() for split in splits)]
    lines = _stack(several, splits)
    kinds = "ttt" + "n" * len(splits)
    return [Table("splits", "Scores by split", header, lines, kinds)] if lines else []


def metric_section(study: Study) -> list[Block]:
    """The section on other metrics: every one of the main comparisons that is not about one
    label."""
    chosen = [(each, row) for each in main_comparisons(study) for row in _overall_rows(each)]
    if not any(row.tuned_subject and not row.primary for _, row in chosen):
        return []
    names = ("metrics", "All metrics before and after")
    return [_marked_table(study, chosen, leading(study, View()), names)]


def method_blocks(study: Study) -> list[Block]:
    """Next to the scores: how the intervals and p of each metric were found, and on how many
    clusters of items they rest."""
    chosen = [(each, row) for each in main_comparisons(study) for row in _overall_rows(each)]
    found: dict[tuple[str, ...], Cell] = {}
    for _, row in chosen:
        if row.interval_method or row.p_method:
            found[row.task, row.metric, row.interval_method or NONE, row.p_method or NONE] = count(
                row.n_clusters
            )
    lines: list[list[Cell]] = [[*key, clusters] for key, clusters in found.items()]
    header = ["Task", "Metric", "Interval", "p", "Clusters"]
    title = "How intervals and p were found"
    return titled(Table("methods", title, header, lines, "ttttn", appendix=True))


def seed_section(study: Study) -> list[Block]:
    """The section on scores of several seeds: each adapter's difference, and what the seeds add to
    the error."""
    lines: list[list[Cell]] = []
    for found in study.repeats:
        names, metric = [found.task, found.split, found.metric], found.metric
        for subject, seed, delta in zip(found.subjects, found.seeds, found.deltas, strict=True):
            shown = _seed_change(study, found, subject, delta)
            lines.append([*names, subject, Number(str(seed), seed), shown, *[UNDEFINED] * 3])
        mean = change(metric, found.mean, decimals(metric, found.low, found.high))
        span = span_of(metric, found.low, found.high)
        errors = (spread_of(metric, error) for error in (found.seed_deviation, found.test_error))
        of = f"mean of {len(found.seeds)} seeds"
        lines.append([*names, of, UNDEFINED, mean, span, *errors])
    if not lines:
        return []
    header = ["Task", "Split", "Metric", "Adapter", "Seed", "Difference"]
    header += ["95 % interval, other seeds and items", "SD of seeds", "SE of items"]
    return [Table("seeds", "Differences by training seed", header, lines, "ttttnninn")]


def _seed_change(study: Study, repeats: Repeats, subject: str, delta: float) -> Cell:
    """The difference of one seed, as the row of its comparison shows it."""
    place = subject, repeats.task, repeats.split, repeats.metric, delta
    for row in study.rows():
        if (row.tuned_subject, row.task, row.split, row.metric, row.delta) == place:
            return measured_cells(row)["Difference"]
    return change(repeats.metric, delta)


def _overall_rows(comparison: Comparison) -> list[Row]:
    """The rows that are not about one label, unless it is the primary metric; the majority class is
    among them."""
    per_label = per_label_metrics(comparison)
    return [row for row in comparison.rows if row.primary or row.metric not in per_label]
