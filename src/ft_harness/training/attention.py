"""Attention on a CPU: in float32 where its backward pass in 16 bits is the slow part of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SHORT = 256  # tokens; from here on PyTorch's kernel is as quick in bfloat16 (decision 016)


@contextmanager
def quick_attention() -> Iterator[None]:
    """Models that attend by PyTorch's `sdpa` and learn do it in float32 for short rows on a CPU.

    The result is rounded to the 16 bits that it had, once and not in each product: it is nearer to the exact one.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    usual = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attend(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **more: Any
    ) -> tuple[Any, None]:
        """query, key and value are [B, heads, T, D], the result [B, T, heads, D]."""
        if not _is_slow(query, learns=any(tensor.requires_grad for tensor in (query, key, value))):
            found: tuple[Any, None] = usual(module, query, key, value, attention_mask, **more)
            return found
        if attention_mask is not None and attention_mask.is_floating_point():
            attention_mask = attention_mask.float()
        summed, _ = usual(module, query.float(), key.float(), value.float(), attention_mask, **more)
        return summed.to(query.dtype), None

    ALL_ATTENTION_FUNCTIONS["sdpa"] = attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = usual


def _is_slow(query: Any, *, learns: bool) -> bool:
    return learns and query.device.type == "cpu" and query.itemsize == 2 and query.shape[2] < _SHORT
