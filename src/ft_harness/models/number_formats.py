"""The format of a model's weights: what a checkpoint states, and what the hardware computes in."""

from __future__ import annotations

from typing import Any

import torch

SIXTEEN_BITS = ("bfloat16", "float16")


def sixteen_bits() -> str:
    """The format of 16-bit weights here: bfloat16 where the hardware computes in it, else float16
    on a GPU, which has that, and float32 on a CPU, which has neither."""
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    # older versions of torch don't know
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    has_bf16 = any(has for name, has in found.items() if name.endswith("bf16"))
    return "bfloat16" if has_bf16 else "float32"


def stored_dtype(config: Any) -> str:
    """The number format that a checkpoint says its weights have; float32 where it says nothing."""
    return str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
