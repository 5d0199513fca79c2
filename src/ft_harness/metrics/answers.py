"""Scores of short generated answers: exact match and token F1."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ft_harness.metrics.core import Metric, Statistics, mean

METRICS = [Metric("exact_match", mean, binary=True), Metric("token_f1", mean)]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no English articles, single blanks.

    Source: the official SQuAD v1.1 evaluation script. A text that is nothing but an article keeps it, so that the
    answers "A" and "The" stay different.
    """
    plain = text.lower().translate(_PUNCTUATION)
    shortened = " ".join(_ARTICLES.sub(" ", plain).split())
    return shortened or " ".join(plain.split())


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the two bags of normalised words; 1 if both are empty, 0 if one is."""
    predicted, gold = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not predicted or not gold:
        return float(predicted == gold)
    shared = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * shared / (len(predicted) + len(gold))


def score_answer(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float | Statistics]:
    """`process_results` of a generated short answer: doc has `answer`, a text or a list of accepted texts."""
    answer = doc["answer"]
    references = [answer] if isinstance(answer, str) else list(answer)
    prediction = results[0]
    return {
        "exact_match": float(any(normalize_answer(prediction) == normalize_answer(text) for text in references)),
        "token_f1": max(token_f1(prediction, text) for text in references),
    }
