"""Recipe -> adapter folder: LoRA of a causal model or a classification head, through transformers' Trainer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from ft_harness.adapters import file_hashes, put_back, read_history, write_card
from ft_harness.base_model import BaseModel
from ft_harness.heads import write_init
from ft_harness.provenance import snapshot
from ft_harness.recipe import Recipe
from ft_harness.records import Card, HistoryEntry, TrainingCost
from ft_harness.training.adapter_model import make_adapter_model
from ft_harness.training.arguments import training_arguments
from ft_harness.training.callbacks import history_callback, progress_callback
from ft_harness.training.checkpoints import CHECKPOINTS, resume_point
from ft_harness.training.cost import measure_cost
from ft_harness.training.objectives import make_objective
from ft_harness.training.plan import TrainingSet, fingerprint, make_plan
from ft_harness.training.trainer import trainer_class


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
    model = make_adapter_model(recipe, base)
    try:
        objective = make_objective(base)
        trainer = trainer_class(objective)(
            model=model,
            args=training_arguments(recipe, folder, base, validate=bool(data.validation)),
            train_dataset=data.examples,
            eval_dataset=data.validation or None,
            data_collator=objective.collate,
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
    card = _card(
        recipe, base, data, folder, trainable=trainable, cost=measure_cost(trainer, folder, seconds, checkpoint)
    )
    write_card(folder, card)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return card


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
