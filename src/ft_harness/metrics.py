"""Per-item scores and their aggregation, usable from any task YAML under the stock `lm_eval`.

A metric gives each doc a number or a short list of statistics (counts); its aggregate is a function of the *sums* of
these statistics and the number of docs. So intervals and paired tests resample sums and never score text again, and
lm-eval's own aggregation (`!function ft_harness.metrics.aggregate_f1`, ...) is the same function.

This room imports nothing of ours but `errors`, so that a task YAML needs only this package installed.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.errors import InputError, NonFiniteError

Statistics = list[float]
Sums = NDArray[np.float64]  # [..., K]: summed statistics, K per metric
Values = NDArray[np.float64]  # [...]


@dataclass(frozen=True)
class Metric:
    """How the statistics of a metric become its value.

    Attributes:
        aggregate: (sums [..., K], n) -> values [...]; NaN where undefined.
        scale: largest value (1, or 100 for BLEU and chrF).
        binary: each item is 0 or 1 and the value their mean.
    """

    name: str
    aggregate: Callable[[Sums, int], Values]
    higher_is_better: bool = True
    scale: float = 1.0
    binary: bool = False

    def value(self, statistics: Sequence[float | Statistics]) -> float | None:
        """The metric over items; None for no items or where it is undefined."""
        if not statistics:
            return None
        rows = np.array(statistics, dtype=np.float64).reshape(len(statistics), -1)
        value = float(self.aggregate(rows.sum(axis=0), len(rows)))
        return value if math.isfinite(value) else None


def _mean(sums: Sums, n: int) -> Values:
    return sums[..., 0] / n


def _ratio(numerator: Values, denominator: Values) -> Values:
    """numerator / denominator, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _precision(sums: Sums, n: int) -> Values:
    return _ratio(sums[..., 0], sums[..., 0] + sums[..., 1])


def _recall(sums: Sums, n: int) -> Values:
    return _ratio(sums[..., 0], sums[..., 0] + sums[..., 2])


def _f1(sums: Sums, n: int) -> Values:
    """2 tp / (2 tp + fp + fn): undefined only for a class that is neither gold nor predicted."""
    return _ratio(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def _f1_macro(sums: Sums, n: int) -> Values:
    """Mean F1 over the classes of the task that occur (gold or predicted); sums are [..., 3 x classes]."""
    per_class = _f1(sums.reshape(*sums.shape[:-1], -1, 3), n)
    defined = ~np.isnan(per_class)
    return _ratio(np.where(defined, per_class, 0.0).sum(axis=-1), defined.sum(axis=-1))


_FIXED = {
    "acc": Metric("acc", _mean, binary=True),
    "acc_norm": Metric("acc_norm", _mean, binary=True),  # lm-eval's: log-likelihood over characters
    "acc_bytes": Metric("acc_bytes", _mean, binary=True),  # lm-eval's: log-likelihood over bytes
    "exact_match": Metric("exact_match", _mean, binary=True),
    "token_f1": Metric("token_f1", _mean),
    "f1_macro": Metric("f1_macro", _f1_macro),
}
_PER_LABEL = {"precision_": _precision, "recall_": _recall, "f1_": _f1}


def find_metric(name: str) -> Metric:
    """The metric of this name (`f1_<label>` for any label).

    Raises:
        InputError: no such metric.
    """
    if name in _FIXED:
        return _FIXED[name]
    for prefix, aggregate in _PER_LABEL.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            return Metric(name, aggregate)
    known = [*_FIXED, *(f"{prefix}<label>" for prefix in _PER_LABEL)]
    raise InputError(f"unknown metric {name}", f"one of {', '.join(known)}", "change metric_list in the task's YAML")


# --- aggregation for lm-eval: a list of per-item statistics -> a number ------------------------------------------


def aggregate_mean(items: Sequence[float]) -> float | None:
    """Mean of per-item numbers."""
    return _FIXED["token_f1"].value(items)


def aggregate_f1_macro(items: Sequence[Statistics]) -> float | None:
    """Macro F1 of per-item [tp, fp, fn] for each class in turn."""
    return _FIXED["f1_macro"].value(items)


def aggregate_precision(items: Sequence[Statistics]) -> float | None:
    """Precision of one class from per-item [tp, fp, fn]; None if it was never predicted."""
    return Metric("precision", _precision).value(items)


def aggregate_recall(items: Sequence[Statistics]) -> float | None:
    """Recall of one class from per-item [tp, fp, fn]; None if it never occurs."""
    return Metric("recall", _recall).value(items)


def aggregate_f1(items: Sequence[Statistics]) -> float | None:
    """F1 of one class from per-item [tp, fp, fn]; None if it is neither gold nor predicted."""
    return Metric("f1", _f1).value(items)


# --- per-item scores: what a task YAML names as process_results ---------------------------------------------------


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
        scores |= {f"{prefix}{label}": counts for prefix in _PER_LABEL}
    return scores | {"f1_macro": flat}


def label_metrics(labels: Sequence[str]) -> list[str]:
    """Names of everything that `score_label` gives for a task with these labels."""
    return list(label_statistics(0, None, labels))


def score_label(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float | Statistics]:
    """`process_results` of a classification task: doc has `label` (index) and `label_names`; one result per label."""
    return label_statistics(doc["label"], predicted_choice(results), doc["label_names"])


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no English articles, single blanks.

    Source: the official SQuAD v1.1 evaluation script. A text that is nothing but an article keeps it, so that the
    answers "A" and "The" stay different.
    """
    plain = text.lower().translate(_PUNCTUATION)
    shortened = " ".join(_ARTICLES.sub(" ", plain).split())
    return shortened or " ".join(plain.split())


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the two bags of normalised words; 1 if both are empty, 0 if one is."""
    predicted, gold = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not predicted or not gold:
        return float(predicted == gold)
    shared = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * shared / (len(predicted) + len(gold))


def score_answer(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float | Statistics]:
    """`process_results` of a generated short answer: doc has `answer`, a text or a list of accepted texts."""
    answer = doc["answer"]
    references = [answer] if isinstance(answer, str) else list(answer)
    prediction = results[0]
    return {
        "exact_match": float(any(normalize_answer(prediction) == normalize_answer(text) for text in references)),
        "token_f1": max(token_f1(prediction, text) for text in references),
    }
