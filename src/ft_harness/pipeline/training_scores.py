"""The task's own metrics during training: the prompts, back-end and metrics of `ft-harness eval`,
on a few docs."""

from __future__ import annotations

import logging
from dataclasses import replace

from ft_harness.data.files import Split
from ft_harness.errors import ResourceError
from ft_harness.evaluation import Job, plan_jobs, score_once
from ft_harness.models.base_model import BaseModel
from ft_harness.models.memory import attempt
from ft_harness.pipeline.preflight import Checked
from ft_harness.recipe import EvalSection, Recipe
from ft_harness.tasks.rendering import RenderedTask
from ft_harness.training import EpochScorer

logger = logging.getLogger(__name__)


def plan_scorer(recipe: Recipe, checked: Checked, base: BaseModel) -> EpochScorer | None:
    """What scores the task's metrics during training on `train.eval_scores` validation docs,
    zero-shot; None if none are asked for.

    The sample is drawn with `train.seed`: `ft-harness eval --set eval.splits=[validation] --set
    eval.limit=N --set eval.seed=SEED` gives the same numbers of the same weights.
    """
    count, seed = recipe.train.eval_scores, recipe.train.seed
    if not count:
        return None
    # of its own: no field of the recipe's eval section decides an adapter
    section = EvalSection(splits=("validation",), limit=count, seed=seed)
    tasks: dict[Split, RenderedTask] = {"validation": checked.tasks["validation"]}
    (job,) = plan_jobs(tasks, checked.definition.task_hash, base, section, checked.form)
    return EpochScorer(
        lambda model: _score(replace(base, model=model), job), job.task.higher_is_better()
    )


def _score(base: BaseModel, job: Job) -> dict[str, float | None]:
    """The metrics; all of them undefined where memory is not enough, which training itself need not
    know."""
    try:
        found = attempt(lambda: score_once(base, job))
    except ResourceError as error:
        found, reason = None, error.what
    else:
        reason = "out of memory"
    if found is None:
        logger.warning("validation docs are not scored this time: %s", reason)
    return found or dict.fromkeys(job.task.higher_is_better())
