"""Whether an adapter's weights belong to a base: keys, shapes and values, on a model without
weights of its own."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from ft_harness.errors import FtHarnessError, InputError, NonFiniteError
from ft_harness.models.adapters.card import CONFIG_FILE, WEIGHTS_FILE
from ft_harness.storage.safetensors_file import TensorInfo, read_header
from ft_harness.storage.strict_files import read_json

_INNER = "base_model.model."  # before a base module's name, in the keys of a PEFT file
_HEAD = "ForSequenceClassification"


def trained_parameters(folder: Path) -> int:
    """Numbers that the adapter's file holds, besides copies of the base's own."""
    held = read_header(folder / WEIGHTS_FILE)
    return sum(math.prod(info.shape) for key, info in held.items() if ".base_layer." not in key)


def copied_names(key: str) -> str:
    """The base's name of a parameter that a PEFT file holds whole, as with resized or targeted
    embeddings."""
    return key.removeprefix(_INNER).replace(".base_layer.", ".")


def trained_modules(folder: Path) -> set[str]:
    """Names of the modules that the adapter brings a trained copy of, as its configuration has
    them."""
    config = read_json(folder / CONFIG_FILE)
    heads = (
        {"classifier", "score"} if config.get("task_type") == "SEQ_CLS" else set()
    )  # PEFT's own for this type
    return heads | {str(name) for name in config.get("modules_to_save") or []}


def is_trained(parameter: str, modules: Collection[str]) -> bool:
    """Whether a parameter lies in a trained module: PEFT copies every module whose full name ends
    in one of these."""
    parts = parameter.split(".")
    outer = [".".join(parts[:depth]) for depth in range(1, len(parts))]
    return any(name.endswith(each) for name in outer for each in modules)


def expected_shapes(folder: Path, empty: Any) -> dict[str, tuple[int, ...]]:
    """Keys and shapes that PEFT expects in the adapter's file for this base; the empty model is
    used up.

    Raises:
        InputError: the adapter's modules aren't the base's.
    """
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        skeleton = get_peft_model(empty, config, low_cpu_mem_usage=True)
        state = get_peft_model_state_dict(skeleton)
    except Exception as error:  # PEFT raises bare types for configurations that do not fit
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(
            f"{folder}: doesn't fit the base ({reason})",
            "an adapter for this base",
            "use its own base",
        ) from error
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def problems(folder: Path, empty: Any) -> list[FtHarnessError]:
    """Faults of the adapter's weights: kind of task, keys both ways, shapes, values; nothing is
    read whose size isn't known to be right.

    Args:
        empty: the base on the meta device; it is used up.
    """
    stored = read_header(folder / WEIGHTS_FILE)
    base = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    try:
        found = (
            _task_type(folder, empty)
            or _missing_modules(folder, empty)
            or _keys(folder, stored, expected_shapes(folder, empty), base)
        )
    except InputError as error:
        found = [error]
    return found or _values(folder)


def _task_type(folder: Path, empty: Any) -> list[FtHarnessError]:
    kind = read_json(folder / CONFIG_FILE).get("task_type")
    wanted = "SEQ_CLS" if type(empty).__name__.endswith(_HEAD) else "CAUSAL_LM"
    if kind in (None, wanted):
        return []
    return [
        InputError(
            f"{folder}: an adapter for {str(kind)[:40]}, asked to be scored as {wanted}",
            f"task_type {wanted} in {CONFIG_FILE}",
            "score it as what it was trained for: adapter.task_type in the recipe",
        )
    ]


def _missing_modules(folder: Path, empty: Any) -> list[FtHarnessError]:
    """A module that was trained whole but that the base doesn't have; PEFT passes over it. (For
    SEQ_CLS, PEFT writes the usual names of all heads.)"""
    config = read_json(folder / CONFIG_FILE)
    if config.get("task_type") == "SEQ_CLS":
        return []
    have = [name for name, _ in empty.named_modules()]
    missing = [
        name
        for name in sorted(trained_modules(folder))
        if not any(each.endswith(name) for each in have)
    ]
    return [
        InputError(
            f"{folder}: names {name[:80]} in modules_to_save, which the base lacks",
            "an adapter for this base and kind of task",
            "score it as what it was trained for: its base, and adapter.task_type in the recipe",
        )
        for name in missing[:1]
    ]


def _keys(
    folder: Path,
    stored: dict[str, TensorInfo],
    expected: dict[str, tuple[int, ...]],
    base: dict[str, tuple[int, ...]],
) -> list[FtHarnessError]:
    """Keys both ways and shapes. Copies of the base's own parameters are let through; whether they
    are equal is seen when the base is there."""
    grown = [
        key for key, info in stored.items() if info.shape != base.get(copied_names(key), info.shape)
    ]
    if grown:
        return [
            InputError(
                f"{folder}: {grown[0]} has shape {stored[grown[0]].shape}, the base's {base[copied_names(grown[0])]}",
                "the base's own tokens and labels; a vocabulary is neither cut nor grown",
                "use the base it was trained on, or merge it where it was trained and score the merged model",
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
                f"{folder}: {copied_names(whole[0]).rpartition('.')[0]} is in modules_to_save, but not in the file",
                "every trained module in the adapter's file: a head that isn't there was lost after training",
                "save the adapter again with the module in modules_to_save",
            )
        ]
    if missing or strange:
        keys = [*strange, *missing]
        return [
            InputError(
                f"{folder}: {len(keys)} keys don't match the base model, first {', '.join(keys[:3])}",
                "exactly the keys that PEFT expects for this base",
                "use the base it was trained on; an adapter with renamed keys would score as the base",
            )
        ]
    for key, shape in expected.items():
        if stored[key].shape != shape:
            what = f"{folder}: {key} has shape {stored[key].shape}"
            return [InputError(what, f"{shape} for this base", "use the base it was trained on")]
    return []


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file.

    Raises:
        InputError: damaged.
    """
    try:
        tensors: dict[str, Any] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged ({error})", "a whole file", "train it again") from error
    return tensors


def nonfinite_problems(folder: Path, tensors: Mapping[str, Any]) -> list[FtHarnessError]:
    """The first tensor that holds NaN or infinity."""
    broken = [key for key, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    return [
        NonFiniteError(
            f"{folder}: {key} holds NaN or infinity", "finite weights", "train it again, lower lr"
        )
        for key in broken[:1]
    ]


def _values(folder: Path) -> list[FtHarnessError]:
    """Finite, and B not zero everywhere."""
    try:
        tensors = read_tensors(folder / WEIGHTS_FILE)
    except InputError as error:
        return [error]
    if found := nonfinite_problems(folder, tensors):
        return found
    starts = [key for key in tensors if "lora_A" in key or "lora_embedding_A" in key]
    ends = [key for key in tensors if "lora_B" in key or "lora_embedding_B" in key]
    if len(ends) + len(starts) == len(tensors) and not any(tensors[key].any() for key in ends):
        return [
            InputError(
                f"{folder}: every B is zero, so the adapter changes no logit of the base model",
                "an adapter that was trained",
                "train it with a higher learning rate or more steps",
            )
        ]
    return []
