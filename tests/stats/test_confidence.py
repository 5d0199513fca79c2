"""Intervals and tests by random weights. Expected values come from hand calculation, scipy or
sacrebleu."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from ft_harness.metrics import Metric, find_metric, label_statistics
from ft_harness.metrics.overlap import bleu_statistics
from ft_harness.stats import (
    Confidence,
    Resampling,
    Sample,
    confidence,
    mcnemar_mid_p,
    paired_interval,
    possible_range,
    score_interval,
    wilson_interval,
)
from ft_harness.stats.units import make_units
from ft_harness.stats.weighting import _chance, _degrees, _find_low, _find_shape, _skewness

Array = NDArray[np.float64]
Clusters = NDArray[np.int64] | None
F1 = find_metric("token_f1")
AS_GRADED = replace(find_metric("acc"), binary=False)  # 0/1 scores by random weights


def column(values: object) -> Array:
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def compare(
    base: Array, tuned: Array, metric: Metric = F1, clusters: Clusters = None
) -> Confidence:
    return confidence(Sample((base, tuned), clusters), metric)


def marked(sums: Array, n: object) -> Array:
    """First statistic over the second; NaN where no item is marked."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


# --- zeros and ones


@pytest.mark.parametrize(("right", "n"), [(0, 20), (3, 20), (12, 40), (40, 40)])
def test_one_share_has_the_mid_p_interval_of_clopper_and_pearson(right: int, n: int) -> None:
    """Half of beta(k + 1, n - k) and half of beta(k, n - k + 1), by scipy. Ends are 2 % further
    out, at the normal level of 1.02 x 1.96: 2.28 %."""

    def below(share: float) -> float:
        upper = scipy.stats.beta.cdf(share, right + 1, n - right) if right < n else share >= 1
        lower = scipy.stats.beta.cdf(share, right, n - right + 1) if right else share >= 0
        return float((upper + lower) / 2)

    found = score_interval(column([1.0] * right + [0.0] * (n - right)), AS_GRADED)
    assert found is not None
    assert found[0] == 0 if not right else below(found[0]) == pytest.approx(0.0228, abs=0.004)
    assert found[1] == 1 if right == n else below(found[1]) == pytest.approx(0.9772, abs=0.004)


@pytest.mark.parametrize(("gained", "lost", "n"), [(6, 0, 40), (12, 4, 60), (9, 9, 30)])
def test_zeros_and_ones_are_resolved_without_random_weights(gained: int, lost: int, n: int) -> None:
    base = column([0.0] * gained + [1.0] * lost + [1.0] * (n - gained - lost))
    tuned = column([1.0] * gained + [0.0] * lost + [1.0] * (n - gained - lost))
    found = compare(base, tuned, find_metric("acc"))
    assert found == Confidence(paired_interval(gained, lost, n), mcnemar_mid_p(gained, lost))


def test_one_score_of_zeros_and_ones_is_wilsons() -> None:
    scores = column([1, 0, 1, 1])
    assert score_interval(scores, find_metric("acc")) == wilson_interval(3, 4)
    assert score_interval(np.empty((0, 1)), find_metric("acc")) is None


# --- graded scores


def test_an_accuracy_with_halves_is_no_share() -> None:
    """A task's own function may give half a point. Of 24 halves Wilson's interval would be that of
    12 right ones, 0.31 to 0.69, and a change by half counts as much as one by 1."""
    acc, graded = find_metric("acc"), replace(find_metric("acc"), binary=False)
    halves = np.full((24, 1), 0.5)
    halves[:4] = [[1.0], [0.0], [1.0], [0.0]]
    low, high = score_interval(halves, acc) or (0.0, 0.0)
    assert (low, high) == score_interval(halves, graded)
    # the standard error of the mean is 0.5 * sqrt(4) / 24
    assert 0.38 < low < 0.5 < high < 0.62
    changed = np.minimum(halves + np.linspace(0.0, 0.3, 24)[:, None], 1.0)
    pair = Sample((halves, changed))
    assert confidence(pair, acc) == confidence(pair, graded)


