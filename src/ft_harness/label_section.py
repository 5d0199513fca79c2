"""The report's section on labels: precision, recall and F1 of each, and what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence

from ft_harness.aggregator import Comparison
from ft_harness.amounts import amount
from ft_harness.markdown import inline, table

_KINDS = ("precision", "recall", "f1")
_MANY_LABELS = 12  # a wider matrix is no longer read


def label_names(comparison: Comparison) -> list[str]:
    """Labels of a classification task: those with a recall."""
    return [row.metric.removeprefix("recall_") for row in comparison.rows if row.metric.startswith("recall_")]


def label_section(compared: Sequence[tuple[str, Comparison]]) -> list[str]:
    """Tables of the (name, comparison) pairs that are about labels; nothing where none is."""
    lines = [line for name, comparison in compared for line in _score_lines(name, comparison)]
    kinds = [f"{kind.capitalize()}, {who}" for kind in _KINDS for who in ("Base", "Tuned")]
    scores = [table(["Task", "Split", "Label", *kinds], lines, "lllrrrrrr")] if lines else []
    return [*scores, *(part for name, comparison in compared for part in _confusion_table(name, comparison))]


def _score_lines(name: str, comparison: Comparison) -> list[list[str]]:
    rows = {row.metric: row for row in comparison.rows if row.tuned_subject is not None}
    lines: list[list[str]] = []
    for label in label_names(comparison):
        metrics = [f"{kind}_{label}" for kind in _KINDS]
        pairs = [(rows[metric].base, rows[metric].tuned) if metric in rows else (None, None) for metric in metrics]
        scores = [amount(metric, value) for metric, pair in zip(metrics, pairs, strict=True) for value in pair]
        lines.append([name, comparison.base.settings.split, label, *scores])
    return lines


def _confusion_table(name: str, comparison: Comparison) -> list[str]:
    """Counts by gold (rows) and predicted label (columns), base and tuned; unreadable answers where there are any."""
    found = comparison.confusion
    if found is None or len(found.labels) > _MANY_LABELS:
        return []
    unread = any(row[-1] for row in [*found.base, *found.tuned])
    columns = [*found.labels, *(["no label"] if unread else [])]
    lines = [
        [who, label, *(str(count) for count in row[: len(columns)])]
        for who, counts in (("Base", found.base), ("Tuned", found.tuned))
        for label, row in zip(found.labels, counts, strict=True)
    ]
    title = f"{name} ({comparison.base.settings.split}): gold labels by row, predicted ones by column."
    return [inline(title), table(["", "Gold", *columns], lines, "ll" + "r" * len(columns))]
