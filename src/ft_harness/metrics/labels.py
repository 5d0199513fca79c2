"""Scores of classification: one label per doc, by likelihood of the label words or read from a
generated answer."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.metrics.core import Metric, Scores, Statistics, Sums, Values, mean, or_zero, ratio
from ft_harness.metrics.generation import METRICS as SHARES
from ft_harness.metrics.generation import read_answer
from ft_harness.metrics.label_words import parse_label

# ten bins of equal width, each with its upper end
_BIN_ENDS = [(index + 1) / 10 for index in range(9)]
_MOST_PAIRED = 12  # labels of which every mistake is tried as an unseen item's


def _precision(sums: Sums, n: int) -> Values:
    return ratio(sums[..., 0], sums[..., 0] + sums[..., 1])


def _recall(sums: Sums, n: int) -> Values:
    return ratio(sums[..., 0], sums[..., 0] + sums[..., 2])


def _f1(sums: Sums, n: int) -> Values:
    """2 tp / (2 tp + fp + fn): undefined only for a class that is neither gold nor predicted."""
    return ratio(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def _by_class(sums: Sums) -> Sums:
    """[..., 3 x classes] -> [..., classes, 3]: tp, fp, fn."""
    return sums.reshape(*sums.shape[:-1], sums.shape[-1] // 3, 3)


def _count(flags: NDArray[np.bool_]) -> Any:
    """How many of the last axis are true [...]; one number where all are."""
    return np.int64(flags.shape[-1]) if flags.all() else flags.sum(axis=-1)


def _macro(measure: Callable[[Sums, int], Values]) -> Callable[[Sums, int], Values]:
    """Mean over the classes of the task that occur (gold or predicted), 0 where the measure is
    undefined for one.

    Source: scikit-learn's average="macro" over these classes with zero_division=0.
    """

    def aggregate(sums: Sums, n: int) -> Values:
        counts = _by_class(sums)
        occurring = _count(counts.sum(axis=-1) > 0)
        return ratio(or_zero(measure(counts, n)).sum(axis=-1), occurring)

    return aggregate


def _weighted(measure: Callable[[Sums, int], Values]) -> Callable[[Sums, int], Values]:
    """Mean over the classes, each weighted by its gold items, 0 where the measure is undefined for
    one.

    Source: scikit-learn's average="weighted" with zero_division=0.
    """

    def aggregate(sums: Sums, n: int) -> Values:
        counts = _by_class(sums)
        gold = counts[..., 0] + counts[..., 2]
        return ratio((gold * or_zero(measure(counts, n))).sum(axis=-1), gold.sum(axis=-1))

    return aggregate


def _micro(measure: Callable[[Sums, int], Values]) -> Callable[[Sums, int], Values]:
    """The measure of the counts of all classes, 0 where it is undefined, as in the other means."""
    return lambda sums, n: or_zero(measure(sums, n))


def _balanced_acc(sums: Sums, n: int) -> Values:
    """Mean recall over the classes that occur in gold."""
    recalls = _recall(_by_class(sums), n)
    return ratio(or_zero(recalls).sum(axis=-1), _count(~np.isnan(recalls)))


def _mcc(sums: Sums, n: int) -> Values:
    """Matthews' correlation; undefined where all golds or all predictions are alike.

    Unreadable answers are predictions of one more class, which is never gold.

    Source: Gorodkin (2004), R_K; scikit-learn's matthews_corrcoef, which gives 0 where it is
        undefined.
    """
    counts = _by_class(sums)
    gold, predicted = counts[..., 0] + counts[..., 2], counts[..., 0] + counts[..., 1]
    total = gold.sum(axis=-1)
    unreadable = total - predicted.sum(axis=-1)
    together = counts[..., 0].sum(axis=-1) * total - (gold * predicted).sum(axis=-1)
    spread_gold = total**2 - (gold**2).sum(axis=-1)
    spread_predicted = total**2 - (predicted**2).sum(axis=-1) - unreadable**2
    return ratio(together, np.sqrt(spread_gold * spread_predicted))


def _ece(sums: Sums, n: int) -> Values:
    """Sum over the bins of |sum of (confidence - correct)| / n."""
    gaps: Values = np.abs(sums).sum(axis=-1)
    return gaps / n


def _edges(sides: Sequence[Sums]) -> list[Sums]:
    """For each gold label that occurs and each other one: given the right label, or the other,
    for each side [G, 2, 3 x classes]."""
    return [_label_pairs(side) for side in sides]


def _label_pairs(statistics: Sums) -> Sums:
    counts = _by_class(statistics.sum(axis=0))
    return _pair_labels(tuple(np.flatnonzero(counts[:, 0] + counts[:, 2]).tolist()), len(counts))


@lru_cache(maxsize=256)  # the same for all metrics of a study's task
def _pair_labels(occurring: tuple[int, ...], labels: int) -> Sums:
    found = np.array(occurring, dtype=np.int64)
    golds, others = (grid.ravel() for grid in np.meshgrid(found, found, indexing="ij"))
    if len(found) > _MOST_PAIRED:  # a label's items then all have one and the same mistake
        golds, others = found, np.roll(found, 1)
    golds, others = golds[golds != others], others[golds != others]
    edges = np.zeros((len(golds), 2, labels, 3))
    place = np.arange(len(golds))
    edges[place, 0, golds, 0] = 1
    edges[place, 1, golds, 2] = edges[place, 1, others, 1] = 1
    flat = edges.reshape(len(golds), 2, 3 * labels)
    flat.flags.writeable = False
    return flat


def label_edges(sides: Sequence[Sums]) -> list[Sums]:
    """The most unlike items that recall and precision of a label can have: one of the label, found
    or missed, and one of another label, taken for it or not."""
    return [np.array([[[1.0, 0, 0], [0, 0, 1]], [[0.0, 0, 0], [0, 1, 0]]]) for _ in sides]


def _micro_edges(sides: Sequence[Sums]) -> list[Sums]:
    """An item that is right or wrong."""
    return [np.array([[[1.0, 0, 0], [0, 1, 1]]]) for _ in sides]


PER_LABEL: dict[str, Callable[[Sums, int], Values]] = {
    "precision_": _precision,
    "recall_": _recall,
    "f1_": _f1,
}
_AVERAGES = ("macro", "micro", "weighted")
_ECE, _BRIER = "bins:10|width:equal|confidence:softmax", "sum over labels|p:softmax"
_BY_CLASS = [
    Metric("balanced_acc", _balanced_acc, edges_of=_edges),
    Metric("mcc", _mcc, least=-1.0, edges_of=_edges),
    *(
        Metric(f"{name}_{average}", over(measure), edges_of=_edges, definition=definition)
        for average, over, definition in (
            ("macro", _macro, "classes:occurring|undefined:0"),
            ("weighted", _weighted, ""),
        )
        for name, measure in (("f1", _f1), ("precision", _precision), ("recall", _recall))
    ),
]
_MICRO = [
    Metric(f"{name}_micro", _micro(measure), edges_of=_micro_edges)
    for name, measure in (("f1", _f1), ("precision", _precision), ("recall", _recall))
]
METRICS = [
    Metric("acc", mean, binary=True),
    Metric("acc_norm", mean, binary=True),  # lm-eval's: log-likelihood over characters
    Metric("acc_bytes", mean, binary=True),  # lm-eval's: log-likelihood over bytes
    *_BY_CLASS,
    *_MICRO,
    Metric("ece", _ece, higher_is_better=False, descriptive=True, definition=_ECE),
    Metric("brier", mean, higher_is_better=False, scale=2.0, digits=3, definition=_BRIER),
    Metric("invalid", mean, higher_is_better=False, binary=True),
]


def predicted_choice(results: Sequence[tuple[float, bool]]) -> int:
    """The label of one doc by likelihood: index of the choice with the highest one; the first one
    on an exact tie.

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


