"""The number formats of a training: float32 for what is learnt, the base's own format for the products with it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ft_harness.models.base_model import SIXTEEN_BITS, BaseModel

if TYPE_CHECKING:
    import torch

_ADAPTER = "default"  # PEFT's name of the only adapter


def compute_in_base_dtype(model: Any) -> int:
    """Let LoRA layers over 16-bit weights multiply in those 16 bits, as autocast would; their weights stay float32.

    PEFT alone turns each layer's input into float32 and its sum back. Layers that are quantised, have a bias of their
    own, or are of another kind than plain LoRA (DoRA) stay PEFT's.

    Returns:
        The number of layers changed; a model without LoRA has none.
    """
    from peft.tuners.lora.layer import Linear

    quick = _quick_product()
    changed = 0
    for module in model.modules():
        if (
            type(module) is not Linear
            or _ADAPTER in module.lora_variant
            or module.lora_bias[_ADAPTER]
        ):
            continue
        if str(module.base_layer.weight.dtype).removeprefix("torch.") in SIXTEEN_BITS:
            module.lora_variant[_ADAPTER] = quick
            module.cast_input_dtype_enabled = False
            changed += 1
    return changed


def _quick_product() -> Any:
    import torch
    from peft.tuners.lora.layer import LoraVariant

    class QuickProduct(LoraVariant):  # type: ignore[misc]
        """x -> W x + scaling * B A dropout(x), the last two products and the sum in one dtype, that of x."""

        @staticmethod
        def forward(
            module: Any, active_adapter: str, x: Any, result: Any, **_: Any
        ) -> torch.Tensor:
            narrow = module.lora_A[active_adapter].weight.to(x.dtype)
            wide = module.lora_B[active_adapter].weight.to(x.dtype)
            inner = torch.nn.functional.linear(
                module.lora_dropout[active_adapter](x), narrow
            ).flatten(0, -2)
            summed = torch.addmm(
                result.flatten(0, -2), inner, wide.t(), alpha=module.scaling[active_adapter]
            )
            return summed.view(result.shape)

    return QuickProduct()


def is_autocast(base: BaseModel) -> bool:
    """Whether a training's products are made in 16 bits by autocast."""
    return base.device == "cuda" and base.info.dtype == "bfloat16"


def autocast(base: BaseModel, device: str | None = None) -> AbstractContextManager[Any]:
    """The number formats of forward, as the Trainer's `bf16` sets them.

    Args:
        device: of the tensors; None: the base's.
    """
    import torch

    return torch.autocast(device or base.device, torch.bfloat16, enabled=is_autocast(base))


def describe_precision(base: BaseModel, model: Any) -> str:
    """In which formats an adapter is trained, as "base bfloat16, trained weights float32"."""
    trained = sorted(
        {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.requires_grad}
    )
    kept = base.info.quantization or base.info.dtype
    return f"base {kept}, trained weights {' and '.join(trained)}"
