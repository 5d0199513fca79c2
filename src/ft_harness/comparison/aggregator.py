"""Many evaluations -> their comparisons -> a study: the numbers of a report, before any of them is
drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.comparison import cautions, sentences
from ft_harness.comparison.comparability import STRICT, Terms, check_terms
from ft_harness.comparison.comparing import Comparing
from ft_harness.comparison.families import declare, list_families
from ft_harness.comparison.pairing import match_evaluations
from ft_harness.comparison.repeats import Repeats, Trained, count_training_seeds, find_repeats
from ft_harness.comparison.rows import MAJORITY_CLASS
from ft_harness.comparison.study import MOST_SHOWN, AdapterRun, Comparison, Row, Study, Verdict
from ft_harness.comparison.untuned import find_untuned
from ft_harness.records import Evaluation, Record, describe_record
from ft_harness.storage.progress import progress

__all__ = [
    "MAJORITY_CLASS",
    "MOST_SHOWN",
    "AdapterRun",
    "Comparison",
    "Question",
    "Row",
    "Study",
    "Verdict",
    "aggregate",
    "compare",
    "compare_all",
]

Array = NDArray[np.float64]
_SPLITS = ("test", "validation", "train")


@dataclass(frozen=True)
class Question:
    """What is asked of evaluations that become a study: which metrics lead, and whether p is
    adjusted.

    Attributes:
        metrics: candidates to lead a comparison; without any, its primary metric leads.
        holm: adjust p over the deciding rows of all comparisons (controls by themselves).
    """

    metrics: tuple[str, ...] = ()
    holm: bool = False


_USUAL = Question()


def compare(
    base: Evaluation,
    tuned: Evaluation,
    *,
    allow_mismatch: Collection[str] = (),
    factors: Collection[str] = (),
) -> Comparison:
    """The comparison of one base and one tuned evaluation of the same items, by themselves: no
    study is known.

    Raises:
        ConfigError: a factor or a field of `allow_mismatch` is unknown.
        NotComparableError: they were not measured the same way, in more than the fields of
            `allow_mismatch` and of the `factors` that are varied on purpose.
        InputError: a samples file can't be read, or a metric is unknown.
    """
    (compared,) = compare_all([(base, tuned)], Terms(tuple(factors), tuple(allow_mismatch)))
    return compared


def compare_all(
    pairs: Sequence[tuple[Evaluation, Evaluation]],
    terms: Terms,
    adapters: Sequence[AdapterRun] = (),
    question: Question = _USUAL,
) -> list[Comparison]:
    """The comparisons of several pairs of evaluations, in the light of each other; `adapters` are
    those whose folders are known."""
    return _compare_pairs(pairs, terms, adapters, question).comparisons


def aggregate(
    evaluations: Sequence[Evaluation],
    adapters: Sequence[AdapterRun] = (),
    *,
    name: str,
    command: str,
    terms: Terms = STRICT,
    question: Question = _USUAL,
) -> Study:
    """The study of some evaluations: every adapter's is compared with its base's; other base models
    stand by themselves.

    Evaluations that are not complete or find no partner are named in the notes.

    Raises:
        ConfigError, NotComparableError, InputError: as in `compare`.
    """
    complete = [evaluation for evaluation in evaluations if evaluation.record.status == "complete"]
    matched, alone, notes = match_evaluations(complete, terms)
    # A fixed order whatever order the evaluations were found in, so that a report made again is the
    # same byte for byte.
    matched.sort(key=lambda pair: _order(pair[1].record))
    # An incomplete evaluation is left out of every number: its items are those that happened to be
    # scored first, which is no sample of the test set.
    for record in (evaluation.record for evaluation in evaluations):
        if record.status != "complete":
            notes.append(f"{describe_record(record)}: {record.status}, not compared")
    found = _compare_pairs(matched, terms, adapters, question)
    return Study(
        name=name,
        comparisons=found.comparisons,
        adapters=list(adapters),
        notes=list(dict.fromkeys([*notes, *found.notes])),
        command=command,
        repeats=found.repeats,
        families=list_families(found.comparisons, question.holm),
        untuned=find_untuned(alone, question.metrics),
    )


def _order(tuned: Record) -> tuple[str, int, str, int, str]:
    settings = tuned.settings
    split = _SPLITS.index(settings.split)
    return settings.task, split, tuned.subject, settings.num_fewshot, tuned.eval_id


@dataclass(frozen=True)
class _Found:
    comparisons: list[Comparison]
    repeats: list[Repeats]
    notes: list[str]


def _compare_pairs(
    pairs: Sequence[tuple[Evaluation, Evaluation]],
    terms: Terms,
    adapters: Sequence[AdapterRun],
    question: Question,
) -> _Found:
    check_terms(terms)
    # Of two adapters with one name the first counts.
    runs = {run.card.name: run for run in reversed(adapters)}
    notes: list[str] = []
    compared: list[Comparison] = []
    primary: list[str] = []
    influences: list[Array | None] = []
    for base, tuned in progress(pairs, "Comparing"):
        run = runs.get(tuned.record.subject)
        comparing = Comparing((base, tuned), terms, question.metrics, run)
        compared.append(comparing.compare())
        primary.append(comparing.primary)
        influences.append(comparing.influence())
        notes += comparing.notes
    # Families need all comparisons: whether validation decides depends on whether the same adapter
    # was scored on test (decision 025).
    declared = declare(compared, primary, holm=question.holm)
    trained = [
        Trained(each.tuned, _recipe(runs, each), each.headline.metric, each.headline.delta, found)
        for each, found in zip(declared, influences, strict=True)
        if each.role == "trained task"
    ]
    # Controls are left out: what a seed does to the trained task is what a reader asks.
    repeats = find_repeats(trained)
    return _Found(_put_in_words(declared, runs, repeats), repeats, notes)


def _recipe(runs: Mapping[str, AdapterRun], comparison: Comparison) -> dict[str, Any] | None:
    run = runs.get(comparison.tuned.subject)
    return run.card.recipe if run else None


def _put_in_words(
    compared: Sequence[Comparison], runs: Mapping[str, AdapterRun], repeats: Sequence[Repeats]
) -> list[Comparison]:
    """The comparisons with their findings, and with what other comparisons and cards add."""
    # Words come last, since a caution about overfitting needs the comparison on train, and a
    # sentence needs the number of seeds.
    by_place: dict[tuple[Any, ...], list[Comparison]] = {}
    for each in compared:
        by_place.setdefault(cautions.place_of(each.tuned), []).append(each)
    worded: list[Comparison] = []
    for each in compared:
        context = cautions.find_context(
            each, by_place[cautions.place_of(each.tuned)], runs.get(each.tuned.subject)
        )
        has_card = each.tuned.subject in runs
        seeds = count_training_seeds(each.tuned, repeats, has_card=has_card)
        finding = sentences.state_finding(each, seeds)
        changed = {"finding": finding, "cautions": [*each.cautions, *context]}
        worded.append(each.model_copy(update=changed))
    return worded
