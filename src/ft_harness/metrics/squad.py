"""SQuAD v1.1 and v2.0 as the official scorer has them, with the questions that have no answer
apart."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from ft_harness.errors import InputError
from ft_harness.metrics.answers import ARTICLES, best_of
from ft_harness.metrics.core import Metric, Scores, mean
from ft_harness.metrics.generation import read_answer

METRICS = [
    Metric(name, mean, binary=binary, definition="normalizer:squad-2.0")
    for name, binary in (
        ("HasAns_exact", True),
        ("HasAns_f1", False),
        ("NoAns_exact", True),
        ("NoAns_f1", True),  # an empty gold answer is met or missed, nothing between
    )
]
# Normalised answers that say there is none. Not "none", "nothing", "unknown" or "impossible": some
# golds are just that.
ABSTAINS = frozenset(
    {
        "unanswerable",
        "not answerable",
        "cannot be answered",
        "it cannot be answered",
        "question is unanswerable",
        "question cannot be answered",
        "no answer",
        "there is no answer",
    }
)
_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))


def normalize_squad(text: str) -> str:
    """The official normalisation: lower case, no ASCII punctuation, no English articles, single
    blanks.

    Source: `normalize_answer` of evaluate-v2.0.py (v1.1 has the same).
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _read_golds(doc: dict[str, Any]) -> list[str]:
    """The gold answers that are left after normalisation, as the official scorer takes them; [""]
    if there is none."""
    answers = doc["answers"]
    if not isinstance(answers, list | tuple) or not all(isinstance(text, str) for text in answers):
        raise InputError(
            f"a doc's answers are {answers!r}",
            "a list of texts, empty for a question without answer",
            "read the official SQuAD JSON, or map a column of lists to answers",
        )
    return [text for text in answers if normalize_squad(text)] or [""]


def score_squad(doc: dict[str, Any], results: Sequence[str]) -> Scores:
    """`process_results` of SQuAD: doc has `answers`, a list of texts; an empty list means that
    there is no answer.

    `exact_match` and `token_f1` are the official scorer's; `HasAns_*` are None for a question
    without answer, `NoAns_*` for one with answers. A prediction that says there is no answer
    (`ABSTAINS`) counts as the empty answer, unless a gold answer says the same.

    Raises:
        InputError: `answers` is no list of texts.

    Source: evaluate-v2.0.py of SQuAD.
    """
    answer, shares = read_answer(results[0])
    golds = _read_golds(doc)
    said = normalize_squad(answer)
    if said in ABSTAINS and said not in map(normalize_squad, golds):
        answer = ""
    exact, f1 = best_of(answer, golds, normalize_squad, str.split)
    answerable = bool(doc["answers"])
    return {
        "exact_match": exact,
        "token_f1": f1,
        "HasAns_exact": exact if answerable else None,
        "HasAns_f1": f1 if answerable else None,
        "NoAns_exact": None if answerable else exact,
        "NoAns_f1": None if answerable else f1,
    } | shares
