"""Evaluations -> comparisons -> a study: the numbers of a report, before any of them is drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness import stats
from ft_harness.comparison import cautions, remarks, sentences
from ft_harness.comparison.cases import (
    BY_LABEL,
    DECIDING_METRICS,
    ConfusionPair,
    count_confusion,
    find_cases,
)
from ft_harness.comparison.measurement import Measurement
from ft_harness.comparison.pairing import Pairs, match_evaluations, pair_items
from ft_harness.comparison.repeats import Trained, find_repeats
from ft_harness.comparison.rows import (
    MAJORITY_CLASS,
    judge,
    make_majority_row,
    make_row,
    make_rows,
)
from ft_harness.comparison.study import MOST_SHOWN, AdapterRun, Comparison, Row, Study, Verdict
from ft_harness.comparison.terms import (
    EXECUTION,
    Mismatch,
    Terms,
    check_comparable,
    check_terms,
    find_mismatches,
)
from ft_harness.data.data_report import DataReport
from ft_harness.errors import InputError
from ft_harness.records import Evaluation, Record, describe_record

__all__ = [
    "MAJORITY_CLASS",
    "MOST_SHOWN",
    "AdapterRun",
    "Comparison",
    "Row",
    "Study",
    "Verdict",
    "aggregate",
    "compare",
    "compare_all",
]

Array = NDArray[np.float64]
_SPLITS = ("test", "validation", "train")
_WITHOUT_OVERLAP = "{split} without overlap"  # split of rows without items of the training split


def compare(
    base: Evaluation,
    tuned: Evaluation,
    *,
    allow_mismatch: Collection[str] = (),
    factors: Collection[str] = (),
) -> Comparison:
    """Two evaluations of the same items, paired by item key; the headline is primary.

    Raises:
        ConfigError: a factor or a field of `allow_mismatch` is unknown.
        NotComparableError: they were not measured the same way, in more than the fields of
            `allow_mismatch` and of the `factors` that are varied on purpose.
        InputError: a samples file can't be read, or a metric is unknown.
    """
    (compared,) = compare_all([(base, tuned)], Terms(tuple(factors), tuple(allow_mismatch)))
    return compared


def compare_all(pairs: Sequence[tuple[Evaluation, Evaluation]], terms: Terms) -> list[Comparison]:
    """As `compare`, several pairs; all are primary, their p-values Holm-adjusted."""
    check_terms(terms)
    compared = [_compare_pair(base, tuned, terms, None, [])[0] for base, tuned in pairs]
    return _finish(compared, range(len(compared)), {})


def aggregate(
    evaluations: Sequence[Evaluation],
    adapters: Sequence[AdapterRun] = (),
    *,
    name: str,
    command: str,
    allow_mismatch: Collection[str] = (),
    factors: Collection[str] = (),
) -> Study:
    """Every adapter's evaluation compared with its base's, p-values Holm-adjusted over the primary
    rows.

    Primary is acc or exact_match, else the task's first metric, on the test split, or on validation
    where that adapter has no comparison on the test split. Evaluations that are not complete or
    find no partner are named in the notes.

    Raises:
        ConfigError, NotComparableError, InputError: as in `compare`.
    """
    from tqdm import tqdm

    terms = Terms(tuple(factors), tuple(allow_mismatch))
    check_terms(terms)
    complete = [evaluation for evaluation in evaluations if evaluation.record.status == "complete"]
    matched, notes = match_evaluations(complete, terms)
    matched.sort(key=lambda pair: _order(pair[1].record))
    for record in (evaluation.record for evaluation in evaluations):
        if record.status != "complete":
            notes.append(f"{describe_record(record)}: {record.status}, not compared")
    data = {(run.card.name, run.data.task): run.data for run in adapters if run.data}
    recipes = {run.card.name: run.card.recipe for run in reversed(adapters)}
    compared: list[Comparison] = []
    influences: list[Array | None] = []
    for base, tuned in tqdm(matched, desc="Comparing", delay=2):
        known = data.get((tuned.record.subject, tuned.record.settings.task))
        comparison, influence = _compare_pair(base, tuned, terms, known, notes)
        compared.append(comparison)
        influences.append(influence)
    primary = _find_primary(compared)
    trained = [
        Trained(
            compared[place].tuned,
            recipes.get(compared[place].tuned.subject),
            (row := compared[place].headline).metric,
            row.delta,
            influences[place],
        )
        for place in primary
    ]
    return Study(
        name=name,
        comparisons=_finish(compared, primary, recipes),
        adapters=list(adapters),
        notes=list(dict.fromkeys(notes)),
        command=command,
        repeats=find_repeats(trained),
    )


def _order(tuned: Record) -> tuple[str, int, str, int, str]:
    settings = tuned.settings
    split = _SPLITS.index(settings.split)
    return settings.task, split, tuned.subject, settings.num_fewshot, tuned.eval_id


def _find_primary(compared: Sequence[Comparison]) -> list[int]:
    """Places of the primary ones: test; validation only where the same subject has no test split of
    the same task; never train."""
    places = [(each.tuned.subject, each.tuned.settings.task) for each in compared]
    splits = [each.tuned.settings.split for each in compared]
    tested = {place for place, split in zip(places, splits, strict=True) if split == "test"}
    return [
        number
        for number, (place, split) in enumerate(zip(places, splits, strict=True))
        if split == ("test" if place in tested else "validation")
    ]


def _finish(
    compared: Sequence[Comparison], primary: Collection[int], recipes: Mapping[str, dict[str, Any]]
) -> list[Comparison]:
    """The comparisons with the p of the primary ones adjusted over these, and with what other
    comparisons and the recipes (by adapter) add to their words."""
    headlines = [each.headline for each in compared]
    p_values = {place: p for place in primary if (p := headlines[place].p) is not None}
    adjusted = dict(zip(p_values, stats.holm(list(p_values.values())), strict=True))
    by_place: dict[tuple[Any, ...], list[tuple[Record, Row]]] = {}
    for each, row in zip(compared, headlines, strict=True):
        by_place.setdefault(cautions.place_of(each.tuned), []).append((each.tuned, row))
    finished: list[Comparison] = []
    for number, (each, row) in enumerate(zip(compared, headlines, strict=True)):
        found = row.model_copy(
            update={"primary": number in primary, "p_adjusted": adjusted.get(number)}
        )
        found = found.model_copy(update={"verdict": judge(found)})
        same_place = by_place[cautions.place_of(each.tuned)]
        changed = {
            "rows": [found if other is row else other for other in each.rows],
            "finding": sentences.state_verdict(found, each.detectable, adjusted=len(primary) > 1),
            "cautions": each.cautions + cautions.find_context(row, each.tuned, same_place, recipes),
        }
        finished.append(each.model_copy(update=changed))
    return finished


# --- one comparison


def _compare_pair(
    base: Evaluation, tuned: Evaluation, terms: Terms, data: DataReport | None, notes: list[str]
) -> tuple[Comparison, Array | None]:
    """(the comparison, no row of it primary; what each item, or cluster, adds to the headline's
    difference). What a reader must know of it goes into `notes`."""
    pairs, differing = pair_items(base, tuned)
    sides = base.record, tuned.record
    mismatches = find_mismatches(*sides) | differing
    check_comparable(*sides, [each for key, each in mismatches.items() if not terms.allows(key)])
    names = _shared_metrics(*sides)
    measurement = Measurement(pairs)
    unscored = _find_unscored(names, measurement)
    if unscored and "status" not in mismatches and not terms.allows(unscored.field):
        check_comparable(*sides, [unscored])
    footnotes = list(terms.footnotes(*sides, mismatches))
    made = make_rows(names, sides, measurement)
    left_out = dict.fromkeys(line for row in made.values() for line in row.footnotes)
    notes += _note(*sides, [*footnotes, *left_out])
    notes += [*remarks.note_unknown_overlap(tuned.record, data), *_note_same(tuned.record, pairs)]
    rows = {
        name: row.model_copy(update={"footnotes": [*footnotes, *row.footnotes]})
        for name, row in made.items()
    }
    headline = rows[next((name for name in DECIDING_METRICS if name in rows), names[0])]
    majority = measurement.majority(headline.metric) if "acc" in rows else None
    said = cautions.find_cautions(headline, (base, tuned), pairs, majority)
    without = None
    kept = _leave_out_overlap(pairs, data, base.record.settings.split)
    if kept is not None:
        row = make_row(headline.metric, sides, Measurement(kept))
        said.append(remarks.remark_overlap(row, len(pairs) - len(kept), len(kept)))
        split = _WITHOUT_OVERLAP.format(split=row.split)
        without = row.model_copy(update={"split": split, "footnotes": footnotes})
    comparison = Comparison(
        base=base.record,
        tuned=tuned.record,
        rows=[*([make_majority_row(headline, majority)] if majority else []), *rows.values()],
        detectable=measurement.detectable(headline.metric),
        finding="",
        cautions=said,
        cases=find_cases(base, tuned, pairs),
        confusion=_count_confusion(measurement),
        without=without,
    )
    return comparison, measurement.influence(headline.metric)


def _shared_metrics(base: Record, tuned: Record) -> list[str]:
    """Names, in the order of the base.

    Raises:
        InputError: there are none.
    """
    tuned_metrics = {score.metric for score in tuned.scores}
    names = [score.metric for score in base.scores if score.metric in tuned_metrics]
    if not names:
        raise InputError(
            f"{describe_record(base)} and {describe_record(tuned)} share no metric",
            "at least one metric that both were scored with",
            "add a metric_list to the task's YAML and evaluate both again",
        )
    return names


def _leave_out_overlap(pairs: Pairs, data: DataReport | None, split: str) -> Pairs | None:
    """The items that don't also occur in the training split; None where none does, or that isn't
    known."""
    overlap = data.overlap(split) if data else None
    if not overlap or not overlap.items:
        return None
    hashes = frozenset(overlap.items)
    keys, _ = pairs.texts("item_key")
    kept = np.array([str(key).rpartition("-")[0] not in hashes for key in keys], dtype=np.bool_)
    return None if kept.all() else pairs.only(kept)


def _count_confusion(measurement: Measurement) -> ConfusionPair | None:
    """None where the task's metrics are not those of labels, or don't name them all."""
    columns = measurement.pairs.base.columns
    if BY_LABEL not in columns:
        return None
    recalls = [name.removeprefix("recall_") for name in columns if name.startswith("recall_")]
    labels = [name for name in recalls if name != "macro"]
    base, tuned, _ = measurement.scored(BY_LABEL)
    return count_confusion(labels, base, tuned) if base.shape[1] == 3 * len(labels) else None


def _find_unscored(names: Sequence[str], measurement: Measurement) -> Mismatch | None:
    """The metric of which most items have a score on one side only."""
    sides = {name: measurement.unscored(name) for name in names}
    worst = max(names, key=lambda name: sum(sides[name]))
    if not sum(sides[worst]):
        return None
    shown = (f"{side} of {len(measurement.pairs)}" for side in sides[worst])
    return Mismatch(f"items without a score of {worst}", *shown)


def _note(base: Record, tuned: Record, footnotes: Sequence[str]) -> list[str]:
    """What a reader must know of one comparison."""
    left, right = base.settings.model_dump(), tuned.settings.model_dump()
    notes = [
        line.replace("accepted difference,", "accepted difference from its base,", 1)
        for line in footnotes
    ]
    notes += [
        f"{key}: base {left[key]!r}, tuned {right[key]!r}"
        for key in EXECUTION
        if left[key] != right[key]
    ]
    return [
        *(f"{describe_record(tuned)}: {note}" for note in notes),
        *remarks.note_bad_items(base),
        *remarks.note_bad_items(tuned),
    ]


def _note_same(tuned: Record, pairs: Pairs) -> list[str]:
    """A note if an adapter that nobody has proven to be in use changes no item's score at all."""
    if tuned.adapter is None or tuned.adapter.live_proof is not None or not len(pairs):
        return []
    sides = (pairs.statistics(name) for name in pairs.base.columns if name in pairs.tuned.columns)
    if not all(np.array_equal(before, after, equal_nan=True) for before, after in sides):
        return []
    said = (
        "every item has the same scores as with the base alone; perhaps the adapter was not in use"
    )
    return [f"{describe_record(tuned)}: {said}"]
