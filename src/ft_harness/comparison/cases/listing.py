"""Every item of a comparison with both answers, as the case explorer lists them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from ft_harness.comparison.cases.choices import name_choices, note_word, read_labels
from ft_harness.comparison.cases.summary import (
    list_cases,
)
from ft_harness.comparison.cases.table import Sheet, Written
from ft_harness.comparison.cases.tagging import tag_pairs
from ft_harness.comparison.cases.traits import read_log_likelihoods
from ft_harness.comparison.cases.transitions import Rows, Transition, find_transitions
from ft_harness.records import Evaluation, Sample
from ft_harness.records.score_table import scan_samples

MOST_LISTED = 20_000
# of a prompt or an answer; a prompt ends in its question, so the middle is what is cut
SHOWN_CHARACTERS = 600
_KEPT_START = 150


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side made of a listed item.

    Attributes:
        text: None: no readable answer.
        score: of the deciding metric.
        log_likelihoods: of each choice, in nats; empty: nothing was chosen.
    """

    text: str | None
    score: float | None
    log_likelihoods: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One listed item with both answers. Long texts are cut in the middle, see `cut`.

    Attributes:
        slices: kind -> slice.
        choices: names of what was chosen from, where both sides chose.
    """

    item_key: str
    transition: Transition
    prompt: str
    gold: str
    base: Answer
    tuned: Answer
    slices: Mapping[str, str]
    why: str | None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """All items of one comparison, in the order of the base's samples.

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
    sheet: Sheet,
    evaluations: tuple[Evaluation, Evaluation],
    limit: int,
    slice_by: Sequence[str] = (),
    written: Written | None = None,
) -> Listing | None:
    """All items of a comparison, of every transition; None where nothing decides.

    Of more than `limit` (at most 20,000) those of the sheet and those with a text in `written`
    come first, the others are drawn by their keys: the same ones for each adapter that is compared
    with one base. Samples are read one by one.

    Raises:
        InputError: samples can't be read, or a field of `slice_by` has more than 30 values.
    """
    summary, (base, tuned) = sheet.cases, evaluations
    if summary.metric is None or summary.counts is None:
        return None
    tagged = tag_pairs(summary, base, tuned, slice_by)
    before, after = (side[:, 0] for side in tagged.pairs.statistics(summary.metric))
    found = find_transitions(summary.metric, before, after)
    transitions = {int(row): transition for transition, rows in found.items() for row in rows}
    keys = [str(key) for key in tagged.pairs.texts("item_key")[0]]
    whys = {case.item_key: case.why for _, case in list_cases(summary)}
    # What a person wrote keeps its item listed, in the sheet or not.
    whys |= {} if written is None else sheet.whys(written)
    # The page carries every listed item as data: 20,000 are about 1.6 MB.
    rows = _choose(keys, transitions, whys, min(limit, MOST_LISTED)).tolist()
    make = _ItemMaker(evaluations, {keys[row] for row in rows}, summary.metric)
    items = [
        make.item(
            keys[row],
            transitions[row],
            {kind: tag for kind, labels in tagged.tags.items() if (tag := labels[row]) is not None},
            whys.get(keys[row]),
        )
        for row in rows
    ]
    return Listing(summary.metric, sum(summary.counts.values()), list(tagged.tags), items)


class _ItemMaker:
    """What is kept of the samples of both sides, each read once."""

    def __init__(
        self, evaluations: tuple[Evaluation, Evaluation], keys: Collection[str], metric: str
    ) -> None:
        self._words: dict[str, str] = {}
        self._asked: dict[str, tuple[str, str, list[str] | None]] = {}
        self._answers: list[dict[str, Answer]] = []
        for evaluation in evaluations:
            answers: dict[str, Answer] = {}
            # One pass over each file: samples are compressed, and can't be read in any order.
            for sample in scan_samples(evaluation, set(keys)):
                note_word(self._words, sample)
                answers[sample.item_key] = _answer(sample, metric)
                if not self._answers:
                    texts = cut_middle(sample.prompt), cut_middle(sample.target)
                    self._asked[sample.item_key] = (*texts, read_labels(sample))
            self._answers.append(answers)

    def item(
        self, key: str, transition: Transition, slices: Mapping[str, str], why: str | None
    ) -> Item:
        prompt, gold, labels = self._asked[key]
        base, tuned = (answers[key] for answers in self._answers)
        sides = [(side.log_likelihoods, side.text) for side in (base, tuned)]
        chosen = len(base.log_likelihoods) == len(tuned.log_likelihoods) > 0
        names = tuple(name_choices(labels, sides, self._words)) if chosen else ()
        return Item(key, transition, prompt, gold, base, tuned, slices, why, names)


def _choose(keys: Sequence[str], rows: Collection[int], shown: Collection[str], limit: int) -> Rows:
    """As many of these rows as are allowed, in their order."""
    # By a checksum of the key instead of random numbers: each adapter that is compared with one
    # base shows the same items, whatever order they were scored in.
    ranked = sorted(rows, key=lambda row: (keys[row] not in shown, crc32(keys[row].encode()), row))
    return np.array(sorted(ranked[:limit]), dtype=np.int64)


def _answer(sample: Sample, metric: str) -> Answer:
    score = sample.scores.get(metric)
    text = None if sample.prediction is None else cut_middle(sample.prediction)
    chosen = tuple(read_log_likelihoods(sample) or [])
    return Answer(text, score if isinstance(score, float) else None, chosen)


def cut_middle(text: str) -> str:
    """A listed text of at most 600 characters as it is; of a longer one the first 150 and the last
    450, a mark in between."""
    if len(text) <= SHOWN_CHARACTERS:
        return text
    kept = text[:_KEPT_START], text[_KEPT_START - SHOWN_CHARACTERS :]
    return f"{kept[0]} [… {len(text) - SHOWN_CHARACTERS:,} characters left out …] {kept[1]}"
