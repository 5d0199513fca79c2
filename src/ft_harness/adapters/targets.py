"""Whether a recipe's adapter finds its modules in the base, before anything is scored or trained."""

from __future__ import annotations

import re
from typing import Any

from ft_harness.errors import InputError, suggest
from ft_harness.recipe import AdapterSection

_ALL = "all-linear"


def target_problems(adapter: AdapterSection, empty: Any) -> list[InputError]:
    """Target modules that the model lacks, or that PEFT has no adapter for.

    Args:
        empty: the model on the meta device; it is used up.
    """
    from peft import LoraConfig, get_peft_model

    names = [name for name, _ in empty.named_modules() if name]
    asked = adapter.target_modules
    if isinstance(asked, str) and asked != _ALL:
        try:
            missing = [] if any(re.fullmatch(asked, name) for name in names) else [asked]
        except re.error as error:
            return [_fault(asked, f"not a regular expression ({error})", [])]
    else:
        missing = [] if asked == _ALL else [name for name in asked if not _stands_in(name, names)]
    if missing:
        known = sorted({name.rpartition(".")[2] for name, module in empty.named_modules() if _is_linear(module)})
        return [_fault(name, "the model has no such module" + suggest(name, known), known) for name in missing]
    try:
        get_peft_model(empty, LoraConfig(r=1, target_modules=asked), low_cpu_mem_usage=True)
    except ValueError as error:
        return [_fault(asked, str(error).splitlines()[0][:200], [])]
    return []


def _stands_in(name: str, names: list[str]) -> bool:
    """PEFT's rule for a list: whole names or their ends."""
    return any(each == name or each.endswith(f".{name}") for each in names)


def _is_linear(module: Any) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, (torch.nn.Linear, Conv1D))


def _fault(asked: str | list[str], what: str, known: list[str]) -> InputError:
    return InputError(
        f"adapter.target_modules {asked!r}: {what}",
        f"'{_ALL}', a regular expression, or names of modules" + (f", as {', '.join(known[:12])}" if known else ""),
        "change adapter.target_modules",
    )
