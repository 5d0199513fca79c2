"""The order of a report (the answer, then the evidence, then what made it), and which parts a
write-up prints.

This is the one place that decides what the Markdown and LaTeX files contain. The page and the files
of tables hold everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.sweep_sentences import field_name
from ft_harness.report.answer import state_answer
from ft_harness.report.case_section import case_section, case_summary
from ft_harness.report.caution_section import state_cautions
from ft_harness.report.command_section import command_section
from ft_harness.report.cost_section import cost_section, size_section
from ft_harness.report.data_section import data_section
from ft_harness.report.document import Block, Document, Paragraph, Table, bullets, section
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
from ft_harness.report.untuned_section import untuned_section
from ft_harness.report.view import View, main_comparisons

_FEW = 6  # comparisons and adapters of which a write-up prints more than the lines of the answer
_LONGEST = 60  # rows of a table that a write-up still prints
_MOST_LINES = 20  # of cautions that it prints
_REST = "Not printed here"


@dataclass(frozen=True)
class _Section:
    """A part of the report under its heading.

    Attributes:
        paper: what a write-up prints.
        page: what is only looked up.
        of_all: it shows all runs of a sweep; others show the reference and the chosen setting.
    """

    title: str
    paper: list[Block]
    page: list[Block] = field(default_factory=list)
    of_all: bool = False

    def blocks(self) -> list[Block]:
        return section(self.title, [*self.paper, *self.page])

    def about(self, said: str) -> _Section:
        """The same, after a line that says which runs it is about."""
        if not self.paper and not self.page:
            return self
        return _Section(self.title, [Paragraph(said), *self.paper], self.page)


def state_title(study: Study) -> str:
    """What a report begins with: its name and what it is about."""
    if study.sweep is not None:
        names = [field_name(name) for axis in study.sweep.axes for name in axis]
        return f"{study.name}: a sweep of {', '.join(names)}" if names else f"{study.name}: a sweep"
    if not study.comparisons:
        return f"{study.name}: scores of models" if study.untuned else study.name
    is_tuned = study.adapters or any(each.tuned.adapter for each in study.comparisons)
    return f"{study.name}: {'before and after fine-tuning' if is_tuned else 'models compared'}"


def build_document(
    study: Study, view: View | None = None, outliers: Sequence[Outliers] = ()
) -> Document:
    """Put a report together in its order, from the sentences down to the software; sections without
    anything to say are left out.

    `view` is what the main table shows, `outliers` are the items that weigh most in perplexities,
    where they are known.
    """
    sections = _sections(study, view or View(), outliers)
    answer = bullets(state_answer(study))
    return Document(
        state_title(study),
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
    splits = study if len(main_comparisons(study)) <= _FEW else focus
    sections = [
        _Section("Sweep", *_apart(sweep_section(study.sweep)), of_all=True),
        _Section("Cautions", *_first(state_cautions(study)), of_all=True),
        _Section("Scores", score_section(study, view), of_all=True),
        _Section("Models without an adapter", untuned_section(study), of_all=True),
        _Section("Side by side", *_printed(side_by_side_section(focus))),
        _Section("Scores by split", *_printed(split_section(splits)), of_all=splits is study),
        _Section("Scores by label", *_printed(label_section(focus), confusion_blocks(focus))),
        _Section("Forgetting", forgetting_section(study), of_all=True),
        _Section("Other forms of the data", same_data_section(study), of_all=True),
        _Section("Families", [], family_section(study), of_all=True),
        _Section("Perplexity", *_printed(perplexity_section(focus, outliers))),
        _Section("Training seeds", *_printed(seed_section(focus))),
        _Section("Training size", *_printed(size_section(focus))),
        _Section("What was not measured", limits_section(focus)),
        _Section("Notes", bullets(focus.notes)),
        _Section("Data", *_printed(data_section(focus))),
        _Section("Recipes", *_printed(*recipe_section(study)), of_all=True),
        _Section("Training", *_printed(training_section(focus), epoch_blocks(focus), few=is_few)),
        _Section("Cost", cost_section(study), of_all=True),
        _Section("Cases", case_summary(focus), case_section(focus)),
        _Section("All metrics", *_printed(metric_section(focus), method_blocks(focus), few=is_few)),
        _Section("Commands", command_section(focus), of_all=True),
        _Section("Signatures", *signature_section(focus)),
        _Section("Provenance", *_printed(*provenance_section(study), few=is_few), of_all=True),
    ]
    if len(focus.comparisons) == len(study.comparisons):
        return sections
    said = _state_focus(study)
    return [each if each.of_all else each.about(said) for each in sections]


def _state_focus(study: Study) -> str:
    """Which runs of a sweep a section is about, and where all of them are."""
    runs = " and ".join(dict.fromkeys(each.card.name for each in study.focus().adapters))
    chosen = study.sweep.choice if study.sweep else None
    what = "the reference and the chosen setting" if chosen else "the reference"
    return f"Only about {what}: {runs}. Parts without this line show all runs."


def _printed(
    blocks: list[Block], looked_up: Sequence[Block] = (), *, few: bool = True
) -> tuple[list[Block], list[Block]]:
    """(what a write-up prints, what is only looked up) of a section: all of these blocks, or none
    where a table is too long to be read or there are many of its kind."""
    is_long = any(isinstance(block, Table) and len(block.rows) > _LONGEST for block in blocks)
    return ([], [*blocks, *looked_up]) if is_long or not few else (blocks, [*looked_up])


def _apart(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """(what a write-up prints, what is only looked up): the tables that are too long to be read."""
    long = [each for each in blocks if isinstance(each, Table) and len(each.rows) > _LONGEST]
    return [each for each in blocks if each not in long], [*long]


def _first(lines: Sequence[str]) -> tuple[list[Block], list[Block]]:
    """(what a write-up prints, what is only looked up) of many lines."""
    return bullets(lines[:_MOST_LINES]), bullets(lines[_MOST_LINES:])


def _name_rest(sections: Sequence[_Section]) -> list[Block]:
    """Where a reader of the write-up finds the other parts of the report."""
    whole = [each.title for each in sections if each.page and not each.paper]
    parts = [each.title for each in sections if each.page and each.paper]
    said = [f"Only in the page, report.html: {', '.join(whole)}."] if whole else []
    if parts:
        said.append(f"Printed here in part, whole in the page, report.html: {', '.join(parts)}.")
    return bullets(said)
