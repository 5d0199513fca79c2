"""The case sheet of a comparison: how many items are in each transition, and which few of each are
read, with all that is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from zlib import crc32

import numpy as np
from pydantic import Field

from ft_harness.comparison.cases.choices import name_choices, note_word, read_labels
from ft_harness.comparison.cases.replies import Reply, find_replies
from ft_harness.comparison.cases.slices import (
    Slice,
)
from ft_harness.comparison.cases.traits import (
    find_margin,
    find_text_fields,
    read_log_likelihoods,
    show_fields,
)
from ft_harness.comparison.cases.transitions import (
    Rows,
    Transition,
    find_deciding,
    find_transitions,
)
from ft_harness.comparison.pairing import Pairs, read_samples
from ft_harness.metrics.registry import DECIDING_METRICS, GRADED_METRICS
from ft_harness.records import Evaluation, Frozen, Numerous, Sample

PER_TRANSITION = 6  # of two or three classes equally many
_DRAWN = 2000  # items of a transition among which the gold answers are balanced
_MOST_CLASSES = 12  # gold answers that are counted by themselves
_PER_CLASS = 3  # items on average; fewer are no classes but answers in free text


class Choice(Numerous):
    """Of a case in a sheet: one answer that the models chose from."""

    name: str
    base: float | None = Field(description="log-likelihood of all its tokens, in nats")
    tuned: float | None


class NearestExample(Frozen):
    """Of a case in a sheet: the training example that has most content words in common with it."""

    text: str = Field(description="its text fields, a line each")
    answer: str
    similarity: float = Field(description="Jaccard index of the two sets of content words, 0 to 1")


class Case(Numerous):
    """One item of a case sheet, with both answers."""

    item_key: str
    prompt: str
    gold: str
    base_answer: str | None = Field(description="null: no readable answer")
    tuned_answer: str | None
    base_score: float | None = Field(default=None, description="of the deciding metric")
    tuned_score: float | None = None
    choices: list[Choice] | None = Field(default=None, description="null: the answer was generated")
    texts: dict[str, str] = Field(
        default={}, description="the doc's own text fields that the prompt shows"
    )
    tags: list[str] = Field(default=[], description="the slices that it is in")
    nearest: NearestExample | None = Field(
        default=None, description="null: the training docs are not known"
    )
    why: str | None = Field(default=None, description="what a person wrote of it in cases.csv")

    def margins(self) -> tuple[float | None, float | None]:
        """How sure base and tuned are: log-likelihood of the best choice minus that of the second
        best, in nats."""
        sides = (
            [choice.base for choice in self.choices or []],
            [choice.tuned for choice in self.choices or []],
        )
        before, after = (
            find_margin([value for value in side if value is not None]) for side in sides
        )
        return before, after


class CaseSummary(Frozen):
    """The case sheet: items by transition. Items without a score on either side are in no
    transition."""

    counts: dict[Transition, int] | None = Field(
        description="null: no metric of the task says right or wrong"
    )
    cases: dict[Transition, list[Case]] | None = Field(
        description="at most 6 each, spread over the gold answers"
    )
    reason: str | None = Field(description="why counts and cases are null")
    metric: str | None = Field(default=None, description="the metric that decides")
    by_gold: dict[str, dict[Transition, int]] | None = Field(
        default=None,
        description="counts of each gold answer, most frequent first; null: answers in free text",
    )
    text_fields: list[str] = Field(
        default=[], description="doc fields that the prompts show, in their order"
    )
    slices: list[Slice] | None = Field(default=None, description="null: not looked for")
    n_sliced: int | None = Field(
        default=None, description="items that the slices rest on; of many, some are drawn"
    )
    definitions: dict[str, str] = Field(default={}, description="what each kind of slice is")
    replies: list[Reply] = Field(
        default=[], description="of pairs of answers: what the models write themselves"
    )


def find_cases(base: Evaluation, tuned: Evaluation, pairs: Pairs, seed: int = 0) -> CaseSummary:
    """Make the case sheet: the transitions of all items, and the cases to read.

    Counts come from the columns of scores; only the samples of the cases are read. Which cases are
    chosen depends on item keys and the seed, not on the order of the items, so that comparisons
    with one base tend to show the same ones.

    Raises:
        InputError: samples can't be read.
    """
    metric = find_deciding(pairs.base.columns.keys() & pairs.tuned.columns.keys())
    if metric is None:
        wanted = f"{', '.join((*DECIDING_METRICS, *GRADED_METRICS[:-1]))} or {GRADED_METRICS[-1]}"
        return CaseSummary(counts=None, cases=None, reason=f"no item has a score of {wanted}")
    before, after = (side[:, 0] for side in pairs.statistics(metric))
    found = find_transitions(metric, before, after)
    (keys, _), (targets, _) = pairs.texts("item_key"), pairs.texts("target")
    golds = [str(target) for target in targets]
    # A checksum orders the items at random and the same way for each adapter, without a file that
    # says which were drawn.
    order = np.array([crc32(str(key).encode(), seed) for key in keys], dtype=np.int64)
    drawn = {
        transition: draw(items[np.argsort(order[items], kind="stable")], golds)
        for transition, items in found.items()
    }
    chosen = {str(keys[item]) for items in drawn.values() for item in items}
    samples = {pair[0].item_key: pair for pair in read_samples(base, tuned, chosen)}
    fields = base.record.settings.text_fields or find_text_fields(
        sample for sample, _ in samples.values()
    )
    words: dict[str, str] = {}
    for pair in samples.values():
        for sample in pair:
            note_word(words, sample)
    make = partial(_make_case, metric=metric, fields=fields, words=words)
    return CaseSummary(
        counts={transition: len(items) for transition, items in found.items()},
        cases={
            transition: [make(samples[str(keys[item])]) for item in items]
            for transition, items in drawn.items()
        },
        reason=None,
        metric=metric,
        by_gold=_count_by_gold(found, golds),
        text_fields=fields,
        replies=find_replies(base, tuned),
    )


def draw(items: Rows, golds: Sequence[str]) -> list[int]:
    """Which items a case sheet shows: up to 6 of those given, in the order in which they are drawn:
    the first of each gold answer, then the second of each, and so on. Only the first 2,000 are
    looked at; `golds` has the gold answer of every item."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, int]] = []
    # The count of a gold answer so far ranks first: one item of each class before a second one of
    # any.
    for place, item in enumerate(items[:_DRAWN].tolist()):
        ranked.append((seen[golds[item]], place, item))
        seen[golds[item]] += 1
    return [item for _, _, item in sorted(ranked)[:PER_TRANSITION]]


