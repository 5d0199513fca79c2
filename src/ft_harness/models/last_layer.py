"""Compute the last layer only where it is read, as its output at other positions is not used."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_BY_TOKEN = ("q_proj", "o_proj", "mlp")  # of a layer: each token's output is made from it alone


@contextmanager
def last_layer_at(model: Any, kept: torch.Tensor) -> Iterator[None]:
    """Context in which the last layer computes queries, attention output and MLP only at some
    positions, with zeros elsewhere. Keys and values, which those positions read, are computed
    everywhere.

    A layer that has none of these by transformers' usual names is left as it is.

    Args:
        model: the transformers model, with or without an adapter in its layers.
        kept: [B, T], which positions are read.
    """
    places = kept.flatten().nonzero()[:, 0]

    def take(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (given[0].flatten(0, 1).index_select(0, places)[None],)

    def put(module: Any, given: tuple[Any, ...], made: torch.Tensor) -> torch.Tensor:
        whole = made.new_zeros(kept.numel(), made.shape[-1])
        return whole.index_copy(0, places, made[0]).view(*kept.shape, -1)

    with ExitStack() as hooks:
        for module in _modules(model):
            hooks.callback(module.register_forward_pre_hook(take).remove)
            hooks.callback(module.register_forward_hook(put).remove)
        yield


def drops_out(model: Any) -> bool:
    """Whether the last layer leaves something out at random: at fewer positions it would draw other
    numbers."""
    return any(
        isinstance(module, torch.nn.Dropout) and module.p > 0 and module.training
        for _, module in _last_modules(model)
    )


def _modules(model: Any) -> list[Any]:
    return [
        module
        for name, module in _last_modules(model)
        if _is_by_token(name.rpartition(".")[2], module)
    ]


def _last_modules(model: Any) -> list[tuple[str, Any]]:
    """All within the last layer; none where layers aren't where transformers usually has them."""
    decoder = model.get_decoder()
    layers = getattr(decoder, "layers", None) or getattr(decoder, "h", None)
    return [*layers[-1].named_modules()] if layers else []


def _is_by_token(name: str, module: Any) -> bool:
    """Whether a module's outputs are made of one input each: one that is given more, as Bloom's MLP
    the residuals, is not looked at."""
    if name not in _BY_TOKEN:
        return False  # before the signature, which takes longer than the layer
    kinds = [each.kind for each in inspect.signature(module.forward).parameters.values()]
    return kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) == 1
