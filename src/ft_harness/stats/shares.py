"""Scores of zeros and ones: one share, the difference of two paired shares, items alone or in
clusters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from ft_harness.stats.quantiles import Z_INTERVAL, Interval, t_interval

_HALVINGS = 60  # of an interval no longer than 2: down to the resolution of a float
_ROUNDING = 1e-9


def wilson_interval(successes: int, n: int) -> Interval | None:
    """95 % interval of a share; never of zero width. None for no items.

    Source: Wilson (1927), without continuity correction.
    """
    if n == 0:
        return None
    share, z_squared = successes / n, Z_INTERVAL**2
    centre = (share + z_squared / (2 * n)) / (1 + z_squared / n)
    half = (
        Z_INTERVAL
        * math.sqrt(share * (1 - share) / n + z_squared / (4 * n * n))
        / (1 + z_squared / n)
    )
    return max(0.0, min(share, centre - half)), min(
        1.0, max(share, centre + half)
    )  # holds the share despite rounding


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact p that items are as likely gained (wrong -> right) as lost (right -> wrong);
    1 if none changed.

    Source: McNemar (1947); the binomial test of the discordant pairs against one half.
    """
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def paired_interval(
    gained: float, lost: float, n: float, quantile: float = Z_INTERVAL
) -> Interval | None:
    """95 % interval of (gained - lost) / n, the difference of two 0/1 scores of the same n items.
    None for no items.

    It excludes 0 exactly if McNemar's test without continuity correction gives p < 0.05, and has a
    width even if no item changed. Counts need not be whole: `clustered_paired_interval` gives
    effective ones.

    Source: Tango (1998), Statistics in Medicine 17:891-908, the score interval; found by halving.
    """
    if n == 0:
        return None

    def is_outside(difference: float) -> bool:
        """Whether the score test rejects this difference; `share_lost` is the likeliest one under
        it (equation 8)."""
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        share_lost = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * share_lost + difference * (1 - difference))
        return (gained - lost - n * difference) ** 2 > quantile**2 * variance

    def find_end(outside: float) -> float:
        inside = (gained - lost) / n
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if is_outside(middle) else (middle, outside)
        return inside

    return find_end(-1.0), find_end(1.0)


def clustered_flip_p(changes: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """Two-sided exact p that base and tuned are exchangeable, cluster by cluster.

    `changes` [n] is 1 for an item gained, -1 for one lost, 0 otherwise; `clusters` [n] numbers its
    cluster from 0. A cluster's changes have their signs flipped together. With one item a cluster
    this is McNemar's exact test. 1 if nothing changed; exact down to about 1e-15, the rounding of
    the Fourier transform that convolves the distributions.
    """
    totals = np.bincount(clusters, weights=changes)
    sizes, counts = np.unique(np.abs(totals[totals != 0]).astype(np.int64), return_counts=True)
    reach = int(sizes @ counts)
    length = reach + 1  # sum of size x (flips that come out +): 0 ... reach
    spectrum = np.ones(length // 2 + 1, dtype=np.complex128)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        spread = np.zeros(length)
        spread[: size * count + 1 : size] = _coin_flips(count)
        spectrum *= np.fft.rfft(spread, length)
    chances = np.clip(np.fft.irfft(spectrum, length), 0.0, None)
    distance = np.abs(2 * np.arange(length) - reach)
    return min(1.0, float(chances[distance >= abs(totals.sum()) - _ROUNDING].sum()))


def _coin_flips(count: int) -> NDArray[np.float64]:
    """Chances of 0 ... count heads."""
    below = bdtr(np.arange(count + 1), count, 0.5)
    return np.diff(below, prepend=0.0)


def clustered_paired_interval(
    changes: NDArray[np.float64], clusters: NDArray[np.int64]
) -> Interval | None:
    """95 % interval of the mean change where items come in clusters, arguments as in
    `clustered_flip_p`.

    Tango's interval of the effective counts: items are divided by the design effect, the variance
    of the mean over clusters by that over items (never below 1), and the quantile is Student's for
    the number of clusters. None for fewer than two clusters.

    Source: Rao and Scott (1992), effective counts from the design effect; Tango (1998).
    """
    n, n_clusters = len(changes), int(clusters.max(initial=-1)) + 1
    if n_clusters < 2:
        return None
    centred = changes - changes.mean()
    by_item = float((centred**2).sum()) / (n - 1)
    by_cluster = (
        float((np.bincount(clusters, weights=centred) ** 2).sum())
        / n
        * n_clusters
        / (n_clusters - 1)
    )
    effect = max(1.0, by_cluster / by_item) if by_item > 0 else 1.0
    gained, lost = float((changes > 0).sum()), float((changes < 0).sum())
    return paired_interval(gained / effect, lost / effect, n / effect, t_interval(n_clusters - 1))
