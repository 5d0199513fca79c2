"""lm-eval's requests as tokens, and their results as lm-eval's answers, the same way for every
back-end of a causal model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from ft_harness.errors import InputError, ResourceError
from ft_harness.evaluation.backends.answer_types import GeneratedText, ScoredAnswer, ScoredText
from ft_harness.evaluation.backends.decoding import no_room
from ft_harness.evaluation.backends.distributed import DistributedLM
from ft_harness.evaluation.backends.endings import Continuation
from ft_harness.evaluation.backends.generation import Prompt
from ft_harness.evaluation.backends.planning import Query, cut_left
from ft_harness.evaluation.backends.recovery import Effort
from ft_harness.evaluation.backends.store import ResponseStore
from ft_harness.models.encoding import (
    appended_tokens,
    refuse_appended,
    refuse_beyond,
    refuse_equal,
    refuse_no_start,
    split_pair,
)
from ft_harness.models.lm_eval_private.models import HookedHFLM

Texts = tuple[str, str] | None
Request = tuple[Texts, list[int], list[int]]  # (context, answer) as texts, then as tokens


class _Scorer(Protocol):
    """Scores queries; see `Scorer`."""

    name: str
    store: ResponseStore | None
    effort: Effort

    def score(self, queries: Sequence[Query]) -> list[tuple[float, bool] | None]: ...


class _Generator(Protocol):
    """Continues prompts; see `Generator`."""

    def generate(self, prompts: Sequence[Prompt]) -> list[Continuation | None]: ...


class RequestLM(DistributedLM, HookedHFLM):
    """lm-eval's `hf` with log-likelihoods and generation of our own, by a scorer and a generator.

    Attributes:
        truncated_prompts: those that were cut from the left.
        scored_tokens: of all requests, prompts counted for each answer.
        rows: of the model's embedding, one per token; None: not known.
    """

    scorer: _Scorer
    generator: _Generator
    rows: int | None = None

    def __init__(self, **options: Any) -> None:
        """`options`: of lm-eval's `hf`."""
        # A batch size of 1 for lm-eval, whose own batches are not used: a scorer makes its own.
        super().__init__(batch_size=1, **options)
        self._appended = appended_tokens(self.tokenizer)
        self.truncated_prompts: set[str] = set()
        self.scored_tokens = 0

    @property
    def store(self) -> ResponseStore | None:
        """Responses that are not computed again. With a store, a request that memory is not enough
        for is answered by a placeholder whose `failed` says so; without one, it is an error."""
        return self.scorer.store

    @store.setter
    def store(self, store: ResponseStore | None) -> None:
        self.scorer.store = store

    @property
    def effort(self) -> Effort:
        """What was done to answer so far."""
        return self.scorer.effort

    def _fail(self, tokens: int) -> str:
        """What is said of a request of `tokens` tokens that memory was not enough for.

        Raises:
            ResourceError: nothing takes note of failures.
        """
        advice = "lower model.max_length or max_gen_toks, or set model.quantization"
        if self.store is None:
            raise ResourceError(
                f"{self.scorer.name}: out of memory with one request of {tokens} tokens",
                "memory for each request alone",
                advice,
            )
        return f"out of memory with {tokens} tokens; {advice}"

    # --- log-likelihoods

    def _query(self, request: Request) -> Query:
        """A request as it is scored, counted.

        Raises:
            InputError: no token to score or to score after, a tokenizer that appends tokens, or an
                answer that is longer than the
                context.
        """
        texts, context, answer = request
        if not (texts and texts[0]):
            refuse_no_start(self.scorer.name, self.tokenizer)
        shown = f"{(texts or ('', ''))[1][:80]!r}"
        if not context or not answer:
            raise InputError(
                f"{shown} has {len(answer)} tokens of its own after {len(context)} of its prompt",
                "at least one of each: an answer that merges with the prompt can't be scored",
                "change the answer, the end of doc_to_text or target_delimiter",
            )
        refuse_beyond(self.tokenizer, [*context, *answer], self.rows)
        if len(answer) > self.max_length:
            raise InputError(
                f"an answer has {len(answer)} tokens, the context {self.max_length}: {shown}",
                "answers that fit the context",
                "shorten the answers or raise model.max_length",
            )
        # One token more than the context is scored than read: the last one is never an input.
        query = cut_left(context, answer, self.max_length)
        self.scored_tokens += len(query.stem) + len(answer)
        if texts is not None and len(query.stem) < len(context):
            self.truncated_prompts.add(texts[0])
        return query

    def encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        refuse_appended(self._appended)
        return split_pair(self.tok_encode, context, continuation)

    def score_tokens(self, requests: Sequence[Request]) -> list[ScoredAnswer]:
        refuse_equal([texts for texts, _, _ in requests], [answer for _, _, answer in requests])
        queries = [self._query(request) for request in requests]
        scores = self.scorer.score(queries)
        results: list[ScoredAnswer] = []
        for (texts, _, answer), query, score in zip(requests, queries, scores, strict=True):
            result = ScoredAnswer(score or (0.0, False))
            result.tokens = len(answer)
            result.failed = None if score else self._fail(len(query.stem) + len(query.answer))
            results.append(result)
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, result)
        return results

    def _windows(self, text: str) -> list[Request]:
        """Each window of a running text: lm-eval's own cut, every token of the text scored once.

        The text is encoded without special tokens: the first window opens with BOS (EOS where there
        is none).
        """
        ids: list[int] = self.tok_encode(text, add_special_tokens=False)
        # Some tokenizers put BOS first even when told not to.
        own = ids[1:] if ids[:1] == [self.prefix_token_id] else ids
        pairs = get_rolling_token_windows(own, self.prefix_token_id, self.max_length, context_len=1)
        return [(None, *make_disjoint_window(pair)) for pair in pairs]

    def loglikelihood_rolling(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[ScoredText]:
        """Log-likelihoods of whole texts, windows of all texts batched together. An empty text has
        0 tokens.

        lm-eval's own method encodes a text with special tokens, and so scores BOS given BOS.
        """
        # The windows of all texts together make full batches; one text alone has often one window
        # and a rest.
        windows = [self._windows(request.args[0]) for request in requests]
        scored = iter(self.score_tokens([window for text in windows for window in text]))
        results: list[ScoredText] = []
        for request, text in zip(requests, windows, strict=True):
            parts = [next(scored) for _ in text]
            # `fsum` is exact, so that a text's sum does not depend on the order of its windows.
            result = ScoredText(math.fsum(log_likelihood for log_likelihood, _ in parts))
            result.tokens = sum(part.tokens for part in parts)
            result.failed = next((part.failed for part in parts if part.failed), None)
            results.append(result)
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, result)
        return results

    # --- generation

    def generate_until(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[GeneratedText]:
        """Continuations of the prompts, up to EOS, a stop string or `max_gen_toks` tokens."""
        prompts = [self._prompt(*request.args) for request in requests]
        texts = self.generator.generate(prompts)
        results: list[GeneratedText] = []
        for request, prompt, found in zip(requests, prompts, texts, strict=True):
            text = found or Continuation("", 0, False)
            result = GeneratedText(text.text)
            result.truncated = text.truncated
            result.failed = None if found else self._fail(len(prompt.ids) + prompt.most)
            results.append(result)
            self.scored_tokens += len(prompt.ids) + text.tokens
            self.cache_hook.add_partial("generate_until", request.args, result)
        return results

    def _prompt(self, text: str, arguments: dict[str, Any]) -> Prompt:
        """A prompt's tokens, cut from the left to leave room for the answer, with its settings.

        Raises:
            InputError: no room for a prompt.
        """
        refuse_appended(self._appended)
        settings = dict(normalize_gen_kwargs(arguments, self.max_gen_toks))
        end = self.eot_token_id
        eos = None if end is None else self.tok_decode(end, skip_special_tokens=False)
        stop = handle_stop_sequences(settings.pop("until", None), eos=eos)
        most = settings.pop("max_gen_toks")
        # Else every prompt would be cut to nothing.
        if most >= self.max_length:
            raise no_room(most, self.max_length)
        ids: list[int] = self.tok_encode(text)
        refuse_beyond(self.tokenizer, ids, self.rows)
        room = self.max_length - most
        if len(ids) > room:
            self.truncated_prompts.add(text)
        return Prompt(text, tuple(ids[-room:]), tuple(filter(None, stop)), most, settings)
