"""The order of a report: the answer first, then the evidence, then what made it."""

from __future__ import annotations

from collections.abc import Sequence

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.answers import state_sweep
from ft_harness.comparison.sentences import state_study
from ft_harness.report.case_section import case_section
from ft_harness.report.caution_section import caution_section
from ft_harness.report.cost_section import cost_section, size_section
from ft_harness.report.data_section import data_section
from ft_harness.report.document import Document, bullets, section
from ft_harness.report.evidence_section import (
    command_section,
    provenance_section,
    signature_section,
)
from ft_harness.report.family_section import (
    family_section,
    forgetting_section,
    same_data_section,
)
from ft_harness.report.label_section import label_section
from ft_harness.report.limits_section import limits_section
from ft_harness.report.perplexity_section import Outliers, perplexity_section
from ft_harness.report.score_section import (
    metric_section,
    score_section,
    seed_section,
    side_by_side_section,
    split_section,
)
from ft_harness.report.sweep_section import sweep_section
from ft_harness.report.training_section import training_section
from ft_harness.report.untuned_section import state_untuned, untuned_section
from ft_harness.report.view import View


def build_document(
    study: Study, view: View | None = None, outliers: Sequence[Outliers] = ()
) -> Document:
    """The report of a study, from the sentences down to the software; sections without anything to
    say are left out.

    `view` is what the main table shows, `outliers` are the items that weigh most in perplexities,
    where they are known.
    """
    focus = study.focus()
    sections = {
        "Sweep": sweep_section(study.sweep),
        "Cautions": caution_section(focus),
        "Scores": score_section(study, view or View()),
        "Models without an adapter": untuned_section(study),
        "Side by side": side_by_side_section(focus),
        "Scores by split": split_section(focus),
        "Scores by label": label_section(focus),
        "Forgetting": forgetting_section(study),
        "Other forms of the data": same_data_section(study),
        "Families": family_section(study),
        "Perplexity": perplexity_section(focus, outliers),
        "Training seeds": seed_section(focus),
        "Training size": size_section(focus),
        "What was not measured": limits_section(focus),
        "Notes": bullets(focus.notes),
        "Data": data_section(focus),
        "Training": training_section(focus),
        "Cost": cost_section(study),
        "Cases": case_section(focus),
        "All metrics": metric_section(focus),
        "Commands": command_section(focus),
        "Signatures": signature_section(focus),
        "Provenance": provenance_section(study),
    }
    blocks = [block for title, found in sections.items() for block in section(title, found)]
    if study.sweep is not None:
        return Document(study.name, [*bullets(state_sweep(study.sweep)), *blocks])
    return Document(study.name, [*bullets([*state_study(study), *state_untuned(study)]), *blocks])
