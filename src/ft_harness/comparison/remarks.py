"""What must be said next to a finding, and the notes of a report: fixed words of rows, records and
answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ft_harness.comparison.amounts import amount, decimals, interval
from ft_harness.comparison.sentences import (
    count_items,
    state_change,
    state_interval,
    word_of,
)
from ft_harness.comparison.study import Row
from ft_harness.data.data_report import DataReport
from ft_harness.records import Record, describe_record
from ft_harness.stats import Interval

_COLLAPSED = 0.95  # share of one answer from which a model counts as answering only that
_SPREAD = 0.80  # share of the most frequent gold answer up to which the answers count as spread
_QUOTED = 40  # characters of an answer in a sentence
_NAMED = 3  # metrics in a note


def remark_unscored(left_out: int, items: int) -> str:
    """That a number rests on fewer items than are paired."""
    are = "is" if left_out == 1 else "are"
    return f"{left_out} of {count_items(items)} {are} left out: no score in base or tuned."


def remark_majority(share: float, excess: Interval | None) -> str | None:
    """A warning if the tuned model's accuracy is below the share of the most frequent gold label,
    or not shown to be above it: by the 95 % interval of their difference."""
    if excess is None or excess[0] > 0:
        return None
    relation = "below" if excess[1] < 0 else "not shown to be better than"
    certainty = f"95 % interval of tuned minus majority {interval('acc', *excess)} points"
    majority = amount("acc", share, decimals("acc", *excess))
    return f"The tuned model is {relation} the majority class ({majority}; {certainty})."


def remark_empty(who: str, answers: Sequence[str | None]) -> str | None:
    """A warning if a model ("base" or "tuned") never answered."""
    if not answers or any(answer and not answer.isspace() for answer in answers):
        return None
    return f"Every answer of the {who} model is empty or unreadable."


def remark_collapse(
    base: Sequence[str | None], tuned: Sequence[str | None], golds: Sequence[str]
) -> str | None:
    """A warning if the tuned model gives nearly always the same answer to items whose gold answers
    are spread.

    If the base model gave that answer as often, the training taught nothing; else the training
    broke the model.
    """
    readable = [answer for answer in tuned if answer and not answer.isspace()]
    if not readable:
        return None
    answer, count = Counter(readable).most_common(1)[0]
    if count < _COLLAPSED * len(tuned) or max(Counter(golds).values()) > _SPREAD * len(golds):
        return None
    quoted = answer if len(answer) <= _QUOTED else f"{answer[: _QUOTED - 1]}…"
    said = f"The tuned model answers '{quoted}' for {100 * count // len(tuned)} % of the items"
    if Counter(base)[answer] >= _COLLAPSED * len(base):
        return f"{said}, as the base model does: the training has not taught the task."
    return f"{said}: the training has collapsed (often a too high learning rate)."


def remark_overlap(without: Row, left_out: int, left: int) -> str:
    """What the headline is without the items that also occur in the training split; `left` items
    remain."""
    if not left:
        every = "The only item also occurs" if left_out == 1 else f"All {left_out} items also occur"
        return f"{every} in the training data: this says nothing about new items."
    occur = "items also occurs" if left_out == 1 else "items also occur"
    said = f"{left_out} of {left_out + left} {occur} in the training data, exactly or nearly"
    if without.base is None or without.tuned is None or without.delta is None:
        return f"{said}; without them nothing can be stated."
    metric, digits = without.metric, decimals(without.metric, without.low, without.high)
    before, after = amount(metric, without.base, digits), amount(metric, without.tuned, digits)
    certainty = state_interval(metric, without.low, without.high)
    change = f"{state_change(metric, without.delta, digits)}, {certainty}"
    return f"{said}; without them {word_of(metric)} {before} -> {after} ({change})."


def remark_cut(who: str) -> str:
    """That no answer of a model ("base" or "tuned") was finished."""
    cut = "was cut by the limit of generated tokens: none is finished"
    return f"Every answer of the {who} model {cut}."


def remark_overfitting(metric: str, trained: Row, tested: Row) -> str:
    """That the tuned model is far better on what it was trained on than on other items, by more
    than its base is."""
    sides = [(row, decimals(metric, row.low, row.high)) for row in (trained, tested)]
    there, here = (amount(metric, row.tuned, digits) for row, digits in sides)
    gains = [
        state_change(metric, row.delta, digits) for row, digits in sides if row.delta is not None
    ]
    return (
        f"The tuned model scores {there} on the training examples and {here} here, {gains[0]} and "
        f"{gains[1]} against its base: much of the gain is memorisation (overfitting)."
    )


def remark_choosing(how: str | None, split: str) -> str:
    """That numbers on validation are biased; `how` the training used the split, None: not known."""
    if how is None:
        return (
            "These are validation items: if they were used to choose anything, new items would "
            "score lower."
        )
    if split == "validation":
        return f"The training used these validation items ({how}): new items would score lower."
    return (
        f"The training used the validation items ({how}): this number is unbiased, those on "
        "validation are not."
    )


def remark_same(record: Record) -> str:
    """That an evaluation was compared with itself."""
    same = describe_record(record)
    return f"Base and tuned are one and the same evaluation, {same}: this compares nothing."


# --- notes


def note_bad_items(record: Record) -> list[str]:
    """Counts of invalid and of truncated items: the largest over the metrics, which all rest on the
    same items."""
    counts = {
        "items have an answer that could not be read or scored": [
            score.n_invalid for score in record.scores
        ],
        "items had their prompt cut to fit the context": [
            score.n_truncated for score in record.scores
        ],
    }
    return [
        f"{describe_record(record)}: {max(bad)} {what}"
        for what, bad in counts.items()
        if max(bad, default=0)
    ]


def note_unscored(metrics: Sequence[str], left_out: int, items: int) -> str:
    """Which metrics rest on fewer than the paired items."""
    more = f" and {len(metrics) - _NAMED} more" if len(metrics) > _NAMED else ""
    return f"{', '.join(metrics[:_NAMED])}{more}: {remark_unscored(left_out, items).rstrip('.')}"


def note_unknown_overlap(record: Record, data: DataReport | None) -> list[str]:
    """A note if the adapter's data report is not about the docs of this evaluation."""
    settings = record.settings
    if data is None or settings.split == "train":
        return []
    found = data.split_data(settings.split)
    if found and (settings.sample_seed is not None or found.data_hash == settings.data_hash):
        return []
    return [
        f"{describe_record(record)}: the adapter's data report is not of these {settings.split} "
        "docs; whether they also occur among the training docs was not checked"
    ]
