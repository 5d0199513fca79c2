"""Texts -> token ids, at lm-eval's own boundary between prompt and answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.utils import has_bos_prefix

from ft_harness.errors import InputError
from ft_harness.models.lm_eval_private.tasks import RequestEncoder


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
        super().__init__(BatchTokenizer(tokenizer), prefix_token(tokenizer))
        self._appended = appended_tokens(tokenizer)

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

    def encode_scored(self, requests: list[Instance]) -> list[tuple[list[int], list[int]]]:
        """(context ids, continuation ids) of log-likelihood requests, exactly as lm-eval scores
        them.

        Raises:
            InputError: the tokenizer appends tokens.
        """
        if requests:
            refuse_appended(self._appended)
        return super().encode_scored(requests)

    def encode_generated(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """(prompt ids, ids that the answer adds to them).

        Raises:
            InputError: the tokenizer appends tokens.
        """
        refuse_appended(self._appended)
        context, whole = self.tok_encode(prompt), self.tok_encode(prompt + answer)
        return context, whole[len(context) :]


def prefix_token(tokenizer: Any) -> int:
    """The token that an empty context is encoded as: BOS, else EOS. Where there is neither, any:
    `refuse_no_start` says that it may not be used."""
    candidates = (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
    )
    return next((int(token) for token in candidates if token is not None), 0)


def refuse_no_start(name: str, tokenizer: Any) -> None:
    """Refuse to encode a text that nothing comes before where there is neither BOS nor EOS: its
    first token has no probability.

    Args:
        name: the model's.

    Raises:
        InputError: the tokenizer has neither.
    """
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise InputError(
            f"{name}: the tokenizer has neither BOS nor EOS",
            "a token to put before the first one of a text",
            "use another model, or tasks without running text and empty prompts "
            "(of the controls too: --set controls.tasks=[])",
        )


def appended_tokens(tokenizer: Any) -> list[str]:
    """Special tokens that encoding puts behind each text."""
    plain = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a")
    starts = (at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
    start = next(starts, None) if plain else None
    behind = [] if start is None else whole[start + len(plain) :]
    return [str(tokenizer.decode([token])) for token in behind]


def refuse_appended(tokens: Sequence[str]) -> None:
    """Refuse a tokenizer that appends to each text: a prompt that ends in an end token is another
    prompt, and an answer that ends in one is scored with it.

    Args:
        tokens: that the tokenizer appends.

    Raises:
        InputError: there are such tokens.
    """
    if tokens:
        raise InputError(
            f"the tokenizer appends {', '.join(tokens)} to every text, to prompts too",
            "a tokenizer of a causal model: prompts that go on",
            "set add_eos_token to false in tokenizer_config.json, "
            "or take the token out of post_processor in tokenizer.json",
        )


def refuse_beyond(tokenizer: Any, ids: Sequence[int], rows: int | None) -> None:
    """Refuse token ids that the model has no row for: a tokenizer may have more, as long as no text
    has one of them.

    Args:
        rows: of the model's embedding; None: not known.

    Raises:
        InputError: a text has one.
    """
    if rows is not None and max(ids, default=0) >= rows:
        token = tokenizer.convert_ids_to_tokens(max(ids))
        raise InputError(
            f"a text has the token {str(token)[:40]!r}, number {max(ids)}, "
            f"and the model's embedding {rows} rows",
            "the tokenizer that the model was trained with",
            "take the token out of the texts, or give the model a row for it",
        )


def refuse_equal(texts: Sequence[tuple[str, str] | None], answers: Sequence[Sequence[int]]) -> None:
    """Refuse two answers with the same token ids: they are equally likely, and which one counts
    would be chance.

    Args:
        texts: (prompt, answer), those of a doc one after the other; None: running text.
        answers: the ids of each answer.

    Raises:
        InputError: there are such answers.
    """
    before, known = "", dict[tuple[int, ...], str]()
    for pair, ids in zip(texts, answers, strict=True):
        if pair is None:
            continue
        prompt, answer = pair
        if prompt != before:
            before, known = prompt, {}
        other = known.setdefault(tuple(ids), answer)
        if other != answer:
            raise InputError(
                f"the answers {other[:40]!r} and {answer[:40]!r} have the same tokens",
                "answers that the tokenizer tells apart",
                "choose other words (data.label_words, doc_to_choice), or a model whose tokenizer "
                "knows these",
            )


def split_pair(
    encode: Callable[[str], list[int]], context: str, continuation: str
) -> tuple[list[int], list[int]]:
    """(context ids, continuation ids) at lm-eval's own boundary: white space at the context's end
    belongs to the continuation, whose tokens are those that it adds.

    Raises:
        InputError: tokens merge at the boundary, so that other tokens than the continuation's would
            be scored.
    """
    stripped = context.rstrip()
    whole, before = encode(context + continuation), encode(stripped)
    if whole[: len(before)] != before:
        raise InputError(
            f"the tokens of prompt and answer merge at {context[-20:]!r} + {continuation[:20]!r}",
            "a boundary that the tokenizer keeps",
            "change the end of doc_to_text (or of the chat template) or target_delimiter",
        )
    return before, whole[len(before) :]
