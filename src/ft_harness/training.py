"""Recipe -> adapter folder: causal LoRA through transformers' Trainer, answer tokens only."""

from __future__ import annotations

import inspect
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness.adapters import CARD_FILE, HISTORY_FILE, WEIGHTS_FILE, file_hashes, read_card, read_history, write_card
from ft_harness.base_model import BaseModel
from ft_harness.checkpoints import CHECKPOINTS, resume_point, step_of
from ft_harness.errors import InputError, NonFiniteError
from ft_harness.examples import Example, build_examples, examples_hash, trains_eos
from ft_harness.files import Split
from ft_harness.prompts import PLAIN, PromptForm
from ft_harness.provenance import hardware, peak_gpu_bytes, peak_rss_bytes, snapshot
from ft_harness.recipe import Recipe
from ft_harness.records import Card, HistoryEntry, TrainingCost
from ft_harness.storage import append_line, canonical_json, sha256_text

if TYPE_CHECKING:
    import torch
    from lm_eval.api.task import ConfigurableTask
    from transformers import Trainer, TrainerCallback

_VALIDATION_ROWS = 500
_SAVED_SHARE = 0.1  # of all steps between two checkpoints


@dataclass(frozen=True)
class TrainingSet:
    """What one adapter is trained on.

    Attributes:
        examples: rows of the train split.
        validation: rows for the loss per epoch, none of them trained on.
        form: how the prompts are rendered.
    """

    examples: list[Example]
    validation: list[Example]
    task_hash: str
    form: PromptForm = PLAIN

    @cached_property
    def data_hash(self) -> str:
        """Hash of the very token ids that are trained on."""
        return examples_hash(self.examples)


def build_training_set(
    tasks: Mapping[Split, ConfigurableTask],
    base: BaseModel,
    recipe: Recipe,
    task_hash: str,
    form: PromptForm = PLAIN,
) -> TrainingSet:
    """Examples of the train split and of (at most 500 docs of) validation.

    Raises:
        InputError: the docs can't be turned into examples.
    """
    eos = trains_eos(tasks["train"], recipe.train.loss_on_eos)

    def build(split: Split, limit: int | None) -> list[Example]:
        docs = list(tasks[split].eval_docs)[:limit] if split in tasks else []
        return build_examples(tasks["train"], docs, base.tokenizer, base.max_length, eos=eos, form=form)

    rows, validation = build("train", None), build("validation", _VALIDATION_ROWS)
    return TrainingSet(rows, validation, task_hash, form)