def test_scores_that_are_all_alike_have_a_width() -> None:
    """0 on all 200 items: half of beta(1, 200) lies above the end: 1 - 0.05^(1/200) = 0.0149."""
    found = score_interval(np.zeros((200, 1)), F1)
    assert found is not None
    assert found == pytest.approx((0.0, 0.0149), abs=0.001)
    nothing = compare(np.full((50, 1), 0.5), np.full((50, 1), 0.5))
    assert nothing.p == pytest.approx(1.0, abs=0.03)
    assert nothing.interval is not None
    assert nothing.interval[0] < 0 < nothing.interval[1]


def test_what_no_item_shows_is_not_excluded() -> None:
    """0.05 on all 50 items against 0: one item of 1 would turn it, and (1 - 0.05)^50 = 8 % of the
    test sets lack such an item where 5 % of all items are 1."""
    found = compare(np.full((50, 1), 0.05), np.zeros((50, 1)))
    assert found.p is not None
    assert found.p > 0.05


def test_plain_scores_have_the_interval_of_the_bootstrap() -> None:
    generator = np.random.default_rng(3)
    base = generator.beta(2, 2, 300)
    tuned = np.clip(base + generator.normal(0.03, 0.2, 300), 0, 1)
    theirs = scipy.stats.bootstrap(
        (tuned - base,), np.mean, method="percentile", n_resamples=10_000, rng=4
    ).confidence_interval
    found = compare(column(base), column(tuned)).interval
    assert found is not None
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert found[1] - found[0] >= 0.99 * (theirs.high - theirs.low)


def test_p_agrees_with_the_interval() -> None:
    for seed in range(200):
        generator = np.random.default_rng(seed)
        base, tuned = generator.random((2, 30, 1))
        found = confidence(Sample((base, tuned + 0.1), None, Resampling(400, seed)), F1)
        assert found.interval is not None
        assert found.p is not None
        assert (found.p < 0.05) == (not found.interval[0] <= 0 <= found.interval[1])


def test_equal_means_of_sides_that_are_not_exchangeable() -> None:
    """Most items a little better, a few much worse: at most 7 % of 300 test sets of 50 items show a
    difference (standard error 1.3 points); swapping sides would show it in a fifth."""
    shown = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        worse = generator.random((50, 1)) < 0.05
        base, tuned = np.full((50, 1), 0.9), np.where(worse, 0.0, 0.9 + 0.045 / 0.95)
        p = confidence(Sample((base, tuned), None, Resampling(500, seed)), F1).p
        shown += p is not None and p < 0.05
    assert shown <= 0.07 * 300


def test_a_change_that_no_item_shows_lies_within_what_the_changes_allow() -> None:
    """Scores 0.2 and 0.6 in turn (standard deviation 0.2) and changes of 0.1 up and down (0.1): the
    unseen item changes by 1.75 x 0.1 where all items change, by 2 x 0.2 where one in ten does."""
    base = column([0.2, 0.6] * 20)
    all_change = base + column([0.1, 0.1, -0.1, -0.1] * 10)
    edges = F1.edges((base, all_change))
    spread = all_change.std()  # sqrt(0.04 + 0.01): changes don't follow scores
    assert edges[0].ravel() == pytest.approx([0.4 - 0.175, 0.4 + 0.175])
    assert edges[1].ravel() == pytest.approx([0.4 - 0.175, 0.4 + 0.175])
    assert spread == pytest.approx(0.05**0.5)
    few_change = base + column([0.1] + [0.0] * 9 + [-0.1] + [0.0] * 9 + [0.0] * 20)
    assert F1.edges((base, few_change))[0].ravel() == pytest.approx([0.0, 0.8])
    assert F1.edges((base,))[0].ravel() == pytest.approx([0.0, 1.0])  # four: cut at the ends


def test_intervals_are_longer_than_what_the_drawing_gets_wrong() -> None:
    """2 % beyond the normal quantile of 400 plain scores, and the unseen item's 1 %; p agrees."""
    scores = scipy.stats.norm.ppf((np.arange(400) + 0.5) / 400) / 10 + 0.5
    found = score_interval(column(scores), F1)
    assert found is not None
    half = scipy.stats.norm.ppf(0.975) * scores.std() / 20
    assert 1.02 < (found[1] - found[0]) / 2 / half < 1.05


