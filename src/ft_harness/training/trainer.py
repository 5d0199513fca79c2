"""transformers' Trainer for us: answer tokens only, a history on disk, a bar, a stop at the first NaN."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness.adapters import HISTORY_FILE
from ft_harness.base_model import BaseModel
from ft_harness.errors import NonFiniteError
from ft_harness.examples import Example
from ft_harness.recipe import Recipe
from ft_harness.records import HistoryEntry
from ft_harness.storage import append_line
from ft_harness.training.checkpoints import CHECKPOINTS

if TYPE_CHECKING:
    import torch
    from transformers import Trainer, TrainerCallback


_SAVED_SHARE = 0.1  # of all steps between two checkpoints


def make_collate(pad_token_id: int) -> Any:
    """Batches of [B, T]: right padding; `shift_labels` is aligned with the logits (label t is the token at t + 1)."""
    import torch

    def pad(rows: Sequence[list[int]], value: int) -> torch.Tensor:
        width = max(map(len, rows))
        return torch.tensor([row + [value] * (width - len(row)) for row in rows])

    def collate(batch: Sequence[Example]) -> dict[str, torch.Tensor]:
        inputs = [example.input_ids for example in batch]
        labels = pad([example.labels for example in batch], -100)
        return {
            "input_ids": pad(inputs, pad_token_id),
            "attention_mask": pad([[1] * len(row) for row in inputs], 0),
            "labels": labels,
            "shift_labels": labels,
        }

    return collate


def trainer_class() -> type[Trainer]:
    import torch
    from transformers import Trainer

    class AnswerTrainer(Trainer):  # type: ignore[misc]
        """Loss over answer tokens, normalised over the whole step; stops at the first loss that is not finite."""

        loss_is_scaled_for_ga = True
        read_tokens = 0

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            inputs.pop("labels")
            labels = inputs.pop("shift_labels")  # [B, T]
            trained = labels != -100
            logits = _answer_logits(model, inputs, trained)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[trained], reduction="sum")
            loss = loss / (num_items_in_batch if num_items_in_batch is not None else trained.sum())
            return (loss, {"logits": logits}) if return_outputs else loss

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
            self.read_tokens += int(inputs["attention_mask"].sum())
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            if not torch.isfinite(loss):
                raise _not_finite("loss", self.state.global_step + 1, self._get_learning_rate())
            return loss

        def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
            """Draws no random numbers: training goes on as from the checkpoint before it."""
            with torch.random.fork_rng():
                metrics: dict[str, float] = super().evaluate(*args, **options)
            return metrics

    return AnswerTrainer


def _answer_logits(model: Any, inputs: dict[str, Any], trained: torch.Tensor) -> torch.Tensor:
    """Logits of the trained positions only, [positions, V]: the head is not run where nothing is learnt.

    Models whose `forward` lacks transformers' `logits_to_keep` compute all logits, of which these are taken.
    """
    if "logits_to_keep" in inspect.signature(model.get_base_model().forward).parameters:
        kept: torch.Tensor = model(**inputs, use_cache=False, logits_to_keep=trained).logits
        return kept
    every: torch.Tensor = model(**inputs, use_cache=False).logits
    return every[trained]


def _not_finite(what: str, step: int, learning_rate: float) -> NonFiniteError:
    return NonFiniteError(
        f"the {what} is not finite at step {step} (learning rate {learning_rate:.3g})",
        f"a finite {what} at every step",
        "lower train.learning_rate, or check the data; the last checkpoint before it is kept",
    )


def history_callback(folder: Path) -> TrainerCallback:
    from transformers import TrainerCallback

    class History(TrainerCallback):  # type: ignore[misc]
        """Writes what the Trainer logs to `history.jsonl`, and stops at a gradient that is not finite."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            known = {name: value for name, value in (logs or {}).items() if name in HistoryEntry.model_fields}
            if not {"loss", "eval_loss"} & known.keys():
                return
            if not math.isfinite(known.get("grad_norm", 0.0)):
                raise _not_finite("gradient norm", state.global_step, known["learning_rate"])
            entry = HistoryEntry(step=state.global_step, **{**known, "epoch": round(state.epoch, 6)})
            append_line(folder / HISTORY_FILE, entry.model_dump_json(exclude_none=True))

    return History()


def progress_callback() -> TrainerCallback:
    from transformers import ProgressCallback

    class Progress(ProgressCallback):  # type: ignore[misc]
        """The Trainer's bar with the time that remains; the loss stands in it instead of a line a step."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if self.training_bar is not None and logs and "loss" in logs:
                self.training_bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    return Progress()


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
