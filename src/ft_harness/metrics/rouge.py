"""ROUGE by Google's rouge-score, with words of any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from ft_harness.metrics.characters import UNSPACED, combining_marks
from ft_harness.metrics.core import Metric, mean

NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


@cache
def _word() -> re.Pattern[str]:
    letter, marks = r"[^\W_]", f"[{combining_marks()}]*"
    return re.compile(rf"(?={letter})[{UNSPACED}]{marks}|(?:(?![{UNSPACED}]){letter}{marks})+")


def words(text: str) -> list[str]:
    """The words that ROUGE counts, in lower case: runs of letters and digits with their accents;
    all else parts words.

    In scripts written without blanks each character is a word. For ASCII text these are the tokens
    of rouge-score's own tokenizer without its stemmer.
    """
    return _word().findall(unicodedata.normalize("NFC", text.lower()))


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(NAMES, tokenizer=SimpleNamespace(tokenize=words))


def rouge_scores(prediction: str, references: Sequence[str]) -> dict[str, float]:
    """F-measure of each ROUGE, 0-1, the best reference for each; sentences of rougeLsum are lines.

    As in rouge-score, a text without words (or, for rouge2, of one word) scores 0, also against
    itself.
    """
    scores = _scorer().score_multi(references, prediction)
    return {name: float(scores[name].fmeasure) for name in NAMES}


def _define(name: str, _: str | None) -> str:
    """The settings of rouge-score, the same for every language."""
    lines = "|sentences:lines" if name == "rougeLsum" else ""
    return (
        f"f-measure|tok:unicode-words|stem:no{lines}|refs:max|rouge-score:{version('rouge-score')}"
    )


METRICS = [Metric(name, mean, definition=partial(_define, name)) for name in NAMES]
