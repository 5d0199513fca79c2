"""Many records -> comparable pairs -> rows: the numbers of a report, before any of them is drawn or
worded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness import stats
from ft_harness.comparison import cautions, sentences
from ft_harness.comparison.cases import (
    BY_LABEL,
    DECIDING_METRICS,
    CaseSummary,
    ConfusionPair,
    count_confusion,
    find_cases,
)
from ft_harness.comparison.measurement import Majority, Measurement
from ft_harness.comparison.pairing import Pairs, match_evaluations, pair_items
from ft_harness.comparison.repeats import Trained, find_repeats
from ft_harness.comparison.study import MOST_SHOWN, AdapterRun, Comparison, Row, Study, Verdict
from ft_harness.comparison.terms import (
    EXECUTION,
    Mismatch,
    Terms,
    check_comparable,
    check_terms,
    conditions_of,
    find_mismatches,
)
from ft_harness.data.data_report import DataReport
from ft_harness.errors import InputError
from ft_harness.metrics import find_metric
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

MAJORITY_CLASS = "majority class"
_SPLITS = ("test", "validation", "train")
_WITHOUT_OVERLAP = (
    "{split} without overlap"  # split of rows that leave out what also stands in the training split
)


@dataclass(frozen=True, eq=False)
class _Measured:
    """A comparison before it is known whether it is primary and what its p is adjusted to."""

    base: Record
    tuned: Record
    rows: list[Row]
    headline: Row  # one of rows: the task's first metric
    detectable: float | None
    influence: NDArray[np.float64] | None  # of each item, or cluster, on the headline's delta
    remarks: list[str]
    cases: CaseSummary
    confusion: ConfusionPair | None
    without: Row | None
    notes: list[str]


def compare(
    base: Evaluation,
    tuned: Evaluation,
    *,
    allow_mismatch: Collection[str] = (),
    factors: Collection[str] = (),
) -> Comparison:
    """Two evaluations of the same items, paired by item key; the row of the task's first metric is
    primary.

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
    measured = [_measure(base, tuned, terms) for base, tuned in pairs]
    return _finish_all(measured, measured, {})


def _adjust(primary: Sequence[_Measured]) -> dict[_Measured, float | None]:
    """Holm-adjusted p of the primary comparisons; None where p is undefined."""
    p_values = {each: each.headline.p for each in primary if each.headline.p is not None}
    return dict.fromkeys(primary) | dict(
        zip(p_values, stats.holm(list(p_values.values())), strict=True)
    )


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
    data = {(run.card.name, run.data.task): run.data for run in adapters if run.data}
    measured = sorted(
        (
            _measure(
                base, tuned, terms, data.get((tuned.record.subject, tuned.record.settings.task))
            )
            for base, tuned in tqdm(matched, desc="Comparing", delay=2)
        ),
        key=_order,
    )
    primary = _find_primary(measured)
    recipes = {run.card.name: run.card.recipe for run in reversed(adapters)}
    for record in (evaluation.record for evaluation in evaluations):
        if record.status != "complete":
            notes.append(f"{describe_record(record)}: {record.status}, not compared")
    notes += [note for each in measured for note in each.notes]
    return Study(
        name=name,
        comparisons=_finish_all(measured, primary, recipes),
        adapters=list(adapters),
        notes=list(dict.fromkeys(notes)),
        command=command,
        repeats=find_repeats([_trained(each, adapters) for each in primary]),
    )


def _trained(measured: _Measured, adapters: Sequence[AdapterRun]) -> Trained:
    """One training's result, for the comparison of training seeds."""
    recipe = next(
        (run.card.recipe for run in adapters if run.card.name == measured.tuned.subject), None
    )
    return Trained(
        measured.tuned,
        recipe,
        measured.headline.metric,
        measured.headline.delta,
        measured.influence,
    )


def _order(measured: _Measured) -> tuple[str, int, str, int, str]:
    settings = measured.tuned.settings
    split = _SPLITS.index(settings.split)
    return (
        settings.task,
        split,
        measured.tuned.subject,
        settings.num_fewshot,
        measured.tuned.eval_id,
    )


