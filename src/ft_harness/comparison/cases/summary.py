"""Case sheets: how many items are in each transition, and a few of each to read with all that is
known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ft_harness.comparison.cases.choices import name_choices, note_word, read_labels
from ft_harness.comparison.cases.replies import Reply, find_replies
from ft_harness.comparison.cases.slices import (
    Slice,
    Tags,
    check_categories,
    measure_slices,
    tag_flags,
    tag_items,
)
from ft_harness.comparison.cases.traits import (
    field_kind,
    find_margin,
    find_text_fields,
    list_traits,
    read_log_likelihoods,
    show_fields,
)
from ft_harness.comparison.cases.transitions import (
    Rows,
    Transition,
    find_deciding,
    find_transitions,
)
from ft_harness.comparison.pairing import Pairs, pair_items, read_samples
from ft_harness.metrics.registry import DECIDING_METRICS, GRADED_METRICS
from ft_harness.records import Evaluation, Frozen, Numerous, Sample
from ft_harness.records.reading import stream_samples
from ft_harness.records.score_table import scan_samples, state_of_small

PER_TRANSITION = 6  # of two or three classes equally many
_MOST_SLICED = 20_000  # items whose texts are read for slices
_DRAWN = 2000  # items of a transition among which the gold answers are balanced
_MOST_CLASSES = 12  # gold answers that are counted by themselves
_PER_CLASS = 3  # items on average; fewer are no classes but answers in free text


class Choice(Numerous):
    """One answer that the models chose from."""

    name: str
    base: float | None = Field(description="log-likelihood of all its tokens, in nats")
    tuned: float | None


class NearestExample(Frozen):
    """The training example that has most content words in common with an item."""

    text: str = Field(description="its text fields, a line each")
    answer: str
    similarity: float = Field(description="Jaccard index of the two sets of content words, 0 to 1")


class Case(Numerous):
    """One item with both answers."""

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
    """Items by transition. Items without a score on either side are in no transition."""

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
    """The transitions of all items, and the cases to read.

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
    """Up to 6 of the items, which come in the order in which they are drawn: the first of each gold
    answer, then the second of each, and so on. Only the first 2,000 are looked at; `golds` has the
    gold answer of every item."""
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


@dataclass(frozen=True, eq=False)
class Tagged:
    """Items and the slices that each of them is in.

    Attributes:
        pairs: the items that are looked at: all, or 20,000 that were drawn and those of the sheet
            besides.
        drawn: [items], which of them were drawn.
        tags: kind -> the slice that each item is in; a kind that parts nothing is left out.
        definitions: what each kind is.
        from_answers: the kinds that depend on what a model answered.
    """

    pairs: Pairs
    drawn: NDArray[np.bool_]
    tags: dict[str, Tags]
    definitions: dict[str, str]
    from_answers: list[str]


def tag_pairs(
    summary: CaseSummary, base: Evaluation, tuned: Evaluation, slice_by: Sequence[str] = ()
) -> Tagged:
    """The items with their slices. The base's samples are read; of more than 20,000 items so many
    are drawn.

    A kind that parts nothing, because all items are in one slice, is left out, and so are fields of
    `slice_by` that no doc has.

    Raises:
        InputError: samples can't be read, or a field has more than 30 values.
    """
    # Cases of the sheet are tagged even where they were not drawn, but only drawn items are
    # measured: the sheet's are chosen by what became of them.
    pairs, drawn = _draw_pairs(
        pair_items(base, tuned)[0], {case.item_key for _, case in list_cases(summary)}
    )
    traits = list_traits(summary.text_fields, slice_by)
    tags = _tag_items(pairs, base, summary.text_fields, slice_by)
    for field in slice_by:
        check_categories(field, tags[field_kind(field)])
    flags = tag_flags(pairs)
    tags |= {kind: found for kind, (found, _) in flags.items()}
    definitions = {trait.name: trait.definition for trait in traits} | {
        kind: text for kind, (_, text) in flags.items()
    }
    if summary.by_gold is not None:
        tags["gold answer"] = pairs.texts("target")[0]
        definitions["gold answer"] = "the right answer"
    # One slice that holds everything repeats the table of scores.
    known = {kind: found for kind, found in tags.items() if len(set(found)) > 1}
    from_answers = [*flags, *(trait.name for trait in traits if trait.from_answers)]
    return Tagged(pairs, drawn, known, {kind: definitions[kind] for kind in known}, from_answers)


