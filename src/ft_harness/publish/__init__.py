"""A finished adapter for others: its model card, its upload to the hub, and its evaluations in
shared formats.

Nothing is uploaded unless `upload` is called, and no sample or data row unless that is asked for.
"""

from ft_harness.publish.every_eval_ever import every_eval_ever_json, every_eval_ever_path
from ft_harness.publish.hub import RemoteRepo, find_repo, upload
from ft_harness.publish.lm_eval_files import (
    lm_eval_date,
    lm_eval_folder,
    lm_eval_results,
    lm_eval_samples,
)
from ft_harness.publish.model_card import (
    CARD_NAME,
    base_problem,
    benchmark_results,
    model_card,
)
from ft_harness.publish.package import Package, PackedFile, make_package, secret_problems

__all__ = [
    "CARD_NAME",
    "Package",
    "PackedFile",
    "RemoteRepo",
    "base_problem",
    "benchmark_results",
    "every_eval_ever_json",
    "every_eval_ever_path",
    "find_repo",
    "lm_eval_date",
    "lm_eval_folder",
    "lm_eval_results",
    "lm_eval_samples",
    "make_package",
    "model_card",
    "secret_problems",
    "upload",
]
