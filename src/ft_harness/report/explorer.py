"""The items of a study as data for the page's case explorer: every text once, compressed and
encoded, so that nothing in it is markup."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ft_harness.comparison.aggregator import Comparison, Study
from ft_harness.comparison.amounts import amount
from ft_harness.comparison.cases import (
    DECIDING_METRICS,
    SHOWN_CHARACTERS,
    Answer,
    Item,
    Listing,
    Sheet,
    Written,
)
from ft_harness.comparison.cases.listing import cut_middle
from ft_harness.comparison.features import name_of, name_side
from ft_harness.report.answer_difference import Ranges, find_difference
from ft_harness.report.cells import shown_answer
from ft_harness.storage import redact_values
from ft_harness.storage.escaping import visible

Listed = tuple[Comparison, Listing]
_GOLD = "gold answer"  # a kind of slice that the page lets be chosen by itself
_LONGEST = 2 * SHOWN_CHARACTERS  # with the mark of a cut; nothing is cut twice
_MOST_CHOICES = 8  # whose log-likelihoods the page draws
_NOTHING_WRITTEN = Written()


@dataclass(frozen=True)
class Explorer:
    """The data of the page's case explorer: what it lets a reader search.

    Attributes:
        note: which items these are, and what of them is cut.
        content: `texts` holds every text once; all else refers to it by number, -1 for none.
            `choices` are lists of names, `sides` evaluations: [name, what cases.csv calls it]. A
            group is a comparison: `name`, `task`, `split`, `base` and `tuned` (sides), `cells`,
            `classes` and `slices` ([kind, [values]]) to choose by, and `items`: [key, cell,
            prompt, gold, choices, why, [slices], base, tuned]. An answer is [text, score, how the
            score is shown, [log-likelihoods], [start, end, ... of what the other side lacks]], its
            empty end left out. `table` is what a person wrote in cases.csv, in the file's own
            columns.
    """

    kind: ClassVar[str] = "explorer"
    note: str
    content: dict[str, Any]

    @property
    def data(self) -> str:
        """The content as base64 of deflated JSON: no character of it means anything to a
        browser, and 20,000 cases take a quarter of the room."""
        found = json.dumps(self.content, ensure_ascii=False, separators=(",", ":"))
        packed = zlib.compress(found.encode("utf-8", "surrogatepass"), 9)
        return base64.b64encode(packed).decode()


def make_explorer(
    study: Study, listed: Sequence[Listed], written: Written = _NOTHING_WRITTEN
) -> Explorer | None:
    """The case explorer's data on these comparisons; None where there is none."""
    shown = [(comparison, listing) for comparison, listing in listed if listing.items]
    if not shown:
        return None
    content = _Content(study)
    groups = [content.group(*each) for each in shown]
    # Secrets go here: what is packed is opaque to the one who writes the page.
    table = redact_values({"columns": written.table_columns(), "rows": written.table_rows()})
    lists = {"texts": [*content.texts], "choices": [*content.choices], "sides": [*content.sides]}
    return Explorer(_note(shown), {**lists, "groups": groups, "table": table})


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


class _Content:
    """Texts, lists of choices and evaluations by number, in the order in which they come."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.texts: dict[str, int] = {}
        self.choices: dict[tuple[int, ...], int] = {}
        self.sides: dict[tuple[int, int], int] = {}

    def number(self, text: str | None) -> int:
        """The number of a text, with what can't be seen in it made visible; -1 for None."""
        if text is None:
            return -1
        return self.texts.setdefault(visible(text, _LONGEST), len(self.texts))

    def group(self, comparison: Comparison, listing: Listing) -> dict[str, Any]:
        number, summary = self.number, comparison.cases
        kinds = [kind for kind in listing.kinds if kind != _GOLD]
        records = comparison.base, comparison.tuned
        names = Sheet(*records, summary).sides()
        base, tuned = (
            self.sides.setdefault(
                (number(name_side(self._study, record)), number(name)), len(self.sides)
            )
            for record, name in zip(records, names, strict=True)
        )
        return {
            "name": number(_name(self._study, comparison)),
            "task": number(comparison.base.settings.task),
            "split": number(comparison.base.settings.split),
            "base": base,
            "tuned": tuned,
            "cells": [number(transition) for transition in summary.counts or {}],
            "classes": [number(cut_middle(gold)) for gold in summary.by_gold or {}],
            "slices": [
                [number(kind), [number(_tag(kind, value)) for value in found]]
                for kind, found in _values(comparison, listing, kinds).items()
            ],
            "items": [self._item(item, listing.metric, kinds) for item in listing.items],
        }

    def _item(self, item: Item, metric: str, kinds: Sequence[str]) -> list[Any]:
        shown = item.choices if len(item.choices) <= _MOST_CHOICES else ()
        names = tuple(self.number(name) for name in shown)
        choices = self.choices.setdefault(names, len(self.choices)) if names else -1
        tags = [self.number(_tag(kind, item.slices[kind])) for kind in kinds if kind in item.slices]
        # what a person wrote is never cut: it can be edited in the page
        why = -1 if item.why is None else self.texts.setdefault(visible(item.why), len(self.texts))
        asked = map(self.number, (item.item_key, item.transition, item.prompt, item.gold))
        texts = [visible(shown_answer(side.text), _LONGEST) for side in (item.base, item.tuned)]
        marks: tuple[Ranges, Ranges] = ([], [])
        if item.base.text and item.tuned.text and item.base.text != item.tuned.text:
            marks = find_difference(*texts)
        answers = [
            self._answer(side, text, metric, ranges)
            for side, text, ranges in zip((item.base, item.tuned), texts, marks, strict=True)
        ]
        return [*asked, choices, why, tags, *answers]

    def _answer(self, side: Answer, text: str, metric: str, ranges: Ranges) -> list[Any]:
        graded = side.score is not None and metric not in DECIDING_METRICS
        found: list[Any] = [
            self.number(text),
            side.score,
            self.number(f"{metric} {amount(metric, side.score)}") if graded else -1,
            [round(value, 3) for value in _kept(side.log_likelihoods)],
            # as JavaScript counts
            [len(text[:end].encode("utf-16-le")) // 2 for each in ranges for end in each],
        ]
        while found[-1] in (None, -1, []):
            found.pop()
        return found


def _values(
    comparison: Comparison, listing: Listing, kinds: Sequence[str]
) -> dict[str, dict[str, None]]:
    """Kind -> its slices, in the order of the report's tables."""
    values: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
    for found in comparison.cases.slices or []:
        values.get(found.kind, {})[found.value] = None
    for item in listing.items:
        for kind in kinds:
            if kind in item.slices:
                values[kind].setdefault(item.slices[kind])
    return values


def _name(study: Study, comparison: Comparison) -> str:
    name = f"{name_of(study, comparison)} ({comparison.base.settings.split})"
    subject = comparison.tuned.subject
    return name if subject in name else f"{name}: {subject}"


def _kept(log_likelihoods: Sequence[float]) -> Sequence[float]:
    """All; of more choices than are drawn the best two, which say by how much it was ahead."""
    if len(log_likelihoods) <= _MOST_CHOICES:
        return log_likelihoods
    return sorted(log_likelihoods, reverse=True)[:2]


def _tag(kind: str, value: str) -> str:
    return f"{kind}: {value}"