def _plan(recipe: Recipe, base: BaseModel, data: TrainingSet) -> dict[str, Any]:
    """Everything that makes the adapter; equal plans give equal adapters."""
    return {
        "recipe": recipe.adapter_sections(),
        "base": base.info.identity,
        "task_hash": data.task_hash,
        "data_hash": data.data_hash,
        "chat_template_hash": data.form.chat_template_hash,
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return lines


def fingerprint(recipe: Recipe, base: BaseModel, data: TrainingSet) -> str:
    """Hash of everything that makes the adapter: recipe, base, task and the very token ids."""
    return sha256_text(canonical_json(_plan(recipe, base, data)))


def finished_card(folder: Path, recipe: Recipe, base: BaseModel, data: TrainingSet) -> Card | None:
    """The card of the adapter if it is finished and made of the same things; None if it is still to be trained.

    Raises:
        InputError: a finished adapter that is made of other things; it is never overwritten.
    """
    card = read_card(folder)
    if card is None or card.fingerprint == fingerprint(recipe, base, data):
        return card
    old = {
        "recipe": {name: section for name, section in card.recipe.items() if name != "eval"},
        "base": card.model.identity,
        "task_hash": card.task_hash,
        "data_hash": card.data_hash,
        "chat_template_hash": card.chat_template_hash,
    }
    differences = "; ".join(_differences(old, _plan(recipe, base, data)))
    raise InputError(
        f"{folder}: holds a finished adapter that differs ({differences})",
        "the same recipe, base and data as the finished adapter's",
        f"use --name NEW for a new folder, undo the change, or delete {CARD_FILE} to train this one again",
    )


def _collate(pad_token_id: int) -> Any:
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


def _trainer_class() -> type[Trainer]:
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


def _history_callback(folder: Path) -> TrainerCallback:
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


def _progress_callback() -> TrainerCallback:
    from transformers import ProgressCallback

    class Progress(ProgressCallback):  # type: ignore[misc]
        """The Trainer's bar with the time that remains; the loss stands in it instead of a line a step."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if self.training_bar is not None and logs and "loss" in logs:
                self.training_bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    return Progress()


def _arguments(recipe: Recipe, folder: Path, base: BaseModel, *, validate: bool) -> Any:
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


def _lora(recipe: Recipe, base: BaseModel) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    settings = recipe.adapter
    torch.manual_seed(recipe.train.seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
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


def train(recipe: Recipe, base: BaseModel, data: TrainingSet, folder: Path) -> Card:
    """Train one adapter into its folder, or go on from its newest whole checkpoint; the base is left as it was.

    Raises:
        InputError: target modules that the model lacks.
        NonFiniteError: a loss or gradient norm is NaN or infinite; the last checkpoint before it is kept.
    """
    from transformers import ProgressCallback

    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = resume_point(folder, _plan(recipe, base, data))
    model = _lora(recipe, base)
    try:
        trainer = _trainer_class()(
            model=model,
            args=_arguments(recipe, folder, base, validate=bool(data.validation)),
            train_dataset=data.examples,
            eval_dataset=data.validation or None,
            data_collator=_collate(base.tokenizer.pad_token_id),
            callbacks=[_history_callback(folder)],
        )
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(_progress_callback())
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.monotonic() - started
        model.save_pretrained(folder, safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card, with a path of this machine
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    finally:
        model.unload()
        base.model.eval().requires_grad_(False)
    card = _card(recipe, base, data, folder, trainable=trainable, cost=_cost(trainer, folder, seconds, checkpoint))
    write_card(folder, card)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return card


def _cost(trainer: Any, folder: Path, seconds: float, checkpoint: Path | None) -> TrainingCost:
    return TrainingCost(
        seconds=seconds,
        tokens=trainer.read_tokens,
        tokens_per_second=trainer.read_tokens / seconds,
        resumed_from_step=step_of(checkpoint) if checkpoint else None,
        peak_rss_bytes=peak_rss_bytes(),
        peak_gpu_bytes=peak_gpu_bytes(),
        adapter_bytes=(folder / WEIGHTS_FILE).stat().st_size,
        hardware=hardware(),
    )


def _card(
    recipe: Recipe, base: BaseModel, data: TrainingSet, folder: Path, *, trainable: int, cost: TrainingCost
) -> Card:
    losses = [entry for entry in read_history(folder) if entry.loss is not None]
    return Card(
        name=folder.name,
        recipe=recipe.resolved(),
        fingerprint=fingerprint(recipe, base, data),
        model=base.info,
        task_hash=data.task_hash,
        data_hash=data.data_hash,
        chat_template_hash=data.form.chat_template_hash,
        system_instruction=data.form.system_instruction,
        trainable_parameters=trainable,
        examples=len(data.examples),
        truncated_examples=sum(example.truncated for example in data.examples),
        trained_tokens=sum(len(example.answer_ids) for example in data.examples),
        steps=losses[-1].step,
        final_loss=_mean_loss(losses[-max(1, len(losses) // 10) :]),
        cost=cost,
        provenance=snapshot(),
        files=file_hashes(folder),
    )


def _mean_loss(entries: Sequence[HistoryEntry]) -> float:
    losses = [entry.loss for entry in entries if entry.loss is not None]
    return sum(losses) / len(losses)
