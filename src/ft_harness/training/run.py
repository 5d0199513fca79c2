"""Recipe -> adapter folder: LoRA or all weights, of words or a classification head, through transformers' Trainer."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ft_harness import processes
from ft_harness.adapters import file_hashes, read_history, write_card
from ft_harness.base_model import BaseModel
from ft_harness.heads import write_init
from ft_harness.provenance import snapshot
from ft_harness.recipe import Recipe
from ft_harness.records import Card, HistoryEntry, TrainingCost
from ft_harness.training.adapter_model import adapter_model, save_weights
from ft_harness.training.arguments import training_arguments
from ft_harness.training.callbacks import history_callback, progress_callback
from ft_harness.training.checkpoints import CHECKPOINTS, open_checkpoints
from ft_harness.training.cost import add_meter, measure_cost
from ft_harness.training.lineage import keep_histories, start_from_parent
from ft_harness.training.objectives import make_objective
from ft_harness.training.plan import TrainingSet, check_trained, fingerprint
from ft_harness.training.precision import compute_in_base_dtype, describe_precision
from ft_harness.training.probe import probe_first
from ft_harness.training.recovery import MicroBatches, or_out_of_memory
from ft_harness.training.sharing import share_out, sharing
from ft_harness.training.signals import Stops
from ft_harness.training.trackers import tracker_callbacks
from ft_harness.training.trainer import Guards, trainer_class
from ft_harness.training.validation import EpochScorer, epochs_of, evaluation_callbacks, load_best, steer, validating

if TYPE_CHECKING:
    from transformers import TrainerCallback


def train(recipe: Recipe, base: BaseModel, data: TrainingSet, folder: Path, scorer: EpochScorer | None = None) -> Card:
    """Train one adapter into its folder, or go on from its newest whole checkpoint; the base is left as it was.

    Raises:
        InputError: rows without targets, target modules that the model lacks, checkpoints of another training.
        ResourceError: memory is not enough for a single row, or the disk for a checkpoint.
        NonFiniteError: a loss or gradient norm is NaN or infinite; the last checkpoint before it is kept.
    """
    from transformers import ProgressCallback

    check_trained(data)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = open_checkpoints(folder, recipe, base, data)
    guards = Guards(checkpoints, MicroBatches(checkpoints.micro_batch), Stops(), data.examples)
    checkpoint = processes.from_first(checkpoints.start)
    if base.head:
        write_init(folder, base.model, base.head)
    keep_histories(recipe, folder)
    with adapter_model(recipe, base) as model:
        compute_in_base_dtype(model)
        precision = describe_precision(base, model)
        objective = make_objective(base)
        if checkpoint is None:
            start_from_parent(recipe, model)
        trainer = sharing(validating(trainer_class(objective, guards), recipe, objective, scorer))(
            model=model,
            args=training_arguments(share_out(recipe), folder, base, validate=bool(data.validation)),
            train_dataset=data.examples,
            eval_dataset=data.validation or None,
            data_collator=objective.collate,
            callbacks=_watching(recipe, folder, scorer),
        )
        steer(trainer.args, recipe, scorer)
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(progress_callback())
        meter = add_meter(trainer)
        probed = probe_first(trainer, recipe, objective, data.examples) if checkpoint is None else None
        with guards.stops.deferred(), or_out_of_memory():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        best = load_best(trainer, recipe, folder / CHECKPOINTS) if processes.rank() == 0 else {}
        save_weights(model, base, folder)
        cost = measure_cost(meter, model, data, folder)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    card = _card(recipe, base, data, folder, trainable=trainable, cost=cost)
    cost = card.cost.model_copy(update={**checkpoints.record(), "precision": precision})
    card = card.model_copy(update={**best, "probe": probed, "cost": cost})
    write_card(folder, card)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return processes.from_first(card)


def _watching(recipe: Recipe, folder: Path, scorer: EpochScorer | None) -> list[TrainerCallback]:
    """What the Trainer tells of its steps and evaluations."""
    metrics = scorer.higher_is_better if scorer else ()
    return [history_callback(folder, metrics), *evaluation_callbacks(recipe), *tracker_callbacks(recipe, folder)]


def _card(
    recipe: Recipe, base: BaseModel, data: TrainingSet, folder: Path, *, trainable: int, cost: TrainingCost
) -> Card:
    history = read_history(folder)
    losses = [entry for entry in history if entry.loss is not None]
    return Card(
        name=folder.name,
        recipe=recipe.resolved(),
        fingerprint=fingerprint(recipe, base, data),
        model=base.info,
        task_hash=data.task_hash,
        data_hash=data.data_hash,
        validation_hash=data.validation_hash,
        chat_template_hash=data.form.chat_template_hash,
        system_instruction=data.form.system_instruction,
        trainable_parameters=trainable,
        examples=len(data.examples),
        truncated_examples=sum(example.truncated for example in data.examples),
        trained_tokens=data.trained_tokens,
        steps=losses[-1].step,
        final_loss=_mean_loss(losses[-max(1, len(losses) // 10) :]),
        cost=cost.model_copy(update={"epochs": epochs_of(history)}),
        lineage=list(data.lineage),
        provenance=snapshot(),
        files=file_hashes(folder),
    )


def _mean_loss(entries: Sequence[HistoryEntry]) -> float:
    losses = [entry.loss for entry in entries if entry.loss is not None]
    return sum(losses) / len(losses)
