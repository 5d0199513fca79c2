"""Log-likelihoods and texts by servers: what is stored is not asked again, and answers are stored
as they come."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ft_harness.evaluation.backends.endings import Continuation, Endings
from ft_harness.evaluation.backends.generation import Prompt
from ft_harness.evaluation.backends.planning import Query
from ft_harness.evaluation.backends.recovery import Effort
from ft_harness.evaluation.backends.server.completions import (
    GenerationRequest,
    likelihood_requests,
    sampling_of,
)
from ft_harness.evaluation.backends.server.pool import Pool
from ft_harness.evaluation.backends.server.served_base import ServedBase
from ft_harness.evaluation.backends.store import Ledger, ResponseStore
from ft_harness.models.base_model import generation_settings
from ft_harness.storage import canonical_json


class _Request(Protocol):
    def body(self, model: str) -> dict[str, Any]: ...

    def read(self, answer: Any) -> Mapping[int, Any]: ...


class ServerScorer:
    """Scores queries by one model of a pool of servers.

    Attributes:
        name: of the model, for messages.
        store: responses that are not asked for again; new ones are added.
        effort: what was done so far.
    """

    def __init__(self, base: ServedBase) -> None:
        self.name = base.name
        self.pool: Pool = base.pool
        self.store: ResponseStore | None = None
        self.effort = Effort()

    def score(self, queries: Sequence[Query]) -> list[tuple[float, bool] | None]:
        """(log-likelihood in nats, whether greedy decoding gives the answer) of each query, in
        their order.

        Raises:
            ResourceError: no server is left.
            InputError, ConfigError: a server refuses, or answers something else.
            NonFiniteError: a log-likelihood is NaN or infinite.
        """
        ledger = Ledger(
            self.store, (f"loglikelihood|{query.stem}|{query.answer}" for query in queries)
        )
        found = ledger.stored(range(len(queries)))
        missing = {number: query for number, query in enumerate(queries) if number not in found}
        found |= self.fill(likelihood_requests(missing), ledger, reused=len(found))
        return [(found[number][0], found[number][1]) for number in range(len(queries))]

    def fill(self, requests: Sequence[_Request], ledger: Ledger, *, reused: int) -> dict[int, Any]:
        """The responses to requests, stored as they come.

        Args:
            reused: responses that were found stored.
        """
        self.effort.reused += reused
        responses: dict[int, Any] = {}
        bodies = [request.body(self.name) for request in requests]
        for answers in self.pool.ask(bodies) if bodies else ():
            read = {
                number: response
                for which, answer in answers.items()
                for number, response in requests[which].read(answer).items()
            }
            # At once: after a fault only the rest is asked for.
            ledger.keep(read)
            self.effort.computed += len(read)
            responses |= read
        return responses


class ServerGenerator:
    """Continues prompts by one model of a pool of servers, greedily or sampled by seed."""

    def __init__(self, base: ServedBase, scorer: ServerScorer, seed: int) -> None:
        self.scorer = scorer
        self.seed = seed
        self.endings = Endings(base.tokenizer, base.model.generation_config, base.ends)
        self._own = generation_settings(base.model)

    def generate(self, prompts: Sequence[Prompt]) -> list[Continuation | None]:
        """The continuation of each prompt, in their order.

        A sampled one has a seed of its own, so that it is the same in any order.

        Raises:
            As `ServerScorer.score`; also InputError: decoding that servers don't have.
        """
        asked = Counter[str]()
        requests: dict[int, GenerationRequest] = {}
        texts: list[str] = []
        ends = sorted(self.endings.ids)
        for number, prompt in enumerate(prompts):
            # As transformers does: the settings of the model, replaced by those of the task.
            sampling = sampling_of({**self._own, **prompt.settings})
            said = canonical_json([prompt.kind, sampling, ends, prompt.ids])
            if prompt.sampled:
                # The same prompt again is another draw, not the text of the first one.
                asked[said] += 1
                sampling["seed"] = _seed(f"{self.seed}|{asked[said]}|{said}")
            requests[number] = GenerationRequest(number, prompt, ends, sampling, self.endings)
            texts.append(f"generate|{said}|{sampling.get('seed')}")
        ledger = Ledger(self.scorer.store, texts)
        found = ledger.stored(requests)
        missing = [request for number, request in requests.items() if number not in found]
        found |= self.scorer.fill(missing, ledger, reused=len(found))
        return [Continuation(*found[number]) for number in requests]


def _seed(text: str) -> int:
    # 32 bits, which any engine takes for a seed.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