def _count_by_gold(
    found: dict[Transition, Rows], golds: Sequence[str]
) -> dict[str, dict[Transition, int]] | None:
    """Transitions of each gold answer, None where these are no classes."""
    counted = {
        transition: Counter(golds[item] for item in items.tolist())
        for transition, items in found.items()
    }
    totals = sum(counted.values(), Counter[str]())
    # Free text has nearly as many gold answers as items.
    if not totals or len(totals) > _MOST_CLASSES or totals.total() < _PER_CLASS * len(totals):
        return None
    classes = sorted(totals, key=lambda gold: (-totals[gold], gold))
    return {
        gold: {transition: counts[gold] for transition, counts in counted.items()}
        for gold in classes
    }


def _make_case(
    pair: tuple[Sample, Sample], metric: str, fields: Sequence[str], words: Mapping[str, str]
) -> Case:
    base, tuned = pair
    before, after = base.scores.get(metric), tuned.scores.get(metric)
    return Case(
        item_key=base.item_key,
        prompt=base.prompt,
        gold=base.target,
        base_answer=base.prediction,
        tuned_answer=tuned.prediction,
        base_score=before if isinstance(before, float) else None,
        tuned_score=after if isinstance(after, float) else None,
        choices=_make_choices(base, tuned, words),
        texts=show_fields(base.doc, fields),
    )


def _make_choices(base: Sample, tuned: Sample, words: Mapping[str, str]) -> list[Choice] | None:
    """Each choice with its log-likelihoods; None where a side did not choose."""
    before, after = read_log_likelihoods(base), read_log_likelihoods(tuned)
    if before is None or after is None or len(before) != len(after):
        return None
    sides = ((before, base.prediction), (after, tuned.prediction))
    names = name_choices(read_labels(base), sides, words)
    return [
        Choice(name=name, base=left, tuned=right)
        for name, left, right in zip(names, before, after, strict=True)
    ]


# --- what is known of the cases beyond their samples


def change_cases(summary: CaseSummary, change: Callable[[Case], Case]) -> CaseSummary:
    """The case sheet with every case changed."""
    cases = summary.cases and {
        name: [change(case) for case in found] for name, found in summary.cases.items()
    }
    return summary.model_copy(update={"cases": cases})


def list_cases(summary: CaseSummary) -> list[tuple[Transition, Case]]:
    """Every case of a sheet with its transition."""
    return [
        (transition, case) for transition, cases in (summary.cases or {}).items() for case in cases
    ]
