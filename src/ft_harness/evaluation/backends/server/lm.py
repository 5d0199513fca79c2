"""The lm-eval model `ft-server`: lm-eval's own tokenisation and truncation, log-likelihoods and
texts by servers."""

from __future__ import annotations

from ft_harness.evaluation.backends.requests import RequestLM
from ft_harness.evaluation.backends.server.base import ServedBase
from ft_harness.evaluation.backends.server.scorer import ServerGenerator, ServerScorer
from ft_harness.models.encoding import prefix_token


class ServerLM(RequestLM):
    """A base model that servers compute, or an adapter of it."""

    fallback = None
    budget_bytes = None

    def __init__(self, base: ServedBase, seed: int = 1234) -> None:
        """`seed`: of sampled decoding."""
        super().__init__(
            pretrained=base.model,
            tokenizer=base.tokenizer,
            max_length=base.max_length,
            prefix_token_id=prefix_token(base.tokenizer),
        )
        self.scorer = ServerScorer(base)
        self.generator = ServerGenerator(base, self.scorer, seed)
