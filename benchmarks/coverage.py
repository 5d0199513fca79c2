"""How often the intervals hold the truth, and how often the tests see a difference where there is
none.

Run `python benchmarks/coverage.py [SIMULATIONS]` (default 2,000; about ten minutes on one core).
Test sets are drawn at random from models whose true scores are known: items differ in difficulty,
which base and tuned share. Every number comes from the functions and the metrics that a report
uses; resampling takes 1,000 rounds instead of 10,000, each time with a seed of its own. Printed is
the table of docs/statistics.md, in Markdown. The standard error of a share near 95 % is 0.5 points
at 2,000 simulations.

Columns: coverage of the interval of the difference; shares of truths below and above it; coverage
    of the interval of
one score; p < 0.05 where base and tuned are exchangeable; the same with an interval that excludes
0, as a verdict asks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ft_harness import stats
from ft_harness.metrics import Metric, find_metric

Array = NDArray[np.float64]
Drawn = tuple[Array, Array]  # statistics of base and of tuned, [n, K] each
Draw = Callable[[np.random.Generator, int, float], Drawn]  # (generator, n, gain) -> ...
SIZES = (100, 300, 1000)
CLUSTER = 5  # items a cluster
ROUNDS = 1000


def draw_accuracy(generator: np.random.Generator, n: int, gain: float) -> Drawn:
    chance = 0.9 - 0.6 * generator.random(n)
    base, tuned = generator.random(n) < chance, generator.random(n) < chance + gain
    return base[:, None].astype(float), tuned[:, None].astype(float)


def draw_labels(generator: np.random.Generator, n: int, gain: float) -> Drawn:
    """Three classes of 60, 30 and 10 % of the items; the rarer gain more."""
    gold, difficulty = generator.choice(3, n, p=[0.6, 0.3, 0.1]), generator.random(n)
    sides = []
    for step in (0.0, gain):
        right = (
            generator.random(n) < 0.9 - 0.5 * difficulty + step * np.array([0.5, 1.0, 1.5])[gold]
        )
        predicted = np.where(right, gold, (gold + 1 + (generator.random(n) < 0.3)) % 3)
        is_gold, is_predicted = gold[:, None] == np.arange(3), predicted[:, None] == np.arange(3)
        counts = np.stack(
            [is_gold & is_predicted, ~is_gold & is_predicted, is_gold & ~is_predicted], axis=2
        )
        sides.append(counts.reshape(n, 9).astype(float))
    return sides[0], sides[1]


def draw_texts(generator: np.random.Generator, n: int, gain: float) -> Drawn:
    """sacrebleu's counts of answers of 4 to 32 words, each word right with a chance of its
    item's."""
    length, chance = generator.integers(6, 31, n), generator.beta(6, 3, n)
    sides = []
    for step in (0.0, gain):
        words = np.maximum(4, length + generator.integers(-3, 3, n))
        matched = generator.random((n, 40)) < np.minimum(0.98, chance + step)[:, None]
        matched &= np.arange(40) < np.minimum(words, length)[:, None]
        runs = [matched]
        for order in range(1, 4):
            runs.append(runs[-1][:, :-1] & matched[:, order:])
        correct = [run.sum(axis=1) for run in runs]
        total = [np.maximum(words - order, 0) for order in range(4)]
        sides.append(np.column_stack([words, length, *correct, *total]).astype(float))
    return sides[0], sides[1]


def draw_likelihoods(generator: np.random.Generator, n: int, gain: float) -> Drawn:
    """[log-likelihood, tokens]: 2 to 100 tokens and more, items of which the loss a token varies by
    58 %."""
    tokens, loss = 1 + generator.geometric(1 / 20, n), generator.gamma(3, 0.8, n)
    sides = [
        np.column_stack(
            [-tokens * loss * np.exp(-step) * np.exp(generator.normal(0, 0.25, n)), tokens]
        )
        for step in (0.0, gain)
    ]
    return sides[0], sides[1]


def draw_clustered(draw: Draw) -> Draw:
    """Clusters of five items: the items of one are alike in that they repeat its first one's with a
    chance of 60 %."""

    def drawn(generator: np.random.Generator, n: int, gain: float) -> Drawn:
        first = np.arange(n) // CLUSTER * CLUSTER
        source = np.where(generator.random(n) < 0.6, first, np.arange(n))
        base, tuned = draw(generator, n, gain)
        return base[source], tuned[source]

    return drawn


