"""Every item of a comparison with both answers, for readers who look further than the case
sheet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from ft_harness.comparison.cases.sheets import CaseSummary, list_cases, tag_pairs
from ft_harness.comparison.cases.traits import find_margin, read_log_likelihoods
from ft_harness.comparison.cases.transitions import Rows, Transition, find_transitions
from ft_harness.records import Evaluation, Sample
from ft_harness.records.score_table import scan_samples

MOST_LISTED = 20_000
# of a prompt or an answer; a prompt ends in its question, so the middle is what is cut
SHOWN_CHARACTERS = 600
_KEPT_START = 150


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side made of an item.

    Attributes:
        text: None: no readable answer.
        score: of the deciding metric.
        margin: log-likelihood of the best choice minus that of the second best, in nats; None:
            nothing was chosen.
    """

    text: str | None
    score: float | None
    margin: float | None


@dataclass(frozen=True, slots=True)
class Item:
    """One item with both answers; `slices` is kind -> slice. Long texts are cut in the middle, see
    `cut`."""

    item_key: str
    transition: Transition
    prompt: str
    gold: str
    base: Answer
    tuned: Answer
    slices: Mapping[str, str]
    why: str | None


@dataclass(frozen=True)
class Listing:
    """Items of one comparison in the order of the base's samples.

    Attributes:
        metric: the one that decides the transitions.
        n: items in a transition, of which as many as was asked for are listed.
        kinds: of slices.
    """

    metric: str
    n: int
    kinds: list[str]
    items: list[Item]


def list_items(
    summary: CaseSummary,
    base: Evaluation,
    tuned: Evaluation,
    limit: int,
    slice_by: Sequence[str] = (),
) -> Listing | None:
    """Items of every transition; None where nothing decides.

    Of more than `limit` (at most 20,000) those of the sheet come first, the others are drawn by
    their keys: the same ones for each adapter that is compared with one base. Samples are read one
    by one.

    Raises:
        InputError: samples can't be read, or a field of `slice_by` has more than 30 values.
    """
    if summary.metric is None or summary.counts is None:
        return None
    tagged = tag_pairs(summary, base, tuned, slice_by)
    before, after = (side[:, 0] for side in tagged.pairs.statistics(summary.metric))
    found = find_transitions(summary.metric, before, after)
    transitions = {int(row): transition for transition, rows in found.items() for row in rows}
    keys = [str(key) for key in tagged.pairs.texts("item_key")[0]]
    sheet = {case.item_key: case.why for _, case in list_cases(summary)}
    rows = _choose(keys, transitions, sheet, min(limit, MOST_LISTED))
    chosen = {keys[row] for row in rows.tolist()}
    of_base = {
        sample.item_key: (cut(sample.prompt), cut(sample.target), _answer(sample, summary.metric))
        for sample in scan_samples(base, chosen)
    }
    of_tuned = {
        sample.item_key: _answer(sample, summary.metric) for sample in scan_samples(tuned, chosen)
    }
    items = [
        Item(
            keys[row],
            transitions[row],
            *of_base[keys[row]],
            of_tuned[keys[row]],
            {kind: tag for kind, labels in tagged.tags.items() if (tag := labels[row]) is not None},
            sheet.get(keys[row]),
        )
        for row in rows.tolist()
    ]
    return Listing(summary.metric, sum(summary.counts.values()), list(tagged.tags), items)


def _choose(keys: Sequence[str], rows: Collection[int], shown: Collection[str], limit: int) -> Rows:
    """As many of these rows as are allowed, in their order."""
    ranked = sorted(rows, key=lambda row: (keys[row] not in shown, crc32(keys[row].encode()), row))
    return np.array(sorted(ranked[:limit]), dtype=np.int64)


def _answer(sample: Sample, metric: str) -> Answer:
    score = sample.scores.get(metric)
    text = None if sample.prediction is None else cut(sample.prediction)
    margin = find_margin(read_log_likelihoods(sample) or [])
    return Answer(text, score if isinstance(score, float) else None, margin)


def cut(text: str) -> str:
    """A text of at most 600 characters as it is; of a longer one the first 150 and the last 450, a
    mark in between."""
    if len(text) <= SHOWN_CHARACTERS:
        return text
    kept = text[:_KEPT_START], text[_KEPT_START - SHOWN_CHARACTERS :]
    return f"{kept[0]} [… {len(text) - SHOWN_CHARACTERS:,} characters left out …] {kept[1]}"
