"""The order of a report (the answer, then the evidence, then what made it), and which parts a
write-up prints.

This is the one place that decides what the Markdown and LaTeX files contain. The page and the files
of tables hold everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.sentences import state_study
from ft_harness.comparison.sweep_sentences import state_sweep
from ft_harness.report.case_section import case_section, case_summary
from ft_harness.report.caution_section import caution_section
from ft_harness.report.command_section import command_section
from ft_harness.report.cost_section import cost_section, size_section
from ft_harness.report.data_section import data_section
from ft_harness.report.document import Block, Document, Table, bullets, section
from ft_harness.report.evidence_section import provenance_section, recipe_section, signature_section
from ft_harness.report.family_section import family_section, forgetting_section, same_data_section
from ft_harness.report.label_section import confusion_blocks, label_section
from ft_harness.report.limits_section import limits_section
from ft_harness.report.perplexity_section import Outliers, perplexity_section
from ft_harness.report.score_section import (
    method_blocks,
    metric_section,
    score_section,
    seed_section,
    side_by_side_section,
    split_section,
)
from ft_harness.report.sweep_section import sweep_section
from ft_harness.report.training_section import epoch_blocks, training_section
from ft_harness.report.untuned_section import state_untuned, untuned_section
from ft_harness.report.view import View, main_comparisons

_FEW = 6  # comparisons and adapters of which a write-up prints more than the lines of the answer
_LONGEST = 60  # rows of a table that a write-up still prints
_REST = "Not printed here"


@dataclass(frozen=True)
class _Section:
    """A part of the report under its heading.

    Attributes:
        paper: what a write-up prints.
        page: what is only looked up.
    """

    title: str
    paper: list[Block]
    page: list[Block] = field(default_factory=list)

    def blocks(self) -> list[Block]:
        return section(self.title, [*self.paper, *self.page])


def build_document(
    study: Study, view: View | None = None, outliers: Sequence[Outliers] = ()
) -> Document:
    """The report of a study, from the sentences down to the software; sections without anything to
    say are left out.

    `view` is what the main table shows, `outliers` are the items that weigh most in perplexities,
    where they are known.
    """
    sections = _sections(study, view or View(), outliers)
    stated = [*state_study(study), *state_untuned(study)]
    answer = bullets(stated if study.sweep is None else state_sweep(study.sweep))
    return Document(
        study.name,
        [*answer, *(block for each in sections for block in each.blocks())],
        [
            *answer,
            *(block for each in sections for block in section(each.title, each.paper)),
            *section(_REST, _name_rest(sections)),
        ],
    )


def _sections(study: Study, view: View, outliers: Sequence[Outliers]) -> list[_Section]:
    """All sections; with many comparisons, parts with several lines for each of them are left to
    the page."""
    # For a sweep, sections to be read comparison by comparison show a part; scores and costs all.
    focus = study.focus()
    is_few = max(len(main_comparisons(focus)), len(focus.adapters)) <= _FEW
    return [
        _Section("Sweep", sweep_section(study.sweep)),
        _Section("Cautions", caution_section(focus)),
        _Section("Scores", score_section(study, view)),
        _Section("Models without an adapter", untuned_section(study)),
        _Section("Side by side", *_printed(side_by_side_section(focus))),
        _Section("Scores by split", *_printed(split_section(focus))),
        _Section("Scores by label", *_printed(label_section(focus), confusion_blocks(focus))),
        _Section("Forgetting", forgetting_section(study)),
        _Section("Other forms of the data", same_data_section(study)),
        _Section("Families", [], family_section(study)),
        _Section("Perplexity", *_printed(perplexity_section(focus, outliers))),
        _Section("Training seeds", *_printed(seed_section(focus))),
        _Section("Training size", *_printed(size_section(focus))),
        _Section("What was not measured", limits_section(focus)),
        _Section("Notes", bullets(focus.notes)),
        _Section("Data", *_printed(data_section(focus))),
        _Section("Recipes", *recipe_section(focus)),
        _Section("Training", *_printed(training_section(focus), epoch_blocks(focus), few=is_few)),
        _Section("Cost", cost_section(study)),
        _Section("Cases", case_summary(focus), case_section(focus)),
        _Section("All metrics", *_printed(metric_section(focus), method_blocks(focus), few=is_few)),
        _Section("Commands", command_section(focus)),
        _Section("Signatures", *signature_section(focus)),
        _Section("Provenance", *_printed(*provenance_section(study), few=is_few)),
    ]


def _printed(
    blocks: list[Block], looked_up: Sequence[Block] = (), *, few: bool = True
) -> tuple[list[Block], list[Block]]:
    """(what a write-up prints, what is only looked up) of a section: all of these blocks, or none
    where a table is too long to be read or there are many of its kind."""
    is_long = any(isinstance(block, Table) and len(block.rows) > _LONGEST for block in blocks)
    return ([], [*blocks, *looked_up]) if is_long or not few else (blocks, [*looked_up])


def _name_rest(sections: Sequence[_Section]) -> list[Block]:
    """Where a reader of the write-up finds the other parts of the report."""
    parts = [each.title for each in sections if each.page]
    return bullets([f"In the page, report.html: {', '.join(parts)}."] if parts else [])
