"""The validation split during training: its exact loss, the task's metrics, the best weights, and
what each epoch came to.

An evaluation comes before the checkpoint of its step, so that a checkpoint knows every evaluation
up to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device

from ft_harness import processes
from ft_harness.errors import InputError
from ft_harness.models.base_model import BaseModel
from ft_harness.models.memory import in_halves
from ft_harness.recipe import TrainSection
from ft_harness.records import EpochSummary, HistoryEntry
from ft_harness.training.batches import Share
from ft_harness.training.checkpoints import at_step
from ft_harness.training.lineage import load_weights
from ft_harness.training.numerics import autocast
from ft_harness.training.objectives import Objective
from ft_harness.training.progress import Progress

Scores = dict[str, float | None]
_WHOLE = 1e-6  # of an epoch, which is counted in floating point


@dataclass(frozen=True)
class EpochScorer:
    """Measures the task's metrics during training.

    Attributes:
        score_epoch: the model that is trained -> metrics on the chosen validation docs; None:
            undefined.
        higher_is_better: the metrics, each with its better direction.
    """

    score_epoch: Callable[[Any], Scores]
    higher_is_better: Mapping[str, bool]

    def measure(self, model: Any) -> Scores:
        """Every metric; None where it is undefined."""
        found = self.score_epoch(model)
        values = {name: found.get(name) for name in self.higher_is_better}
        # NaN in a history is no JSON, and no metric to stop by.
        finite = {
            name for name, value in values.items() if value is not None and math.isfinite(value)
        }
        return {name: value if name in finite else None for name, value in values.items()}


def measure_validation(
    base: BaseModel, model: Any, objective: Objective, rows: Sequence[Any], share: Share
) -> tuple[float, Scores]:
    """Validation's (loss summed over all targets of the rows, divided by their number; the
    objective's own scores), whatever the batches. Losses of answers and labels are in nats.

    Rows of one length share a batch. A batch that memory is not enough for is halved; training's
    own stay as they are. Every process takes part in as many batches, some of them without rows: a
    sharded base is computed by all.
    """
    # A batch of one length has no padding, which some heads would mix in.
    order = sorted(range(len(rows)), key=lambda number: len(rows[number].input_ids))
    mine = [rows[number] for number in order[share.rank :: share.processes]]
    most = -(-len(order) // share.processes)  # rows of the process that has most
    batches = [mine[start : start + share.batch] for start in range(0, most, share.batch)]
    parts = [_sums(base, model, objective, batch) for batch in batches]
    # Added up in float64 on the CPU: the loss of 500 rows does not depend on how they were batched.
    total = torch.stack(parts).sum(0).to(base.device)
    processes.add_up([total])
    *sums, scored = total.tolist()  # the last is the number of the first kind of target
    kinds = (len(sums) - len(objective.scores)) // 2
    counts, losses, scores = sums[:kinds], sums[kinds : 2 * kinds], sums[2 * kinds :]
    loss = sum(part / count for part, count in zip(losses, counts, strict=True))
    return loss, {name: part / scored for name, part in zip(objective.scores, scores, strict=True)}


def _sums(base: BaseModel, model: Any, objective: Objective, rows: Sequence[Any]) -> torch.Tensor:
    """[targets of each kind, sums of losses and scores, targets of the first kind] of one batch,
    float64 on the CPU."""

    def compute(rows: Sequence[Any]) -> torch.Tensor:
        batch = objective.collate(rows)
        counts = objective.counts(batch)
        batch = send_to_device(batch, base.device)
        labels = batch.pop("labels")
        with torch.no_grad(), autocast(base):
            sums = objective.sums(model, batch, labels)
        return torch.tensor([*counts, *sums.tolist(), counts[0]], dtype=torch.float64)

    return torch.stack(in_halves(compute, rows)).sum(0)


def load_best(
    model: Any, progress: Progress, settings: TrainSection, checkpoints: Path
) -> dict[str, Any]:
    """Give the model the weights of its best evaluation.

    Returns:
        What the card says about that; nothing if the last weights are kept.

    Raises:
        InputError: no evaluation had a value, or the checkpoint of the best one is gone.
    """
    if not settings.load_best_model_at_end:
        return {}
    if progress.best_step is None:
        raise InputError(
            f"{settings.metric_for_best_model} was undefined at every evaluation",
            "one evaluation with a value, to keep its weights",
            "choose by train.metric_for_best_model: loss, or raise train.eval_scores",
        )
    # The last weights are in the model already.
    if progress.best_step != progress.step:
        load_weights(model, at_step(checkpoints, progress.best_step))
    return {"best_step": progress.best_step, "best_value": progress.best_value}


def epochs_of(history: Sequence[HistoryEntry]) -> list[EpochSummary]:
    """What each epoch came to: its mean training loss, and its last measure on validation; empty
    without training losses."""
    summaries: list[EpochSummary] = []
    # An entry at epoch 1.0 is the last of the first epoch, and 1.0000001 is the same.
    for number in sorted({math.ceil(entry.epoch - _WHOLE) for entry in history}):
        entries = [entry for entry in history if math.ceil(entry.epoch - _WHOLE) == number]
        losses = [entry.loss for entry in entries if entry.loss is not None]
        if losses:
            last = next((entry for entry in reversed(entries) if entry.eval_loss is not None), None)
            summaries.append(
                EpochSummary(
                    epoch=entries[-1].epoch,
                    loss=sum(losses) / len(losses),
                    eval_loss=last.eval_loss if last else None,
                    scores=last.scores if last else None,
                )
            )
    return summaries
