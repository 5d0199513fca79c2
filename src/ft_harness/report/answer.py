"""The sentences that a report begins with, in every format."""

from __future__ import annotations

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.sentences import state_runs, state_study
from ft_harness.comparison.sweep_sentences import state_sweep
from ft_harness.report.untuned_section import state_untuned


def state_answer(study: Study) -> list[str]:
    """The sentences that a report begins with: what a sweep answers and how its runs differ from
    their base; else each comparison that decides."""
    if study.sweep is not None:
        return [*state_sweep(study.sweep), *state_runs(study)]
    return [*state_study(study), *state_untuned(study)]
