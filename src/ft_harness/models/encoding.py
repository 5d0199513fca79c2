"""Texts -> token ids, at lm-eval's own boundary between prompt and answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lm_eval.models.utils import has_bos_prefix

from ft_harness.models.lm_eval_private import RequestEncoder


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


class Encoder(RequestEncoder):
    """lm-eval's own tokenisation of requests, of whole batches of texts at once."""

    tokenizer: BatchTokenizer

    def __init__(self, tokenizer: Any) -> None:
        bos = tokenizer.bos_token_id  # an empty context, to lm-eval
        super().__init__(
            BatchTokenizer(tokenizer), int(bos if bos is not None else tokenizer.eos_token_id)
        )

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

    def encode_generated(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """(prompt ids, ids that the answer adds to them)."""
        context, whole = self.tok_encode(prompt), self.tok_encode(prompt + answer)
        return context, whole[len(context) :]
