"""Texts -> token ids, at lm-eval's own boundary between prompt and answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import has_bos_prefix


class BatchTokenizer:
    """A tokenizer's `encode` and `decode`; what was encoded in a batch before is looked up."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._encoded: dict[tuple[str, bool | None], list[int]] = {}
        self._decoded: dict[int, str] = {}
        self._shared: dict[int, int] = {}

    def encode(self, string: str, **options: bool) -> list[int]:
        known = self._encoded.get((string, options.get("add_special_tokens")))
        if known is not None:
            return known
        ids: list[int] = self._tokenizer.encode(string, **options)
        return ids

    def decode(self, token: int) -> str:
        if token not in self._decoded:
            self._decoded[token] = self._tokenizer.decode(token)
        return self._decoded[token]

    def encode_batch(self, strings: Sequence[str], **options: bool) -> None:
        """Encode many strings at once; equal tokens are one object, so that a row costs 8 bytes a
        token."""
        flag, share = options.get("add_special_tokens"), self._shared.setdefault
        encoded = self._tokenizer(list(strings), **options)["input_ids"] if strings else []
        for string, ids in zip(strings, encoded, strict=True):
            self._encoded[string, flag] = [share(token, token) for token in ids]

    def forget(self) -> None:
        self._encoded.clear()


class Encoder:
    """lm-eval's own tokenisation of requests, without a model.

    The methods are those of lm-eval's `hf` model, called on this object in its place.
    """

    backend = "causal"
    add_bos_token = None

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = BatchTokenizer(tokenizer)
        bos = tokenizer.bos_token_id
        self.prefix_token_id = int(
            bos if bos is not None else tokenizer.eos_token_id
        )  # an empty context, to lm-eval

    def prepare(self, strings: Iterable[str]) -> None:
        """Encode in two batches what lm-eval's code will ask for; whatever else it asks for is
        encoded then."""
        bos, distinct = self.tokenizer.decode(self.prefix_token_id), dict.fromkeys(strings)
        self.tokenizer.forget()
        self.tokenizer.encode_batch(
            [string for string in distinct if not has_bos_prefix(string, bos)]
        )
        starting = [string for string in distinct if has_bos_prefix(string, bos)]
        self.tokenizer.encode_batch(starting, add_special_tokens=False)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        ids: list[int] = HFLM.tok_encode(self, string, add_special_tokens=add_special_tokens)
        return ids

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        pair: tuple[list[int], list[int]] = TemplateLM._encode_pair(self, context, continuation)
        return pair

    def _loglikelihood_tokens(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        return [(context, continuation) for _, context, continuation in requests]

    def encode_scored(self, requests: list[Instance]) -> list[tuple[list[int], list[int]]]:
        """(context ids, continuation ids) of log-likelihood requests, exactly as lm-eval scores
        them."""
        encoded: list[tuple[list[int], list[int]]] = TemplateLM.loglikelihood(
            self, requests, disable_tqdm=True
        )
        return encoded

    def encode_generated(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """(prompt ids, ids that the answer adds to them)."""
        context, whole = self.tok_encode(prompt), self.tok_encode(prompt + answer)
        return context, whole[len(context) :]
