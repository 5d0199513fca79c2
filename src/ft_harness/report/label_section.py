"""The report's section on labels: precision, recall and F1 of each, and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence

from ft_harness.comparison.aggregator import MOST_SHOWN, Comparison, Study
from ft_harness.comparison.features import name_of
from ft_harness.metrics.labels import recalled_label
from ft_harness.report.cells import score
from ft_harness.report.document import Block, Cell, Number, Paragraph, Table
from ft_harness.report.view import main_comparisons

_KINDS = ("precision", "recall", "f1")
_MANY_LABELS = 12  # a wider matrix is no longer read


def label_names(comparison: Comparison) -> list[str]:
    """For the section on labels: labels of a classification task, those with a recall."""
    return [label for row in comparison.rows if (label := recalled_label(row.metric))]


def per_label_metrics(comparison: Comparison) -> set[str]:
    """For the section on labels: those of the metrics shown that are about one label."""
    return {f"{kind}_{label}" for label in label_names(comparison) for kind in _KINDS}


def label_section(study: Study) -> list[Block]:
    """The section on labels: precision, recall and F1 of each, of the main comparisons; nothing
    where none has labels."""
    lines = [line for name, each in _named(study) for line in _score_lines(name, each)]
    kinds = [f"{kind.capitalize()}, {who}" for kind in _KINDS for who in ("Base", "Tuned")]
    header = ["Task", "Split", "Label", *kinds]
    return [Table("labels", "Scores by label", header, lines, "tttnnnnnn")] if lines else []


def confusion_blocks(study: Study) -> list[Block]:
    """In the section on labels: confusion matrices of the first main comparisons."""
    compared = _named(study)
    matrices = [
        block
        for name, comparison in compared[:MOST_SHOWN]
        for block in _confusion(name, comparison)
    ]
    if matrices and len(compared) > MOST_SHOWN:
        said = f"Confusion matrices of the first {MOST_SHOWN} of {len(compared)} comparisons:"
        matrices.insert(0, Paragraph(said))
    return matrices


def _named(study: Study) -> list[tuple[str, Comparison]]:
    return [(name_of(study, each), each) for each in main_comparisons(study)]


def _score_lines(name: str, comparison: Comparison) -> list[list[Cell]]:
    rows = {row.metric: row for row in comparison.rows if row.tuned_subject is not None}
    lines: list[list[Cell]] = []
    for label in label_names(comparison):
        metrics = [f"{kind}_{label}" for kind in _KINDS]
        pairs = [
            (rows[metric].base, rows[metric].tuned) if metric in rows else (None, None)
            for metric in metrics
        ]
        scores = [
            score(metric, value)
            for metric, pair in zip(metrics, pairs, strict=True)
            for value in pair
        ]
        lines.append([name, comparison.base.settings.split, label, *scores])
    return lines


def _confusion(name: str, comparison: Comparison) -> list[Block]:
    """Counts by gold (rows) and predicted label (columns), base and tuned; unreadable answers where
    there are any."""
    found = comparison.confusion
    if found is None or len(found.labels) > _MANY_LABELS:
        return []
    unread = any(row[-1] for row in [*found.base, *found.tuned])
    columns = [*found.labels, *(["no label"] if unread else [])]
    lines: list[list[Cell]] = [
        [who, label, *_shaded(row[: len(columns)])]
        for who, counts in (("Base", found.base), ("Tuned", found.tuned))
        for label, row in zip(found.labels, counts, strict=True)
    ]
    title = (
        f"{name} ({comparison.base.settings.split}): gold labels by row, predicted ones by column."
    )
    return [
        Paragraph(title),
        Table(
            "confusion",
            title,
            ["", "Gold", *columns],
            lines,
            "tt" + "n" * len(columns),
            is_matrix=True,
        ),
    ]


def _shaded(counts: Sequence[int]) -> list[Number]:
    """Counts of one gold label, each with its share of them: on the diagonal the recall."""
    total = sum(counts)
    return [Number(f"{number:,}", number, number / total if total else 0.0) for number in counts]
