"""The recipe's train section: transformers' TrainingArguments, and what else decides an adapter."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from ft_harness.recipe.section import Section

Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay",
]  # fmt: skip


class TrainSection(Section):
    """transformers' TrainingArguments, by their own field names, and a few fields of ours."""

    learning_rate: float = Field(default=1e-3, gt=0)
    num_train_epochs: float = Field(default=2, gt=0)
    max_steps: int | None = Field(default=None, ge=1, description="stops here whatever the epochs")
    per_device_train_batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    lr_scheduler_type: Scheduler = "linear"
    lr_scheduler_kwargs: dict[str, Any] = Field(default_factory=dict)
    warmup_steps: float = Field(default=0.05, ge=0, description="steps, or below 1 a share of all steps")
    weight_decay: float = Field(default=0.0, ge=0)
    optim: str = Field(default="adamw_torch", description="an optimizer of transformers, as paged_adamw_8bit")
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    adam_epsilon: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    gradient_checkpointing: bool = Field(default=False, description="less memory for activations, computed twice")
    loss_on: Literal["answer", "prompt_and_answer"] = "answer"
    loss_on_eos: bool | None = Field(default=None, description="null: for generated answers only")
    continue_from: str | None = Field(default=None, description="folder of an adapter to go on from; null: a new one")
    eval_strategy: Literal["no", "epoch", "steps"] = Field(default="epoch", description="when validation is looked at")
    eval_steps: int | None = Field(default=None, ge=1, description="steps between evaluations, for eval_strategy steps")
    eval_scores: int = Field(
        default=0, ge=0, description="validation docs scored with the task's metrics at each evaluation; 0: loss alone"
    )
    load_best_model_at_end: bool = Field(default=False, description="keep the best evaluation's weights, not the last")
    metric_for_best_model: str = Field(default="loss", description="loss, or a metric of the task")
    early_stopping_patience: int | None = Field(default=None, ge=1, description="evaluations without a better one")
    early_stopping_threshold: float = Field(default=0.0, ge=0, description="what counts as better")
    save_steps: float = Field(default=0.1, gt=0, description="between checkpoints: steps, or below 1 a share of all")
    save_total_limit: int = Field(default=2, ge=1)
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        default=(), description="trackers beside history.jsonl"
    )
    seed: int = Field(default=0, ge=0, lt=2**32)

    def planned_steps(self, rows: int) -> int:
        """Optimizer steps of a training on this many rows; the last step of an epoch may be a partial one."""
        batches = math.ceil(rows / self.per_device_train_batch_size)
        steps = math.ceil(self.num_train_epochs * math.ceil(batches / self.gradient_accumulation_steps))
        return self.max_steps or steps