@dataclass(frozen=True)
class Case:
    name: str
    metric: Metric
    draw: Draw
    gain: float
    clustered: bool = False

    def scale(self, values: Array) -> Array:
        """Differences of perplexities are judged as ratios."""
        return np.log(values) if np.isinf(self.metric.scale) else values

    def aggregate(self, sums: Array, n: object) -> Array:
        return self.scale(self.metric.aggregate(sums, n))

    def clusters(self, n: int) -> NDArray[np.int64] | None:
        return np.arange(n) // CLUSTER if self.clustered else None

    def truth(self, draws: int = 20) -> tuple[float, float]:
        """(base score, difference) of so many times 100,000 items."""
        sums, n = np.zeros((2, self.draw(np.random.default_rng(0), 10, 0.0)[0].shape[1])), 0
        generator = np.random.default_rng(99)
        for _ in range(draws):
            sums += np.stack(
                [side.sum(axis=0) for side in self.draw(generator, 100_000, self.gain)]
            )
            n += 100_000
        base, tuned = self.aggregate(sums, n)
        return float(self.metric.aggregate(sums[0], n)), float(tuned - base)


CASES = [
    Case("accuracy", find_metric("acc"), draw_accuracy, 0.08),
    Case("macro F1", find_metric("f1_macro"), draw_labels, 0.10),
    Case("BLEU", find_metric("bleu"), draw_texts, 0.03),
    Case("perplexity", find_metric("token_ppl"), draw_likelihoods, 0.10),
    Case(
        "accuracy, clusters of 5",
        find_metric("acc"),
        draw_clustered(draw_accuracy),
        0.08,
        clustered=True,
    ),
    Case(
        "macro F1, clusters of 5",
        find_metric("f1_macro"),
        draw_clustered(draw_labels),
        0.10,
        clustered=True,
    ),
]


def judge(
    case: Case, drawn: Drawn, n: int, seed: int
) -> tuple[stats.Interval | None, float | None]:
    """Interval and p of the difference, as a report makes them."""
    base, tuned = drawn
    clusters = case.clusters(n)
    if not case.metric.binary:
        how = stats.Resampling(ROUNDS, seed)
        pairs = stats.pair_units(base, tuned, clusters)
        return (
            stats.paired_bootstrap(pairs, case.aggregate, how),
            stats.permutation_p(pairs, case.aggregate, how),
        )
    changes = tuned[:, 0] - base[:, 0]
    if clusters is not None:
        return stats.clustered_paired_interval(changes, clusters), stats.clustered_flip_p(
            changes, clusters
        )
    gained, lost = int((changes > 0).sum()), int((changes < 0).sum())
    return stats.paired_interval(gained, lost, n), stats.mcnemar_exact(gained, lost)


def single(case: Case, statistics: Array, n: int, seed: int) -> stats.Interval | None:
    """Interval of one score, as an evaluation makes it; of a clustered one, which is not made,
    None."""
    if case.clustered:
        return None
    if case.metric.binary:
        return stats.wilson_interval(int(statistics.sum()), n)
    return stats.bootstrap_interval(
        statistics, case.metric.aggregate, stats.Resampling(ROUNDS, seed)
    )


def simulate(case: Case, n: int, simulations: int, truths: tuple[float, float]) -> list[float]:
    """[coverage, truths below, truths above, coverage of one score, p < 0.05, verdicts] as
    shares."""
    value, truth = truths
    found = np.zeros(6)
    for number in range(simulations):
        generator = np.random.default_rng([number, n])
        drawn = case.draw(generator, n, case.gain)
        low, high = judge(case, drawn, n, number)[0] or (np.inf, -np.inf)
        alone = single(case, drawn[0], n, number) or (np.inf, -np.inf)
        interval, p = judge(case, case.draw(generator, n, 0.0), n, number)
        seen = p is not None and p < stats.ALPHA
        excludes = interval is not None and not interval[0] <= 0 <= interval[1]
        found += (
            low <= truth <= high,
            truth < low,
            truth > high,
            alone[0] <= value <= alone[1],
            seen,
            seen and excludes,
        )
    return [float(share) for share in found / simulations]


def main(simulations: int) -> None:
    print(
        "| metric | n | coverage | truth below | truth above | one score | p < 0.05, no difference | verdict, none |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for case in CASES:
        truths = case.truth()
        for n in SIZES:
            shares = simulate(case, n, simulations, truths)
            cells = [
                "-" if case.clustered and column == 3 else f"{100 * share:.1f}"
                for column, share in enumerate(shares)
            ]
            print(f"| {case.name} | {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
