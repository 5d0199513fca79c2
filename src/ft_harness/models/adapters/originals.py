"""A base model as it was before something was trained or loaded into it, and given back to the bit
afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ft_harness.processes import is_part


@dataclass(frozen=True)
class Originals:
    """What a base model consisted of before.

    Attributes:
        modules: by name.
        parameters: copies by name, on the CPU: of the biases, or of all.
    """

    modules: dict[str, Any]
    parameters: dict[str, Any]


def remember(model: Any, *, all_weights: bool = False) -> Originals:
    """Keep a base model as it was before: what an adapter may change in it, its modules and its
    biases.

    Args:
        all_weights: keep copies of all weights, which takes their memory once more.
    """
    kept = {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        if all_weights or name.endswith("bias")
    }
    return Originals(dict(model.named_modules()), kept)


def put_back(model: Any, originals: Originals) -> None:
    """Give a base model back as it was: PEFT's `unload` leaves trained copies of `modules_to_save`
    and trained biases in it."""
    modules = originals.modules
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if name and modules[parent]._modules.get(child) is not module:
            modules[parent]._modules[child] = module
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in originals.parameters and not is_part(
                parameter
            ):  # parts are of frozen weights
                parameter.copy_(originals.parameters[name])
