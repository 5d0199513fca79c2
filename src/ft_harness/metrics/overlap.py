"""BLEU and chrF as sacrebleu computes them: sufficient statistics per item, the score from their
sums."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ft_harness.metrics.characters import UNSPACED
from ft_harness.metrics.core import Metric, Statistics, Sums, Values

ORDER = 4  # longest n-gram of BLEU, words
CHARACTER_ORDER = 6  # longest n-gram of chrF
BETA = 2  # chrF counts recall this many times as much as precision
DEFAULT_TOKENIZER = "13a"
TOKENIZERS = {
    **dict.fromkeys(("zh", "yue", "wuu", "lzh"), "zh"),
    **dict.fromkeys(("ja", "ko", "th", "lo", "km", "my"), "char"),
}
_UNSPACED = re.compile(f"[{UNSPACED}]")
_log = logging.getLogger(__name__)


def bleu_tokenizer(language: str | None) -> str:
    """sacrebleu's tokenizer for a language code ("zh", "zh-TW"): 13a if there is none or it is not
    in `TOKENIZERS`."""
    code = (language or "").replace("_", "-").partition("-")[0].lower()
    return TOKENIZERS.get(code, DEFAULT_TOKENIZER)


def bleu_statistics(
    prediction: str, references: Sequence[str], language: str | None = None
) -> Statistics:
    """sacrebleu's counts of one item.

    Returns:
        [words of the prediction, words of the reference next in length, matching n-grams of 1-4,
        n-grams of 1-4].
    """
    if not language and any(map(_UNSPACED.search, references)):
        _warn_no_language()
    return _item_statistics(_bleu(bleu_tokenizer(language)), prediction, references)


def chrf_statistics(prediction: str, references: Sequence[str]) -> Statistics:
    """sacrebleu's counts of one item, for the reference with the best chrF of this item.

    Returns:
        For each n of 1-6: character n-grams of the prediction, of the reference, in both.
    """
    return _item_statistics(_chrf(), prediction, references)


def _item_statistics(metric: Any, prediction: str, references: Sequence[str]) -> Statistics:
    # sacrebleu has no public name for chrF's counts; its own significance tests read them here.
    (counts,) = metric._extract_corpus_statistics([prediction], [[text] for text in references])
    return [float(count) for count in counts]


@cache
def _bleu(tokenizer: str) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF(char_order=CHARACTER_ORDER, beta=BETA)


@cache
def _warn_no_language() -> None:
    """Once in a process."""
    _log.warning(
        "BLEU: references in a script without blanks, but no language is named, so a sentence "
        "counts as one word; set data.language (zh, ja, ...)"
    )


def bleu_value(sums: Sums, n: int) -> Values:
    """Corpus BLEU, 0-100: exponential smoothing, no effective order; 0 where no 4-gram exists or
    nothing matches.

    Source: sacrebleu's `BLEU.compute_bleu`, for many corpora at once.
    """
    length, reference_length = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    missed = correct == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        smoothed = np.where(missed, 0.5 ** missed.cumsum(axis=-1), correct) / total
        brevity = np.exp(np.minimum(0.0, 1 - reference_length / length))
        score = 100 * brevity * np.exp(np.log(smoothed).mean(axis=-1))
    defined = (total > 0).all(axis=-1) & ~missed.all(axis=-1)
    return np.where(defined, score, 0.0)


def chrf_value(sums: Sums, n: int) -> Values:
    """Corpus chrF2, 0-100: F of the mean precision and the mean recall over the n-gram lengths that
    both sides have.

    Source: sacrebleu's `CHRF._compute_f_score`, for many corpora at once.
    """
    counts = sums.reshape(*sums.shape[:-1], CHARACTER_ORDER, 3)
    predicted, gold, shared = counts[..., 0], counts[..., 1], counts[..., 2]
    counted = (predicted > 0) & (gold > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(counted, shared / predicted, 0.0).sum(axis=-1) / orders
        recall = np.where(counted, shared / gold, 0.0).sum(axis=-1) / orders
        score = 100 * (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)
    return np.where(precision + recall > 0, score, 0.0)


def _bleu_edges(statistics: Sums, reach: float) -> Sums:
    """An item of average length without a matching word, and the reference itself, [1, 2, K]."""
    nothing, all_right = statistics.mean(axis=0), statistics.mean(axis=0)
    nothing[2 : 2 + ORDER] = 0.0
    length = all_right[0] = all_right[1]
    all_right[2 : 2 + ORDER] = all_right[2 + ORDER :] = np.maximum(0.0, length - np.arange(ORDER))
    return np.array([[nothing, all_right]])


def _chrf_edges(statistics: Sums, reach: float) -> Sums:
    """As `_bleu_edges`."""
    nothing = statistics.mean(axis=0).reshape(CHARACTER_ORDER, 3)
    all_right = np.repeat(nothing[:, 1:2], 3, axis=1)
    nothing[:, 2] = 0.0
    return np.array([[nothing.ravel(), all_right.ravel()]])


def describe(name: str, language: str | None, references: int | None = 1) -> str:
    """sacrebleu's signature; `references` is how many each item has, None where that differs."""
    if name not in ("bleu", "chrf"):
        return ""
    metric = _bleu(bleu_tokenizer(language)) if name == "bleu" else _chrf()
    return str(
        type(metric)._SIGNATURE_TYPE(
            vars(metric) | {"num_refs": -1 if references is None else references}
        )
    )


METRICS = [
    Metric("bleu", bleu_value, scale=100.0, edges_of=_bleu_edges),
    Metric("chrf", chrf_value, scale=100.0, edges_of=_chrf_edges),
]
