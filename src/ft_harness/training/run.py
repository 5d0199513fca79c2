"""Recipe -> adapter folder: LoRA or all weights, of words or a classification head, through transformers' Trainer."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness import processes
from ft_harness.models.adapters import file_hashes, read_history, write_card
from ft_harness.models.base_model import BaseModel
from ft_harness.models.heads import write_init
from ft_harness.models.memory import reset_peaks
from ft_harness.recipe import Recipe
from ft_harness.records import Card, HistoryEntry
from ft_harness.records.provenance import snapshot
from ft_harness.training.adapter_model import save_weights, trained_model
from ft_harness.training.arguments import training_arguments
from ft_harness.training.callbacks import history_callback, progress_callback
from ft_harness.training.checkpoints import CHECKPOINTS, open_checkpoints
from ft_harness.training.cost import add_meter, largest_peaks, measure_cost
from ft_harness.training.lineage import keep_histories, start_from_parent
from ft_harness.training.objectives import make_objective
from ft_harness.training.parts import place
from ft_harness.training.plan import TRAINING_VERSION, TrainingSet, check_trained, fingerprint
from ft_harness.training.precision import describe_precision
from ft_harness.training.probe import probe_first
from ft_harness.training.recovery import MicroBatches, or_out_of_memory
from ft_harness.training.sharing import share_out, sharing
from ft_harness.training.signals import Stops
from ft_harness.training.trackers import tracker_callbacks
from ft_harness.training.trainer import Guards, trainer_class
from ft_harness.training.validation import (
    EpochScorer,
    epochs_of,
    evaluation_callbacks,
    load_best,
    steer,
    validating,
)

if TYPE_CHECKING:
    from transformers import TrainerCallback


def train(
    recipe: Recipe,
    base: BaseModel,
    data: TrainingSet,
    folder: Path,
    scorer: EpochScorer | None = None,
) -> Card:
    """Train one adapter into its folder, or go on from its newest whole checkpoint; the base is left as it was.

    Raises:
        InputError: rows without targets, target modules that the model lacks, checkpoints of another training.
        ResourceError: memory is not enough for a single row, or the disk for a checkpoint.
        NonFiniteError: a loss or gradient norm is NaN or infinite; the last checkpoint before it is kept, if any.
    """
    from transformers import ProgressCallback

    check_trained(data)
    own = share_out(recipe)
    reset_peaks()
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = open_checkpoints(folder, recipe, base, data)
    guards = Guards(checkpoints, MicroBatches(checkpoints.micro_batch), Stops(), data.examples)
    checkpoint = processes.from_first(checkpoints.start)
    if base.head:
        write_init(folder, base.model, base.head)
    keep_histories(recipe, folder)
    with trained_model(recipe, base) as model:
        precision = describe_precision(base, model)
        place(model, base.device)
        objective = make_objective(base)
        if checkpoint is None:
            start_from_parent(recipe, model)
        with processes.kept_from_libraries():
            trainer = sharing(
                validating(trainer_class(objective, guards), recipe, objective, scorer)
            )(
                model=model,
                args=training_arguments(own, folder, base, validate=bool(data.validation)),
                train_dataset=data.examples,
                eval_dataset=data.validation or None,
                data_collator=objective.collate,
                callbacks=_watching(recipe, folder, scorer),
            )
        steer(trainer.args, recipe, scorer)
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(progress_callback())
        meter = add_meter(trainer)
        if checkpoint is None:
            checkpoints.keep_probe(probe_first(trainer, recipe, objective, data.examples))
        with guards.stops.deferred(), checkpoints.named_in_faults(), or_out_of_memory():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        known = {"precision": precision, **largest_peaks(), **checkpoints.record()}
        card: Card | None = None
        if processes.rank() == 0:
            best = load_best(trainer, recipe, folder / CHECKPOINTS)
            with checkpoints.writing(model.save_pretrained):
                save_weights(model, base, folder)
            history = read_history(folder)
            cost = measure_cost(meter, model, data, folder, {**known, "epochs": epochs_of(history)})
            trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
            found = {
                **best,
                "trainable_parameters": trained,
                "probe": checkpoints.read_probe(),
                "cost": cost,
            }
            card = _card(recipe, base, data, folder, history, found)
            write_card(folder, card)
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    made: Card = processes.from_first(card)  # type: ignore[assignment]  # the first one has it
    return made


def _watching(recipe: Recipe, folder: Path, scorer: EpochScorer | None) -> list[TrainerCallback]:
    """What the Trainer tells of its steps and evaluations."""
    metrics = scorer.higher_is_better if scorer else ()
    return [
        history_callback(folder, metrics),
        *evaluation_callbacks(recipe),
        *tracker_callbacks(recipe, folder),
    ]


def _card(
    recipe: Recipe,
    base: BaseModel,
    data: TrainingSet,
    folder: Path,
    history: Sequence[HistoryEntry],
    found: Mapping[str, Any],
) -> Card:
    """The card of what was trained; `found` are its fields that only the training knows."""
    losses = [entry for entry in history if entry.loss is not None]
    return Card(
        name=folder.name,
        recipe=recipe.resolved(),
        fingerprint=fingerprint(recipe, base, data),
        training_version=TRAINING_VERSION,
        model=base.info,
        task_hash=data.task_hash,
        data_hash=data.data_hash,
        validation_hash=data.validation_hash,
        chat_template_hash=data.chat_template_hash,
        system_instruction=data.form.system_instruction,
        examples=len(data.examples),
        truncated_examples=sum(example.truncated for example in data.examples),
        trained_tokens=data.trained_tokens,
        steps=losses[-1].step,
        final_loss=_mean_loss(losses[-max(1, len(losses) // 10) :]),
        lineage=list(data.lineage),
        provenance=snapshot(),
        files=file_hashes(folder),
        **found,
    )


def _mean_loss(entries: Sequence[HistoryEntry]) -> float:
    losses = [entry.loss for entry in entries if entry.loss is not None]
    return sum(losses) / len(losses)
