"""A base model -> the model that is trained (PEFT's LoRA with the head's modules where there is
one, or all weights), and its trained weights as files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model

from ft_harness.errors import InputError, first_line
from ft_harness.models.adapters import lora_config, put_back, remember
from ft_harness.models.base_model import BaseModel
from ft_harness.recipe import Recipe
from ft_harness.records.adapter_files import CONFIG_FILE, MODEL_CONFIG_FILE
from ft_harness.storage import redact, write_text
from ft_harness.training.hyperparameters import ALL, CHECKPOINTING, trained_of_base
from ft_harness.training.numerics import compute_in_base_dtype, float32_needed, quick_attention


@contextmanager
def adapter_model(recipe: Recipe, base: BaseModel) -> Iterator[Any]:
    """The base with freshly drawn adapter weights, or with all its weights to be trained; on
    leaving, the base is as it was, to the bit.

    Raises:
        InputError: target modules that the model lacks, or weights of its own to be trained that
            aren't in float32.
    """
    # Before PEFT touches the model: it replaces modules, and `unload` puts back modules but not
    # trained biases.
    originals = remember(base.model, all_weights=recipe.adapter.all_weights)
    model = base.model
    try:
        model = _all_weights(base) if recipe.adapter.all_weights else _with_lora(recipe, base)
        yield model
    finally:
        if model is not base.model:
            model.unload()
        put_back(base.model, originals)
        # Scoring after the training would else compute every activation twice.
        if base.model.is_activation_checkpointing:
            base.model.activation_checkpointing_disable()
        base.model.eval().requires_grad_(False)


@contextmanager
def trained_model(recipe: Recipe, base: BaseModel) -> Iterator[Any]:
    """The model that is trained: `adapter_model`, set up.

    Raises:
        InputError: as `adapter_model`.
    """
    with adapter_model(recipe, base) as model, quick_attention():
        yield set_up(recipe, model, base.model)


def set_up(recipe: Recipe, model: Any, of_base: Any) -> Any:
    """The trained model in training mode, in the number formats and with the checkpointing that it
    is trained in.

    Args:
        model: with its adapter.
        of_base: the transformers model within it.
    """
    compute_in_base_dtype(model)
    if recipe.train.gradient_checkpointing:
        of_base.activation_checkpointing_enable(dict(CHECKPOINTING))
    return model.train()


def _with_lora(recipe: Recipe, base: BaseModel) -> Any:
    own = trained_of_base(recipe.adapter)
    if own and base.info.dtype != "float32":
        raise float32_needed(base.info.pretrained, base.info.dtype, own)
    # PEFT draws the adapter's weights as it is made, so that the seed comes first: the same recipe
    # is the same start.
    torch.manual_seed(recipe.train.seed)
    try:
        return get_peft_model(
            base.model,
            lora_config(recipe.adapter, base.head.modules if base.head else (), base.model),
        )
    except ValueError as error:
        raise InputError(
            f"adapter.target_modules {recipe.adapter.target_modules!r}: {first_line(error)}",
            "'all-linear' or names of modules of this model",
            "change adapter.target_modules",
        ) from error


def _all_weights(base: BaseModel) -> Any:
    if base.info.dtype != "float32" or base.info.quantization:
        raise float32_needed(base.info.pretrained, base.info.quantization or base.info.dtype, ALL)
    # The very base and no copy, of which memory may not hold two; its weights are kept aside and
    # put back.
    return base.model.requires_grad_(True)


def write_weights(model: Any, folder: Path) -> None:
    """Write the trained model's weights as one file: PEFT's, or a whole model's that transformers
    loads."""
    if hasattr(model, "peft_config"):
        model.save_pretrained(folder)
        # PEFT's empty model card, with a path of this machine
        (folder / "README.md").unlink(missing_ok=True)
    else:
        # One file, so that one hash is the identity of what was trained.
        model.save_pretrained(folder, max_shard_size="1000GB")
    _redact_settings(folder)


def save_weights(model: Any, base: BaseModel, folder: Path) -> None:
    """Write the trained model's weights into the adapter's folder; a whole model with its
    tokenizer."""
    write_weights(model, folder)
    if model is base.model:
        base.tokenizer.save_pretrained(folder)
        _redact_settings(folder)


def _redact_settings(folder: Path) -> None:
    """What PEFT and transformers write names the base by its path or hub id."""
    for name in (CONFIG_FILE, MODEL_CONFIG_FILE, "tokenizer_config.json"):
        path = folder / name
        if path.is_file() and redact(text := path.read_text(encoding="utf-8")) != text:
            write_text(path, text)
