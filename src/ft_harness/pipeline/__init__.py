"""base -> train -> tuned -> report: the only room that strings training, evaluation and report
together."""

from ft_harness.pipeline.checks import check_all, check_rows, show_task
from ft_harness.pipeline.dry_run import dry_run
from ft_harness.pipeline.experiment import Experiment, check_experiment, demo_experiments
from ft_harness.pipeline.reports import Layout, check_formats, compare_only, report_only
from ft_harness.pipeline.runs import evaluate_only, run, train_only

__all__ = [
    "Experiment",
    "Layout",
    "check_all",
    "check_experiment",
    "check_formats",
    "check_rows",
    "compare_only",
    "demo_experiments",
    "dry_run",
    "evaluate_only",
    "report_only",
    "run",
    "show_task",
    "train_only",
]
