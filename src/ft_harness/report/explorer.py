"""The items of a study as data for the page's case explorer: inert JSON, every text once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ft_harness.comparison.aggregator import Comparison, Study
from ft_harness.comparison.amounts import amount
from ft_harness.comparison.cases import DECIDING_METRICS, SHOWN_CHARACTERS, Item, Listing
from ft_harness.comparison.cases.listing import cut
from ft_harness.comparison.features import name_of
from ft_harness.report.case_section import answer_text
from ft_harness.storage.escaping import visible

Listed = tuple[Comparison, Listing]
_GOLD = "gold answer"  # a kind of slice that the page lets be chosen by itself
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_LONGEST = 2 * SHOWN_CHARACTERS  # with the mark of a cut; nothing is cut twice


@dataclass(frozen=True)
class Explorer:
    """What the page lets a reader search.

    Attributes:
        note: which items these are, and what of them is cut.
        data: JSON that is safe in a script element. `texts` holds every text once; all else
            refers to it by number, -1 for none. A group is a comparison: `name`, `cells`, `classes`
            and `slices` ([kind, [values]]) to choose by, and `items`: [key, cell, prompt, gold,
            base answer, tuned answer, what is known of each, why, [slices]].
    """

    kind: ClassVar[str] = "explorer"
    note: str
    data: str


def make_explorer(study: Study, listed: Sequence[Listed]) -> Explorer | None:
    """The items of these comparisons; None where there is none."""
    shown = [(comparison, listing) for comparison, listing in listed if listing.items]
    if not shown:
        return None
    texts = _Texts()
    groups = [_group(study, each, texts) for each in shown]
    found = json.dumps(
        {"texts": list(texts.numbers), "groups": groups}, ensure_ascii=False, separators=(",", ":")
    )
    return Explorer(_note(shown), found.translate(_ESCAPES))


def _note(shown: Sequence[Listed]) -> str:
    listed, there = (
        sum(len(listing.items) for _, listing in shown),
        sum(listing.n for _, listing in shown),
    )
    some = (
        ""
        if listed == there
        else f", drawn from {there:,} (each comparison the same share, by the items' keys)"
    )
    less = f"Prompts and answers of more than {SHOWN_CHARACTERS} characters are cut in the middle"
    comparisons = "one comparison" if len(shown) == 1 else f"{len(shown)} comparisons"
    return (
        f"{listed:,} items of {comparisons}{some}. {less}; samples.jsonl.gz of each evaluation "
        "holds them whole."
    )


class _Texts:
    """Texts by number, in the order in which they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str | None) -> int:
        """The number of a text, with what can't be seen in it made visible; -1 for None."""
        if text is None:
            return -1
        return self.numbers.setdefault(visible(text, _LONGEST), len(self.numbers))


def _group(study: Study, listed: Listed, texts: _Texts) -> dict[str, Any]:
    comparison, listing = listed
    number, summary = texts.number, comparison.cases
    kinds = [kind for kind in listing.kinds if kind != _GOLD]
    values: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
    for found in summary.slices or []:  # in the order of the report's tables
        values.get(found.kind, {})[found.value] = None
    for item in listing.items:
        for kind in kinds:
            if kind in item.slices:
                values[kind].setdefault(item.slices[kind])
    name, subject = (
        f"{name_of(study, comparison)} ({comparison.base.settings.split})",
        comparison.tuned.subject,
    )
    return {
        "name": number(name if subject in name else f"{name}: {subject}"),
        "cells": [number(transition) for transition in summary.counts or {}],
        "classes": [number(cut(gold)) for gold in summary.by_gold or {}],
        "slices": [
            [number(kind), [number(_tag(kind, value)) for value in found]]
            for kind, found in values.items()
        ],
        "items": [_item(item, listing.metric, kinds, texts) for item in listing.items],
    }


def _item(item: Item, metric: str, kinds: Sequence[str], texts: _Texts) -> list[int | list[int]]:
    number = texts.number
    sides = (item.base, item.tuned)
    known = [_known(metric, side.score, side.margin) for side in sides]
    tags = [number(_tag(kind, item.slices[kind])) for kind in kinds if kind in item.slices]
    names = [
        item.item_key,
        item.transition,
        item.prompt,
        item.gold,
        *(answer_text(side.text) for side in sides),
    ]
    return [*map(number, [*names, *known, item.why]), tags]


def _tag(kind: str, value: str) -> str:
    return f"{kind}: {value}"


def _known(metric: str, score: float | None, margin: float | None) -> str | None:
    """What is shown next to an answer: a graded score, and by how much it was ahead of the second
    choice."""
    notes = (
        [] if score is None or metric in DECIDING_METRICS else [f"{metric} {amount(metric, score)}"]
    )
    notes += [] if margin is None else [f"{margin:.2f} nats ahead"]
    return ", ".join(notes) or None
