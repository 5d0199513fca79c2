"""Run lm-eval for model states x splits x shots -> records."""

from ft_harness.evaluation.jobs import (
    Job,
    ModelState,
    base_subject,
    chosen_docs,
    evaluation_folder,
    fingerprint,
    finished,
    item_hash,
    plan_jobs,
)
from ft_harness.evaluation.runner import evaluate

__all__ = [
    "Job",
    "ModelState",
    "base_subject",
    "chosen_docs",
    "evaluate",
    "evaluation_folder",
    "fingerprint",
    "finished",
    "item_hash",
    "plan_jobs",
]
