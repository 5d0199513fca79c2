"""Scores of a chosen and a rejected answer from their log-likelihoods: preference accuracy and
implicit reward accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.metrics import perplexity
from ft_harness.metrics.core import Metric, Scores, Sums, mean, reaches

PREFERENCE, MARGIN, LIKELIHOOD = "preference_acc", "preference_margin", "chosen_byte_ppl"
REWARD = "implicit_reward_acc"  # made of the margins of base and tuned; no model has it alone
LONGER = "longer_wins"  # no score of a model, but of the data
_CHANCE = 0.5


def _margin_edges(sides: Sequence[Sums]) -> list[Sums]:
    """As far below and above the mean as `reaches` says: a margin has no end."""
    scores = [side[:, 0] for side in sides]
    return [
        side.mean() + reach * np.array([[[-1.0], [1.0]]])
        for side, reach in zip(scores, reaches(scores), strict=True)
    ]


METRICS = [
    Metric(PREFERENCE, mean, definition="log p summed over the answer, ties half"),
    Metric("preference_acc_token", mean, definition="log p per token of the answer, ties half"),
    Metric(
        REWARD,
        mean,
        definition="log p(chosen) - log p(rejected) rises from base to tuned, ties half",
    ),
    Metric(
        MARGIN,
        mean,
        scale=math.nan,
        digits=2,
        edges_of=_margin_edges,
        definition="log p(chosen) - log p(rejected), nats",
    ),
    Metric("reward_margin", mean, scale=math.nan, digits=3, edges_of=_margin_edges),
    Metric(LONGER, mean, descriptive=True, definition="characters, ties half"),
    perplexity.per_unit(LIKELIHOOD, "exp(-sum ll / sum UTF-8 bytes) of the chosen answers"),
]


def _wins(chosen: float, rejected: float) -> float:
    """1 where the chosen answer has more, 0 where it has less, 0.5 for a tie."""
    return _CHANCE if chosen == rejected else float(chosen > rejected)


def score_preference(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> Scores:
    """`process_results` of a pair: results are those of the doc's `chosen` and `rejected` answer.

    Token counts are known to ft-harness's own back-end only; under lm-eval's `hf` model
    `preference_acc_token` is None.

    Args:
        results: two (log-likelihood in nats, whether greedy), with the number of scored tokens as
            attribute `tokens`.

    Raises:
        InputError: not two results.
        NonFiniteError: a log-likelihood is NaN or infinite.
    """
    if len(results) != 2:
        raise InputError(
            f"{len(results)} answers for a pair",
            "two: the chosen and the rejected one",
            'set doc_to_choice: "{{[chosen, rejected]}}" in the task\'s YAML',
        )
    chosen, rejected = (float(result[0]) for result in results)
    if not math.isfinite(chosen - rejected):
        raise NonFiniteError(
            f"the model gave a log-likelihood that is not finite: {[chosen, rejected]}",
            "finite log-likelihoods for both answers",
            "check the model's and the adapter's weights for NaN, or score in float32",
        )
    lengths = [getattr(result, "tokens", None) or 0 for result in results]
    per_token = _wins(chosen / lengths[0], rejected / lengths[1]) if all(lengths) else None
    texts = [str(doc[name]) for name in ("chosen", "rejected")]
    return {
        PREFERENCE: _wins(chosen, rejected),
        "preference_acc_token": per_token,
        MARGIN: chosen - rejected,
        LIKELIHOOD: [chosen, float(len(texts[0].encode("utf-8")))],
        LONGER: _wins(len(texts[0]), len(texts[1])),
    }


def compare_rewards(base: Sums, tuned: Sums) -> tuple[Sums, Sums]:
    """Of pairs of answers: statistics [n, 1] of the implicit reward accuracy, from the margins [n,
    1] of base and tuned.

    A model's implicit reward of an answer is how much likelier it is than under the base. The base
    itself rewards nothing: each of its items is a tie, so that it has 50 %.

    Source: Rafailov et al. (2023), arXiv:2305.18290, section 4.
    """
    rises = np.where(tuned == base, _CHANCE, (tuned > base).astype(np.float64))
    missing = np.isnan(base) | np.isnan(tuned)
    return np.where(missing, np.nan, _CHANCE), np.where(missing, np.nan, rises)
