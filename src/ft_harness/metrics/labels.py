"""Scores of classification: one label a doc, by likelihood of the label words or read from a generated answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ft_harness.errors import NonFiniteError
from ft_harness.metrics.core import Metric, Statistics, Sums, Values, mean, ratio


def _precision(sums: Sums, n: int) -> Values:
    return ratio(sums[..., 0], sums[..., 0] + sums[..., 1])


def _recall(sums: Sums, n: int) -> Values:
    return ratio(sums[..., 0], sums[..., 0] + sums[..., 2])


def _f1(sums: Sums, n: int) -> Values:
    """2 tp / (2 tp + fp + fn): undefined only for a class that is neither gold nor predicted."""
    return ratio(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def _f1_macro(sums: Sums, n: int) -> Values:
    """Mean F1 over the classes of the task that occur (gold or predicted); sums are [..., 3 x classes]."""
    per_class = _f1(sums.reshape(*sums.shape[:-1], -1, 3), n)
    defined = ~np.isnan(per_class)
    return ratio(np.where(defined, per_class, 0.0).sum(axis=-1), defined.sum(axis=-1))


PER_LABEL: dict[str, Callable[[Sums, int], Values]] = {"precision_": _precision, "recall_": _recall, "f1_": _f1}
METRICS = [
    Metric("acc", mean, binary=True),
    Metric("acc_norm", mean, binary=True),  # lm-eval's: log-likelihood over characters
    Metric("acc_bytes", mean, binary=True),  # lm-eval's: log-likelihood over bytes
    Metric("f1_macro", _f1_macro),
]


def predicted_choice(results: Sequence[tuple[float, bool]]) -> int:
    """Index of the choice with the highest log-likelihood; the first one on an exact tie.

    Raises:
        NonFiniteError: a log-likelihood is NaN or infinite; no accuracy is made from such a model.
    """
    log_likelihoods = [float(result[0]) for result in results]
    if not all(map(math.isfinite, log_likelihoods)):
        raise NonFiniteError(
            f"the model gave a log-likelihood that is not finite: {log_likelihoods}",
            "finite log-likelihoods for every choice",
            "check the model's and the adapter's weights for NaN, or score in float32",
        )
    return int(np.argmax(log_likelihoods))


def label_statistics(gold: int, predicted: int | None, labels: Sequence[str]) -> dict[str, float | Statistics]:
    """Scores of one classified doc; `predicted` None (no readable answer) misses the gold class and gains no other."""
    flat: Statistics = []
    scores: dict[str, float | Statistics] = {"acc": float(predicted == gold)}
    for index, label in enumerate(labels):
        counts = [
            float(index == gold == predicted),
            float(index == predicted != gold),
            float(index == gold != predicted),
        ]
        flat += counts
        scores |= {f"{prefix}{label}": counts for prefix in PER_LABEL}
    return scores | {"f1_macro": flat}


def label_metrics(labels: Sequence[str]) -> list[str]:
    """Names of everything that `score_label` gives for a task with these labels."""
    return list(label_statistics(0, None, labels))


def score_label(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float | Statistics]:
    """`process_results` of a classification task: doc has `label` (index) and `label_names`; one result per label."""
    return label_statistics(doc["label"], predicted_choice(results), doc["label_names"])
