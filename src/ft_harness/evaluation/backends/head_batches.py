"""Which rows of a classification head may share a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ft_harness.models.heads import HeadInput

Score = Callable[[Sequence[HeadInput]], Any]  # rows -> log-probabilities [B, labels]
_LENGTHS = 3  # rows of as many lengths are tried


def may_share(score: Score, rows: Sequence[HeadInput], tolerance: float) -> tuple[bool, bool]:
    """(whether rows of several lengths may share a batch, whether rows of one length may): the same
    answers as alone, tried on the shortest rows.

    Some architectures mix padding into a row (FNet, ConvBERT), or read their answer at the end of
    it (XLNet).
    """
    lengths: dict[int, list[HeadInput]] = {}
    for row in sorted(rows, key=lambda row: len(row.ids)):
        lengths.setdefault(len(row.ids), []).append(row)
    several = [same[0] for same in list(lengths.values())[:_LENGTHS]]
    if len(several) > 1 and not _agree(score, several, tolerance):
        same = max(lengths.values(), key=len)[:2]
        return False, _agree(score, same if len(same) == 2 else same * 2, tolerance)
    return True, True


def _agree(score: Score, rows: Sequence[HeadInput], tolerance: float) -> bool:
    together = score(rows)
    return all(
        float((together[i] - score([row])[0]).abs().max()) <= tolerance
        for i, row in enumerate(rows)
    )
