"""Recipe -> adapter folder: LoRA of a causal model or a classification head, through transformers' Trainer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ft_harness.adapters import WEIGHTS_FILE, file_hashes, put_back, read_history, write_card
from ft_harness.base_model import BaseModel
from ft_harness.errors import InputError
from ft_harness.heads import write_init
from ft_harness.provenance import hardware, peak_gpu_bytes, peak_rss_bytes, snapshot
from ft_harness.recipe import Recipe
from ft_harness.records import Card, HistoryEntry, TrainingCost
from ft_harness.training.checkpoints import CHECKPOINTS, resume_point, step_of
from ft_harness.training.heads import head_trainer_class, make_head_collate
from ft_harness.training.plan import TrainingSet, fingerprint, make_plan
from ft_harness.training.trainer import (
    history_callback,
    make_collate,
    progress_callback,
    trainer_class,
    training_arguments,
)


def _lora(recipe: Recipe, base: BaseModel) -> Any:
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


def train(recipe: Recipe, base: BaseModel, data: TrainingSet, folder: Path) -> Card:
    """Train one adapter into its folder, or go on from its newest whole checkpoint; the base is left as it was.

    Raises:
        InputError: target modules that the model lacks.
        NonFiniteError: a loss or gradient norm is NaN or infinite; the last checkpoint before it is kept.
    """
    from transformers import ProgressCallback

    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = resume_point(folder, make_plan(recipe, base, data))
    if base.head:
        write_init(folder, base.model, base.head)
    before = dict(base.model.named_modules())
    model = _lora(recipe, base)
    try:
        head = base.head
        pad = base.tokenizer.pad_token_id
        trainer = (head_trainer_class() if head else trainer_class())(
            model=model,
            args=training_arguments(recipe, folder, base, validate=bool(data.validation)),
            train_dataset=data.examples,
            eval_dataset=data.validation or None,
            data_collator=make_head_collate(pad, head) if head else make_collate(pad),
            callbacks=[history_callback(folder)],
        )
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(progress_callback())
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.monotonic() - started
        model.save_pretrained(folder, safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card, with a path of this machine
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    finally:
        model.unload()
        put_back(before)
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
        trained_tokens=data.trained_tokens,
        steps=losses[-1].step,
        final_loss=_mean_loss(losses[-max(1, len(losses) // 10) :]),
        cost=cost,
        provenance=snapshot(),
        files=file_hashes(folder),
    )


def _mean_loss(entries: Sequence[HistoryEntry]) -> float:
    losses = [entry.loss for entry in entries if entry.loss is not None]
    return sum(losses) / len(losses)
