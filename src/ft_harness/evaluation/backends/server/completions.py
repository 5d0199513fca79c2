"""Requests to a completions API and what its answers say: token ids in, token ids and
log-probabilities out.

The fields beyond OpenAI's (`logprob_token_ids`, `prompt_logprobs`, `return_token_ids`, ...) are
vLLM's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.evaluation.backends.endings import Continuation, Endings
from ft_harness.evaluation.backends.generation import Prompt
from ft_harness.evaluation.backends.planning import Query, Tokens

MOST_TOKENS = 100  # whose log-probabilities one request asks for; vLLM takes 128
_FLOOR = -9999.0  # what servers write for minus infinity
_SAMPLING = ("temperature", "top_k", "top_p", "min_p")
_NOT_SERVED = (
    "num_beams", "typical_p", "epsilon_cutoff", "eta_cutoff", "no_repeat_ngram_size",
)  # fmt: skip
_USUAL_TOP_K = 50  # of transformers, where nothing is said
Response = tuple[float, bool]


@dataclass(frozen=True)
class LikelihoodRequest:
    """A request to a completions API: queries that read the same tokens, by number; their last
    tokens are asked for as the next one, those before within the prompt.

    The prompt is as long as what a model on this machine reads. Answers of one token after one
    stem share a request, whatever their number.
    """

    inputs: Tokens
    queries: Mapping[int, Query]

    @property
    def _lasts(self) -> list[int]:
        return sorted({query.answer[-1] for query in self.queries.values()})

    def body(self, model: str) -> dict[str, Any]:
        lasts = self._lasts
        # Those within the prompt cost the server its prefix cache: asked for only where needed.
        within = any(len(query.answer) > 1 for query in self.queries.values())
        return {
            "model": model,
            "prompt": list(self.inputs),
            "max_tokens": 1,
            "temperature": 0,
            "repetition_penalty": 1,
            "logprobs": len(lasts),
            "logprob_token_ids": lasts,
            "return_tokens_as_token_ids": True,
            "return_token_ids": True,
            **({"prompt_logprobs": 0} if within else {}),
        }

    def read(self, answer: Any) -> dict[int, Response]:
        """(log-likelihood in nats, whether greedy decoding gives it) of each query.

        Raises:
            InputError: the answer is to another request, or lacks a log-probability.
            NonFiniteError: a log-probability is NaN or infinite.
        """
        choice = _choice(answer, self.inputs)
        try:
            stated = choice["logprobs"]["top_logprobs"][0]
            following = {token: float(stated[f"token_id:{token}"]) for token in self._lasts}
            (greedy,) = choice["token_ids"]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(
                "the server's answer lacks the log-probability of a token that was asked for",
                "a server that takes logprob_token_ids, as vLLM does from 0.32 on",
                "start such a server: docs/server.md",
            ) from error
        found: dict[int, Response] = {}
        for number, query in self.queries.items():
            last = query.answer[-1]
            parts = [(following[last], greedy == last)]
            if len(query.answer) > 1:
                parts += self._within(choice)[1 - len(query.answer) :]
            value = math.fsum(value for value, _ in parts)
            if not all(math.isfinite(part) and part > _FLOOR for part, _ in parts):
                raise NonFiniteError(
                    "the server's log-likelihood is NaN or infinite",
                    "finite log-likelihoods",
                    "check the weights that it serves, or serve them in float32",
                )
            found[number] = value, all(best for _, best in parts)
        return found

    def _within(self, choice: Mapping[str, Any]) -> list[Response]:
        """Log-probability of each token of the prompt but the first, and whether it is the
        likeliest.

        Raises:
            InputError: not of these tokens.
        """
        stated = choice.get("prompt_logprobs")
        try:
            places = zip(self.inputs[1:], stated[1:], strict=True)  # type: ignore[index]
            own = [place[str(token)] for token, place in places]
            return [(float(each["logprob"]), each["rank"] == 1) for each in own]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "the server's log-probabilities are not those of the tokens that were sent",
                f"one for each of {len(self.inputs)} tokens",
                "check the server's version and settings: docs/server.md",
            ) from error


def _choice(answer: Any, prompt: Sequence[int]) -> Mapping[str, Any]:
    """The one answer to one prompt.

    Raises:
        InputError: there is none or are several, or it is to another prompt.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise InputError(
            f"the server gave {len(choices) if isinstance(choices, list) else 'no'} answers",
            "one answer to one prompt",
            "check that its address is that of a completions API: docs/server.md",
        )
    choice: dict[str, Any] = choices[0]
    # A server that mixes up requests still gives finite numbers: only the tokens tell.
    if choice.get("prompt_token_ids") != list(prompt):
        raise InputError(
            "the server's answer is not to the tokens that were sent",
            "the same tokens back, as return_token_ids asks vLLM for from 0.10 on",
            "nothing between may change or mix up requests; check the server's version",
        )
    return choice


