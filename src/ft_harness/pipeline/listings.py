"""The items that a report's page lets a reader search, from the samples of both sides."""

from __future__ import annotations

from collections.abc import Sequence

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.cases import MOST_LISTED, Listing, list_items
from ft_harness.records import Evaluation
from ft_harness.report import Explorer, main_comparisons, make_explorer


def find_explorer(
    study: Study,
    evaluations: Sequence[Evaluation],
    limit: int = MOST_LISTED,
    slice_by: Sequence[str] = (),
) -> Explorer | None:
    """At most `limit` items of the main comparisons together, each with the same share; None for
    none.

    Raises:
        InputError: samples can't be read.
    """
    by_id = {(each.record.subject, each.record.eval_id): each for each in evaluations}
    compared = main_comparisons(study)
    shares = share_out(limit, [sum((each.cases.counts or {}).values()) for each in compared])
    listed: list[Listing | None] = []
    for comparison, share in zip(compared, shares, strict=True):
        base, tuned = (
            by_id[record.subject, record.eval_id] for record in (comparison.base, comparison.tuned)
        )
        listed.append(list_items(comparison.cases, base, tuned, share, slice_by) if share else None)
    found = [
        (comparison, listing)
        for comparison, listing in zip(compared, listed, strict=True)
        if listing
    ]
    return make_explorer(study, found)


def share_out(limit: int, sizes: Sequence[int]) -> list[int]:
    """How many of each: all of the small ones, and the same number of those that are too large."""
    shares, left = [0] * len(sizes), limit
    ranked = sorted(range(len(sizes)), key=lambda place: sizes[place])
    for rank, place in enumerate(ranked):
        shares[place] = min(sizes[place], left // (len(sizes) - rank))
        left -= shares[place]
    return shares
