"""Run lm-eval for every model state, split and number of shots -> records."""

from ft_harness.evaluation.folder import (
    evaluation_folder,
    finished,
    read_finished,
    write_evaluation,
)
from ft_harness.evaluation.item_scores import failed_score, failing_alone, plain_scores
from ft_harness.evaluation.jobs import (
    Job,
    ModelState,
    chosen_docs,
    fingerprint,
    plan_jobs,
    request_hash,
)
from ft_harness.evaluation.outcomes import make_scores
from ft_harness.evaluation.runner import (
    check_complete,
    evaluate,
    score_once,
    time_docs,
)