def _find_primary(measured: Sequence[_Measured]) -> list[_Measured]:
    """Test counts; validation only where the same subject has no test split of the same task; train
    never."""
    places = [(each.tuned.subject, each.tuned.settings.task) for each in measured]
    splits = [each.tuned.settings.split for each in measured]
    tested = {place for place, split in zip(places, splits, strict=True) if split == "test"}
    found = zip(measured, places, splits, strict=True)
    return [
        each
        for each, place, split in found
        if split == ("test" if place in tested else "validation")
    ]


def _finish(
    measured: _Measured, adjusted: Mapping[_Measured, float | None], context: Sequence[str]
) -> Comparison:
    """The comparison with its verdict and sentence; `adjusted` are the primary ones with their
    adjusted p, `context` is what other comparisons and the recipe add to it."""
    changes = {"primary": measured in adjusted, "p_adjusted": adjusted.get(measured)}
    declared = measured.headline.model_copy(update=changes)
    headline = declared.model_copy(update={"verdict": _judge(declared)})
    said = sentences.state_verdict(headline, measured.detectable, adjusted=len(adjusted) > 1)
    return Comparison(
        base=measured.base,
        tuned=measured.tuned,
        rows=[headline if row is measured.headline else row for row in measured.rows],
        detectable=measured.detectable,
        sentence=" ".join([said, *measured.remarks, *context]),
        cases=measured.cases,
        confusion=measured.confusion,
        without=measured.without,
    )


def _finish_all(
    measured: Sequence[_Measured],
    primary: Sequence[_Measured],
    recipes: Mapping[str, dict[str, Any]],
) -> list[Comparison]:
    """All comparisons, the p of the primary ones adjusted over them; `recipes` by adapter."""
    adjusted = _adjust(primary)
    by_place: dict[tuple[Any, ...], list[tuple[Record, Row]]] = {}
    for each in measured:
        by_place.setdefault(cautions.place_of(each.tuned), []).append((each.tuned, each.headline))
    contexts = (
        cautions.find_context(
            each.headline, each.tuned, by_place[cautions.place_of(each.tuned)], recipes
        )
        for each in measured
    )
    return [
        _finish(each, adjusted, context) for each, context in zip(measured, contexts, strict=True)
    ]


def _judge(row: Row) -> Verdict | None:
    if row.delta is None:
        return None
    p = row.p_adjusted if row.primary else row.p
    if (
        p is None
        or p >= stats.ALPHA
        or row.low is None
        or row.high is None
        or row.low <= 0 <= row.high
    ):
        return "no evidence"
    return "improved" if (row.low > 0) == find_metric(row.metric).higher_is_better else "worse"


# --- the numbers of one comparison
# --------------------------------------------------------------------------------


