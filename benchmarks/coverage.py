"""How often intervals hold the truth, and how often tests see a difference where there is none.

Run `python benchmarks/coverage.py [SIMULATIONS] [NAME ...]` (default 2,000 simulations of all cells;
about ten minutes on one core). Test sets are drawn from models whose true scores are known; items
differ in difficulty, which base and tuned share. Every number comes from the functions and the
metrics that a report uses; random weights are drawn 1,000 times instead of 10,000, and a hundred
test sets share them, which saves most of the time. Printed is the table of docs/statistics.md, in
Markdown. The standard error of a share near 95 % is 0.5 points at 2,000 simulations.

Columns: coverage of the interval of the difference; truths below and above it; coverage of the
interval of one score; p < 0.05 where both sides have the same true score; intervals not given, of
differences and of single scores (the shares before are of those that are given); median width.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ft_harness import stats
from ft_harness.metrics import Metric, find_metric

Array = NDArray[np.float64]
Clusters = NDArray[np.int64] | None
Drawn = tuple[Array, Array, Clusters]  # statistics of base and of tuned [n, K], numbers of clusters
Draw = Callable[[np.random.Generator, int, float], Drawn]  # (generator, n, gain) -> ...
Judged = tuple[float, float, float]
Sides = Callable[[np.random.Generator, int, float], tuple[Array, Array]]
PLAIN = (100, 300, 1000)
HARD = (30, 50, 100, 300)
ROUNDS = 1000
SHARING = 100  # test sets that share their random weights
TRUTH_ITEMS = 400_000
COLUMNS = 7  # shares that `simulate` gives before the width


def draw_accuracy(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
    chance = 0.9 - 0.6 * generator.random(n)
    base, tuned = generator.random(n) < chance, generator.random(n) < chance + gain
    return base[:, None].astype(float), tuned[:, None].astype(float)


def draw_few_changes(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
    """2 % of the answers become right and 2 % wrong, and so much more becomes right."""
    base, chance = generator.random(n) < 0.5, generator.random(n)
    tuned = (base | (chance < 0.04 + 2 * gain)) & ~(base & (chance > 0.96))
    return base[:, None].astype(float), tuned[:, None].astype(float)


def draw_labels(
    priors: tuple[float, ...], right: float, rare: int = 0
) -> Callable[[np.random.Generator, int, float], tuple[Array, Array]]:
    """Classes of these shares, the last one of exactly `rare` items if that is given; rarer ones
    gain more."""
    classes = len(priors)

    def draw(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
        gold, difficulty = generator.choice(classes, n, p=priors), generator.random(n)
        if rare:
            gold[:rare] = classes - 1
        sides = []
        for step in (0.0, gain):
            chance = right - 0.45 * difficulty + step * np.linspace(0.5, 1.5, classes)[gold]
            other = (gold + 1 + (generator.random(n) < 0.3) * (classes > 2)) % classes
            predicted = np.where(generator.random(n) < chance, gold, other)
            is_gold, is_predicted = (
                label[:, None] == np.arange(classes) for label in (gold, predicted)
            )
            counts = is_gold & is_predicted, ~is_gold & is_predicted, is_gold & ~is_predicted
            sides.append(np.stack(counts, axis=2).reshape(n, 3 * classes).astype(float))
        return sides[0], sides[1]

    return draw


def draw_texts(alpha: float, beta: float) -> Sides:
    """sacrebleu's counts of answers of 4 to 32 words, each word right with its item's chance, which
    is Beta(alpha, beta)."""

    def draw(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
        length, chance = generator.integers(6, 31, n), generator.beta(alpha, beta, n)
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

    return draw


def _likelihoods(tokens: Array, base: Array, tuned: Array) -> tuple[Array, Array]:
    return np.column_stack([-tokens * base, tokens]), np.column_stack([-tokens * tuned, tokens])


def draw_losses(kind: str) -> Sides:
    """[log-likelihood, tokens]: texts of 2 to 100 tokens and more ("plain": the loss a token varies
    by 58 %; "heavy": log-normal, by 112 %), or 5 % of them forty times as long ("long")."""

    def draw(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
        tokens = 1.0 + generator.geometric(1 / 20, n)
        if kind == "long":
            tokens[generator.random(n) < 0.05] *= 40
        heavy = np.exp(generator.normal(0.3, 0.9, n))
        loss = {
            "plain": generator.gamma(3, 0.8, n),
            "heavy": heavy,
            "long": generator.gamma(6, 0.4, n),
        }
        noise = np.exp(generator.normal(0, 0.25, (2, n)))
        return _likelihoods(tokens, loss[kind] * noise[0], loss[kind] * np.exp(-gain) * noise[1])

    return draw


def draw_ruined(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
    """Most texts a little better, 4 % ruined: without a gain the perplexity is the same."""
    tokens, loss = 5.0 + generator.geometric(1 / 20, n), 0.5 + generator.gamma(6, 0.35, n)
    harm = np.where(generator.random(n) < 0.04, generator.exponential(1.5, n), 0.0)
    return _likelihoods(tokens, loss, loss + harm - 0.06 - gain + generator.normal(0, 0.03, n))


def draw_sparse(share: float) -> Sides:
    """Scores above 0 on this share of the items only."""

    def draw(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
        def scores(chance: float) -> Array:
            return np.where(generator.random(n) < chance, generator.beta(2, 2, n), 0.0)

        base = scores(share)
        tuned = np.where(generator.random(n) < 0.5, base, scores(share))
        return base[:, None], np.where(generator.random(n) < gain, 1.0, tuned)[:, None]

    return draw


def draw_graded(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
    mean = generator.beta(2, 2, n)
    noise = generator.normal(0, 0.2, (2, n))
    return np.clip(mean + noise[0], 0, 1)[:, None], np.clip(mean + gain + noise[1], 0, 1)[:, None]


def draw_short_answers(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
    """Token F1 of a strong system: mostly 1, some 0, few between; 12 % of the answers change."""

    def scores() -> Array:
        chance = generator.random(n)
        between = np.round(generator.beta(2, 2, n), 2)
        return np.where(chance < 0.75, 1.0, np.where(chance < 0.87, 0.0, between))

    base = scores()
    tuned = np.where(generator.random(n) < 0.88, base, scores())
    return base[:, None], np.where(generator.random(n) < gain, 1.0, tuned)[:, None]


def draw_brier(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
    confidence = generator.beta(4, 2, n)
    noise = generator.normal(0, 0.1, (2, n))
    base, tuned = (
        2 * (1 - np.clip(confidence + step + each, 0, 1)) ** 2
        for step, each in zip((0.0, gain), noise, strict=True)
    )
    return base[:, None], tuned[:, None]


def draw_one_in_twenty(generator: np.random.Generator, n: int, gain: float) -> tuple[Array, Array]:
    """0.05 everywhere against 1 on 5 % of the items."""
    return np.full((n, 1), 0.05), (generator.random((n, 1)) < 0.05 + gain).astype(float)


def alone(draw: Sides) -> Draw:
    return lambda generator, n, gain: (*draw(generator, n, gain), None)


def in_fives(draw: Sides) -> Draw:
    """Clusters of five items, which repeat the first one's with a chance of 60 %."""

    def drawn(generator: np.random.Generator, n: int, gain: float) -> Drawn:
        first = np.arange(n) // 5 * 5
        source = np.where(generator.random(n) < 0.6, first, np.arange(n))
        base, tuned = draw(generator, n, gain)
        return base[source], tuned[source], np.arange(n) // 5

    return drawn