def label_statistics(gold: int, predicted: int | None, labels: Sequence[str]) -> Scores:
    """Scores of one classified doc; `predicted` None (no readable answer) misses the gold class and
    gains no other.

    Statistics are (tp, fp, fn) of one label, of all labels in a row, or (micro averages) summed
    over the labels.
    """
    flat: Statistics = []
    scores: Scores = {"acc": float(predicted == gold)}
    per_label: Scores = {}
    for index, label in enumerate(labels):
        counts = [
            float(index == gold == predicted),
            float(index == predicted != gold),
            float(index == gold != predicted),
        ]
        flat += counts
        per_label |= {f"{prefix}{label}": counts for prefix in PER_LABEL}
    scores |= {metric.name: flat for metric in _BY_CLASS}
    summed: Statistics = [sum(flat[0::3]), sum(flat[1::3]), sum(flat[2::3])]
    scores |= {metric.name: summed for metric in _MICRO}
    return scores | per_label


def calibration_statistics(gold: int, log_likelihoods: Sequence[float]) -> Scores:
    """Calibration of labels: ECE's and Brier's part of one doc, from the log-likelihoods of the
    label words.

    The probabilities are their softmax in float64. `ece`: confidence (the largest probability)
    minus 1 if it is the gold label's, in the place of its bin, 0 in the nine others; bins are (0,
    0.1], ..., (0.9, 1]. `brier`: the sum over the labels of (probability - 1 if gold else 0)^2,
    between 0 and 2.

    Source: Guo et al. (2017), equation 3; Brier (1950), equation 2.
    """
    logits = np.array(log_likelihoods, dtype=np.float64)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    best = int(np.argmax(logits))
    bins = [0.0] * 10
    confidence = float(probabilities[best])
    bins[bisect_left(_BIN_ENDS, confidence)] = confidence - float(best == gold)
    probabilities[gold] -= 1
    return {"ece": bins, "brier": float((probabilities**2).sum())}


