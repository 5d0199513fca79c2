"""Whether an adapter's weights belong to a base: keys, trained modules, shapes and values, on a
model without weights of its own."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from ft_harness.errors import FtHarnessError, InputError, NonFiniteError, first_line
from ft_harness.models.adapters.configuration import peft_config
from ft_harness.records import SEQ_CLS
from ft_harness.records.adapter_files import CONFIG_FILE
from ft_harness.records.adapter_folder import AdapterFolder

_INNER = "base_model.model."  # before a base module's name, in the keys of a PEFT file
_HEAD = "ForSequenceClassification"


def trained_parameters(adapter: AdapterFolder) -> int:
    """How many numbers the adapter's file holds, without copies of the base's own."""
    shapes = (info.shape for key, info in adapter.held.items() if ".base_layer." not in key)
    return sum(map(math.prod, shapes))


def copied_names(key: str) -> str:
    """The base's names of parameters that an adapter's weights hold whole, as with resized or
    targeted embeddings."""
    return key.removeprefix(_INNER).replace(".base_layer.", ".")


def trained_modules(adapter: AdapterFolder) -> set[str]:
    """Names of the base's modules of which the adapter's weights hold a trained copy, as its
    configuration has them."""
    # PEFT's own names for this type of task
    heads = {"classifier", "score"} if adapter.config.get("task_type") == SEQ_CLS else set()
    return heads | {str(name) for name in adapter.config.get("modules_to_save") or []}


def is_trained(parameter: str, modules: Collection[str]) -> bool:
    """Whether a parameter of the base is replaced by the adapter's trained copy of a module: PEFT
    copies every module whose full name ends in one of these."""
    parts = parameter.split(".")
    outer = [".".join(parts[:depth]) for depth in range(1, len(parts))]
    return any(name.endswith(each) for name in outer for each in modules)


def expected_shapes(adapter: AdapterFolder, empty: Any) -> dict[str, tuple[int, ...]]:
    """Keys and shapes that PEFT expects in the adapter's file for this base; the empty model is
    used up.

    Raises:
        InputError: the adapter's modules aren't the base's.
    """
    try:
        config = peft_config(adapter)
        config.inference_mode = True
        skeleton = get_peft_model(empty, config, low_cpu_mem_usage=True)
        state = get_peft_model_state_dict(skeleton)
    except InputError:
        raise
    except Exception as error:  # PEFT raises bare types for configurations that do not fit
        reason = first_line(error)
        raise InputError(
            f"{adapter}: doesn't fit the base ({reason})",
            "an adapter for this base",
            "use its own base",
        ) from error
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def problems(adapter: AdapterFolder, empty: Any) -> list[FtHarnessError]:
    """Faults of the adapter's weights: kind of task, keys both ways, shapes, values; nothing is
    read whose size isn't known to be right.

    Args:
        empty: the base on the meta device; it is used up.
    """
    base = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    try:
        found = (
            _task_type(adapter, empty)
            or _missing_modules(adapter, empty)
            or _keys(adapter, expected_shapes(adapter, empty), base)
        )
    except InputError as error:
        found = [error]
    return found or _values(adapter)


def _task_type(adapter: AdapterFolder, empty: Any) -> list[FtHarnessError]:
    kind = adapter.config.get("task_type")
    wanted = SEQ_CLS if type(empty).__name__.endswith(_HEAD) else "CAUSAL_LM"
    if kind in (None, wanted):
        return []
    return [
        InputError(
            f"{adapter}: an adapter for {str(kind)[:40]}, asked to be scored as {wanted}",
            f"task_type {wanted} in {CONFIG_FILE}",
            "score it as what it was trained for: adapter.task_type in the recipe",
        )
    ]


def _missing_modules(adapter: AdapterFolder, empty: Any) -> list[FtHarnessError]:
    """A module that was trained whole but that the base doesn't have; PEFT passes over it. (For a
    head, PEFT writes the usual names of all heads.)"""
    if adapter.config.get("task_type") == SEQ_CLS:
        return []
    have = [name for name, _ in empty.named_modules()]
    missing = [
        name
        for name in sorted(trained_modules(adapter))
        if not any(each.endswith(name) for each in have)
    ]
    return [
        InputError(
            f"{adapter}: names {name[:80]} in modules_to_save, which the base lacks",
            "an adapter for this base and kind of task",
            "score it as what it was trained for: its base, and adapter.task_type in the recipe",
        )
        for name in missing[:1]
    ]


def _keys(
    adapter: AdapterFolder, expected: dict[str, tuple[int, ...]], base: dict[str, tuple[int, ...]]
) -> list[FtHarnessError]:
    """Keys both ways and shapes. Copies of the base's own parameters are let through; whether they
    are equal is checked when the base is loaded."""
    stored = adapter.held
    grown = [
        key for key, info in stored.items() if info.shape != base.get(copied_names(key), info.shape)
    ]
    if grown:
        return [
            InputError(
                f"{adapter}: {grown[0]} has shape {stored[grown[0]].shape}, "
                f"the base's {base[copied_names(grown[0])]}",
                "the base's own tokens and labels; a vocabulary is neither cut nor extended",
                "use the base it was trained on, or score a merged model",
            )
        ]
    missing = sorted(expected.keys() - stored.keys())
    strange = sorted(
        key for key in stored.keys() - expected.keys() if copied_names(key) not in base
    )
    whole = [key for key in missing if copied_names(key) in base]
    if whole:
        return [
            InputError(
                f"{adapter}: {copied_names(whole[0]).rpartition('.')[0]} is in modules_to_save, "
                "but not in the file",
                "every trained module in the file: a head that isn't there was lost after training",
                "save the adapter again with the module in modules_to_save",
            )
        ]
    if missing or strange:
        keys = [*strange, *missing]
        return [
            InputError(
                f"{adapter}: {len(keys)} keys don't match the base model, "
                f"first {', '.join(keys[:3])}",
                "exactly the keys that PEFT expects for this base",
                "use the base it was trained on; with renamed keys it would score as the base",
            )
        ]
    for key, shape in expected.items():
        if stored[key].shape != shape:
            return [_shape_fault(f"{adapter}: {key}", tuple(stored[key].shape), shape)]
    return []


def _shape_fault(place: str, stored: tuple[int, ...], shape: tuple[int, ...]) -> InputError:
    """A tensor of another shape: of another base, or of another rank than the adapter states."""
    rank = 0 if ".lora_A." in place else 1 if ".lora_B." in place else None
    others = [size[:rank] + size[rank + 1 :] for size in (stored, shape) if rank is not None]
    if rank is not None and len(stored) == 2 and others[0] == others[1]:
        return InputError(
            f"{place} has rank {stored[rank]} and shape {stored}, but adapter_config.json says "
            f"rank {shape[rank]}",
            "the rank with which the adapter was trained",
            "correct r or rank_pattern in adapter_config.json, or fetch the adapter again",
        )
    return InputError(
        f"{place} has shape {stored}", f"{shape} for this base", "use the base it was trained on"
    )


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of an adapter's file.

    Raises:
        InputError: damaged.
    """
    try:
        tensors: dict[str, Any] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error})", "a whole file", "train it again") from error
    return tensors


def nonfinite_problems(adapter: AdapterFolder, tensors: Mapping[str, Any]) -> list[FtHarnessError]:
    """The first tensor of an adapter that holds NaN or infinity."""
    broken = [key for key, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    return [
        NonFiniteError(
            f"{adapter}: {key} holds NaN or infinity",
            "finite weights",
            "train it again with a lower learning rate",
        )
        for key in broken[:1]
    ]


def _values(adapter: AdapterFolder) -> list[FtHarnessError]:
    """Finite, and B not zero everywhere."""
    try:
        tensors = read_tensors(adapter.weights)
    except InputError as error:
        return [error]
    if found := nonfinite_problems(adapter, tensors):
        return found
    starts = [key for key in tensors if "lora_A" in key or "lora_embedding_A" in key]
    ends = [key for key in tensors if "lora_B" in key or "lora_embedding_B" in key]
    if len(ends) + len(starts) == len(tensors) and not any(tensors[key].any() for key in ends):
        return [
            InputError(
                f"{adapter}: every B is zero, so the adapter changes no logit of the base model",
                "an adapter that was trained",
                "train it with a higher learning rate or more steps",
            )
        ]
    return []
