"""A recipe's train section -> transformers' TrainingArguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ft_harness.models.base_model import BaseModel
from ft_harness.recipe import Recipe, TrainSection
from ft_harness.training.checkpoints import CHECKPOINTS
from ft_harness.training.precision import is_autocast

CHECKPOINTING = {"use_reentrant": False}  # the other kind needs inputs that carry gradients
_OPTIMIZER_FIELDS = {
    "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "weight_decay", "optim", "adam_beta1",
    "adam_beta2", "adam_epsilon", "max_grad_norm",
}  # fmt: skip


def optimizer_options(settings: TrainSection) -> dict[str, Any]:
    """The fields of the optimizer and its schedule, which are TrainingArguments' own."""
    return settings.model_dump(include=_OPTIMIZER_FIELDS)


def training_arguments(recipe: Recipe, folder: Path, base: BaseModel, *, validate: bool) -> Any:
    from transformers import TrainingArguments

    settings = recipe.train
    return TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        **optimizer_options(settings),
        num_train_epochs=settings.num_train_epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.per_device_train_batch_size,
        per_device_eval_batch_size=settings.per_device_train_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs=dict(CHECKPOINTING),
        seed=settings.seed,
        use_cpu=base.device == "cpu",
        bf16=is_autocast(base),
        train_sampling_strategy="random",
        remove_unused_columns=False,
        prediction_loss_only=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy=settings.eval_strategy if validate else "no",
        eval_steps=settings.eval_steps,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=settings.save_total_limit,
        report_to="none",
        disable_tqdm=False,
        dataloader_pin_memory=base.device == "cuda",
    )
