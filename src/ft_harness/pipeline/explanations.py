"""What a report adds to its cases: slices, the nearest training examples, and what a person wrote
in cases.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ft_harness.comparison import cases
from ft_harness.comparison.aggregator import Comparison, Study
from ft_harness.errors import InputError
from ft_harness.models.lm_eval_private import compiled_templates
from ft_harness.records import Evaluation
from ft_harness.storage import write_text
from ft_harness.tasks.examples import answer_text

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

Training = Mapping[str, "ConfigurableTask"]  # adapter -> the task whose docs it was trained on


def explain(
    study: Study,
    evaluations: Sequence[Evaluation],
    folder: Path,
    slice_by: Sequence[str] = (),
    training: Training | None = None,
) -> Study:
    """The study with all that is known of the cases of its primary comparisons.

    Args:
        folder: the report's, which may hold a cases.csv that a person has written in.
        slice_by: doc fields to slice by besides our own traits.
        training: where it is known; else the nearest training examples are those that an earlier
            run kept.

    Raises:
        InputError: samples or files can't be read, or a field of `slice_by` parts the items of no
            comparison.
    """
    written = cases.read_cases(folder / cases.CASES_FILE)
    by_id = {(each.record.subject, each.record.eval_id): each for each in evaluations}
    comparisons: list[Comparison] = []
    for comparison in study.comparisons:
        if is_primary(comparison):
            base, tuned = (
                by_id[record.subject, record.eval_id]
                for record in (comparison.base, comparison.tuned)
            )
            found = cases.add_slices(comparison.cases, base, tuned, slice_by)
            nearest = _find_nearest(found, tuned, (training or {}).get(tuned.record.subject))
            found = cases.add_nearest(found, nearest) if nearest else found
            found = cases.Sheet(base.record, tuned.record, found).add_whys(written)
            comparison = comparison.model_copy(update={"cases": found})
        comparisons.append(comparison)
    _check_fields(slice_by, comparisons)
    return study.model_copy(update={"comparisons": comparisons})


def is_primary(comparison: Comparison) -> bool:
    return any(row.primary for row in comparison.rows)


def write_cases(study: Study, folder: Path) -> None:
    """Write cases.csv; what stands in its column `why` is kept.

    Raises:
        InputError: the one that is there can't be read; it is left as it is.
    """
    path = folder / cases.CASES_FILE
    main = [
        comparison
        for comparison in study.comparisons
        if is_primary(comparison) and comparison.cases.cases
    ]
    sheets = [
        cases.Sheet(comparison.base, comparison.tuned, comparison.cases) for comparison in main
    ]
    written = cases.read_cases(path)
    if sheets or written.rows:
        write_text(path, cases.write_table(sheets, written))


def _find_nearest(
    summary: cases.CaseSummary, tuned: Evaluation, task: ConfigurableTask | None
) -> cases.Nearest | None:
    """The nearest training examples of the sheet's cases, kept beside the tuned evaluation; None:
    not known."""
    known, texts = cases.read_nearest(tuned.folder), cases.case_texts(summary)
    if task is None or (known and known.items.keys() >= texts.keys()):
        return known
    from tqdm import tqdm

    docs = tqdm(task.eval_docs, desc="Looking for the nearest training examples")
    with compiled_templates():
        found = cases.find_nearest(texts, docs, partial(answer_text, task))
    if known:
        found = found.model_copy(update={"items": known.items | found.items})
    write_text(tuned.folder / cases.NEAREST_FILE, found.model_dump_json(indent=2) + "\n")
    return found


def _check_fields(slice_by: Sequence[str], comparisons: Sequence[Comparison]) -> None:
    kinds = {kind for comparison in comparisons for kind in comparison.cases.definitions}
    for name in slice_by:
        if cases.field_kind(name) not in kinds:
            raise InputError(
                f"--slice-by {name}: no docs have this field with different values",
                "a field of the docs that is a text, a number, or true or false",
                "see the field doc in samples.jsonl.gz, or the task's data",
            )
