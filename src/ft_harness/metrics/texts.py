"""Scores of open generation: a text against one or several reference texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ft_harness.metrics.answers import match_answer, read_references
from ft_harness.metrics.core import Scores
from ft_harness.metrics.generation import read_answer
from ft_harness.metrics.meteor import meteor_score
from ft_harness.metrics.overlap import bleu_statistics, chrf_statistics
from ft_harness.metrics.rouge import rouge_scores


def score_text(doc: dict[str, Any], results: Sequence[str]) -> Scores:
    """`process_results` of open generation: doc has `answer`, a text or a list of references, and
    may have `language`.

    `language` (a code such as "zh") chooses BLEU's tokenizer. An empty text scores 0 and stays in
    every mean; `meteor` is None where the references hold no word in Latin letters.

    Raises:
        InputError: as in `read_references`.
    """
    text, shares = read_answer(results[0])
    references = read_references(doc)
    exact, f1 = match_answer(text, references)
    return {
        "exact_match": exact,
        "token_f1": f1,
        "bleu": bleu_statistics(text, references, doc.get("language")),
        "chrf": chrf_statistics(text, references),
        **rouge_scores(text, references),
        "meteor": meteor_score(text, references),
        **shares,
    }
