"""Which metric leads a comparison, and which belong next to it: by the task, and by the length of
its answers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ft_harness.metrics.characters import split_tokens
from ft_harness.metrics.registry import DECIDING_METRICS

# metrics that only tasks of open answers have: an exact match says next to nothing of these
_FREE_TEXT = ("chrf", "rougeL", "bleu")
_LONG_ANSWER = 20  # words of the median answer from which an n-gram of words says more
_SHORT_ANSWER = 4  # words; BLEU counts runs of four, and a shorter answer has none
_COMPANIONS = {
    "acc": ("f1_macro",),
    "f1_macro": ("acc",),
    "preference_acc": ("implicit_reward_acc", "preference_margin", "chosen_byte_ppl"),
    "exact_match": ("token_f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"),
    "token_f1": ("exact_match", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"),
    "chrf": ("rougeL",),
    "rougeL": ("chrf",),
}


def find_primary(names: Sequence[str], declared: str | None, targets: Sequence[str | None]) -> str:
    """The declared metric, else what fits: accuracy of classes, exact match of short answers, chrF
    of free text (ROUGE-L where its answers are long and their script has spaces), else the first.

    Args:
        names: the metrics that base and tuned share; at least one.
        declared: by the recipe or the task; one that was not scored can't lead.
        targets: the right answers.
    """
    # Whoever wrote the task knows best.
    if declared is not None and declared in names:
        return declared
    # Classes before anything else: a label task has accuracy, whatever other metrics it lists.
    if "acc" in names:
        return "acc"
    if free := [name for name in _FREE_TEXT if name in names]:
        long = count_words(targets) >= _LONG_ANSWER and _has_spaces(targets)
        # BLEU alone, of answers below four words, is 0 for perfect answers: another metric leads,
        # if there is one.
        if free != ["bleu"] or not is_too_short_for_bleu(targets):
            return "rougeL" if long and "rougeL" in names else free[0]
    # An exact match fits short answers; a task of neither has its own first metric.
    return next((name for name in DECIDING_METRICS if name in names), names[0])


def find_companions(leading: str, names: Sequence[str]) -> list[str]:
    """The metrics that a reader of the leading one must see with it."""
    return [name for name in _COMPANIONS.get(leading, ()) if name in names]


def count_words(targets: Sequence[str | None]) -> float:
    """How long answers are, which decides the metric: words of the median one; in scripts written
    without spaces each character is a word."""
    return median([len(split_tokens(target or "")) for target in targets] or [0])


def is_too_short_for_bleu(targets: Sequence[str | None]) -> bool:
    """Whether BLEU can't lead as most answers have no run of four words, so that even perfect ones
    score 0."""
    return count_words(targets) < _SHORT_ANSWER


def _has_spaces(targets: Sequence[str | None]) -> bool:
    """Whether words are separated by spaces: split by them there are about as many words."""
    # By the answers themselves, since a task need not say its language: Chinese has a token a
    # character, and hardly a blank.
    tokens = sum(len(split_tokens(target or "")) for target in targets)
    return sum(len((target or "").split()) for target in targets) > tokens / 2
