"""A few steps on the same rows before training, undone afterwards: a loss that doesn't fall there
won't fall at all."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device

from ft_harness import processes
from ft_harness.models.memory import attempt
from ft_harness.recipe import Recipe
from ft_harness.records import Probe, read_kept, write_kept
from ft_harness.training.hyperparameters import make_optimizer
from ft_harness.training.numerics import autocast, undisturbed
from ft_harness.training.objectives import Objective
from ft_harness.training.plan import TrainingPlan

PROBE_FILE = "probe.json"
STEPS, ROWS = 10, 8
LEAST_STEPS = 50  # of the training; fewer are soon seen as they are
SHARE = 0.05  # of the training's rows that the probe may read
_SECONDS = 60  # a base that takes longer is not probed to the end
_SMALL = 1e-3  # a relative change of the loss that says nothing
_NOTHING_TO_LEARN = 0.01  # nats for a target
_CAUSES = {
    "rises": "train.learning_rate is too high for this adapter: try a tenth of it",
    "stays": "train.learning_rate is too low for this adapter, or its target modules matter "
    "little: try ten times as much",
    "no gradient": "no gradient reaches what is trained: look at adapter.target_modules "
    "and at the tokens that carry loss (ft-harness check shows them)",
    "near zero": "the loss is near zero from the start: the prompt may hold the answer, "
    "or the base knows it already (ft-harness tasks show prints training text)",
}
logger = logging.getLogger(__name__)


def probe_first(plan: TrainingPlan, model: Any, objective: Objective) -> Probe | None:
    """Probe a training that is long enough to be worth it, and warn where the loss does not fall;
    else None."""
    worth = is_worth(plan.recipe, len(plan.data.examples))
    found = probe(plan, model, objective) if worth else None
    if found is not None and found.verdict != "falls":
        shown = [
            f"{value:.4g}" if value is not None else "no number"
            for value in (found.first, found.last)
        ]
        logger.warning(
            "%d steps on the same %d rows don't lower the loss (%s, then %s); likely %s",
            *(STEPS, ROWS, *shown, _CAUSES[found.verdict]),
        )
    return found


def keep_probe(folder: Path, probe: Probe | None) -> None:
    """Keep a probe next to the checkpoints: a continued run makes none."""
    if probe is not None:
        write_kept(folder / PROBE_FILE, probe)


def read_probe(folder: Path) -> Probe | None:
    """The probe that was kept next to the checkpoints; None: no probe was made.

    Raises:
        InputError: the file is damaged.
    """
    action = "delete it: the card has no probe then"
    return read_kept(folder / PROBE_FILE, Probe, "a probe", action)


def is_worth(recipe: Recipe, rows: int) -> bool:
    """Whether a training is long enough for a probe, which takes at most a twentieth of it."""
    steps = recipe.train.planned_steps(rows)
    return (
        steps >= LEAST_STEPS
        and SHARE * steps * min(recipe.train.effective_batch_size, rows) >= STEPS * ROWS
    )


def probe(plan: TrainingPlan, model: Any, objective: Objective) -> Probe | None:
    """Probe a training: ten steps with the recipe's optimizer and learning rate on eight of the
    shorter rows, undone afterwards.

    Weights, gradients and random generators are as before, to the bit.

    Returns:
        The loss before and after, without dropout; None: time or memory was not enough to say.
    """
    rows = sorted(plan.data.examples, key=lambda row: len(row.input_ids))
    # From a quarter of the lengths on: the shortest rows may hold next to nothing, long ones take
    # time.
    few = rows[len(rows) // 4 :][:ROWS]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Copies instead of steps backwards: an optimizer's step can't be undone exactly.
    before = [parameter.detach().clone() for parameter in trained]
    with undisturbed(model):
        try:
            return attempt(lambda: _probe(plan, model, objective, few))
        finally:
            for parameter, value in zip(trained, before, strict=True):
                parameter.data.copy_(value)
                parameter.grad = None


def _probe(
    plan: TrainingPlan, model: Any, objective: Objective, rows: Sequence[Any]
) -> Probe | None:
    settings, base, started = plan.recipe.train, plan.base, time.monotonic()
    optimizer = make_optimizer(settings, model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    batch = send_to_device(objective.collate(rows), base.device)

    def loss_of() -> torch.Tensor:
        with autocast(base):
            return objective.mean_loss(model, dict(batch))

    def measured() -> float:
        model.eval()
        with torch.no_grad():
            return float(loss_of())

    # Without dropout before and after, or chance would be taken for a change.
    first, gradient = measured(), 0.0
    model.train()
    for step in range(STEPS):
        loss_of().backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(trained, settings.max_grad_norm)
        gradient = float(norm) if step == 0 else gradient
        optimizer.step()
        optimizer.zero_grad()
        if any(processes.from_all(time.monotonic() - started > _SECONDS)):  # all or none go on
            return None
    return judge(first, measured(), gradient)


def judge(first: float, last: float, gradient: float) -> Probe:
    """The verdict of the probe, from the loss before and after ten steps and the norm of the first
    gradient."""
    # In this order: without a gradient a loss near zero says nothing of the data.
    if not gradient:
        verdict = "no gradient"
    elif first < _NOTHING_TO_LEARN:
        verdict = "near zero"
    elif not math.isfinite(last) or last > first * (1 + _SMALL):
        verdict = "rises"
    elif last > first * (1 - _SMALL):
        verdict = "stays"
    else:
        verdict = "falls"
    finite = [value if math.isfinite(value) else None for value in (first, last)]
    return Probe(first=finite[0], last=finite[1], verdict=verdict)
