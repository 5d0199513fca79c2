"""Perplexities of an answer given its prompt, and of running text: per token, byte and character.

The name says the unit. A perplexity of many docs is exp(-sum of log-likelihoods / sum of
units), so a long doc weighs more than a short one; `item_ppl` alone is the plain mean of each doc's
own perplexity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ft_harness.errors import NonFiniteError
from ft_harness.metrics.core import Metric, Scores, Statistics, Sums, Values, ratio, reaches


def _perplexity(sums: Sums, n: int) -> Values:
    """exp(-log-likelihood / units) of sums [..., 2]; NaN without units and beyond the range of a
    float."""
    with np.errstate(over="ignore"):
        values = np.exp(ratio(-sums[..., 0], sums[..., 1]))
    return np.where(np.isfinite(values), values, np.nan)


def _item_mean(sums: Sums, n: int) -> Values:
    """Mean over docs of sums [..., 2] (perplexities, docs whose perplexity is beyond a float): NaN
    if any is beyond."""
    return np.where(sums[..., 1] > 0, np.nan, sums[..., 0] / n)


def _edges(sides: Sequence[Sums]) -> list[Sums]:
    """A text of average length whose loss a unit lies as far from the average as `reaches` says,
    for each side [1, 2, 2]: a loss has no upper end."""
    found, every = [], [-side[:, 0] / side[:, 1] for side in sides]
    for side, reach in zip(sides, reaches(every), strict=True):
        length, mean = side[:, 1].mean(), -side[:, 0].sum() / side[:, 1].sum()
        losses = max(0.0, mean - reach), mean + reach
        found.append(np.array([[[-loss * length, length] for loss in losses]]))
    return found


def per_unit(name: str, definition: str) -> Metric:
    """Perplexity of sums [log-likelihood, units]."""
    return Metric(
        name,
        _perplexity,
        higher_is_better=False,
        scale=math.inf,
        digits=2,
        edges_of=_edges,
        weight=1,
        definition=definition,
    )


METRICS = [
    per_unit("token_ppl", "exp(-sum ll / sum tokens), tokens of the answer or text, no BOS or EOS"),
    Metric(
        "item_ppl",
        _item_mean,
        higher_is_better=False,
        scale=math.inf,
        digits=2,
        # a mean of exponentials: a few items make it, and no interval holds for fewer than
        # thousands
        descriptive=True,
        definition="mean over docs of exp(-ll / tokens), tokens of the answer, no BOS or EOS",
    ),
    per_unit("byte_ppl", "exp(-sum ll / sum UTF-8 bytes)"),
    per_unit("char_ppl", "exp(-sum ll / sum characters)"),
]


def _item_perplexity(log_likelihood: float, tokens: int) -> Statistics:
    """[perplexity, 0.0] of one doc; [0.0, 1.0] where it is beyond the range of a float."""
    try:
        return [math.exp(-log_likelihood / tokens), 0.0]
    except OverflowError:
        return [0.0, 1.0]


def _score(text: str, log_likelihood: float, tokens: int | None) -> Scores:
    """[log-likelihood, units] of a scored text per unit; None for units that are none or not known.

    Raises:
        NonFiniteError: the log-likelihood is NaN or infinite.
    """
    if not math.isfinite(log_likelihood):
        raise NonFiniteError(
            f"the model gave a log-likelihood that is not finite: {log_likelihood}",
            "a finite log-likelihood",
            "check the model's and the adapter's weights for NaN, or score in float32",
        )
    units = {
        "token_ppl": tokens if text else 0,
        "byte_ppl": len(text.encode("utf-8")),
        "char_ppl": len(text),
    }
    return {
        name: [float(log_likelihood), float(count)] if count else None
        for name, count in units.items()
    }


def _scored_text(value: Any) -> str:
    """What of a field of any type is scored: the first of several, numbers as they are written."""
    return str(next(iter(value), "") if isinstance(value, list) else value)


def score_answer_ppl(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> Scores:
    """`process_results` of an answer's perplexity given its prompt (output_type loglikelihood).

    Bytes and characters are those of the doc's `answer` (the first of several), without the blank
    before it. An empty answer has no score. Token counts are known to ft-harness's own back-end
    only; under lm-eval's `hf` model `token_ppl` and `item_ppl` are None.

    Args:
        results: one (log-likelihood in nats, whether greedy), with the number of scored tokens as
            attribute `tokens`.

    Raises:
        NonFiniteError: the log-likelihood is NaN or infinite.
    """
    text = _scored_text(doc["answer"])
    log_likelihood, tokens = results[0][0], getattr(results[0], "tokens", None)
    item = _item_perplexity(log_likelihood, tokens) if text and tokens else None
    return _score(text, log_likelihood, tokens) | {"item_ppl": item}


def score_text_ppl(doc: dict[str, Any], results: Sequence[float]) -> Scores:
    """`process_results` of a running text's perplexity (output_type loglikelihood_rolling) of the
    doc's `text` (the first of several).

    An empty text has no score; `token_ppl` is None under lm-eval's `hf` model, as in
    `score_answer_ppl`.

    Args:
        results: one log-likelihood in nats, with the number of scored tokens as attribute `tokens`.

    Raises:
        NonFiniteError: the log-likelihood is NaN or infinite.
    """
    return _score(_scored_text(doc["text"]), results[0], getattr(results[0], "tokens", None))
