"""Which slices each item of a comparison is in, and the summary of cases with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ft_harness.comparison.cases.slices import (
    Tags,
    check_categories,
    measure_slices,
    tag_flags,
    tag_items,
)
from ft_harness.comparison.cases.summary import Case, CaseSummary, change_cases, list_cases
from ft_harness.comparison.cases.traits import (
    field_kind,
    list_traits,
)
from ft_harness.comparison.pairing import Pairs, pair_items
from ft_harness.records import Evaluation
from ft_harness.records.reading import stream_samples
from ft_harness.records.score_table import scan_samples, state_of_small

_MOST_SLICED = 20_000  # items whose texts are read for slices


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
    """The paired items with their slices. The base's samples are read; of more than 20,000 items so
    many are drawn.

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
    """The case sheet with its slices, and with the slices that each case is in; as it is where
    nothing decides.

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
