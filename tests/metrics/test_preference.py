"""Scores of pairs of answers. Expected values are worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.evaluation.backends import ScoredAnswer
from ft_harness.metrics import find_metric, score_preference
from ft_harness.metrics.preference import compare_rewards
from ft_harness.stats import Sample, confidence


def answer(log_likelihood: float, tokens: int) -> ScoredAnswer:
    scored = ScoredAnswer((log_likelihood, False))
    scored.tokens = tokens
    return scored


def test_a_pair_by_hand():
    """-6 over 4 tokens is above -8 in sum, and -1.5 is below -1 a token."""
    found = score_preference({"chosen": "é.", "rejected": "no"}, [answer(-6.0, 4), answer(-8.0, 8)])
    assert found == {
        "preference_acc": 1.0,
        "preference_acc_token": 0.0,
        "preference_margin": 2.0,
        "chosen_byte_ppl": [-6.0, 3.0],  # é is two bytes
        "longer_wins": 0.5,  # two characters each
    }
    assert find_metric("chosen_byte_ppl").value([[-6.0, 3.0], [-2.0, 1.0]]) == pytest.approx(
        math.e**2
    )


def test_a_tie_is_half():
    found = score_preference({"chosen": "a", "rejected": "bc"}, [answer(-2.0, 1), answer(-2.0, 1)])
    assert [found[name] for name in ("preference_acc", "preference_acc_token", "longer_wins")] == [
        0.5, 0.5, 0.0,
    ]  # fmt: skip


def test_tokens_are_not_known_to_lm_evals_own_model():
    found = score_preference({"chosen": "a", "rejected": "b"}, [(-1.0, True), (-2.0, False)])
    assert found["preference_acc_token"] is None
    assert found["preference_acc"] == 1.0


def test_what_is_no_pair_of_results():
    doc = {"chosen": "a", "rejected": "b"}
    with pytest.raises(InputError, match="3 answers for a pair"):
        score_preference(doc, [answer(-1.0, 1)] * 3)
    with pytest.raises(NonFiniteError):
        score_preference(doc, [answer(float("nan"), 1), answer(-1.0, 1)])


def test_an_untrained_adapter_has_a_reward_accuracy_of_50_per_cent():
    """TRL's strict "greater" would give it 0 %."""
    margins = np.array([[1.0], [-2.0], [0.5]])
    base, tuned = compare_rewards(margins, margins)
    assert base.tolist() == tuned.tolist() == [[0.5]] * 3


def test_rewards_by_hand():
    """Margins rise, fall and stay, whatever their sign; an item without a score has none."""
    before, after = (
        np.array([[-5.0], [3.0], [1.0], [np.nan]]),
        np.array([[-4.0], [2.0], [1.0], [1.0]]),
    )
    base, tuned = compare_rewards(before, after)
    assert tuned[:3].tolist() == [[1.0], [0.0], [0.5]]
    assert np.isnan(base[3]).all()
    assert np.isnan(tuned[3]).all()


def test_margins_below_zero_have_an_interval():
    """That of a mean, on its own scale: nearly Student's of the differences."""
    draw = np.random.default_rng(0)
    base = draw.normal(-4.0, 3.0, (200, 1))
    tuned = base + draw.normal(1.0, 2.0, (200, 1))
    found = confidence(Sample((base, tuned)), find_metric("preference_margin"))
    gains = (tuned - base)[:, 0]
    half = 1.972 * gains.std(ddof=1) / math.sqrt(200)
    assert found.interval == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.1)
    assert found.p is not None
    assert found.p < 0.001
