"""A frozen base in parts, one in each process, where accelerate's configuration asks for FSDP2.

A layer is whole while it is computed, by PyTorch's `fully_shard`. What is trained stays whole in each process, as do
the embeddings and the head: gradients, checkpoints and the adapter are those of a base that is whole.
"""

from __future__ import annotations

import os
from typing import Any

from ft_harness import processes
from ft_harness.errors import ConfigError, FtHarnessError
from ft_harness.processes import ASKS_FOR_PARTS
from ft_harness.recipe import Recipe

_BY_CLASS = "TRANSFORMER_BASED_WRAP"
_SETTINGS = {  # of accelerate's launcher: (what holds where it is silent, what is done here, in its configuration)
    "FSDP_VERSION": ("1", "2", "fsdp_version: 2"),
    "FSDP_RESHARD_AFTER_FORWARD": (
        "true",
        "true",
        "fsdp_reshard_after_forward: true",
    ),  # else all hold all layers soon
    "FSDP_OFFLOAD_PARAMS": ("false", "false", "fsdp_offload_params: false"),
    "FSDP_AUTO_WRAP_POLICY": (_BY_CLASS, _BY_CLASS, f"fsdp_auto_wrap_policy: {_BY_CLASS}"),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        "false",
        "false",
        "train.gradient_checkpointing: true in the recipe instead",
    ),
}


def parts_problems(recipe: Recipe) -> list[FtHarnessError]:
    """What can't be held in parts: quantised weights, weights that are trained; and settings that are not done."""
    if not processes.in_parts():
        return []
    faults = []
    if processes.count() == 1:
        faults.append(
            ("there is one process", "several processes", "start several, or leave FSDP out")
        )
    if recipe.model.quantization is not None:
        what = f"model.quantization is {recipe.model.quantization}"
        faults.append(
            (what, "a base that is not quantised", "leave quantization out, or start with torchrun")
        )
    if recipe.adapter.all_weights:
        faults.append(
            (
                "all weights are trained",
                "LoRA over a frozen base",
                "use LoRA, or start with torchrun",
            )
        )
    for name, (silent, done, expected) in _SETTINGS.items():
        if (found := os.environ.get(name, silent)).lower() != done.lower():
            faults.append(
                (f"{name.lower()} is {found}", expected, "change accelerate's configuration")
            )
    asked = f"the launcher asks for one model in parts ({ASKS_FOR_PARTS})"
    return [
        ConfigError(f"{asked}, but {what}", expected, action) for what, expected, action in faults
    ]


def place(model: Any, device: str) -> None:
    """Hold this process's part of each layer and the rest of the model whole; nothing is changed where no parts are
    asked for.

    Args:
        model: the base with its adapter, on the CPU.
        device: where it is computed, and goes.

    Raises:
        ConfigError: the model has no layers of the kinds that are to be in parts.
    """
    if not processes.in_parts():
        return
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    layers = _layers(model)
    mesh = init_device_mesh(torch.device(device).type, (processes.count(),))
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for layer in reversed(layers):  # those within others first
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
    for tensor in [*model.parameters(), *model.buffers()]:
        if not processes.is_part(tensor):
            tensor.data = tensor.data.to(device)


def _layers(model: Any) -> list[Any]:
    """The modules of the kinds that accelerate's configuration names; else of those that transformers keeps together.

    Raises:
        ConfigError: there are none, or none of a kind that is named.
    """
    base = model.get_base_model()
    named = [
        kind.strip()
        for kind in os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "").split(",")
        if kind.strip()
    ]
    kinds = named or sorted(base._no_split_modules or ())
    layers = [
        module for module in base.modules() if module is not base and type(module).__name__ in kinds
    ]
    found = {type(module).__name__ for module in layers}
    missing = [kind for kind in named if kind not in found]
    if missing or not layers:
        raise ConfigError(
            f"the model has no layers of the kind {', '.join(missing or kinds) or '(unknown)'} to be held in parts",
            "fsdp_transformer_layer_cls_to_wrap: the class of the model's layers, as LlamaDecoderLayer",
            "change accelerate's configuration",
        )
    return layers
