"""The back-end's answers to lm-eval, with details that only it knows and metrics need: tokens
scored, and texts that were cut.

These are attributes of the returned tuple, float and str, so that lm-eval handles them as its own.
`failed` says why there is no answer, on a placeholder that no score counts; else it is None.
"""

from __future__ import annotations


class ScoredAnswer(tuple[float, bool]):
    """The back-end's result for a given answer of `tokens` tokens: (log-likelihood in nats, whether
    greedy decoding gives it)."""

    tokens: int
    failed: str | None = None


class ScoredText(float):
    """The back-end's result for a running text of `tokens` tokens: its log-likelihood in nats."""

    tokens: int
    failed: str | None = None


class GeneratedText(str):
    """The back-end's generated answer; `truncated` if neither EOS nor a stop string ended it within
    max_gen_toks tokens."""

    truncated: bool
    failed: str | None = None
