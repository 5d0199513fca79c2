"""The cautions of comparisons that have no sentence of their own at the top."""

from __future__ import annotations

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.features import name_of
from ft_harness.comparison.sentences import state_study
from ft_harness.report.document import Block, bullets

_MOST_NAMED = 3  # comparisons that share a caution


def caution_section(study: Study) -> list[Block]:
    """The cautions of deciding comparisons that the sentences at the top leave to the table, each
    once."""
    stated = " ".join(state_study(study))
    found: dict[str, list[str]] = {}
    for comparison in study.comparisons:
        decides = any(row.family for row in comparison.rows)
        if decides and comparison.sentence not in stated:
            for caution in comparison.cautions:
                found.setdefault(caution, []).append(name_of(study, comparison))
    lines: list[str] = []
    for caution, names in found.items():
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        lines.append(f"{'; '.join(names[:_MOST_NAMED])}{more}: {caution}")
    return bullets(lines)
