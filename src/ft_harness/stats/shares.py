"""Scores of zeros and ones, each item alone: one share, and the difference of two paired shares."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betainc, betaincinv

from ft_harness.stats.quantiles import ALPHA, Z_INTERVAL, Interval

_HALVINGS = 26  # of an interval no longer than 2: to 3e-8; the first one decides the sign
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(48)
_LEVELS, _LEVEL_WEIGHTS = (_NODES + 1) / 2, _NODE_WEIGHTS / 2  # on [0, 1]


def wilson_interval(successes: int, n: int) -> Interval | None:
    """95 % interval of a share; never of zero width. None for no items.

    Source: Wilson (1927), without continuity correction.
    """
    if n == 0:
        return None
    share, z_squared = successes / n, Z_INTERVAL**2
    centre = (share + z_squared / (2 * n)) / (1 + z_squared / n)
    spread = math.sqrt(share * (1 - share) / n + z_squared / (4 * n * n))
    half = Z_INTERVAL * spread / (1 + z_squared / n)
    # the share itself stays inside despite rounding
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """Two-sided mid-p that items are as likely gained (wrong -> right) as lost (right -> wrong); 1
    if none changed.

    The exact test counts the observed split of the changed items in full, the mid-p by half.

    Source: Fagerland, Lydersen and Laake (2013), BMC Medical Research Methodology 13:91, which
        recommends it over the exact test; McNemar (1947).
    """
    fewer, changed = min(gained, lost), gained + lost
    below = float(bdtr(fewer - 1, changed, 0.5)) if fewer else 0.0
    return min(1.0, below + float(bdtr(fewer, changed, 0.5)))


@lru_cache(maxsize=4096)  # the small counts of a big study come again and again
def paired_interval(gained: int, lost: int, n: int) -> Interval | None:
    """95 % interval of (gained - lost) / n, the difference of two 0/1 scores of the same n items.
    None for no items.

    It excludes 0 exactly if `mcnemar_mid_p` is below 0.05, and has a width even if no item changed.
    The ends are the 2.5 and 97.5 % quantiles of a distribution of the difference: shares of items
    gained, unchanged and lost that are Dirichlet with one item more than there are, which is gained
    or lost, each with probability one half. Of one score instead of two the same construction gives
    the mid-p interval of Clopper and Pearson.

    Source: Gaffke (2005); Learned-Miller and Thomas (2019), arXiv:1905.06208; for the half weight
        Lancaster (1961).
    """
    if n == 0:
        return None
    ends = np.array([[-1.0, 1.0], [-1.0, 1.0]])  # brackets of the lower and of the upper end
    levels = np.array([ALPHA / 2, 1 - ALPHA / 2])
    changed, same = gained + lost + 1, n - gained - lost
    shares = betaincinv(changed, same, _LEVELS) if same else np.ones_like(_LEVELS)
    for _ in range(_HALVINGS):
        middle = ends.mean(axis=1)
        is_below = _chance_below(middle, (gained, lost, same), shares) < levels
        ends = np.where(
            is_below[:, None],
            np.column_stack([middle, ends[:, 1]]),
            np.column_stack([ends[:, 0], middle]),
        )
    low, high = ends.mean(axis=1)
    observed = (gained - lost) / n
    # the difference itself stays inside despite rounding
    return min(float(low), observed), max(float(high), observed)


def _chance_below(
    differences: NDArray[np.float64], counts: tuple[int, int, int], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distribution function of the difference that `paired_interval` describes.

    The share of changed items is a beta variable, and independent of it the part of them that is
    gained; the first one is integrated over at Gauss-Legendre nodes of its quantiles.

    Args:
        counts: items gained, lost, unchanged.
        shares: of changed items, at the nodes.
    """
    gained, lost, same = counts
    changed = gained + lost + 1
    parts = np.clip((differences[:, None] / shares + 1) / 2, 0.0, 1.0)
    total = np.zeros_like(differences)
    for of_gained, of_lost in ((gained + 1, lost), (gained, lost + 1)):
        if of_gained and of_lost:
            total += betainc(of_gained, of_lost, parts) @ _LEVEL_WEIGHTS
        elif of_gained:  # all changed items are gained: the difference is their share
            total += _share_below(differences, changed, same)
        else:
            total += 1 - _share_below(-differences, changed, same)
    return total / 2


def _share_below(values: NDArray[np.float64], changed: int, same: int) -> NDArray[np.float64]:
    """Distribution function of the share of changed items."""
    return (
        betainc(changed, same, np.clip(values, 0.0, 1.0)) if same else (values >= 1).astype(float)
    )
