"""A recipe's adapter section as PEFT's LoraConfig, and whether it finds its modules in the base
before anything is scored or trained."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers.pytorch_utils import Conv1D

from ft_harness.errors import InputError, first_line, suggest
from ft_harness.models.adapters.configuration import ALL_LINEAR
from ft_harness.models.heads import own_modules
from ft_harness.recipe import AdapterSection

_LINEAR = (torch.nn.Linear, Conv1D)


def lora_config(
    adapter: AdapterSection, head_modules: Sequence[str] = (), model: Any = None
) -> Any:
    """A recipe's adapter section as PEFT's LoraConfig.

    Args:
        head_modules: modules of a classification head, which are trained and saved whole.
        model: whose vision or audio towers get no adapter from `all-linear`: no text passes them;
            None: one without.

    Raises:
        ValueError: fields that PEFT doesn't take together.
    """
    values = adapter.model_dump(exclude={"peft_type", "modules_to_save"})
    if adapter.target_modules == ALL_LINEAR and model is not None and (towers := _towers(model)):
        values["exclude_modules"] = _joined(adapter.exclude_modules, towers)
    whole = [
        *head_modules,
        *(name for name in adapter.modules_to_save or () if name not in head_modules),
    ]
    return LoraConfig(**values, modules_to_save=whole or None)


def _towers(model: Any) -> list[str]:
    """Full names of the linear modules of a composite model outside its text part and its head."""
    text = model.config.get_text_config(decoder=True)
    if text is model.config:
        return []
    inside = {id(module) for module in model.get_decoder().modules()}
    kept = own_modules(model)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, _LINEAR) and id(module) not in inside and name not in kept
    ]


def _joined(asked: str | list[str] | None, names: list[str]) -> str | list[str]:
    """What the recipe excludes, an expression or names, and further names."""
    if isinstance(asked, str):
        return "|".join([f"(?:{asked})", *map(re.escape, names)])
    return [*(asked or ()), *names]


def target_problems(adapter: AdapterSection, empty: Any) -> list[InputError]:
    """Modules, parameters and tokens of a recipe's adapter that the model lacks, or that PEFT has
    no adapter for.

    Args:
        empty: the model on the meta device; it is used up.
    """
    if adapter.all_weights:
        return []
    if found := [
        *_layers_of_all(adapter, empty),
        *_missing_modules(adapter, empty),
        *_missing_tokens(adapter, empty),
    ]:
        return found
    linear, head = _linear_names(empty), own_modules(empty) if adapter.has_head else ()
    try:
        with warnings.catch_warnings(action="ignore"):  # said again where the adapter is made
            model = get_peft_model(empty, lora_config(adapter, head, empty), low_cpu_mem_usage=True)
    except Exception as error:  # PEFT raises bare types for what it can't do
        reason = first_line(error)
        return [_fault("target_modules", adapter.target_modules, reason, linear)]
    return [*_unused_patterns(adapter, model), *_missing_layers(adapter, model)]


def dora_problems(where: str) -> list[InputError]:
    """Faults of a recipe's DoRA, which reads the base's weights; on a CPU, PEFT's reading of 8-bit
    ones loses their scales.

    Args:
        where: what asks for it.
    """
    if torch.cuda.is_available():
        return []
    return [
        InputError(
            f"{where}: on a CPU, bitsandbytes loses the scales of 8-bit weights that DoRA reads",
            "DoRA on a base in 4, 16 or 32 bits, or on a GPU",
            "use model.quantization: nf4 or null, or an adapter without use_dora",
        )
    ]


def _layers_of_all(adapter: AdapterSection, empty: Any) -> list[InputError]:
    """Layers can be chosen for modules that are named one by one."""
    asked = [
        name
        for name in ("layers_to_transform", "layers_pattern")
        if getattr(adapter, name) is not None
    ]
    if not asked or not isinstance(adapter.target_modules, str):
        return []
    return [
        InputError(
            f"adapter.{asked[0]} with target_modules {adapter.target_modules!r}: "
            "PEFT accepts it only with a list",
            f"a list of module names, as [{', '.join(_linear_names(empty)[:12])}]",
            f"list the modules in adapter.target_modules, or leave adapter.{asked[0]} out",
        )
    ]


def _missing_modules(adapter: AdapterSection, empty: Any) -> list[InputError]:
    """Names that the model doesn't have; PEFT would train the others and ignore a misspelt one."""
    modules = [name for name, _ in empty.named_modules() if name]
    parameters = [name for name, _ in empty.named_parameters()]
    linear = _linear_names(empty)
    children = sorted(
        {name.rpartition(".")[2] for name in modules if not name.rpartition(".")[2].isdigit()}
    )
    # PEFT passes over names that it does not find, as long as one is there.
    found = []
    for field, names, known in (
        ("target_modules", modules, linear),
        ("exclude_modules", modules, linear),
        ("modules_to_save", modules, children),
        ("target_parameters", parameters, []),
    ):
        asked = getattr(adapter, field)
        if isinstance(asked, str):
            fault = None if asked == ALL_LINEAR else _unmatched(asked, names)
            found += [_fault(field, asked, fault, [])] if fault else []
            continue
        missing = [name for name in asked or () if not _is_named(name, names)]
        what = (
            "the model has no such parameter"
            if field == "target_parameters"
            else "the model has no such module"
        )
        found += [_fault(field, name, what + suggest(name, known), known) for name in missing]
    return found