def _check_labels(doc: dict[str, Any], given: int, what: str) -> None:
    """A gold label of the task, and one result or word a label: else every score would be about the
    wrong labels."""
    labels = doc["label_names"]
    if given != len(labels):
        raise InputError(
            f"{given} {what} for the {len(labels)} labels {', '.join(labels)}",
            "one for each label, in the order of the labels",
            "fix doc_to_choice, or data.labels and data.label_words, in the task's YAML",
        )
    if doc["label"] not in range(len(labels)):
        raise InputError(
            f"a doc's label is {doc['label']!r}",
            f"an index from 0 to {len(labels) - 1}: {', '.join(labels)}",
            "fix the row, or leave it out with data.drop_labels",
        )


def recalled_label(metric: str) -> str | None:
    """The label that a metric is the recall of; None: it is another metric, or an average over the
    labels."""
    label = metric.removeprefix("recall_")
    return None if label in (metric, *_AVERAGES) else label


def label_metrics(labels: Sequence[str]) -> list[str]:
    """Names of everything that `score_label` gives for a task with these labels.

    Raises:
        InputError: the metrics of a label would have the name of an average.
    """
    averages = {metric.name for metric in METRICS}
    taken = [
        label for label in labels if any(f"{prefix}{label}" in averages for prefix in PER_LABEL)
    ]
    if taken:
        raise InputError(
            f"labels named {', '.join(taken)}: f1_{taken[0]} is an average over the labels",
            "labels that are not called macro, micro or weighted",
            "rename them in data.labels",
        )
    return [*label_statistics(0, None, labels), "ece", "brier"]


def label_answer_metrics(labels: Sequence[str]) -> list[str]:
    """Names of everything that `score_label_answer` gives for a task with these labels.

    Raises:
        InputError: as in `label_metrics`.
    """
    by_likelihood_only = ("ece", "brier")
    scored = [name for name in label_metrics(labels) if name not in by_likelihood_only]
    return [*scored, "invalid", *(metric.name for metric in SHARES)]


def score_label(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> Scores:
    """`process_results` of a classification task: doc has `label` (index) and `label_names`; one
    result per label.

    Raises:
        InputError: not one result per label, or a label that is none of the task's.
        NonFiniteError: as in `predicted_choice`.
    """
    _check_labels(doc, len(results), "choices")
    scores = label_statistics(doc["label"], predicted_choice(results), doc["label_names"])
    return scores | calibration_statistics(doc["label"], [result[0] for result in results])


def score_label_answer(doc: dict[str, Any], results: Sequence[str]) -> Scores:
    """`process_results` of the generated form: results[0] is the answer; doc has `label`,
    `label_names` and `label_words`, the answer word of each label.

    An answer that names no label is wrong, and counted in `invalid`.

    Raises:
        InputError: not one word per label, or a label that is none of the task's.
    """
    _check_labels(doc, len(doc["label_words"]), "label words")
    answer, shares = read_answer(results[0])
    predicted = parse_label(answer, doc["label_words"])
    return (
        label_statistics(doc["label"], predicted, doc["label_names"])
        | {"invalid": float(predicted is None)}
        | shares
    )


def confusion(
    golds: Sequence[int], predictions: Sequence[int | None], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Confusion of labels: counts [labels, labels + 1]: rows gold, columns predicted, the last one
    answers that name no label."""
    width = len(labels) + 1
    columns = [len(labels) if predicted is None else predicted for predicted in predictions]
    cells = np.array(golds, dtype=np.int64) * width + np.array(columns, dtype=np.int64)
    return np.bincount(cells, minlength=len(labels) * width).reshape(len(labels), width)
