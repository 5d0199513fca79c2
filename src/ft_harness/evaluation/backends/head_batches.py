"""Which rows of a classification head may share a batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ft_harness.evaluation.backends.scorer import TOLERANCE, TOLERANCE_HALF
from ft_harness.models.base_model import BaseModel
from ft_harness.models.heads import HeadInput, read_logits

logger = logging.getLogger(__name__)


def try_batches(base: BaseModel, rows: Sequence[HeadInput]) -> tuple[bool, bool]:
    """(whether rows of several lengths may share a batch, whether rows of one length may): where
    they get the same answers as alone, tried on the shortest row, the longest, and one between.

    Some architectures mix padding into a row (FNet, ConvBERT), or read their answer at the end of
    it (XLNet).
    """
    lengths: dict[int, list[HeadInput]] = {}
    for row in sorted(rows, key=lambda row: len(row.ids)):
        lengths.setdefault(len(row.ids), []).append(row)
    alike = list(lengths.values())
    # Shortest and longest alone would miss models whose answers depend on padding in between only
    # (YOSO).
    several = [alike[at][0] for at in sorted({0, len(alike) // 2, len(alike) - 1})]
    if len(several) < 2 or _agree(base, several):
        return True, True
    same = max(lengths.values(), key=len)[:2]
    shares = _agree(base, same if len(same) == 2 else same * 2)
    logger.warning(
        "%s: scored in batches of %s, since its answers depend on padding",
        base.info.pretrained, "rows of one length" if shares else "one row",
    )  # fmt: skip
    return False, shares


def _agree(base: BaseModel, rows: Sequence[HeadInput]) -> bool:
    """Whether rows get the same log-probabilities in a batch and alone, up to rounding."""
    # In 16 bits the order of sums moves a log-probability by some hundredths, in a batch or alone.
    exact = base.model.dtype.itemsize >= 4 and base.info.quantization is None
    together = _score(base, rows)
    return all(
        float((together[i] - _score(base, [row])[0]).abs().max())
        <= (TOLERANCE if exact else TOLERANCE_HALF)
        for i, row in enumerate(rows)
    )


def _score(base: BaseModel, rows: Sequence[HeadInput]) -> Any:
    if base.head is None:
        raise AssertionError("rows of a head are scored by a base with one")
    return read_logits(base.model, base.head, base.tokenizer, rows).log_softmax(dim=-1)