def _unmatched(expression: str, names: Iterable[str]) -> str | None:
    """What is wrong with a regular expression for module names."""
    try:
        found = any(re.fullmatch(expression, name) for name in names)
    except re.error as error:
        return f"not a regular expression ({error})"
    return None if found else "the model has no such module"


def _missing_tokens(adapter: AdapterSection, empty: Any) -> list[InputError]:
    """Tokens to be trained that the embedding has no row for."""
    asked = adapter.trainable_token_indices or []
    chosen = (
        [token for tokens in asked.values() for token in tokens]
        if isinstance(asked, dict)
        else asked
    )
    rows = empty.get_input_embeddings().weight.shape[0]
    return [
        InputError(
            f"adapter.trainable_token_indices: {token} is no token of the model",
            f"numbers below {rows}, the rows of its embedding",
            "change adapter.trainable_token_indices",
        )
        for token in chosen
        if token >= rows
    ][:1]


def _adapted(model: Any) -> list[str]:
    """Names of the modules that have an adapter."""
    return [
        name
        for name, module in model.base_model.model.named_modules()
        if isinstance(module, BaseTunerLayer)
    ]


def _missing_layers(adapter: AdapterSection, model: Any) -> list[InputError]:
    """Layers of `layers_to_transform` without a module that gets an adapter; PEFT passes over them
    as long as one has any."""
    asked = adapter.layers_to_transform
    # the first number of a name is its layer, others are those of experts and the like
    numbers = (filter(str.isdigit, name.split(".")) for name in _adapted(model))
    layers = {layer for each in numbers if (layer := next(each, None)) is not None}
    return [
        InputError(
            f"adapter.layers_to_transform {layer}: no module of this layer would get an adapter",
            f"layers with one of target_modules, as {', '.join(sorted(layers, key=int)[:12])}",
            "change adapter.layers_to_transform",
        )
        for layer in ([asked] if isinstance(asked, int) else asked or ())
        if str(layer) not in layers
    ]


def _unused_patterns(adapter: AdapterSection, model: Any) -> list[InputError]:
    """Names in `rank_pattern` and `alpha_pattern` that match no adapted module; PEFT would use `r`
    and `lora_alpha`."""
    names = _adapted(model)
    return [
        _fault(field, pattern, "matches no module that has an adapter", [])
        for field in ("rank_pattern", "alpha_pattern")
        for pattern in getattr(adapter, field)
        # PEFT's get_pattern_key
        if not any(re.match(rf"(.*\.)?({pattern})$", name) for name in names)
    ]


def _is_named(name: str, names: list[str]) -> bool:
    """PEFT's rule for a list: whole names or their ends."""
    return any(each == name or each.endswith(f".{name}") for each in names)


def _linear_names(empty: Any) -> list[str]:
    """Last names of the modules that LoRA is usually made for, sorted."""
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in empty.named_modules()
            if isinstance(module, _LINEAR)
        }
    )


def _fault(field: str, asked: str | list[str], what: str, known: list[str]) -> InputError:
    every = f"'{ALL_LINEAR}', " if field == "target_modules" else ""
    return InputError(
        f"adapter.{field} {asked!r}: {what}",
        f"{every}a regular expression, or names in this model"
        + (f", as {', '.join(known[:12])}" if known else ""),
        f"change adapter.{field}",
    )
