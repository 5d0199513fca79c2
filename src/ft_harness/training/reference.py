"""The reference of pairs: the model before the first step, whose log-likelihoods are computed once.

Each checkpoint holds them, sealed with its other files, so that a continued training has the very
same ones; the base, an adapter that training goes on from, and a quantised base are all alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from safetensors.torch import save_file
from tqdm import tqdm

from ft_harness import processes
from ft_harness.models.adapters import read_tensors
from ft_harness.models.memory import in_halves
from ft_harness.tasks.pair_examples import PairExample
from ft_harness.training.batches import Share
from ft_harness.training.guards import not_finite
from ft_harness.training.numerics import autocast, undisturbed
from ft_harness.training.objectives import make_pair_collate
from ft_harness.training.pair_likelihoods import PairLikelihoods
from ft_harness.training.plan import TrainingPlan
from ft_harness.training.progress import not_this_training

REFERENCE_FILE = "reference.safetensors"
_SPLITS = ("examples", "validation")  # of a training set


def with_references(
    plan: TrainingPlan, model: Any, start: Path | None, share: Share
) -> TrainingPlan:
    """The plan with the reference's log-likelihoods for each pair; unchanged if no pairs are
    learnt.

    Args:
        model: as it is before the first step.
        start: the checkpoint that holds them; None: they are computed.

    Raises:
        InputError: the checkpoint's are of other pairs.
        NonFiniteError: one is NaN or infinite.
    """
    if plan.recipe.train.preference is None:
        return plan
    data = plan.data
    splits = [getattr(data, name) for name in _SPLITS]
    # Computed anew they could differ in the last bits, with another number of processes or after an
    # upgrade (decision 027).
    known = _measure(plan, model, splits, share) if start is None else _read(start, splits)
    examples, validation = (
        [
            replace(pair, reference=(chosen, rejected))
            for pair, (chosen, rejected) in zip(split, values.tolist(), strict=True)
        ]
        for split, values in zip(splits, known, strict=True)
    )
    return replace(plan, data=replace(data, examples=examples, validation=validation))


def write_references(plan: TrainingPlan, checkpoint: Path) -> None:
    """Write the reference's log-likelihoods into a checkpoint; nothing where no pairs are
    learnt."""
    if plan.recipe.train.preference is not None:
        found = {
            name: torch.tensor([pair.reference for pair in getattr(plan.data, name)])
            for name in _SPLITS
        }
        save_file(found, checkpoint / REFERENCE_FILE)


def _read(checkpoint: Path, splits: Sequence[Sequence[PairExample]]) -> list[torch.Tensor]:
    found = read_tensors(checkpoint / REFERENCE_FILE)
    known = [found.get(name) for name in _SPLITS]
    for split, values in zip(splits, known, strict=True):
        if values is None or values.shape[0] != len(split):
            raise not_this_training(checkpoint, REFERENCE_FILE)
    return known  # type: ignore[return-value]  # none is missing


def _measure(
    plan: TrainingPlan, model: Any, splits: Sequence[Sequence[PairExample]], share: Share
) -> list[torch.Tensor]:
    """[rows, 2] of each split, float32 on the CPU. Every process takes part in as many batches."""
    likelihoods = PairLikelihoods(plan.base.model)
    collate = make_pair_collate(plan.base.tokenizer.pad_token_id)

    def measure(rows: Sequence[PairExample]) -> torch.Tensor:
        batch = send_to_device(collate(rows), plan.base.device)
        # It is what is to be found.
        del batch["reference"]
        labels = batch.pop("labels")
        with torch.no_grad(), autocast(plan.base):
            return likelihoods(model, batch, labels).cpu()

    rows = [pair for split in splits for pair in split]
    # By length, so that a batch has little padding.
    order = sorted(range(len(rows)), key=lambda number: len(rows[number].input_ids))
    mine = order[share.rank :: share.processes]
    # As many batches in each process, some of them empty: parts of a base are exchanged in every
    # one.
    most = -(-len(order) // share.processes)
    found: dict[int, list[float]] = {}
    starts = range(0, most, share.batch)
    bar = tqdm(starts, desc="Computing the reference", disable=share.rank > 0)
    with undisturbed(model):
        for start in bar:
            numbers = mine[start : start + share.batch]
            values = torch.cat(in_halves(measure, [rows[number] for number in numbers]))
            found |= dict(zip(numbers, values.tolist(), strict=False))
    known: dict[int, list[float]] = {}
    for part in processes.from_all(found):
        known |= part
    whole = torch.tensor([known[number] for number in range(len(rows))])
    if not torch.isfinite(whole).all():
        raise not_finite("reference's log-likelihood", 0, plan.recipe.train.learning_rate)
    return [*torch.split(whole, [len(split) for split in splits])]
