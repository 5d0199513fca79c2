"""Run lm-eval for model states x splits x shots -> records."""

from ft_harness.evaluation.jobs import (
    Job,
    ModelState,
    chosen_docs,
    evaluation_folder,
    fingerprint,
    finished,
    plan_jobs,
    read_finished,
    request_hash,
)
from ft_harness.evaluation.outcomes import (
    failed_score,
    failing_alone,
    make_scores,
    plain_scores,
)
from ft_harness.evaluation.runner import check_complete, evaluate, score_once, write_evaluation
from ft_harness.records import item_hash

__all__ = [
    "Job",
    "ModelState",
    "check_complete",
    "chosen_docs",
    "evaluate",
    "evaluation_folder",
    "failed_score",
    "failing_alone",
    "fingerprint",
    "finished",
    "item_hash",
    "make_scores",
    "plain_scores",
    "plan_jobs",
    "read_finished",
    "request_hash",
    "score_once",
    "write_evaluation",
]
