"""LoRA's product and its sum with the layer's output in one operation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraVariant

ADAPTER = "default"  # PEFT's name of the only adapter


class QuickProduct(LoraVariant):  # type: ignore[misc]
    """x -> W x + scaling * B A dropout(x), the last two products and the sum in the dtype of x."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: Any, result: Any, **_: Any) -> torch.Tensor:
        narrow = module.lora_A[active_adapter].weight.to(x.dtype)
        wide = module.lora_B[active_adapter].weight.to(x.dtype)
        dropped = module.lora_dropout[active_adapter](x)
        inner = torch.nn.functional.linear(dropped, narrow).flatten(0, -2)
        scaling = module.scaling[active_adapter]
        flat = result.flatten(0, -2)
        # In the place of W x, which nothing else reads, where no gradient needs to know.
        into = None if torch.is_grad_enabled() else flat
        summed = torch.addmm(flat, inner, wide.t(), alpha=scaling, out=into)
        return summed.view(result.shape)


@contextmanager
def quick_products(model: Any) -> Iterator[int]:
    """Context in which the LoRA layers of a float32 model that is not trained compute by
    `QuickProduct`: PEFT alone makes two tensors of the layer's size on the way. They can't be
    merged meanwhile.

    Yields:
        The number of layers.
    """
    layers = plain_layers(model, (torch.float32,))
    for layer in layers:
        layer.lora_variant[ADAPTER] = QuickProduct()
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.lora_variant[ADAPTER]


def plain_layers(model: Any, dtypes: Collection[torch.dtype]) -> list[Any]:
    """A model's LoRA layers that may compute by `QuickProduct`: of no other kind than plain LoRA
    (DoRA), without a bias of their own, over weights in one of these dtypes, not quantised."""
    return [
        module
        for module in model.modules()
        if type(module) is Linear
        and ADAPTER not in module.lora_variant
        and not module.lora_bias[ADAPTER]
        and module.base_layer.weight.dtype in dtypes
    ]
