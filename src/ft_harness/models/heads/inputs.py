"""What a head reads: texts of a doc -> token ids -> batches -> logits; training and scoring
alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from lm_eval.models.utils import has_bos_prefix

from ft_harness.errors import InputError, suggest
from ft_harness.models.heads.types import Head

Texts = tuple[str, ...]  # a text, or a text and its pair


class HeadInput(NamedTuple):
    """One row for a head.

    Attributes:
        ids: tokens with the tokenizer's own special ones.
        types: token type ids; None: the tokenizer has none.
        truncated: the texts were cut.
    """

    ids: list[int]
    types: list[int] | None
    truncated: bool


def read_texts(doc: Mapping[str, Any], text_fields: Sequence[str] | None, prompt: str) -> Texts:
    """The texts of a doc that a head reads: its fields, or the rendered prompt where no fields are
    named.

    Raises:
        InputError: a field is missing or holds no text.
    """
    if text_fields is None:
        return (prompt,)
    for name in text_fields:
        if not isinstance(doc.get(name), str) or not doc[name].strip():
            known = [key for key, value in doc.items() if isinstance(value, str)]
            raise InputError(
                f"task.text_fields: a doc has no text in {name}{suggest(name, known)}",
                f"fields of the docs that hold text: {', '.join(known) or 'none'}",
                "change task.text_fields, or fix the data",
            )
    return tuple(doc[name].strip() for name in text_fields)


def encode_texts(
    tokenizer: Any, texts: Sequence[Texts], max_length: int, *, from_left: bool = False
) -> list[HeadInput]:
    """Token ids of the texts that a head reads, at most `max_length` of each item; special tokens
    are never cut.

    A prompt that opens with BOS, as chat templates write it, is given no special tokens.

    Args:
        texts: all single, or all pairs. Of a pair the longer text is cut first.
        from_left: cut at the start: for prompts, which end in the question.
    """
    found: dict[int, HeadInput] = {}
    for special in (True, False):
        numbers = [
            i
            for i, row in enumerate(texts)
            if has_bos_prefix(row[0], tokenizer.bos_token) is not special
        ]
        if not numbers:
            continue
        columns = [list(column) for column in zip(*(texts[i] for i in numbers), strict=True)]
        encoded = tokenizer(*columns, add_special_tokens=special, verbose=False)
        types = encoded.get("token_type_ids") or [None] * len(numbers)
        found |= {
            i: HeadInput(ids, kinds, False)
            if len(ids) <= max_length
            else _cut(tokenizer, texts[i], max_length, special, from_left)
            for i, ids, kinds in zip(numbers, encoded["input_ids"], types, strict=True)
        }
    rows = [found[i] for i in range(len(texts))]
    if not all(row.ids for row in rows):
        raise InputError("a text has no tokens", "texts that the tokenizer knows", "fix the data")
    return rows


def _cut(
    tokenizer: Any, texts: Texts, max_length: int, special: bool, from_left: bool
) -> HeadInput:
    usual, tokenizer.truncation_side = tokenizer.truncation_side, "left" if from_left else "right"
    try:
        encoded = tokenizer(
            *texts, truncation="longest_first", max_length=max_length, add_special_tokens=special
        )
    finally:
        tokenizer.truncation_side = usual
    return HeadInput(encoded["input_ids"], encoded.get("token_type_ids"), True)


def make_batch(rows: Sequence[HeadInput], pad: int, *, types: bool) -> dict[str, Any]:
    """Rows for a head as tensors [B, T] of `forward`, padded from the right.

    Args:
        types: whether the model reads token type ids.
    """
    width = max(len(row.ids) for row in rows)

    def fill(values: Sequence[Sequence[int]], value: int) -> torch.Tensor:
        return torch.tensor([[*each, *[value] * (width - len(each))] for each in values])

    batch = {
        "input_ids": fill([row.ids for row in rows], pad),
        "attention_mask": fill([[1] * len(row.ids) for row in rows], 0),
    }
    if types:
        batch["token_type_ids"] = fill([row.types or [0] * len(row.ids) for row in rows], 0)
    return batch


def read_logits(model: Any, head: Head, tokenizer: Any, rows: Sequence[HeadInput]) -> Any:
    """A head's logits [B, labels] of one batch in float32, without gradients."""
    batch = make_batch(rows, tokenizer.pad_token_id, types=head.reads_types)
    with torch.inference_mode():
        return model(
            **{name: tensor.to(model.device) for name, tensor in batch.items()}
        ).logits.float()