def add_slices(
    summary: CaseSummary, base: Evaluation, tuned: Evaluation, slice_by: Sequence[str] = ()
) -> CaseSummary:
    """The summary with its slices, and with the slices that each case is in; as it is where nothing
    decides.

    Raises:
        InputError: samples can't be read, or a field has more than 30 values.
    """
    if summary.metric is None:
        return summary
    tagged = tag_pairs(summary, base, tuned, slice_by)
    places = {key: place for place, key in enumerate(tagged.pairs.texts("item_key")[0])}

    def add_tags(case: Case) -> Case:
        place = places[case.item_key]
        found = [
            f"{kind}: {tag}"
            for kind, labels in tagged.tags.items()
            if (tag := labels[place]) is not None
        ]
        return case.model_copy(update={"tags": found})

    rows = np.flatnonzero(tagged.drawn)
    measured = {kind: [labels[place] for place in rows] for kind, labels in tagged.tags.items()}
    return change_cases(summary, add_tags).model_copy(
        update={
            "slices": measure_slices(
                tagged.pairs.only(tagged.drawn), summary.metric, measured, tagged.from_answers
            ),
            "n_sliced": int(tagged.drawn.sum()),
            "definitions": tagged.definitions,
        }
    )


def _draw_pairs(pairs: Pairs, shown: Collection[str]) -> tuple[Pairs, NDArray[np.bool_]]:
    """(the items that are looked at, which of them were drawn): all, or 20,000 and those that are
    `shown` besides."""
    keys = [str(key) for key in pairs.texts("item_key")[0]]
    drawn = np.zeros(len(keys), dtype=np.bool_)
    # The same items for each adapter, so that their slices can be compared.
    drawn[np.argsort([crc32(key.encode()) for key in keys], kind="stable")[:_MOST_SLICED]] = True
    kept = drawn | np.array([key in shown for key in keys], dtype=np.bool_)
    return pairs.only(kept), drawn[kept]


@lru_cache(maxsize=64)
def _read_traits(
    folder: Path, _: tuple[int, int, int], fields: tuple[str, ...], further: tuple[str, ...]
) -> dict[str, list[str | float | None]]:
    """Item key -> the values of its traits, of a small evaluation: read once for all adapters that
    are compared with it."""
    traits = list_traits(fields, further)
    return {
        sample.item_key: [trait.read(sample) for trait in traits]
        for sample in stream_samples(folder)
    }


def _tag_items(
    pairs: Pairs, base: Evaluation, fields: Sequence[str], further: Sequence[str]
) -> dict[str, Tags]:
    """Kind -> the slice that each item is in."""
    traits = list_traits(fields, further)
    keys = [str(key) for key in pairs.texts("item_key")[0]]
    state = state_of_small(base)
    read = (
        {
            sample.item_key: [trait.read(sample) for trait in traits]
            for sample in scan_samples(base, set(keys))
        }
        if state is None
        else _read_traits(base.folder, state, tuple(fields), tuple(further))
    )
    return {
        trait.name: tag_items([read[key][place] for key in keys], trait)
        for place, trait in enumerate(traits)
    }


def change_cases(summary: CaseSummary, change: Callable[[Case], Case]) -> CaseSummary:
    """The summary with every case of its sheet changed."""
    cases = summary.cases and {
        name: [change(case) for case in found] for name, found in summary.cases.items()
    }
    return summary.model_copy(update={"cases": cases})


def list_cases(summary: CaseSummary) -> list[tuple[Transition, Case]]:
    """Every case of the sheet with its transition."""
    return [
        (transition, case) for transition, cases in (summary.cases or {}).items() for case in cases
    ]
