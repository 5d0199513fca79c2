"""Fields of a recipe that another of its fields puts out of use."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ft_harness.paths import BUNDLED, is_path
from ft_harness.recipe.section import Section
from ft_harness.recipe.sections import Recipe
from ft_harness.recipe.train_section import STEERED_SCHEDULERS, TrainSection


def idle_fields(recipe: Recipe, *, trains: bool) -> Iterator[tuple[str, str]]:
    """Fields with values of their own that change nothing, and why.

    Args:
        trains: an adapter is to be made.
    """
    base, scoring = recipe.model.pretrained, recipe.eval
    local = base == BUNDLED or is_path(base) or os.path.isdir(base)
    if local and _is_given(recipe.model, "revision"):
        yield "model.revision", f"{base} is a folder, which has one state alone"
    if trains:
        yield from _idle_in_training(recipe.train)
    if _is_given(scoring, "train_limit") and "train" not in scoring.splits:
        yield "eval.train_limit", "eval.splits leaves train out"
    if scoring.server and _is_given(scoring, "batch_size"):
        yield "eval.batch_size", "the server makes its own batches (eval.server.concurrency)"
    if not recipe.controls.tasks:
        for name in ("num_fewshot", "limit"):
            if _is_given(recipe.controls, name):
                yield f"controls.{name}", "controls.tasks is empty"


def _idle_in_training(train: TrainSection) -> Iterator[tuple[str, str]]:
    kind, waits = train.lr_scheduler_type, train.early_stopping_patience is not None
    warms = kind not in ("constant", *STEERED_SCHEDULERS)
    if not warms and train.warmup_steps and _is_given(train, "warmup_steps"):
        yield "train.warmup_steps", f"train.lr_scheduler_type {kind} has no warm-up"
    if train.early_stopping_threshold and not waits and kind not in STEERED_SCHEDULERS:
        yield "train.early_stopping_threshold", "there is no train.early_stopping_patience"
    if train.metric_for_best_model != "loss" and not (waits or train.load_best_model_at_end):
        yield (
            "train.metric_for_best_model",
            "it chooses and stops nothing without train.load_best_model_at_end or "
            "train.early_stopping_patience",
        )


def _is_given(section: Section, name: str) -> bool:
    """Whether a field has another value than its default."""
    default = type(section).model_fields[name].get_default(call_default_factory=True)
    return bool(getattr(section, name) != default)
