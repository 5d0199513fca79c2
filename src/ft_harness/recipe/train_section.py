"""The recipe's train section: transformers' TrainingArguments, and what else determines an
adapter."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from ft_harness.recipe.preference_section import PreferenceSection
from ft_harness.recipe.section import Section

Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant",
    "constant_with_warmup", "inverse_sqrt",
    "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay",
    "reduce_lr_on_plateau", "greedy",
]  # fmt: skip

# How the work is divided and saved. These may differ between two stretches of one training; they
# don't affect the adapter.
_EXECUTION = frozenset(
    {
        *("per_device_train_batch_size", "gradient_accumulation_steps", "gradient_checkpointing"),
        *("save_steps", "save_total_limit", "report_to"),
        "continue_from",  # a path; the weights behind it do make the adapter
    }
)
# When validation is evaluated, which changes nothing unless it steers the training.
_LOOKING = frozenset(
    {
        "eval_strategy",
        "eval_steps",
        "eval_scores",
        "metric_for_best_model",
        "early_stopping_threshold",
    }
)
# they go by the evaluations' loss, and have no warm-up
STEERED_SCHEDULERS = ("reduce_lr_on_plateau", "greedy")


class TrainSection(Section):
    """transformers' TrainingArguments, by their own field names, and a few fields of ours."""

    objective: Literal["answer", "preference"] = Field(
        default="answer",
        description="what is learnt: right answers, or preferring the right answer of a pair",
    )
    preference: PreferenceSection | None = Field(
        default=None, validate_default=True, description="only for objective preference"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="peak learning rate")
    num_train_epochs: float = Field(default=2, gt=0, description="passes over the training rows")
    max_steps: int | None = Field(
        default=None, ge=1, description="stop after this many steps, whatever the epochs"
    )
    per_device_train_batch_size: int = Field(default=16, ge=1, description="rows per forward pass")
    gradient_accumulation_steps: int = Field(
        default=1, ge=1, description="forward passes per optimizer step"
    )
    lr_scheduler_type: Scheduler = Field(
        default="linear", description="course of the learning rate after the warm-up"
    )
    lr_scheduler_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the schedule"
    )
    warmup_steps: float = Field(
        default=0.05, ge=0, description="steps, or below 1 a share of all steps"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="weight decay of AdamW and similar optimizers"
    )
    optim: str = Field(
        default="adamw_torch", description="an optimizer of transformers, such as paged_adamw_8bit"
    )
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean gradient")
    adam_beta2: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the mean squared gradient"
    )
    adam_epsilon: float = Field(default=1e-8, gt=0, description="keeps a step finite")
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="gradients with a larger norm are clipped to it"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="less memory for activations, recomputed in the backward pass"
    )
    loss_on: Literal["answer", "prompt_and_answer"] = Field(
        default="answer", description="the tokens that are trained on"
    )
    loss_on_eos: bool | None = Field(default=None, description="null: for generated answers only")
    continue_from: str | None = Field(
        default=None, description="folder of an adapter to continue; null: start a new one"
    )
    eval_strategy: Literal["no", "epoch", "steps"] = Field(
        default="epoch", description="when to evaluate on validation"
    )
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        validate_default=True,
        description="steps between evaluations, for eval_strategy steps",
    )
    eval_scores: int = Field(
        default=0,
        ge=0,
        description="validation docs scored with the task's metrics at each evaluation; 0: only "
        "the loss",
    )
    load_best_model_at_end: bool = Field(
        default=False, description="keep the best evaluation's weights, not the last"
    )
    metric_for_best_model: str = Field(default="loss", description="loss, or a metric of the task")
    early_stopping_patience: int | None = Field(
        default=None, ge=1, description="stop after this many evaluations without a better one"
    )
    early_stopping_threshold: float = Field(
        default=0.0, ge=0, description="smallest change that counts as better"
    )
    save_steps: float = Field(
        default=0.1,
        gt=0,
        description="steps between checkpoints; below 1: a share of all steps, at least 10 s apart",
    )
    save_total_limit: int = Field(default=2, ge=1, description="checkpoints that are kept")
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        default=(), description="trackers in addition to history.jsonl"
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="seed of the adapter's initial weights, the order of rows and dropout",
    )

    @field_validator("preference")
    @classmethod
    def _check_objective(
        cls, value: PreferenceSection | None, info: ValidationInfo
    ) -> PreferenceSection | None:
        if info.data.get("objective") == "preference":
            return value or PreferenceSection()
        if value is not None and "objective" in info.data:
            raise ValueError("train.objective: preference with it")
        return value

    @field_validator("loss_on")
    @classmethod
    def _check_loss_on(cls, value: str, info: ValidationInfo) -> str:
        if value != "answer" and info.data.get("objective") == "preference":
            raise ValueError("answer where train.objective is preference: prompts are only read")
        return value

    @field_validator("warmup_steps", "save_steps")
    @classmethod
    def _check_whole(cls, value: float) -> float:
        if value > 1 and not value.is_integer():
            raise ValueError("a whole number of steps, or a share of all steps below 1")
        return value

    @field_validator("eval_strategy")
    @classmethod
    def _check_steered(cls, value: str, info: ValidationInfo) -> str:
        if value == "no" and info.data.get("lr_scheduler_type") in STEERED_SCHEDULERS:
            raise ValueError(
                "epoch or steps: train.lr_scheduler_type goes by what evaluations find"
            )
        return value

    @field_validator("eval_steps")
    @classmethod
    def _check_eval_steps(cls, value: int | None, info: ValidationInfo) -> int | None:
        asked = info.data.get("eval_strategy")
        if asked is not None and (asked == "steps") != (value is not None):
            raise ValueError(
                "a number of steps with train.eval_strategy: steps, and with that alone"
            )
        return value

    @field_validator("eval_scores", "load_best_model_at_end", "early_stopping_patience")
    @classmethod
    def _check_evaluated(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("eval_strategy") == "no":
            raise ValueError("train.eval_strategy: epoch or steps with it")
        return value

    @field_validator("metric_for_best_model")
    @classmethod
    def _check_metric(cls, value: str, info: ValidationInfo) -> str:
        """Only what is measured can choose."""
        if value != "loss" and not info.data.get("eval_scores"):
            raise ValueError("loss, or a metric of the task with train.eval_scores: N as well")
        if value != "loss" and info.data.get("lr_scheduler_type") in STEERED_SCHEDULERS:
            raise ValueError(
                "loss: train.lr_scheduler_type goes by the same number, and by its fall"
            )
        return value

    @property
    def needs_validation(self) -> bool:
        """Whether training can't do without the validation split."""
        return self.steered or self.eval_scores > 0

    @property
    def steered(self) -> bool:
        """Whether validation affects the adapter; if not, it is only measured."""
        stopped = self.early_stopping_patience is not None
        return (
            self.load_best_model_at_end or stopped or self.lr_scheduler_type in STEERED_SCHEDULERS
        )

    @property
    def effective_batch_size(self) -> int:
        """Rows of an optimizer step, however many processes share them."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def execution_fields(self) -> frozenset[str]:
        """The fields that may change during a training, since they don't affect the adapter."""
        return _EXECUTION if self.steered else _EXECUTION | _LOOKING

    def identity(self) -> dict[str, Any]:
        """What determines the adapter: all fields except those of execution, and the rows per
        step."""
        kept = self.model_dump(mode="json", exclude=set(self.execution_fields))
        return kept | {"effective_batch_size": self.effective_batch_size}

    def execution(self) -> dict[str, Any]:
        """The fields that may change during a training."""
        return self.model_dump(mode="json", include=set(self.execution_fields))

    def planned_steps(self, rows: int) -> int:
        """Optimizer steps of a training on this many rows; the last step of an epoch may be a
        partial one."""
        batches = math.ceil(rows / self.per_device_train_batch_size)
        steps = math.ceil(
            self.num_train_epochs * math.ceil(batches / self.gradient_accumulation_steps)
        )
        return self.max_steps or steps
