"""One training from start to end: a plan -> an adapter folder, with LoRA or all weights, of words
or a classification head."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed

from ft_harness import processes
from ft_harness.models.adapters import AdapterFolder, read_history, write_card
from ft_harness.models.heads import write_init
from ft_harness.models.memory import reset_peaks
from ft_harness.records import Card, HistoryEntry
from ft_harness.records.adapter_files import hash_histories
from ft_harness.records.provenance import snapshot
from ft_harness.training.adapter_model import save_weights, trained_model
from ft_harness.training.checkpoints import CHECKPOINTS, open_checkpoints, step_of
from ft_harness.training.cost import Spent, largest_peaks, measure_cost
from ft_harness.training.distributed import place, share_out
from ft_harness.training.known_answers import find_known_answers
from ft_harness.training.lineage import keep_histories, start_from_parent
from ft_harness.training.loop import Loop
from ft_harness.training.monitoring import Monitor
from ft_harness.training.numerics import describe_precision
from ft_harness.training.objectives import make_objective
from ft_harness.training.plan import TRAINING_VERSION, TrainingPlan, check_training_rows
from ft_harness.training.probe import keep_probe, probe_first, read_probe
from ft_harness.training.reference import with_references
from ft_harness.training.validation import EpochScorer, epochs_of, load_best


def train(
    plan: TrainingPlan,
    folder: Path,
    scorer: EpochScorer | None = None,
    say: Callable[[str], None] | None = None,
) -> Card:
    """One training from start to end, or on from the newest whole checkpoint, into its folder; the
    base is left as it was.

    Args:
        say: is given a line that says where it goes on.

    Raises:
        InputError: rows without targets, target modules that the model lacks, checkpoints of
            another training.
        ResourceError: memory is not enough for a single row, or the disk for a checkpoint.
        NonFiniteError: a loss or gradient norm is NaN or infinite; the last checkpoint before it is
            kept, if any.
    """
    recipe, base = plan.recipe, plan.base
    check_training_rows(plan.data, base)
    share = share_out(recipe)  # its faults, before anything is written
    reset_peaks()  # loading the base may have taken more than the training will
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = open_checkpoints(plan, folder)
    # A checkpoint that one process finds damaged and another doesn't would part them.
    checkpoints = replace(checkpoints, start=processes.from_first(checkpoints.start))
    _say_start(checkpoints.start, folder, say)
    if base.head:
        write_init(folder, base.model, base.head)
    keep_histories(recipe, folder)
    with trained_model(recipe, base) as model:
        precision = describe_precision(base, model)
        place(model, base.device)
        objective = make_objective(base, recipe.train.preference)
        if checkpoints.start is None:
            start_from_parent(recipe, model)
        begun = time.monotonic()
        plan = with_references(plan, model, checkpoints.start, share)
        spent = time.monotonic() - begun
        # After what isn't always done (reference, probe), so that dropout is the same either way.
        set_seed(recipe.train.seed)
        # accelerate would set up an exchange of its own from the launcher's environment.
        with processes.kept_from_libraries():
            if checkpoints.start is None:
                keep_probe(checkpoints.path, probe_first(plan, model, objective))
            loop = Loop(plan, model, objective, checkpoints, Monitor(recipe, folder), scorer)
        if recipe.train.preference is not None:  # a checkpoint has it in what it cost so far
            loop.progress.spent = Spent(seconds=spent, evaluation_seconds=spent)
        loop.run()
        known = {"precision": precision, **largest_peaks(), **checkpoints.record()}
        card = _finish(plan, folder, model, loop, known) if processes.rank() == 0 else None
    return processes.from_first(card)  # type: ignore[return-value]  # the first one has it


def _finish(
    plan: TrainingPlan, folder: Path, model: Any, loop: Loop, known: Mapping[str, Any]
) -> Card:
    """Save the weights and the card of a training whose steps are all taken; `known` is a part of
    its cost."""
    found = load_best(model, loop.progress, plan.recipe.train, folder / CHECKPOINTS)
    with loop.checkpoints.writing(model.save_pretrained):
        save_weights(model, plan.base, folder)
    history = read_history(folder)
    known = {**known, "epochs": epochs_of(history)}
    found |= {
        "trainable_parameters": sum(each.numel() for each in loop.trained),
        "probe": read_probe(loop.checkpoints.path),
        "known_answers": find_known_answers(plan, model),
        "cost": measure_cost(loop.meter.spent(), model, plan.data, folder, known),
    }
    card = _card(plan, folder, history, found)
    # The card last: its presence says that the adapter is finished.
    write_card(folder, card)
    clear_checkpoints(folder)
    return card


def _say_start(start: Path | None, folder: Path, say: Callable[[str], None] | None) -> None:
    if say is not None and start is not None:
        say(f"{folder.name}: continues from the checkpoint of step {step_of(start)}")


def clear_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of an adapter that is finished, also those that a kill left behind."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _card(
    plan: TrainingPlan, folder: Path, history: Sequence[HistoryEntry], found: Mapping[str, Any]
) -> Card:
    """The card of what was trained; `found` are its fields that only the training knows."""
    losses = [(entry.step, entry.loss) for entry in history if entry.loss is not None]
    last = [loss for _, loss in losses[-max(1, len(losses) // 10) :]]
    data = plan.data
    return Card(
        name=folder.name,
        recipe=plan.recipe.resolved(),
        fingerprint=plan.fingerprint,
        training_version=TRAINING_VERSION,
        model=plan.base.info,
        task_hash=data.task_hash,
        data_hash=data.data_hash,
        validation_hash=data.validation_hash,
        chat_template_hash=data.chat_template_hash,
        system_instruction=data.form.system_instruction,
        examples=len(data.examples),
        truncated_examples=sum(example.truncated for example in data.examples),
        trained_tokens=data.trained_tokens,
        steps=losses[-1][0],
        final_loss=sum(last) / len(last),
        lineage=list(data.lineage),
        provenance=snapshot(),
        files=AdapterFolder(folder).hashes,
        histories=hash_histories(folder),
        **found,
    )
