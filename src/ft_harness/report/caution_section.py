"""The cautions of comparisons that have no sentence of their own at the top, and what the settings
of a sweep cost on control tasks."""

from __future__ import annotations

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.features import name_of
from ft_harness.comparison.setting_answers import find_answers, state_losses
from ft_harness.comparison.sweep_study import name_values
from ft_harness.report.answer import state_answer

_MOST_NAMED = 3  # comparisons that share a caution


def state_cautions(study: Study) -> list[str]:
    """The cautions of deciding comparisons that the sentences at the top leave to the table, each
    once."""
    stated = " ".join(state_answer(study))
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
    return [*lines, *_state_losses(study)]


def _state_losses(study: Study) -> list[str]:
    """What each setting of a sweep cost on its control tasks."""
    answers = find_answers(study)
    settings = study.sweep.settings if study.sweep else []
    found = [(name_values(each.values), state_losses(answers, each)) for each in settings]
    return [f"{name}: {', '.join(losses)}." for name, losses in found if losses]
