"""A batch without its padding: the tokens of its rows one after the other.

All that a model does token by token it does for these alone. Attention, the one place where tokens
meet, gets them as padded rows again, and so needs no mask for which of them belong together.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

_FOLLOW_MASKS = ("sdpa", "eager")  # kinds of attention


class Packing:
    """Where the N tokens of a batch stand in its padded rows [B, T].

    Attributes:
        attended: how often attention was given rows; a model that hands the packing on does it once
            a layer.
    """

    def __init__(self, mask: torch.Tensor) -> None:
        """`mask`: [B, T], 1 at the tokens; the rows are padded from the right."""
        self._shape = mask.shape
        self._places = mask.flatten().nonzero()[:, 0]
        self.attended = 0

    def pack(self, rows: torch.Tensor) -> torch.Tensor:
        """[B, T, ...] -> [1, N, ...]."""
        packed: torch.Tensor = _Take.apply(rows.flatten(0, 1), self._places)  # type: ignore[no-untyped-call]
        return packed[None]

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """[1, N, ...] -> [B, T, ...], zeros at the padding."""
        size = self._shape.numel()
        rows: torch.Tensor = _Put.apply(packed[0], self._places, size)  # type: ignore[no-untyped-call]
        return rows.view(*self._shape, *rows.shape[1:])

    def positions(self) -> torch.Tensor:
        """[1, N], the place of each token in its row."""
        return (self._places % self._shape[1])[None]


class _Take(torch.autograd.Function):
    """The entries at some places, none twice, along the first dimension."""

    @staticmethod
    def forward(ctx: Any, values: Any, places: Any) -> Any:
        ctx.places, ctx.size = places, len(values)
        return values.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *passed: Any) -> Any:
        return _put(passed[0], ctx.places, ctx.size), None


class _Put(torch.autograd.Function):
    """The way back: zeros everywhere else."""

    @staticmethod
    def forward(ctx: Any, values: Any, places: Any, size: int) -> Any:
        ctx.places = places
        return _put(values, places, size)

    @staticmethod
    def backward(ctx: Any, *passed: Any) -> Any:
        return passed[0].index_select(0, ctx.places), None, None


def _put(values: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
    return values.new_zeros(size, *values.shape[1:]).index_copy_(0, places, values)


def follows_masks(model: Any) -> bool:
    """Whether a model's batch can be packed: every layer sees all that comes before, as far as a
    mask allows it."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    slides = window is not None and getattr(config, "use_sliding_window", True)
    attention = getattr(config, "_attn_implementation", None)
    return kinds == {"full_attention"} and not slides and attention in _FOLLOW_MASKS


def passes_packing_on(model: Any) -> bool:
    """Whether a model's batch can be packed: it is known to pass its arguments on to attention,
    which then has the rows."""
    attention = getattr(model.config, "_attn_implementation", None)
    given = getattr(model, "_supports_attention_backend", False)
    return attention == "sdpa" and given and follows_masks(model)
