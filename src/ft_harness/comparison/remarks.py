"""Fixed sentences next to a finding, and in the notes of a report: on rows, records and answers,
such as one answer to everything (a collapse) or answers that were cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ft_harness.comparison.amounts import amount, counted, decimals, fixed, interval, shorten
from ft_harness.comparison.sentences import (
    state_change,
    state_numbers,
    word_of,
)
from ft_harness.comparison.study import Row
from ft_harness.data.data_report import DataReport
from ft_harness.records import AdapterInfo, Record, describe_record
from ft_harness.stats import Interval

_COLLAPSED = 0.95  # share of one answer from which a model counts as answering only that
_SPREAD = 0.80  # share of the most frequent gold answer up to which the answers count as spread
UNREADABLE = {  # base answers that show no skill -> the scores of which one says so
    "an unreadable base answer": ("invalid",),
    "a base answer that was empty or cut off": ("empty", "truncated"),
}
_QUOTED = 40  # characters of an answer in a sentence
_NAMED = 3  # metrics in a note, classes in a sentence
_FORMAT = 0.1  # share of the gained items from which unreadable answers of the base are named
BLEU_OF_SHORT_ANSWERS = (
    "BLEU counts runs of four words; most right answers here are shorter, so that even perfect "
    "ones score 0"
)

_KINDS = {  # part of a remark -> what it is about, in a word or two
    "Unverified base": "base unverified",
    "left out: no score": "items left out",
    "majority class (": "not above majority",
    "one of format": "gain of format",
    "Log p of the chosen": "chosen less likely",
    "empty or unreadable": "no answers",
    "The tuned model answers": "one answer only",
    "Recall fell": "recall fell",
    "in the training data": "items trained on",
    "cut by the limit": "answers cut",
    "(overfitting)": "overfitting",
    "validation items": "used for choosing",
    "one and the same evaluation": "compared with itself",
    BLEU_OF_SHORT_ANSWERS: "BLEU of short answers",
}


def kind_of(remark: str) -> str:
    """What a remark is about, in a word or two, for a narrow column."""
    return next((kind for part, kind in _KINDS.items() if part in remark), "caution")


def remark_unverified(adapter: AdapterInfo | None) -> str | None:
    """A remark that an adapter may have been trained on another base than it was scored on."""
    doubt = adapter.doubt_of_base if adapter is not None else None
    return f"Unverified base: {doubt}." if doubt else None


def remark_unscored(left_out: int, items: int) -> str:
    """A remark that a number rests on fewer items than are paired."""
    are = "is" if left_out == 1 else "are"
    return f"{left_out:,} of {counted(items, 'item')} {are} left out: no score in base or tuned."


def remark_majority(share: float, excess: Interval | None) -> str | None:
    """A remark, as `remark_baseline`'s, on the most frequent gold label."""
    return remark_baseline("the majority class", share, excess, "majority")


def remark_baseline(
    rule: str, share: float, excess: Interval | None, short: str = "this"
) -> str | None:
    """A remark if the tuned model's accuracy is below the share of items that a rule gets right, or
    not shown to be above it: by the 95 % interval of their difference.

    Args:
        short: the rule's name in the interval.
    """
    if excess is None or excess[0] > 0:
        return None
    # The whole interval below 0 says more than one that holds it.
    relation = "below" if excess[1] < 0 else "not shown to be better than"
    certainty = f"95 % interval of tuned minus {short} {interval('acc', *excess)} points"
    right = amount("acc", share, decimals("acc", *excess))
    return f"The tuned model is {relation} {rule} ({right}; {certainty})."


def remark_less_likely(change: float, likelihood: Row) -> str:
    """A remark that more chosen answers are preferred although they became less likely.

    Args:
        change: of log p of a chosen answer, the mean in nats; below 0.
        likelihood: the row of their perplexity.
    """
    return (
        f"Log p of the chosen answers fell, by {fixed(-change, 1)} nats per answer on average "
        f"({word_of(likelihood.metric)} {state_numbers(likelihood)}), while more of them are "
        "preferred: the rejected ones fell further. Read what the model writes now."
    )


def remark_empty(who: str, answers: Sequence[str | None]) -> str | None:
    """A remark if a model ("base" or "tuned") never answered."""
    if not answers or any(answer and not answer.isspace() for answer in answers):
        return None
    return f"Every answer of the {who} model is empty or unreadable."


def find_collapse(
    answers: Sequence[str | None], golds: Sequence[str | None]
) -> tuple[str, int] | None:
    """For a remark on collapse: (answer, count) of a model that nearly always gives the same answer
    although the gold answers vary; None for any other model."""
    readable = [answer for answer in answers if answer and not answer.isspace()]
    if not readable:
        return None
    # Among the readable ones, but counted against all: half unreadable and half one answer is no
    # collapse.
    answer, count = Counter(readable).most_common(1)[0]
    # If nine in ten right answers are the same, giving it always is no collapse but what the data
    # asks for.
    if count < _COLLAPSED * len(answers) or max(Counter(golds).values()) > _SPREAD * len(golds):
        return None
    return answer, count