def likelihood_requests(queries: Mapping[int, Query]) -> list[LikelihoodRequest]:
    """Requests to a completions API that answer numbered queries."""
    # A server reads a prompt once for all answers that are one token after it.
    alike: dict[Tokens, dict[int, Query]] = {}
    for number, query in queries.items():
        alike.setdefault(query.inputs, {})[number] = query
    requests: list[LikelihoodRequest] = []
    for inputs, same in alike.items():
        by_last: dict[int, dict[int, Query]] = {}
        for number, query in same.items():
            by_last.setdefault(query.answer[-1], {})[number] = query
        lasts = list(by_last.values())
        for start in range(0, len(lasts), MOST_TOKENS):
            chosen = lasts[start : start + MOST_TOKENS]
            requests.append(
                LikelihoodRequest(inputs, {n: q for one in chosen for n, q in one.items()})
            )
    return requests


def sampling_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """In a request to a completions API: how a server chooses tokens as transformers would with
    these settings of `generate`.

    All is said, because servers have defaults of their own.

    Raises:
        InputError: it can't.
    """
    # vLLM ignores what it does not know, and would decode otherwise without a word.
    if found := [name for name in _NOT_SERVED if settings.get(name) not in (None, 0, 1, 1.0)]:
        raise InputError(
            f"{found[0]} is {settings[found[0]]}, which a server doesn't have",
            f"greedy decoding, or do_sample with {', '.join(_SAMPLING)}",
            "leave it out of generation_kwargs, or score on this machine",
        )
    penalty = {"repetition_penalty": settings.get("repetition_penalty") or 1.0}
    if not settings.get("do_sample"):
        return {"temperature": 0, "top_k": 0, "top_p": 1, "min_p": 0, **penalty}
    usual = {"temperature": 1.0, "top_k": _USUAL_TOP_K, "top_p": 1.0, "min_p": 0.0}
    given = {name: settings[name] for name in _SAMPLING if settings.get(name) is not None}
    return {**usual, **given, **penalty}


@dataclass(frozen=True)
class GenerationRequest:
    """A request to a completions API: a prompt to be continued.

    Attributes:
        number: of the response.
        ends: tokens that end a text.
        sampling: how tokens are chosen.
    """

    number: int
    prompt: Prompt
    ends: Sequence[int]
    sampling: Mapping[str, Any]
    endings: Endings

    def body(self, model: str) -> dict[str, Any]:
        """The server stops where our own rule may find an end; what it adds is cut off here."""
        return {
            "model": model,
            "prompt": list(self.prompt.ids),
            "max_tokens": self.prompt.most,
            "stop": list(self.prompt.stop),
            "include_stop_str_in_output": True,
            "stop_token_ids": list(self.ends),
            "skip_special_tokens": False,
            "return_token_ids": True,
            **self.sampling,
        }

    def read(self, answer: Any) -> dict[int, Continuation]:
        """The text, ended by our own rule.

        Raises:
            InputError: the answer is to another prompt, or has no tokens.
        """
        choice = _choice(answer, self.prompt.ids)
        ids = choice.get("token_ids")
        if not isinstance(ids, list) or len(ids) > self.prompt.most:
            raise InputError(
                "the server's answer lacks the tokens of its text, or has too many",
                f"1 to {self.prompt.most} tokens, as return_token_ids asks for",
                "start a server that has it: docs/server.md",
            )
        # Not the server's text: it decodes special tokens and broken bytes in its own way.
        found = self.endings.read(ids, self.prompt.stop)
        return {
            self.number: found._replace(truncated=len(ids) == self.prompt.most and found.truncated)
        }