def in_uneven(graded: bool) -> Draw:
    """n clusters (n is their number here) of 1 to 30 items and more, alike in level and change."""

    def drawn(generator: np.random.Generator, n: int, gain: float) -> Drawn:
        sizes = np.maximum(1, np.round(np.exp(generator.normal(1.2, 1.0, n)))).astype(int)
        clusters = np.repeat(np.arange(n), sizes)
        level, change = generator.normal(0, 1, n)[clusters], generator.normal(0, 0.8, n)[clusters]
        item, *noise = generator.normal(0, 1, (3, len(clusters)))
        # as much noise on both sides: without a gain both have the same distribution
        base = 0.3 + item + level + generator.normal(0, 0.8, n)[clusters] + noise[0] / 2
        tuned = 0.3 + item + level + change + noise[1] / 2 + gain
        base, tuned = (
            np.clip(side / 4 + 0.5, 0, 1) if graded else (side > 0).astype(float)
            for side in (base, tuned)
        )
        return base[:, None], tuned[:, None], clusters

    return drawn


@dataclass(frozen=True)
class Case:
    name: str
    metric: Metric
    draw: Draw
    gain: float
    sizes: tuple[int, ...] = HARD

    def sums(self, n: int, gain: float) -> tuple[Array, int]:
        """Sums [2, K] of both sides over test sets of n items, 400,000 items in all."""
        generator, total, items = np.random.default_rng(99), np.zeros(1), 0
        while items < TRUTH_ITEMS:
            base, tuned, _ = self.draw(generator, n, gain)
            total, items = (
                total + np.stack([base.sum(axis=0), tuned.sum(axis=0)]),
                items + len(base),
            )
        return total, items

    def truth(self, n: int) -> tuple[float, float]:
        """(base score, difference), of perplexities on the scale of the logarithm."""
        base, tuned = self.metric.aggregate(*self.sums(n, self.gain))
        if np.isinf(self.metric.scale):
            base, tuned = np.log(base), np.log(tuned)
        return float(base), float(tuned - base)