# --- clusters


def test_items_that_change_together_count_as_one() -> None:
    """Items repeated five times in their cluster have nearly the interval of the items alone (two
    standard errors, Student's quantile of 59 degrees)."""
    values = np.random.default_rng(3).beta(2, 2, 60)
    once = score_interval(column(values), F1)
    five = score_interval(column(np.repeat(values, 5)), F1, np.repeat(np.arange(60), 5))
    apart = score_interval(column(np.repeat(values, 5)), F1)
    assert once is not None
    assert five is not None
    assert apart is not None
    assert (five[1] - five[0]) / (once[1] - once[0]) == pytest.approx(1.03, abs=0.06)
    assert (apart[1] - apart[0]) / (once[1] - once[0]) == pytest.approx(5**-0.5, rel=0.1)


def test_few_clusters_have_students_quantile() -> None:
    """Ten clusters of one size, no unseen item: mean +- t(9) s / sqrt(10) of the clusters'
    means."""
    alone = replace(F1, edges_of=lambda sides: [np.zeros((0, 2, 1)) for _ in sides])
    means = 0.5 + scipy.stats.norm.ppf((np.arange(10) + 0.5) / 10) / 4
    scores, clusters = column(np.repeat(means, 4)), np.repeat(np.arange(10), 4)
    half = scipy.stats.t.ppf(0.975, 9) * means.std(ddof=1) / math.sqrt(10)
    found = score_interval(scores, alone, clusters)
    assert found is not None
    # longer by the root of 10/9, the jackknife's correction on top of that of random weights
    expected = half * math.sqrt(10 / 9)
    assert (found[1] - found[0]) / 2 == pytest.approx(expected, rel=0.06)
    with_unseen = score_interval(scores, F1, clusters)
    assert with_unseen is not None
    assert with_unseen[0] < found[0] < found[1] < with_unseen[1]


def test_clusters_of_unequal_size_change_the_number_of_items() -> None:
    sums = make_units([column([1, 0, 0, 0])], np.array([0, 1, 1, 1])).rows
    assert sorted(sums.tolist()) == [[0.0, 3.0], [1.0, 1.0]]


