"""What a report adds to its numbers: slices, the nearest training examples, remarks from cases.csv,
the items of the case explorer, and those that weigh most in a perplexity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ft_harness.comparison import cases
from ft_harness.comparison.aggregator import Comparison, Study
from ft_harness.comparison.cases import MOST_LISTED, Listing, list_items
from ft_harness.comparison.pairing import pair_items
from ft_harness.errors import InputError
from ft_harness.metrics import find_metric
from ft_harness.records import Evaluation, write_kept
from ft_harness.report import Explorer, Outlier, Outliers, main_comparisons, make_explorer
from ft_harness.storage import write_text
from ft_harness.storage.progress import progress

_PERPLEXITIES = ("token_ppl", "byte_ppl", "char_ppl")  # the first that a comparison has
_SHOWN = 5


class TrainingDocs(NamedTuple):
    """For a report's explanations: the docs that an adapter was trained on, and the right answer of
    one."""

    docs: Iterable[dict[str, Any]]
    answer: Callable[[dict[str, Any]], str]


Training = Mapping[str, TrainingDocs]  # adapter -> its training docs


class _Sides:
    """The evaluations behind each comparison of a study."""

    def __init__(self, evaluations: Sequence[Evaluation]) -> None:
        self._found = {(each.record.subject, each.record.eval_id): each for each in evaluations}

    def of(self, comparison: Comparison) -> tuple[Evaluation, Evaluation]:
        """(base, tuned)."""
        base, tuned = comparison.base, comparison.tuned
        return self._found[base.subject, base.eval_id], self._found[tuned.subject, tuned.eval_id]


class Lister:
    """Lists at most `limit` items of the main comparisons together, each with the same share.

    Args:
        folder: the report's, which may hold a cases.csv that a person has written in.

    Raises:
        InputError: the file can't be read.
    """

    def __init__(self, study: Study, folder: Path, limit: int = MOST_LISTED) -> None:
        self._written = cases.read_cases(folder / cases.CASES_FILE)
        main = main_comparisons(study)
        shares = split_limit(limit, [sum((each.cases.counts or {}).values()) for each in main])
        self._shares = {id(each): share for each, share in zip(main, shares, strict=True) if share}
        self._listed: list[tuple[Comparison, Listing]] = []

    def lists(self, comparison: Comparison) -> bool:
        """Whether it lists items of this comparison of the study."""
        return id(comparison) in self._shares

    def look(
        self,
        comparison: Comparison,
        explained: Comparison,
        sides: tuple[Evaluation, Evaluation],
        tagged: cases.Tagged,
    ) -> None:
        """List items of a comparison, which is explained by now.

        Raises:
            InputError: samples can't be read.
        """
        sheet = cases.Sheet(explained.base, explained.tuned, explained.cases)
        found = list_items(sheet, sides, self._shares[id(comparison)], tagged, self._written)
        if found:
            self._listed.append((explained, found))

    def explorer(self, study: Study) -> Explorer | None:
        """What was listed of the explained study; None for nothing."""
        return make_explorer(study, self._listed, self._written)


def explain(
    study: Study,
    evaluations: Sequence[Evaluation],
    folder: Path,
    slice_by: Sequence[str] = (),
    training: Training | None = None,
    lister: Lister | None = None,
) -> Study:
    """The study with its explanations: the cases of its primary comparisons.

    Args:
        folder: the report's, which may hold a cases.csv that a person has written in.
        slice_by: doc fields to slice by, in addition to our own traits.
        training: where it is known; else the nearest training examples are those that an earlier
            run kept.
        lister: what lists items of each comparison, while its samples are at hand.

    Raises:
        InputError: samples or files can't be read, or a field of `slice_by` divides the items of no
            comparison.
    """
    written = cases.read_cases(folder / cases.CASES_FILE)
    sides = _Sides(evaluations)
    comparisons: list[Comparison] = []
    damaged: list[str] = []
    for each in progress(study.comparisons, "Looking at the cases"):
        comparison, (base, tuned) = each, sides.of(each)
        tagged = None
        if each.cases.metric and (is_primary(each) or (lister and lister.lists(each))):
            tagged = cases.tag_pairs(each.cases, base, tuned, slice_by)
        if is_primary(each):
            found = cases.add_slices(each.cases, tagged) if tagged else each.cases
            docs = (training or {}).get(tuned.record.subject)
            try:
                nearest = _find_nearest(found, tuned, docs)
            except InputError as error:
                nearest = None
                damaged.append(error.what)
            found = cases.add_nearest(found, nearest) if nearest else found
            found = cases.Sheet(base.record, tuned.record, found).add_whys(written)
            comparison = each.model_copy(update={"cases": found})
        if lister and tagged and lister.lists(each):
            lister.look(each, comparison, (base, tuned), tagged)
        comparisons.append(comparison)
    _check_fields(slice_by, comparisons)
    notes = [*study.notes, *(f"not read: {line}" for line in damaged)]
    unread = [*study.unread, *damaged]
    return study.model_copy(update={"comparisons": comparisons, "notes": notes, "unread": unread})


def is_primary(comparison: Comparison) -> bool:
    """Whether a comparison has a primary metric, so that its cases are explained."""
    return any(row.primary for row in comparison.rows)


def write_cases(study: Study, folder: Path) -> None:
    """For a report's explanations: write cases.csv; what a person wrote in its column `why` is
    kept.

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
    summary: cases.CaseSummary, tuned: Evaluation, training: TrainingDocs | None
) -> cases.Nearest | None:
    """The nearest training examples of the sheet's cases, kept next to the tuned evaluation; None:
    not known."""
    try:
        known, texts = cases.read_nearest(tuned), cases.case_texts(summary)
    except InputError:
        if training is None:
            raise
        known, texts = None, cases.case_texts(summary)  # what is damaged is made again
    if training is None or (known and known.items.keys() >= texts.keys()):
        return known
    docs = tqdm(training.docs, desc="Looking for the nearest training examples")
    found = cases.find_nearest(texts, docs, training.answer)
    if known:
        found = found.model_copy(update={"items": known.items | found.items})
    found = found.model_copy(update={"eval_id": tuned.record.eval_id})
    write_kept(tuned.folder / cases.NEAREST_FILE, found)
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