def remark_collapse(
    answers: tuple[Sequence[str | None], Sequence[str | None]],
    golds: Sequence[str | None],
    training: str,
    tuned_by: AdapterInfo | None,
) -> list[str]:
    """A remark if the tuned model gives nearly always the same answer.

    Args:
        answers: of base and of tuned.
        training: steps and learning rate; "": not known, or of another task.
        tuned_by: the adapter; None: there is none.
    """
    base, tuned = answers
    found = find_collapse(tuned, golds)
    if found is None:
        return []
    answer, count = found
    said = (
        f"The tuned model answers '{shorten(answer, _QUOTED)}' for "
        f"{100 * count // len(tuned)} % of the items"
    )
    said += f" after {training}" if training else ""
    # The training is not to blame for what the base did already.
    of_base = Counter(base)[answer]
    if of_base >= _COLLAPSED * len(base):
        return [f"{said}, as the base model does."]
    said += f": it has collapsed to one answer (base model: {100 * of_base // len(base)} %)."
    if tuned_by is not None and tuned_by.doubt_of_base:
        said += " An adapter loaded on the wrong base does that too."
    return [said]


class Recall(NamedTuple):
    """For the remark on lost classes: how often a class was recognised, before and after."""

    label: str
    base: float | None
    tuned: float | None
    p: float | None
    is_worse: bool


def remark_lost_classes(lost: Sequence[Recall], always: str | None) -> str | None:
    """Which classes are recognised less often; the worst comes first.

    Args:
        always: the only class that the base ever gives rightly; None: there are several.
    """
    if not lost:
        return None
    only = " (the only class that the base model gets right at all)"
    changes = [
        f"'{shorten(each.label, _QUOTED)}' from {amount('acc', each.base)}"
        f"{only if each.label == always else ''} to {amount('acc', each.tuned)}"
        for each in lost[:_NAMED]
    ]
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return f"Recall fell: {', '.join(changes)}{more}."


def remark_format(what: str, unread: int, gained: int) -> str | None:
    """A remark on how many gained items had such a base answer: a gain of format.

    Args:
        what: one of `UNREADABLE`.
    """
    # A base that answers in whole sentences "improves" as soon as it gives a bare label; that is
    # worth knowing, and no skill.
    if unread < _FORMAT * gained or not unread:
        return None
    said = f"{unread} of the {counted(gained, 'gained item')} had {what}"
    if unread <= gained / 2:
        return f"{said}: that part of the gain is one of format."
    return f"{said}: the gain is one of format, and not shown to be one of skill."


def remark_overlap(every: Row, clean: Row, left_out: int, left: int) -> str:
    """A remark on items left out because they also occur in training, with the score of all items;
    the `left` items that remain decide."""
    if not left:
        one = left_out == 1
        whole = "The only item also occurs" if one else f"All {left_out} items also occur"
        return f"{whole} in the training data: this says nothing about new items."
    occur = "items also occurs" if left_out == 1 else "items also occur"
    said = f"{left_out} of {left_out + left} {occur} in the training data, exactly or nearly"
    if clean.delta is None or every.delta is None:
        return f"{said}; without them nothing can be stated."
    return (
        f"{said}: the others decide. With all items {word_of(every.metric)} {state_numbers(every)}."
    )


def remark_cut(who: str) -> str:
    """A remark that no answer of a model ("base" or "tuned") was finished."""
    cut = "was cut by the limit of generated tokens: none is finished"
    return f"Every answer of the {who} model {cut}."


def remark_overfitting(metric: str, trained: Row, tested: Row) -> str:
    """A remark that the gain on the training examples far exceeds the gain on other items."""
    there, here = (amount(metric, row.tuned) for row in (trained, tested))
    gains = [state_change(metric, row.delta or 0.0) for row in (trained, tested)]
    return (
        f"The tuned model gains {gains[0]} (to {there}) on its training examples and {gains[1]} "
        f"(to {here}) here: much of what it learnt is memorised (overfitting)."
    )


def remark_choosing(how: str | None, split: str) -> str:
    """A remark that validation scores are biased; `how`: what the training used the split for,
    None: not known."""
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
    """A remark that an evaluation was compared with itself."""
    same = describe_record(record)
    return f"Base and tuned are one and the same evaluation, {same}: this compares nothing."


# --- notes


def note_bad_items(record: Record) -> list[str]:
    """A note of the report: counts of invalid and of truncated items: the largest over the metrics,
    which all rest on the same items."""
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
    """A note of the report: which metrics rest on fewer than the paired items."""
    more = f" and {len(metrics) - _NAMED} more" if len(metrics) > _NAMED else ""
    return f"{', '.join(metrics[:_NAMED])}{more}: {remark_unscored(left_out, items).rstrip('.')}"


def note_unknown_overlap(record: Record, data: DataReport | None) -> list[str]:
    """A note if the adapter's data report is not about the docs of this evaluation."""
    settings = record.settings
    if data is None or settings.split == "train":
        return []
    found = data.split_data(settings.split)
    # A sample of the docs has a hash of its own, though all of its docs were looked at.
    if found and (settings.sample_seed is not None or found.data_hash == settings.data_hash):
        return []
    return [
        f"{describe_record(record)}: the adapter's data report does not cover these "
        f"{settings.split} docs; whether they also occur in training was not checked"
    ]