def _case(name: str, metric: str, draw: Draw, gain: float, sizes: tuple[int, ...] = HARD) -> Case:
    return Case(name, find_metric(metric), draw, gain, sizes)


THREE = draw_labels((0.6, 0.3, 0.1), 0.9)
CASES = [
    _case("accuracy", "acc", alone(draw_accuracy), 0.08, PLAIN),
    _case("token F1", "token_f1", alone(draw_graded), 0.05, PLAIN),
    _case("macro F1", "f1_macro", alone(THREE), 0.10, PLAIN),
    _case("BLEU", "bleu", alone(draw_texts(6, 3)), 0.03, PLAIN),
    _case("perplexity", "token_ppl", alone(draw_losses("plain")), 0.10, PLAIN),
    _case("accuracy, clusters of 5", "acc", in_fives(draw_accuracy), 0.08, PLAIN),
    _case("macro F1, clusters of 5", "f1_macro", in_fives(THREE), 0.10, PLAIN),
    _case("accuracy, 4 % of the answers change", "acc", alone(draw_few_changes), 0.04),
    *(
        _case(f"token F1, {100 * share:.0f} % above 0", "token_f1", alone(draw_sparse(share)), 0.02)
        for share in (0.02, 0.04, 0.06)
    ),
    _case("token F1 of short answers", "token_f1", alone(draw_short_answers), 0.03),
    _case("token F1, .05 against 1 on 5 %", "token_f1", alone(draw_one_in_twenty), 0.03),
    _case("Brier's score", "brier", alone(draw_brier), 0.05),
    _case("macro F1, a class of 3", "f1_macro", alone(draw_labels((0.6, 0.4, 0.0), 1.0, 3)), 0.05),
    _case("balanced accuracy, 50/40/10", "balanced_acc", alone(draw_labels((0.5, 0.4, 0.1), 0.95)), 0.05),
    _case("MCC, 95/5", "mcc", alone(draw_labels((0.95, 0.05), 1.15)), 0.05),
    _case("BLEU near 0.7", "bleu", alone(draw_texts(1.2, 14)), 0.01),
    _case("perplexity, heavy tails", "token_ppl", alone(draw_losses("heavy")), 0.10),
    _case("perplexity, 5 % long texts", "token_ppl", alone(draw_losses("long")), 0.10),
    _case("perplexity, a few texts ruined", "token_ppl", alone(draw_ruined), 0.03, (*HARD, 1000)),
    _case("accuracy, n uneven clusters", "acc", in_uneven(graded=False), 0.20, (10, 20, 30, 60)),
    _case("token F1, n uneven clusters", "token_f1", in_uneven(graded=True), 0.20, (10, 20, 30, 60)),
]  # fmt: skip