def split_limit(limit: int, sizes: Sequence[int]) -> list[int]:
    """Share the case explorer's items among comparisons: all of the small ones, and the same number
    of each larger one."""
    shares, left = [0] * len(sizes), limit
    ranked = sorted(range(len(sizes)), key=lambda place: sizes[place])
    for rank, place in enumerate(ranked):
        shares[place] = min(sizes[place], left // (len(sizes) - rank))
        left -= shares[place]
    return shares


def find_outliers(study: Study, evaluations: Sequence[Evaluation]) -> list[Outliers]:
    """For a report's section on perplexity: the items that weigh most in each main comparison.

    Raises:
        InputError: samples can't be read.
    """
    sides = _Sides(evaluations)
    found: list[Outliers] = []
    for comparison in main_comparisons(study):
        names = {row.metric for row in comparison.rows}
        metric = next((name for name in _PERPLEXITIES if name in names), None)
        if metric is not None:
            found += _weigh(comparison, metric, *sides.of(comparison))
    return found


def _weigh(
    comparison: Comparison, metric: str, base: Evaluation, tuned: Evaluation
) -> list[Outliers]:
    pairs, _ = pair_items(base, tuned)
    before, after = pairs.statistics(metric)
    scored = np.flatnonzero(~(np.isnan(before[:, 0]) | np.isnan(after[:, 0])))
    if not len(scored):
        return []
    loss = -after[scored, 0] / after[scored, 1]
    worst = scored[np.argsort(-loss, kind="stable")[:_SHOWN]]
    rest = np.setdiff1d(scored, worst)
    chosen = np.zeros(len(pairs), dtype=np.bool_)
    chosen[worst] = True
    (keys, _), (texts, _) = (pairs.only(chosen).texts(column) for column in ("item_key", "target"))
    texts_of = dict(
        zip(np.flatnonzero(chosen).tolist(), zip(keys, texts, strict=True), strict=True)
    )
    items = [_item(texts_of[row], before[row], after[row]) for row in worst.tolist()]
    found = find_metric(metric)
    base_rest, tuned_rest = (
        found.value_of(side[rest].sum(axis=0), len(rest)) for side in (before, after)
    )
    share = float(after[worst, 0].sum() / after[scored, 0].sum()) if after[scored, 0].sum() else 0.0
    return [Outliers(comparison.tuned, metric, items, share, base_rest, tuned_rest)]


def _item(
    texts_of: tuple[str | None, str | None], before: NDArray[np.float64], after: NDArray[np.float64]
) -> Outlier:
    key, text = texts_of
    return Outlier(
        str(key),
        text or "",
        int(after[1]),
        -float(before[0] / before[1]),
        -float(after[0] / after[1]),
    )
