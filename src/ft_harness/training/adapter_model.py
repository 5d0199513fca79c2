"""A base model -> the model that is trained: PEFT's LoRA, with the head's modules where there is one."""

from __future__ import annotations

from typing import Any

from ft_harness.base_model import BaseModel
from ft_harness.errors import InputError
from ft_harness.recipe import Recipe


def make_adapter_model(recipe: Recipe, base: BaseModel) -> Any:
    """The base with freshly drawn adapter weights.

    Raises:
        InputError: target modules that the model lacks.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    settings = recipe.adapter
    torch.manual_seed(recipe.train.seed)
    config = LoraConfig(
        task_type=settings.task_type,
        modules_to_save=list(base.head.modules) if base.head else None,
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=settings.target_modules,
        use_rslora=settings.use_rslora,
    )
    try:
        return get_peft_model(base.model, config)
    except ValueError as error:
        raise InputError(
            f"adapter.target_modules {settings.target_modules!r}: {str(error).splitlines()[0]}",
            "'all-linear' or names of modules of this model",
            "change adapter.target_modules",
        ) from error
