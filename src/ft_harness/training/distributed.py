"""One training shared by several processes: each computes rows of a step, and the gradients are
added up once per step.

The recipe's effective batch is divided, so that the number of processes does not change the
adapter. The model is not wrapped: one exchange of an adapter's gradients costs little.

Where accelerate's configuration asks for FSDP2, each process holds a part of the frozen base. A
layer is whole while it is computed, by PyTorch's `fully_shard`. What is trained stays whole in each
process, as do the embeddings and the head: gradients, checkpoints and the adapter are those of a
base that is whole.
"""

from __future__ import annotations

import os
import random
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from ft_harness import processes
from ft_harness.errors import ConfigError, FtHarnessError, raise_problems
from ft_harness.processes import ASKS_FOR_PARTS
from ft_harness.recipe import Recipe
from ft_harness.training.batches import Share

_REFUSED = (
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG",
)
_BY_CLASS = "TRANSFORMER_BASED_WRAP"
_SETTINGS = {  # of accelerate's launcher: (its default, what is done here, in its configuration)
    "FSDP_VERSION": ("1", "2", "fsdp_version: 2"),
    # else every process soon holds all layers
    "FSDP_RESHARD_AFTER_FORWARD": ("true", "true", "fsdp_reshard_after_forward: true"),
    "FSDP_OFFLOAD_PARAMS": ("false", "false", "fsdp_offload_params: false"),
    "FSDP_AUTO_WRAP_POLICY": (_BY_CLASS, _BY_CLASS, f"fsdp_auto_wrap_policy: {_BY_CLASS}"),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        "false",
        "false",
        "train.gradient_checkpointing: true in the recipe instead",
    ),
}

# --- what is not done ---------------------------------------------------------------------------


def sharding_problems(recipe: Recipe) -> list[FtHarnessError]:
    """Faults of a launcher that would split one model by other means than FSDP2 (they average
    gradients themselves), and of what FSDP2 can't shard here."""
    return _parts_problems(recipe) + [
        ConfigError(
            f"the launcher splits one model over the processes ({name}), "
            "which is not supported here",
            "a whole model in each process",
            "start with torchrun or accelerate launch --multi_gpu, and set model.quantization "
            "where memory is short; or train elsewhere and score the adapter here",
        )
        for name in _REFUSED
        if os.environ.get(name, "false").lower() == "true"
    ]


def _parts_problems(recipe: Recipe) -> list[FtHarnessError]:
    """Faults of what can't be sharded: quantised weights, trained weights, unsupported settings."""
    if not processes.in_parts():
        return []
    # All faults at once: an allocation of eight GPUs is not waited for twice.
    faults = []
    if processes.count() == 1:
        faults.append(
            ("there is one process", "several processes", "start several, or leave FSDP out")
        )
    if recipe.model.quantization is not None:
        what = f"model.quantization is {recipe.model.quantization}"
        action = "leave quantization out, or start with torchrun"
        faults.append((what, "a base that is not quantised", action))
    if recipe.adapter.all_weights:
        action = "use LoRA, or start with torchrun"
        faults.append(("all weights are trained", "LoRA over a frozen base", action))
    for name, (silent, done, expected) in _SETTINGS.items():
        if (found := os.environ.get(name, silent)).lower() != done.lower():
            action = "change accelerate's configuration"
            faults.append((f"{name.lower()} is {found}", expected, action))
    asked = f"the launcher asks for a sharded model ({ASKS_FOR_PARTS})"
    return [
        ConfigError(f"{asked}, but {what}", expected, action) for what, expected, action in faults
    ]


# --- rows and gradients of a step ---------------------------------------------------------------


def share_out(recipe: Recipe) -> Share:
    """With several processes: the rows that this one reads; all of them together read the recipe's
    effective batch.

    Raises:
        ConfigError: it can't be divided evenly, or the launcher asks for what is not supported.
    """
    # Before anything is written or exchanged: the launcher's other processes would wait for this
    # one.
    raise_problems(sharding_problems(recipe))
    several = processes.count()
    batch = recipe.train.per_device_train_batch_size
    accumulation = recipe.train.gradient_accumulation_steps
    # Fewer batches a process before smaller ones: the rows computed at once stay those that the
    # recipe has room for.
    if accumulation % several == 0:
        return Share(batch, accumulation // several, several, processes.rank())
    if batch % several == 0:
        return Share(batch // several, accumulation, several, processes.rank())
    raise ConfigError(
        f"steps of {batch} x {accumulation} rows "
        f"can't be shared out evenly over {several} processes",
        "train.gradient_accumulation_steps or train.per_device_train_batch_size "
        f"as a multiple of {several}",
        "change one of the two, or the number of processes",
    )


def sum_counts(own: list[int], device: Any) -> list[int]:
    """Whole numbers of one training, each added up over its processes."""
    if processes.count() == 1:
        return own
    found = torch.tensor(own, device=device)
    processes.add_up([found])
    return [int(count) for count in found.tolist()]


def add_gradients(trained: list[torch.nn.Parameter]) -> None:
    """Replace each parameter's gradient by the sum over the processes; one without a gradient adds
    nothing."""
    if processes.count() == 1:
        return
    for parameter in trained:
        # A process without rows in this step has no gradient, and the exchange needs one from each.
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    processes.add_up([parameter.grad for parameter in trained])


def seed_batch(seed: int, step: int, turn: int) -> None:
    """With several processes: seed dropout for each batch of each process, so that a continued run
    draws the same.

    Args:
        turn: number of the batch in its step.
    """
    if processes.count() > 1:
        # With one process the generator simply goes on, and a checkpoint keeps its state; of
        # several the states belong to ranks, which a continued run may have more or fewer of.
        place = f"{seed}/{step}/{turn}/{processes.rank()}"
        torch.manual_seed(random.Random(place).getrandbits(63))


# --- a base in parts ----------------------------------------------------------------------------


def place(model: Any, device: str) -> None:
    """With several processes: hold this one's part of each layer and the rest of the model whole;
    nothing is changed where no parts are asked for.

    Args:
        model: the base with its adapter, on the CPU.
        device: where it is computed, and goes.

    Raises:
        ConfigError: the model has no layers of the kinds to be sharded.
    """
    if not processes.in_parts():
        return
    layers = _layers(model)
    mesh = init_device_mesh(torch.device(device).type, (processes.count(),))
    # Left whole: an adapter is small, and its gradients are added up here.
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for layer in reversed(layers):  # those within others first
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
    for tensor in [*model.parameters(), *model.buffers()]:
        if not processes.is_part(tensor):
            tensor.data = tensor.data.to(device)


def _layers(model: Any) -> list[Any]:
    """The modules of the kinds that accelerate's configuration names; else of those that
    transformers keeps together.

    Raises:
        ConfigError: there are none, or none of a kind that is named.
    """
    base = model.get_base_model()
    classes = os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "").split(",")
    named = [kind.strip() for kind in classes if kind.strip()]
    kinds = named or sorted(base._no_split_modules or ())
    layers = [
        module for module in base.modules() if module is not base and type(module).__name__ in kinds
    ]
    found = {type(module).__name__ for module in layers}
    missing = [kind for kind in named if kind not in found]
    if missing or not layers:
        asked = ", ".join(missing or kinds) or "(unknown)"
        raise ConfigError(
            f"the model has no layers of the kind {asked} to be sharded",
            "fsdp_transformer_layer_cls_to_wrap: the class of the model's layers, "
            "as LlamaDecoderLayer",
            "change accelerate's configuration",
        )
    return layers
