"""How a training computes: number formats, attention on a CPU, the random generators, and computing
that leaves them and the model undisturbed.

Trained weights are float32; products with a 16-bit base are computed in its format.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ft_harness.errors import InputError
from ft_harness.models.base_model import BaseModel
from ft_harness.models.lora_product import ADAPTER, QuickProduct, plain_layers
from ft_harness.models.number_formats import SIXTEEN_BITS
from ft_harness.training.packing import Packing

_SHORT = 256  # tokens; from here on PyTorch's kernel is as quick in bfloat16 (decision 016)

# --- number formats -----------------------------------------------------------------------------


def compute_in_base_dtype(model: Any) -> int:
    """The number format of LoRA's products: over 16-bit weights they are made in those 16 bits, as
    autocast would; LoRA's weights stay float32.

    PEFT alone turns each layer's input into float32 and its sum back. Layers that are quantised,
    have a bias of their own, or are of another kind than plain LoRA (DoRA) stay PEFT's.

    Returns:
        The number of layers changed; a model without LoRA has none.
    """
    layers = plain_layers(model, [getattr(torch, name) for name in SIXTEEN_BITS])
    for layer in layers:
        layer.lora_variant[ADAPTER] = QuickProduct()
        layer.cast_input_dtype_enabled = False
    return len(layers)


def is_autocast(base: BaseModel) -> bool:
    """Whether a training's products are made in 16 bits by autocast."""
    return base.device == "cuda" and base.info.dtype == "bfloat16"


def autocast(base: BaseModel, device: str | None = None) -> AbstractContextManager[Any]:
    """The number formats of a training's forward pass.

    Args:
        device: of the tensors; None: the base's.
    """
    return torch.autocast(device or base.device, torch.bfloat16, enabled=is_autocast(base))


def describe_precision(base: BaseModel, model: Any) -> str:
    """In which number formats an adapter is trained, as "base bfloat16, trained weights
    float32"."""
    trained = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.requires_grad}
    kept = base.info.quantization or base.info.dtype
    return f"base {kept}, trained weights {' and '.join(sorted(trained))}"


def float32_needed(pretrained: str, dtype: str, trained: str) -> InputError:
    """The error for a number format of fewer bits than float32, in which weights can't be trained.

    Args:
        trained: which, in words.
    """
    return InputError(
        f"{pretrained}: loaded in {dtype}, to train {trained}",
        "weights in float32: fewer bits lose the small steps of the optimizer",
        "--set model.dtype=float32; base and trained model are then both scored in float32",
    )


# --- attention ----------------------------------------------------------------------------------


@contextmanager
def quick_attention() -> Iterator[None]:
    """Models that attend by PyTorch's `sdpa` do it row by row where a batch is packed; those that
    learn do it in float32 for short rows on a CPU, where its backward pass in 16 bits is the slow
    part of a step.

    The result is rounded to the 16 bits that it had, once and not in each product: it is nearer to
    the exact one.
    """
    usual = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attend(
        module: Any,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any,
        packing: Packing | None = None,
        **more: Any,
    ) -> tuple[Any, None]:
        """query, key and value are [B, heads, T, D], the result [B, T, heads, D]."""
        if packing is not None:
            packing.attended += 1
            query, key, value = (
                packing.unpack(each.transpose(1, 2)).transpose(1, 2) for each in (query, key, value)
            )
            made, _ = attend(module, query, key, value, None, **more)
            return packing.pack(made), None
        if not _is_slow(query, learns=any(each.requires_grad for each in (query, key, value))):
            found: tuple[Any, None] = usual(module, query, key, value, attention_mask, **more)
            return found
        if attention_mask is not None and attention_mask.is_floating_point():
            attention_mask = attention_mask.float()
        wide = query.float(), key.float(), value.float()
        summed, _ = usual(module, *wide, attention_mask, **more)
        return summed.to(query.dtype), None

    ALL_ATTENTION_FUNCTIONS["sdpa"] = attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = usual


def _is_slow(query: Any, *, learns: bool) -> bool:
    on_cpu_in_16_bits = query.device.type == "cpu" and query.itemsize == 2
    return learns and on_cpu_in_16_bits and query.shape[2] < _SHORT


# --- random numbers -----------------------------------------------------------------------------


def random_state() -> dict[str, Any]:
    """The random generators of Python, numpy and PyTorch (of every device) as they are now.

    Made of tensors, numbers and strings alone: `torch.load` reads it without running any code.
    """
    of_numpy = np.random.get_state(legacy=False)
    inner = of_numpy["state"]
    return {
        "python": random.getstate(),
        "numpy": {**of_numpy, "state": {**inner, "key": inner["key"].tolist()}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Give the generators back what `random_state` found."""
    inner = state["numpy"]["state"]
    random.setstate(state["python"])
    keys = np.array(inner["key"], dtype=np.uint32)
    np.random.set_state({**state["numpy"], "state": {**inner, "key": keys}})
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def draws_undone() -> Iterator[None]:
    """Context that restores the random generators afterwards, whatever is drawn in it."""
    before = random_state()
    try:
        yield
    finally:
        restore_random_state(before)


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Context in which a model computes without dropout; afterwards every module's mode is as it
    was, and so is every random generator."""
    modes = [(module, module.training) for module in model.modules()]
    with draws_undone():
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
