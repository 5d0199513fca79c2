"""The metrics as modules of Hugging Face's `evaluate`: `load_metric("bleu")` instead of
`evaluate.load("bleu")`.

Nothing is downloaded, and a module calls the very functions that score a task: the numbers are the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ft_harness.errors import InputError
from ft_harness.metrics.answers import match_answer
from ft_harness.metrics.core import Scores
from ft_harness.metrics.labels import calibration_statistics, label_metrics, label_statistics
from ft_harness.metrics.meteor import meteor_score
from ft_harness.metrics.overlap import bleu_statistics, chrf_statistics
from ft_harness.metrics.registry import describe
from ft_harness.metrics.rouge import NAMES as ROUGES
from ft_harness.metrics.rouge import rouge_scores
from ft_harness.metrics.squad import score_squad

TEXT_MODULES = ("exact_match", "token_f1", "bleu", "chrf", "rouge", "meteor", "squad")
SQUAD_NAMES = ("exact_match", "token_f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")
COUNT_MODULES = ("token_ppl", "byte_ppl", "char_ppl")
CALIBRATION = ("ece", "brier")
LABEL_MODULE = "label"


def load_metric(
    name: str, *, labels: Sequence[str] | None = None, language: str | None = None, **options: Any
) -> Any:
    """A metric as a module of `evaluate`: `add`, `add_batch`, `compute`, `evaluate.combine`.

    Args:
        name: `exact_match`, `token_f1`, `bleu`, `chrf`, `meteor`, `rouge` (all four) or one of its
            names; `squad` (lists of answers, empty where there is none); `label` (all that is known
            of labels) or one of its names, such as `acc`, `mcc`, `f1_macro`, `recall_<label>`;
            `ece`, `brier` (predictions are lists of one log-likelihood a label); `token_ppl`,
            `byte_ppl`, `char_ppl` (predictions are log-likelihoods in nats, references counts of
            units).
        labels: names of the classes, for the label metrics: the task's, not those that happen to
            occur. Predictions and references are names or indices; a prediction that is neither is
            an unreadable answer, and wrong.
        language: code that chooses BLEU's tokenizer.
        options: evaluate's own (`keep_in_memory`, `experiment_id`, `num_process`, ...).

    `compute` gives {metric: value}; None where it is undefined. References are texts, or lists of
    texts.

    Raises:
        InputError: no such metric, labels missing or given in vain.
    """
    from ft_harness.metrics import evaluate_metric as kinds  # it imports evaluate: seconds

    score, names = _item_scores(name, labels, language)
    if name == "squad":
        inputs = kinds.ANSWER_LISTS
    elif name in (*TEXT_MODULES, *ROUGES):
        inputs = kinds.TEXTS
    elif name in COUNT_MODULES:
        inputs = kinds.COUNTS
    else:
        inputs = kinds.LOG_LIKELIHOODS if name in CALIBRATION else kinds.LABELS
    return kinds.EvaluateMetric(name, score, names, describe(name, language), inputs, **options)


def _item_scores(
    name: str, labels: Sequence[str] | None, language: str | None
) -> tuple[Callable[[Any, Any], Scores], list[str]]:
    """(what one prediction and its reference give, the metrics that are asked for)."""
    if name in TEXT_MODULES or name in ROUGES:
        if labels is not None:
            raise InputError(
                f"labels given for {name}", "labels for the label metrics only", "leave them out"
            )
        several = {"rouge": ROUGES, "squad": SQUAD_NAMES}
        return partial(_text_scores, name, language), list(several.get(name, (name,)))
    if name in COUNT_MODULES:
        return partial(_count_scores, name), [name]
    if labels is None and (name == LABEL_MODULE or name in label_metrics([])):
        raise InputError(
            f"no labels for {name}", "the names of all classes of the task", "give labels=[...]"
        )
    if name in CALIBRATION:
        return partial(_calibration_scores, list(labels or [])), [name]
    known = [known for known in label_metrics(labels or []) if known not in CALIBRATION]
    if name != LABEL_MODULE and name not in known:
        choices = ", ".join(
            [*TEXT_MODULES, *ROUGES, *COUNT_MODULES, LABEL_MODULE, *known, *CALIBRATION]
        )
        raise InputError(
            f"unknown metric {name}",
            f"one of {choices}",
            "name one of these; label metrics need labels",
        )
    return partial(_label_scores, list(labels or [])), known if name == LABEL_MODULE else [name]


def _text_scores(
    name: str, language: str | None, prediction: str, reference: str | Sequence[str]
) -> Scores:
    references = [reference] if isinstance(reference, str) else list(reference)
    if name == "squad":
        return score_squad({"answers": references}, [prediction])
    if not references:
        raise InputError(
            "an item has no reference", "at least one text per item", "leave such items out"
        )
    if name in ("exact_match", "token_f1"):
        return dict(
            zip(("exact_match", "token_f1"), match_answer(prediction, references), strict=True)
        )
    if name == "bleu":
        return {name: bleu_statistics(prediction, references, language)}
    if name == "chrf":
        return {name: chrf_statistics(prediction, references)}
    if name == "meteor":
        return {name: meteor_score(prediction, references)}
    return dict(rouge_scores(prediction, references))


def _count_scores(name: str, log_likelihood: float, count: float) -> Scores:
    if not count > 0:
        raise InputError(
            f"{name}: an item has {count:g} units", "at least one", "leave empty items out"
        )
    return {name: [log_likelihood, count]}


def _calibration_scores(
    labels: list[str], log_likelihoods: Sequence[float], reference: str | float
) -> Scores:
    if len(log_likelihoods) != len(labels):
        raise InputError(
            f"an item has {len(log_likelihoods)} log-likelihoods for {len(labels)} labels",
            "one per label, in the order of labels",
            "fix the predictions",
        )
    return calibration_statistics(_gold_index(reference, labels), log_likelihoods)


def _label_scores(labels: list[str], prediction: str | float, reference: str | float) -> Scores:
    return label_statistics(
        _gold_index(reference, labels), _label_index(_whole(prediction), labels), labels
    )


def _gold_index(reference: str | float, labels: list[str]) -> int:
    gold = _label_index(_whole(reference), labels)
    if gold is None:
        raise InputError(
            f"reference {_whole(reference)!r} is no label",
            f"one of {', '.join(labels)}",
            "fix the references",
        )
    return gold


def _whole(given: str | float) -> str | float:
    """A number without decimals as an int: `evaluate` hands all numbers over as floats."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _label_index(given: str | float, labels: list[str]) -> int | None:
    """Index of a label given by name, or by index where no name is a number; None if it is
    neither."""
    spelt = str(given)
    if spelt in labels:
        return labels.index(spelt)
    is_index = (
        spelt.isdecimal()
        and int(spelt) < len(labels)
        and not any(label.isdecimal() for label in labels)
    )
    return int(spelt) if is_index else None