def test_too_few_clusters_have_no_interval() -> None:
    scores = column(np.random.default_rng(1).random(20))
    assert score_interval(scores, F1, np.arange(20) // 10) is None
    assert score_interval(scores, F1, np.arange(20) // 7) is None  # three
    assert score_interval(scores, F1, np.arange(20) // 5) is not None
    assert compare(scores, scores + 0.1, F1, np.arange(20) // 10) == Confidence(None, None)


# --- weighted items


def test_degrees_of_freedom_of_equal_and_unequal_weights() -> None:
    """Equal weights leave n - 1. Otherwise, by scipy's chi-squared matched to 400,000 simulated
    values of the quadratic form: 2 (mean)^2 / variance."""
    assert _degrees(np.full(10, 0.1), np.ones(10, dtype=np.int64)) == pytest.approx(9.0)
    shares = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    drawn = np.random.default_rng(1).normal(size=(400_000, 5))
    rest = (drawn - (drawn @ shares)[:, None]) * shares
    form = (rest**2 / (1 - shares)).sum(axis=1)
    expected = 2 * form.mean() ** 2 / form.var()
    assert _degrees(shares, np.ones(5, dtype=np.int64)) == pytest.approx(expected, rel=0.02)


def test_the_standard_error_of_long_and_short_texts() -> None:
    """Losses a token that vary by 1 / sqrt(tokens) have a mean of the standard error 1 /
    sqrt(tokens in all); over 4,000 sets of 20 texts the squares that the interval rests on have
    that mean, where those of random weights are too small."""
    tokens = np.array([2.0] * 12 + [10.0] * 6 + [40.0] * 2)
    generator, found = np.random.default_rng(4), []
    for _ in range(4000):
        text = losses(3 + generator.normal(size=20) / np.sqrt(tokens), tokens)
        sample = Sample((text,))
        shape = _find_shape(sample, find_metric("token_ppl"))
        mean = (text[:, 0].sum()) / tokens.sum()
        parts = (text[:, 0] / tokens - mean) * tokens / tokens.sum()
        found.append((parts**2).sum() * 20 / 21 * shape.excess**2)
    assert np.mean(found) == pytest.approx(1 / tokens.sum(), rel=0.03)


@pytest.mark.parametrize(
    ("sizes", "within"),
    [([1] * 30, 0.05), ([5] * 8 + [2] * 15 + [1] * 30, 0.1), ([*range(1, 41)], 0.1)],
    ids=["equal", "three lengths", "all lengths"],
)
def test_what_chance_makes_of_skewness(sizes: list[int], within: float) -> None:
    """Mean square of a sixth of the skewness of 20,000 sums of normal units."""
    shares = np.array(sizes) / sum(sizes)
    units = np.random.default_rng(8).normal(size=(20_000, len(shares)))
    parts = shares * (units - (units @ shares)[:, None])
    parts /= np.sqrt((parts**2).sum(axis=1, keepdims=True))
    expected = ((parts**3).sum(axis=1) ** 2).mean() / 36
    found = _chance(shares, np.ones(len(shares), dtype=np.int64))
    assert found == pytest.approx(expected, rel=within)


def test_skewness_is_less_what_chance_makes_of_it() -> None:
    """A lone unit among 50 equal ones has all of it, a sixth; the skewness of n normal numbers has
    the variance 6 (n - 2) / ((n + 1) (n + 3)), and that of their sum is 1 / sqrt(n) of theirs."""
    even, one = np.full(50, 0.02), np.ones(50, dtype=np.int64)
    lone = np.r_[1.0, np.zeros(49)]
    chance = 6 * 48 / (51 * 53) / 50 / 36
    assert _skewness(lone, even, one) == pytest.approx(1 / 6 - 6 * chance, rel=1e-4)
    assert _skewness(-lone, even, one) == pytest.approx(-1 / 6 + 6 * chance, rel=1e-4)
    none = np.r_[np.full(25, 0.02), np.full(25, -0.02)] * 50**0.5
    assert _skewness(none, even, one) == 0.0


def test_two_texts_that_hold_all_tokens_have_no_interval() -> None:
    few = np.array([[-2000.0, 1000.0], [-2500.0, 1000.0]] + [[-2.0, 1.0]] * 30)
    assert score_interval(few, find_metric("token_ppl")) is None
    rest = few[2:] * np.column_stack([np.linspace(0.9, 1.1, 30), np.ones(30)])
    assert score_interval(rest, find_metric("token_ppl")) is not None


def test_perplexities_are_positive_and_compared_by_their_ratio() -> None:
    generator = np.random.default_rng(2)
    tokens = generator.integers(10, 30, 200).astype(float)
    loss = generator.gamma(9, 0.3, 200)
    base = np.column_stack([-tokens * loss, tokens])
    tuned = np.column_stack([-tokens * (loss - 0.2 + generator.normal(0, 0.1, 200)), tokens])
    found = compare(base, tuned, find_metric("token_ppl")).interval
    changes = tuned[:, 0].sum() / tokens.sum() - base[:, 0].sum() / tokens.sum()
    assert found is not None
    assert found[0] < -changes < found[1] < 0
    alone = score_interval(base, find_metric("token_ppl"))
    assert alone is not None
    assert 0 < alone[0] < math.exp((tokens * loss).sum() / tokens.sum()) < alone[1]


# --- what random weights promise


def test_large_sets_are_drawn_in_blocks_with_the_same_result() -> None:
    generator = np.random.default_rng(5)
    base = generator.beta(2, 2, (20_000, 1))
    tuned = np.clip(base + generator.normal(0.002, 0.2, (20_000, 1)), 0, 1)
    sample = Sample((base, tuned))
    assert len(sample.units.rows) == 2000
    assert sample.units.totals == pytest.approx([base.sum(), tuned.sum(), 20_000])
    differences = tuned - base
    error = 1.96 * differences.std() / math.sqrt(20_000)
    found = confidence(sample, F1)
    expected = differences.mean() - error, differences.mean() + error
    assert found.interval == pytest.approx(expected, abs=0.06 * error)
    order = generator.permutation(20_000)
    again = compare(base[order], tuned[order]).interval
    assert again == pytest.approx(found.interval, abs=0.1 * error)


def test_weights_depend_on_the_seed_but_not_on_order_or_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, tuned = np.random.default_rng(6).random((2, 70, 1))
    order = np.random.default_rng(7).permutation(70)

    def draw(base: Array, tuned: Array, seed: int) -> Confidence:
        return confidence(Sample((base, tuned), None, Resampling(500, seed)), F1)

    found = draw(base, tuned, 7)
    assert draw(base[order], tuned[order], 7) == found
    other = draw(base, tuned, 8)
    assert other.interval != found.interval
    monkeypatch.setattr("ft_harness.stats.units._CHUNK_CELLS", 8 * 70 + 1)
    chunked = draw(base, tuned, 7)
    assert chunked.interval == pytest.approx(found.interval)


def test_two_rows_of_one_hash_stay_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixer of zero gives every row the same hash."""
    monkeypatch.setattr("ft_harness.stats.units._MIXERS", (np.uint64(0), np.uint64(0)))
    units = make_units([column([1, 2, 2, 3])], None)
    assert (units.rows[:, 0].tolist(), units.counts.tolist()) == ([1.0, 2.0, 3.0], [1, 2, 1])


def test_undefined_values_have_no_interval() -> None:
    share = Metric("marked", marked, edges_of=lambda sides: [np.zeros((0, 2, 2)) for _ in sides])
    unmarked, half = np.array([[0.0, 0.0]] * 6), np.array([[1.0, 1.0]] * 3 + [[0.0, 1.0]] * 3)
    assert score_interval(unmarked, share) is None
    assert compare(unmarked, half, share) == Confidence(None, None)
    assert compare(half, half[::-1], share).p == pytest.approx(1.0, abs=0.03)
    assert compare(half, half, share) == Confidence(None, None)  # [0, 0] is no interval
    assert compare(column([1.0]), column([0.5])) == Confidence(None, None)


def test_a_class_of_one_item_has_an_honest_interval() -> None:
    """29 items of one class and one of the other, all right: macro F1 is 1, and its lower end what
    a second item of the rare class, missed, would make of it: F1 of 2 w / (2 w + v) with two
    exponential weights is below x in half of the sets with v, so 2.5 % is at 5 % of them."""
    golds = [0] * 29 + [1]
    rows = np.array([label_statistics(gold, gold, ["a", "b"])["f1_macro"] for gold in golds])
    found = score_interval(rows, find_metric("f1_macro"))
    assert found is not None
    assert found[1] == 1.0
    # w / v is at its 5 % quantile 0.05 / 0.95: F1 = 2 r / (2 r + 1) = 0.0952, the other's about 0.98
    assert found[0] == pytest.approx((0.0952 + 0.98) / 2, abs=0.02)


def test_what_bleu_does_not_show_is_the_reference_where_matches_are_rare() -> None:
    """Longer n-grams of ten words: none matches in nine items of ten, which says nothing of the
    next one; where all items match about half, the next one does so too."""
    bleu = find_metric("bleu")
    nothing, everything = [10, 10, 2, 0, 0, 0, 10, 9, 8, 7], [10, 10, 10, 9, 8, 7, 10, 9, 8, 7]
    rare = np.array([nothing] * 9 + [everything], dtype=np.float64)
    low, high = bleu.edges((rare,))[0][0]
    assert low[2:6].tolist() == [0, 0, 0, 0]
    assert high.tolist() == everything
    half = [[10, 10, m, m - 1, m - 2, m - 3, 10, 9, 8, 7] for m in (4, 4, 6, 6) * 10]
    low, high = bleu.edges((np.array(half, dtype=np.float64),))[0][0]
    assert (low[2], high[2]) == pytest.approx((1.0, 9.0))  # 0.5 and four times 0.1


def test_bleu_intervals_agree_with_sacrebleu() -> None:
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    generator = np.random.default_rng(6)
    golds = [" ".join(f"w{word}" for word in generator.integers(0, 12, 15)) for _ in range(120)]
    sides = [
        [" ".join(w if generator.random() < keep else "x" for w in gold.split()) for gold in golds]
        for keep in (0.80, 0.88)
    ]
    systems = [("base", sides[0]), ("tuned", sides[1])]
    test = PairedTest(systems, {"BLEU": BLEU(references=[golds])}, None, "bs", n_samples=2000)
    theirs = test()[1]["BLEU"][0]
    rows = np.array([bleu_statistics(t, [g]) for t, g in zip(sides[0], golds, strict=True)])
    bleu = find_metric("bleu")
    ours = score_interval(rows, bleu)
    assert ours is not None
    assert bleu.value_of(rows.sum(axis=0), 120) == pytest.approx(theirs.score)
    assert (ours[1] - ours[0]) / 2 == pytest.approx(theirs.ci, rel=0.08)
    assert sum(ours) / 2 == pytest.approx(theirs.mean, abs=0.5)


def in_order(count: int) -> NDArray[np.float64]:
    return np.arange(count, dtype=np.float64)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=10_000),
        np.random.default_rng(1).normal(size=300),
        np.random.default_rng(2).integers(0, 3, 10_000).astype(np.float64),  # many are equal
        np.zeros(10_000),
        # the first ones say nothing of where the others are
        in_order(10_000),
        in_order(10_000)[::-1],
        in_order(2),
    ],
    ids=["normal", "few", "three numbers", "one number", "rising", "falling", "two"],
)
def test_an_end_is_the_value_of_its_place(values: NDArray[np.float64]) -> None:
    for place in {0, len(values) // 40, len(values) // 2, len(values) - 1}:
        assert _find_low(values, place) == np.sort(values)[place]


def test_few_clusters_give_no_impossible_ends() -> None:
    """Four clusters of three items, each wholly right or wrong: Student's quantile alone would take
    the ends beyond 0 and 1, and beyond -1 and 1."""
    clusters = np.repeat(np.arange(4), 3)
    base, tuned = (column(np.repeat(right, 3)) for right in ([1, 0, 0, 0], [0, 1, 1, 1]))
    score = score_interval(tuned, AS_GRADED, clusters)
    change = compare(base, tuned, AS_GRADED, clusters).interval
    assert score is not None
    assert change is not None
    assert 0 <= score[0] < score[1] <= 1
    assert -1 <= change[0] < change[1] <= 1


# --- edge data


def test_possible_values() -> None:
    """Nats have no ends, a perplexity is at least 1 and has no largest value."""
    expected = {
        "preference_margin": ((-math.inf, math.inf), (-math.inf, math.inf)),
        "token_ppl": ((1.0, math.inf), (-math.inf, math.inf)),
        "chrf": ((0.0, 100.0), (-100.0, 100.0)),
        "mcc": ((-1.0, 1.0), (-2.0, 2.0)),
    }
    for name, (of_value, of_difference) in expected.items():
        assert possible_range(find_metric(name)) == of_value
        assert possible_range(find_metric(name), is_difference=True) == of_difference


def losses(each: object, tokens: object = 1.0) -> Array:
    of_text = np.array(each, dtype=np.float64)
    lengths = np.broadcast_to(np.array(tokens, dtype=np.float64), of_text.shape)
    return np.column_stack([-of_text * lengths, lengths])


def labels(golds: Sequence[int], given: Sequence[int | None], metric: str) -> Array:
    pairs = zip(golds, given, strict=True)
    return np.array([label_statistics(*pair, ["a", "b", "c"])[metric] for pair in pairs])


def test_a_difference_of_all_items_lies_in_its_interval() -> None:
    """All 100 items gained: half of the distribution is at 1 itself."""
    assert paired_interval(100, 0, 100)[1] == 1.0  # type: ignore[index]
    assert paired_interval(0, 100, 100)[0] == -1.0  # type: ignore[index]


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("score", ["f1", "recall"])
def test_items_of_one_class_have_an_interval_with_a_width(score: str, average: str) -> None:
    """All 40 right: an unseen item, missed, has the weight w of one among 41, and the recall is
    1 - w, F1 (2 - 2 w) / (2 - w). Half of beta(1, 40) above w is 2.28 %: w = 1 - 0.0456^(1/40)."""
    name = f"{score}_{average}"
    right = labels([0] * 40, [0] * 40, name)
    found = score_interval(right, find_metric(name))
    w = 1 - 0.0456 ** (1 / 40)
    assert found is not None
    assert found[0] == pytest.approx(
        1 - w if score == "recall" else (2 - 2 * w) / (2 - w), abs=0.01
    )
    assert found[1] == 1.0


def test_fewer_than_five_items_have_no_interval() -> None:
    """Four items that all change one way do so by chance in one set of eight: no test of theirs
    could be below 0.05."""
    worse, better = np.linspace(0.1, 0.2, 5)[:, None], np.linspace(0.7, 0.9, 5)[:, None]
    assert compare(worse[:4], better[:4]) == Confidence(None, None)
    assert score_interval(worse[:4], F1) is None
    assert compare(worse, better).interval is not None
    assert score_interval(np.zeros((0, 1)), F1) is None


def test_two_items_of_one_class_show_no_difference() -> None:
    for name in ("f1_macro", "recall_macro", "precision_macro", "balanced_acc", "f1_weighted"):
        right, wrong = (labels([0, 0], given, name) for given in ([0, 0], [1, 1]))
        for sides in ((right, wrong), (wrong, right)):
            found = compare(*sides, find_metric(name))
            assert found.p is None or found.p > 0.05, name


@pytest.mark.parametrize("name", ["preference_margin", "token_ppl"])
def test_values_without_an_end_that_are_all_alike_have_no_interval(name: str) -> None:
    """Nothing tells how far another item could be: an interval would have no width."""
    one, other = (
        (losses([each] * 30) if name == "token_ppl" else column([each] * 30)) for each in (0.1, 2.3)
    )
    metric = find_metric(name)
    assert score_interval(one, metric) is None
    assert compare(one, one, metric) == Confidence(None, None)
    assert compare(one, other, metric) == Confidence(None, None)


def test_a_perplexity_is_never_below_1() -> None:
    """Four certain texts of five, and one that is not: Student's quantile alone would go below."""
    low, high = score_interval(losses([0, 0, 0, 0, 5.0]), find_metric("token_ppl")) or (0.0, 0.0)
    assert 1.0 <= low < math.e < high


@pytest.mark.parametrize(
    ("base", "tuned"),
    [([2.0] * 5, [690.0, 1, 1, 1, 1]), ([2.0, 2.5, 2.1, 2.2, 2.3], [690.0] * 5),
     ([0.01, 0.02, 0.0, 0.01, 0.04], [2.0] * 5), ([0.0] * 8, [60.0] + [0.5] * 7)],
)  # fmt: skip
def test_p_agrees_with_the_interval_of_a_few_texts(base: list[float], tuned: list[float]) -> None:
    for sides in ((base, tuned), (tuned, base)):
        found = compare(losses(sides[0]), losses(sides[1]), find_metric("token_ppl"))
        assert found.interval is not None
        assert found.p is not None
        assert (found.p < 0.05) == (not found.interval[0] <= 0 <= found.interval[1])


@pytest.mark.parametrize("longest", [1e5, 1e6, 1e7, 1e9])
def test_one_text_that_holds_all_tokens_leaves_one_degree(longest: float) -> None:
    """By exact fractions the degrees of freedom are 1 to 6e-9, though the sums cancel out."""
    tokens = np.array([longest, 3, 2, 5, 4])
    assert _degrees(tokens / tokens.sum(), np.ones(5, dtype=np.int64)) == pytest.approx(1.0)
    text = losses([2.0, 1, 3, 2, 1], tokens)
    assert score_interval(text, find_metric("token_ppl")) is None


def test_an_end_beyond_the_range_of_a_float_is_not_given() -> None:
    """A perplexity of exp(100.8), of five texts of which one has a loss of 500: the upper end would
    lie above exp(709)."""
    found = score_interval(losses([500.0, 1, 1, 1, 1]), find_metric("token_ppl"))
    assert found is None