def _measure(
    base: Evaluation, tuned: Evaluation, terms: Terms, data: DataReport | None = None
) -> _Measured:
    pairs, differing = pair_items(base, tuned)
    mismatches = find_mismatches(base.record, tuned.record) | differing
    check_comparable(
        base.record,
        tuned.record,
        [each for key, each in mismatches.items() if not terms.allows(key)],
    )
    footnotes = list(terms.footnotes(base.record, tuned.record, mismatches))
    tuned_metrics = {score.metric for score in tuned.record.scores}
    names = [score.metric for score in base.record.scores if score.metric in tuned_metrics]
    if not names:
        raise InputError(
            f"{describe_record(base.record)} and {describe_record(tuned.record)} share no metric",
            "at least one metric that both were scored with",
            "add a metric_list to the task's YAML and evaluate both again",
        )
    measurement = Measurement(pairs)
    made = {name: _make_row(name, base.record, tuned.record, measurement) for name in names}
    unscored = _find_unscored(names, measurement)
    if unscored and "status" not in mismatches and not terms.allows(unscored.field):
        check_comparable(base.record, tuned.record, [unscored])
    left_out = _note_left_out(made, len(pairs))
    either = len(pairs.base.texts) + len(pairs.tuned.texts) - len(pairs)
    rows = {
        name: row.model_copy(
            update={"footnotes": [*footnotes, *left_out.get(row.n, [])], "n_items": either}
        )
        for name, row in made.items()
    }
    headline = rows[next((name for name in DECIDING_METRICS if name in rows), names[0])]
    majority = measurement.majority(headline.metric) if "acc" in rows else None
    kept = _leave_out_overlap(pairs, data, base.record.settings.split)
    left = len(pairs) if kept is None else len(kept)
    without = (
        None
        if kept is None
        else _make_row(headline.metric, base.record, tuned.record, Measurement(kept))
    )
    return _Measured(
        base=base.record,
        tuned=tuned.record,
        rows=[*([_make_majority_row(headline, majority)] if majority else []), *rows.values()],
        headline=headline,
        detectable=measurement.detectable(headline.metric),
        influence=measurement.influence(headline.metric),
        remarks=[
            *cautions.find_cautions(headline, (base, tuned), pairs, majority),
            *([sentences.remark_overlap(without, len(pairs) - left, left)] if without else []),
        ],
        cases=find_cases(base, tuned, pairs),
        confusion=_count_confusion(measurement),
        without=without
        and without.model_copy(
            update={"split": _WITHOUT_OVERLAP.format(split=without.split), "footnotes": footnotes}
        ),
        notes=[
            *_note(
                base.record,
                tuned.record,
                [*footnotes, *(line for lines in left_out.values() for line in lines)],
            ),
            *sentences.note_unknown_overlap(tuned.record, data),
            *_note_same_scores(tuned.record, pairs),
        ],
    )


def _leave_out_overlap(pairs: Pairs, data: DataReport | None, split: str) -> Pairs | None:
    """The items that don't also stand in the training split; None where all do not, or that isn't
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


def _note_left_out(rows: Mapping[str, Row], items: int) -> dict[int, list[str]]:
    """Number of scored items -> a line for all metrics that have no score of the others."""
    found: dict[int, list[str]] = {}
    for name, row in rows.items():
        if row.n < items:
            found.setdefault(row.n, []).append(name)
    return {n: [sentences.note_unscored(names, items - n, items)] for n, names in found.items()}


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
        *sentences.note_bad_items(base),
        *sentences.note_bad_items(tuned),
    ]


def _note_same_scores(tuned: Record, pairs: Pairs) -> list[str]:
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


def _make_row(name: str, base: Record, tuned: Record, measurement: Measurement) -> Row:
    found = measurement.difference(name)
    low, high = found.interval or (None, None)
    row = Row(
        task=base.settings.task,
        split=base.settings.split,
        metric=name,
        base_subject=base.subject,
        tuned_subject=tuned.subject,
        base_settings=_show_settings(base, name),
        tuned_settings=_show_settings(tuned, name),
        base=found.base,
        tuned=found.tuned,
        delta=found.delta,
        low=low,
        high=high,
        p=found.p,
        p_adjusted=None,
        primary=False,
        n=found.n,
        verdict=None,
        n_clusters=found.clusters,
        interval_method=found.interval_method,
        p_method=found.p_method,
    )
    return row.model_copy(update={"verdict": _judge(row)})


def _make_majority_row(accuracy: Row, majority: Majority) -> Row:
    """What always answering the most frequent gold label scores, on the items of the accuracy
    beside it."""
    nothing = dict.fromkeys(
        (
            "tuned_subject",
            "tuned_settings",
            "tuned",
            "delta",
            "low",
            "high",
            "p",
            "verdict",
            "interval_method",
            "p_method",
        )
    )
    made = {
        "base_subject": MAJORITY_CLASS,
        "base_settings": {},
        "base": majority.share,
        "footnotes": [],
    }
    return accuracy.model_copy(update=nothing | made)


def _show_settings(record: Record, metric: str) -> dict[str, Any]:
    """What made one number, for its row: where it is stored, by what it was scored and how."""
    signature = next(score.signature for score in record.scores if score.metric == metric)
    adapter = record.adapter.name if record.adapter else None
    shown = {
        key: value for key, value in conditions_of(record).items() if key not in ("task", "split")
    }
    return {"eval_id": record.eval_id, "adapter": adapter, "signature": signature} | shown
