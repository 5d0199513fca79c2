"""The role of a task for an adapter (trained, another form of its data, control), families of
deciding rows, and Holm's p where that was asked for. See docs/decisions/025-families.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ft_harness import stats
from ft_harness.comparison.rows import decide
from ft_harness.comparison.study import AdapterRun, Comparison, Family, FamilyOf, Role, Row
from ft_harness.records import Record

_FORM = re.compile(r"_(?:ppl|gen)(?=_|$)")  # of a task's name: another form of the same docs
_DECIDES: Mapping[Role, Family] = {"trained task": "trained task", "control task": "control task"}


def role_of(tuned: Record, run: AdapterRun | None) -> Role:
    """The role of the task for the adapter; without a card it counts as the trained task, unless it
    was scored as a control."""
    trained = run.card.recipe.get("task", {}).get("name") if run else None
    # An adapter of another program has no card. Taking its task as the trained one is right for
    # whoever scores it on what it was made for; controls are marked when they are scored.
    if run is None or not trained:
        return "control task" if tuned.is_control else "trained task"
    if trained == tuned.settings.task:
        return "trained task"
    splits = run.data.splits if run.data else []
    docs = {each.data_hash for each in splits if each.split == tuned.settings.split}
    same_name = _FORM.sub("", trained) == _FORM.sub("", tuned.settings.task)
    # The perplexity of the training texts is no evidence that other abilities were kept.
    return "same data" if same_name or tuned.settings.data_hash in docs else "control task"


def declare(
    compared: Sequence[Comparison], primary: Sequence[str], *, holm: bool = False
) -> list[Comparison]:
    """The comparisons with the family of each deciding row: its primary metric on test, or on
    validation where this adapter was not scored on test; train and other forms are descriptive.

    A row's own p decides, so it does not depend on what else a report shows.

    Args:
        primary: the primary metric of each comparison.
        holm: adjust p over all deciding rows of a family, as the reader asked.
    """
    families = _find_families(compared)
    # The own p decides. Adjusted over a whole report one pair got 0.059, 0.12 and 0.23, by what
    # else was in it (decision 025).
    decided = [
        _mark(each, metric, family)
        for each, metric, family in zip(compared, primary, families, strict=True)
    ]
    if not holm:
        return decided
    for family in ("trained task", "control task"):
        places = [place for place, each in enumerate(families) if each == family]
        known = {place: p for place in places if (p := _deciding_p(decided[place])) is not None}
        adjusted = stats.holm(list(known.values()))
        for place, p in zip(known, adjusted, strict=True):
            decided[place] = _adjust(decided[place], p)
    return decided


def list_families(compared: Sequence[Comparison], holm: bool) -> list[FamilyOf]:
    """The families that these comparisons make, with their members by name."""
    members: dict[Family, list[str]] = {}
    # In the order of the rows, so that a report made again lists them alike.
    for row in (row for each in compared for row in each.rows if row.family):
        name = f"{row.tuned_subject} on {row.task} ({row.split}), {row.metric}"
        members.setdefault(row.family or "trained task", []).append(name)
    return [FamilyOf(name=name, members=found, holm=holm) for name, found in members.items()]


def _find_families(compared: Sequence[Comparison]) -> list[Family | None]:
    places = [(each.tuned.subject, each.tuned.settings.task) for each in compared]
    splits = [each.tuned.settings.split for each in compared]
    tested = {place for place, split in zip(places, splits, strict=True) if split == "test"}
    return [
        _DECIDES.get(each.role) if split == ("test" if place in tested else "validation") else None
        for each, place, split in zip(compared, places, splits, strict=True)
    ]


def _mark(comparison: Comparison, metric: str, family: Family | None) -> Comparison:
    changed = {"family": family, "primary": family == "trained task"}
    rows = [
        row.model_copy(update=changed) if row.tuned_subject and row.metric == metric else row
        for row in comparison.rows
    ]
    return comparison.model_copy(update={"rows": rows})


def _deciding_row(comparison: Comparison) -> Row:
    return next(row for row in comparison.rows if row.family)


def _deciding_p(comparison: Comparison) -> float | None:
    """The p of the deciding row: of unseen items, if these decide."""
    row = _deciding_row(comparison)
    clean = _find_clean(comparison, row)
    return row.p if clean is None else clean.p


def _find_clean(comparison: Comparison, row: Row) -> Row | None:
    """The same metric without the items that also occur in the training split."""
    return next((each for each in comparison.clean_rows() if each.metric == row.metric), None)


def _adjust(comparison: Comparison, p_adjusted: float) -> Comparison:
    """The comparison judged again by the adjusted p."""
    old = _deciding_row(comparison)
    clean = _find_clean(comparison, old)
    changed: dict[str, Any] = {"p_adjusted": p_adjusted}
    judged = (
        None
        if clean is None
        else decide(clean.model_copy(update=changed), comparison.above_majority)
    )
    # The adjusted p belongs to the row that decides: the one without overlap, where there is one.
    # The row with all items follows its verdict.
    row = decide(old.model_copy(update=changed), comparison.above_majority, judged)
    updated: dict[str, Any] = {
        "rows": [row if each is old else each for each in comparison.rows],
        "without": judged if comparison.without is clean else comparison.without,
        "others_without": [
            judged if each is clean and judged else each for each in comparison.others_without
        ],
    }
    return comparison.model_copy(update=updated)