@lru_cache(maxsize=1)
def shared_weights(units: int, seed: int) -> tuple[Array, Array]:
    """Weights that add up to the number of units: theirs [rounds, units], and of one more
    [rounds]."""
    weights = np.random.default_rng(seed).standard_exponential((ROUNDS, units + 1))
    weights *= units / weights.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(weights[:, :-1]), weights[:, -1]


class TestSet(stats.Sample):
    """A sample whose random weights are those of other test sets of its size."""

    @cached_property
    def draws(self) -> tuple[Array, Array]:
        weights, more = shared_weights(self.units.number, self.resampling.seed)
        return weights @ np.repeat(self.units.rows, self.units.counts, axis=0), more


def judge(metric: Metric, sides: tuple[Array, ...], clusters: Clusters, seed: int) -> Judged:
    """(low, high, p) of a score or a difference, as a report makes them; NaN where not given. Of
    perplexities on the scale of the logarithm."""
    if metric.binary and clusters is None and len(sides) == 1:
        low, high = stats.score_interval(sides[0], metric) or (np.nan, np.nan)
        return low, high, np.nan
    found = stats.confidence(TestSet(sides, clusters, stats.Resampling(ROUNDS, seed)), metric)
    return (*(found.interval or (np.nan, np.nan)), np.nan if found.p is None else found.p)


def simulate(case: Case, n: int, simulations: int, truths: tuple[float, float]) -> list[float]:
    """[coverage, truths below, truths above, coverage of one score, p < 0.05 without a difference,
    intervals of the difference not given, of one score not given] as shares; median width."""
    value, truth = truths
    found, widths = np.zeros(COLUMNS), []
    for number in range(simulations):
        generator, seed = np.random.default_rng([number, n]), number // SHARING
        *sides, clusters = case.draw(generator, n, case.gain)
        low, high, _ = judge(case.metric, (sides[0], sides[1]), clusters, seed)
        single = judge(case.metric, (sides[0],), clusters, seed)
        *sides, clusters = case.draw(generator, n, 0.0)
        _, _, p = judge(case.metric, (sides[0], sides[1]), clusters, seed)
        found += (
            low <= truth <= high,
            truth < low,
            truth > high,
            single[0] <= value <= single[1],
            p < stats.ALPHA,
            np.isnan(low),
            np.isnan(single[0]),
        )
        widths.append(high - low)
    given, given_single = simulations - found[5:]
    shares = found / np.array([given, given, given, given_single, *[simulations] * 3]).clip(1)
    return [*(float(share) for share in shares), float(np.nanmedian(widths))]


def table(simulations: int, names: list[str]) -> Iterator[str]:
    yield "| metric | n | coverage | below | above | one score | p < 0.05, none | not given | width |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for case in CASES:
        if names and not any(name in case.name for name in names):
            continue
        for n in case.sizes:
            *shares, of_difference, of_single, width = simulate(case, n, simulations, case.truth(n))
            cells = [f"{100 * share:.1f}" for share in shares]
            cells.append(f"{100 * of_difference:.0f} / {100 * of_single:.0f}")
            yield f"| {case.name} | {n} | {' | '.join(cells)} | {width:.4g} |"


if __name__ == "__main__":
    given = sys.argv[1:]
    for line in table(int(given[0]) if given else 2000, given[1:]):
        print(line, flush=True)
