"""BLEU and chrF as sacrebleu computes them: sufficient statistics per item, the score from their
sums."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ft_harness.metrics.characters import UNSPACED
from ft_harness.metrics.core import ALIKE, Metric, Statistics, Sums, Values, reaches, usual_distance

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


def _bleu_edges(sides: Sequence[Sums]) -> list[Sums]:
    """An item of average length with few matches, and one of the reference's length with many, for
    each side [1, 2, K]; see `_matched`."""
    matched = _matched(
        [side[:, 2 : 2 + ORDER] / np.maximum(1, side[:, 2 + ORDER :]) for side in sides]
    )
    edges = []
    for side, (fewest, most) in zip(sides, matched, strict=True):
        low, high = side.mean(axis=0), side.mean(axis=0)
        low[2 : 2 + ORDER] = fewest * low[2 + ORDER :]
        length = high[0] = high[1]
        high[2 + ORDER :] = np.maximum(0.0, length - np.arange(ORDER))
        high[2 : 2 + ORDER] = most * high[2 + ORDER :]
        edges.append(np.array([[low, high]]))
    return edges


def _chrf_edges(sides: Sequence[Sums]) -> list[Sums]:
    """As `_bleu_edges`."""
    counts = [side.reshape(-1, CHARACTER_ORDER, 3) for side in sides]
    matched = _matched([side[..., 2] / np.maximum(1, side[..., 1]) for side in counts])
    edges = []
    for side, (fewest, most) in zip(counts, matched, strict=True):
        low = side.mean(axis=0)
        high = np.repeat(low[:, 1:2], 3, axis=1)
        low[:, 2], high[:, 2] = fewest * low[:, 1], most * high[:, 1]
        edges.append(np.array([[low.ravel(), high.ravel()]]))
    return edges


def _matched(sides: list[Values]) -> list[tuple[Values, Values]]:
    """(the smallest, the largest) share of n-grams that match in an item that the test set lacks,
    [orders] for each side, from the shares of its items [n, orders]: none and all; where fewer than
    half of the items have nearly the same share, as far from the mean as `reaches` says, if that is
    less. Shorter n-grams match at least as often as longer ones."""
    found = []
    for side, reach in zip(sides, reaches(sides), strict=True):
        reach = np.where(usual_distance(side) < ALIKE, 1.0, reach)
        fewest, most = (side.mean(axis=0) + step * reach for step in (-1, 1))
        most = np.maximum.accumulate(most[::-1])[::-1]
        found.append((fewest.clip(0.0, 1.0), most.clip(0.0, 1.0)))
    return found


def describe(name: str, language: str | None, references: int | None = 1) -> str:
    """sacrebleu's signature of `bleu` or `chrf`.

    Args:
        references: how many each item has; None: that differs.
    """
    metric = _bleu(bleu_tokenizer(language)) if name == "bleu" else _chrf()
    return str(
        type(metric)._SIGNATURE_TYPE(
            vars(metric) | {"num_refs": -1 if references is None else references}
        )
    )


METRICS = [
    Metric(name, value, scale=100.0, edges_of=edges, definition=partial(describe, name))
    for name, value, edges in (("bleu", bleu_value, _bleu_edges), ("chrf", chrf_value, _chrf_edges))
]
