"""A recipe's train section -> transformers' TrainingArguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ft_harness.base_model import BaseModel
from ft_harness.recipe import Recipe
from ft_harness.training.checkpoints import CHECKPOINTS

_SAVED_SHARE = 0.1  # of all steps between two checkpoints


def training_arguments(recipe: Recipe, folder: Path, base: BaseModel, *, validate: bool) -> Any:
    from transformers import TrainingArguments

    settings = recipe.train
    return TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.num_train_epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.per_device_train_batch_size,
        per_device_eval_batch_size=settings.per_device_train_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        use_cpu=base.device == "cpu",
        bf16=base.device == "cuda" and base.info.dtype == "bfloat16",
        train_sampling_strategy="random",
        remove_unused_columns=False,
        prediction_loss_only=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if validate else "no",
        save_strategy="steps",
        save_steps=_SAVED_SHARE,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=False,
        dataloader_pin_memory=base.device == "cuda",
    )
