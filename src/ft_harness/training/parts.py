"""A frozen base in parts, one in each process, where accelerate's configuration asks for FSDP2.

A layer is whole while it is computed, by PyTorch's `fully_shard`. What is trained stays whole in each process, as do
the embeddings and the head: gradients, checkpoints and the adapter are those of a base that is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ft_harness import processes
from ft_harness.errors import ConfigError, FtHarnessError
from ft_harness.processes import ASKS_FOR_PARTS
from ft_harness.recipe import Recipe

_SETTINGS = {  # of accelerate's launcher: (what is set where the configuration is silent, what is done here)
    "FSDP_VERSION": ("1", "2"),
    "FSDP_RESHARD_AFTER_FORWARD": ("true", "true"),  # else each process soon holds all layers
    "FSDP_OFFLOAD_PARAMS": ("false", "false"),
}


def parts_problems(recipe: Recipe) -> list[FtHarnessError]:
    """What can't be held in parts: quantised weights, weights that are trained; and settings that are not done."""
    if not processes.in_parts():
        return []
    faults = []
    if processes.count() == 1:
        faults.append(("there is one process", "several processes", "start several, or leave FSDP out"))
    if recipe.model.quantization is not None:
        what = f"model.quantization is {recipe.model.quantization}"
        faults.append((what, "a base that is not quantised", "leave quantization out, or start with torchrun"))
    if recipe.adapter.all_weights:
        faults.append(("all weights are trained", "LoRA over a frozen base", "use LoRA, or start with torchrun"))
    for name, (silent, done) in _SETTINGS.items():
        if (found := os.environ.get(name, silent).lower()) != done:
            option = name.lower()
            faults.append((f"{option} is {found}", f"{option}: {done}", "change accelerate's configuration"))
    asked = f"the launcher asks for one model in parts ({ASKS_FOR_PARTS})"
    return [ConfigError(f"{asked}, but {what}", expected, action) for what, expected, action in faults]


@contextmanager
def kept_from_accelerate() -> Iterator[None]:
    """Within it accelerate doesn't see what its launcher asks for, and wraps nothing."""
    asked = os.environ.pop(ASKS_FOR_PARTS, None)
    try:
        yield
    finally:
        if asked is not None:
            os.environ[ASKS_FOR_PARTS] = asked


def hold_part(model: Any, device: str) -> None:
    """Keep this process's part of each layer; all of it where no parts are asked for.

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
    processes.connect()
    mesh = init_device_mesh(torch.device(device).type, (processes.count(),))
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
    for tensor in [*model.parameters(), *model.buffers()]:
        if not processes.is_part(tensor):
            tensor.data = tensor.data.to(device)


def _layers(model: Any) -> list[Any]:
    """The modules of the kinds that accelerate's configuration names; else of those that transformers keeps together.

    Raises:
        ConfigError: there are none.
    """
    named = os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP")
    kinds = sorted(named.split(",") if named else model.get_base_model()._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in kinds]
    if not layers:
        raise ConfigError(
            f"the model has no layers of the kind {', '.join(kinds) or '(unknown)'} to be held in parts",
            "fsdp_transformer_layer_cls_to_wrap: the class of the model's layers, as LlamaDecoderLayer",
            "change accelerate's configuration",
        )
    return layers
