"""Scores of short generated answers: exact match and token F1."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ft_harness.errors import InputError
from ft_harness.metrics.characters import punctuation, split_tokens
from ft_harness.metrics.core import Metric, Scores, mean
from ft_harness.metrics.generation import read_answer

# ours, and the official one, which `score_squad` has in its place under the same names
NORMALIZER = (
    "normalizer:ft-3(nfc,casefold,numbers,no-punctuation,no-articles-en),score_squad:squad-2.0"
)
METRICS = [
    Metric("exact_match", mean, binary=True, version=2, definition=NORMALIZER),
    Metric("token_f1", mean, version=2, definition=NORMALIZER),
]

ARTICLES = re.compile(r"\b(a|an|the)\b")
# A decimal number by itself: no part of a word, a date, a range or a version. Zeros in front make
# it a code ("007"), which stays a text.
_NUMBER = re.compile(
    r"(?<![a-z0-9_.,+-])"
    r"(?P<sign>[+-]?)(?P<whole>0|[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]*)(?:\.(?P<part>[0-9]+))?"
    r"(?![a-z0-9_]|[.,-][0-9])"
)


@cache
def _no_punctuation() -> dict[int, None]:
    return dict.fromkeys(map(ord, punctuation()))


def normalize_answer(text: str) -> str:
    """A short answer as it is compared: SQuAD's normalisation for any script: folded case, no
    punctuation, no English articles, single blanks; numbers by their value, so that "5.0" is "5"
    and neither "50" nor "-5".

    A text that is nothing but an article or punctuation keeps it, so that the answers "A" and
    "The", or "+" and "-", stay different.

    Source: the official SQuAD evaluation script, which knows ASCII's punctuation and lower case
        only, and no numbers.
    """
    folded = unicodedata.normalize("NFC", text.casefold().replace("\N{MINUS SIGN}", "-"))
    plain, end = "", 0
    for number in _NUMBER.finditer(folded):
        plain += folded[end : number.start()].translate(_no_punctuation()) + _shorten(number)
        end = number.end()
    plain += folded[end:].translate(_no_punctuation())
    shortened = ARTICLES.sub(" ", plain).split() or plain.split() or folded.split()
    return " ".join(shortened)


def _shorten(number: re.Match[str]) -> str:
    """The shortest way to write a number that `_NUMBER` found: "1,000.50" is "1000.5"."""
    part = (number["part"] or "").rstrip("0")
    digits = number["whole"].replace(",", "") + ("." + part if part else "")
    return "-" + digits if number["sign"] == "-" and digits != "0" else digits


def bag_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """Token F1 of two answers as bags of tokens; 1 if both are empty, 0 if one is. The operations
    of the official SQuAD script."""
    if not predicted or not gold:
        return float(predicted == gold)
    shared = sum((Counter(predicted) & Counter(gold)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(predicted), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def best_of(
    prediction: str,
    references: Sequence[str],
    normalize: Callable[[str], str],
    split: Callable[[str], list[str]],
) -> tuple[float, float]:
    """(exact match, token F1) of a short answer as it stands, each the largest over the
    references."""
    predicted = normalize(prediction)
    golds = [normalize(reference) for reference in references]
    if predicted in golds:
        return 1.0, 1.0
    return 0.0, max(bag_f1(split(predicted), split(gold)) for gold in golds)


def match_answer(prediction: str, references: Sequence[str]) -> tuple[float, float]:
    """(exact match, token F1) of a short answer under `normalize_answer`, each the largest over the
    references.

    Chinese, kana, Thai and other text without blanks is compared character by character in the F1.
    """
    return best_of(prediction, references, normalize_answer, split_tokens)


def read_references(doc: dict[str, Any]) -> list[str]:
    """The accepted short answers of a doc's `answer`: a text, a number, or a list of them.

    Raises:
        InputError: there is none, or it is neither.
    """
    answer = doc["answer"]
    listed = answer if isinstance(answer, list | tuple) else [answer]
    if not listed or not all(isinstance(text, str | int | float) for text in listed):
        raise InputError(
            f"a doc's answer is {answer!r}",
            "a text, a number, or a list of accepted ones",
            "fix the column that data.columns maps to answer",
        )
    return [str(text) for text in listed]


def score_answer(doc: dict[str, Any], results: Sequence[str]) -> Scores:
    """`process_results` of a generated short answer: doc has `answer`, a text or a list of accepted
    texts.

    Raises:
        InputError: as in `read_references`.
    """
    answer, shares = read_answer(results[0])
    exact, f1 = match_answer(answer, read_references(doc))
    return {"exact_match": exact, "token_f1": f1} | shares
