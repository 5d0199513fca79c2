"""Perplexities from log-likelihoods. Expected values are worked out by hand in the comments beside
them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ft_harness.errors import NonFiniteError
from ft_harness.evaluation.backends import ScoredAnswer, ScoredText
from ft_harness.metrics import (
    aggregate_byte_ppl,
    aggregate_char_ppl,
    aggregate_item_ppl,
    aggregate_token_ppl,
    describe,
    find_metric,
    score_answer_ppl,
    score_text_ppl,
)

NAMES = ("token_ppl", "item_ppl", "byte_ppl", "char_ppl")


def answer(log_likelihood: float, tokens: int) -> ScoredAnswer:
    scored = ScoredAnswer((log_likelihood, False))
    scored.tokens = tokens
    return scored


def text(log_likelihood: float, tokens: int) -> ScoredText:
    scored = ScoredText(log_likelihood)
    scored.tokens = tokens
    return scored


def two_answers() -> list[dict]:
    """Log-likelihood -10 over 2 tokens, -2 over 8 tokens."""
    return [
        score_answer_ppl({"answer": "no way"}, [answer(-10.0, 2)]),
        score_answer_ppl({"answer": "é b c d e f g h"}, [answer(-2.0, 8)]),
    ]


def test_tokens_are_weighted_and_docs_are_named_apart() -> None:
    items = two_answers()
    # exp(12 / 10); neither exp of the mean of sums, nor of the mean of means, nor their mean under
    # its name
    assert aggregate_token_ppl([item["token_ppl"] for item in items]) == pytest.approx(
        3.32012, abs=5e-6
    )
    # (exp(10 / 2) + exp(2 / 8)) / 2 = (148.41316 + 1.28403) / 2
    assert aggregate_item_ppl([item["item_ppl"] for item in items]) == pytest.approx(
        74.84859, abs=5e-6
    )
    # exp((10 / 2 + 2 / 8) / 2) = exp(2.625), the geometric mean of the two, is nothing that we give
    values = [find_metric(name).value([item[name] for item in items]) for name in NAMES]
    assert all(abs(value - 13.80) > 0.1 for value in values)
    assert abs(values[0] - 74.85) > 70


def test_bytes_and_characters_of_the_answer() -> None:
    items = two_answers()
    # "no way" 6 characters, 6 bytes; "é b c d e f g h" 15 characters, é has two bytes: 16
    assert aggregate_char_ppl([item["char_ppl"] for item in items]) == pytest.approx(
        math.exp(12 / 21)
    )
    assert aggregate_byte_ppl([item["byte_ppl"] for item in items]) == pytest.approx(
        math.exp(12 / 22)
    )


def test_running_text_is_weighted_the_same_way() -> None:
    items = [
        score_text_ppl({"text": "no way"}, [text(-10.0, 2)]),
        score_text_ppl({"text": "é b c"}, [text(-2.0, 8)]),
    ]
    assert set(items[0]) == {"token_ppl", "byte_ppl", "char_ppl"}
    assert aggregate_token_ppl([item["token_ppl"] for item in items]) == pytest.approx(
        3.32012, abs=5e-6
    )
    assert aggregate_char_ppl([item["char_ppl"] for item in items]) == pytest.approx(
        math.exp(12 / 11)
    )
    assert aggregate_byte_ppl([item["byte_ppl"] for item in items]) == pytest.approx(
        math.exp(12 / 12)
    )


def test_under_the_stock_model_tokens_are_unknown() -> None:
    scores = score_answer_ppl({"answer": "ab"}, [(-2.0, True)])
    assert scores == {
        "token_ppl": None,
        "item_ppl": None,
        "byte_ppl": [-2.0, 2.0],
        "char_ppl": [-2.0, 2.0],
    }
    scores = score_text_ppl({"text": "é"}, [-2.0])
    assert scores == {"token_ppl": None, "byte_ppl": [-2.0, 2.0], "char_ppl": [-2.0, 1.0]}
    assert aggregate_token_ppl([None, None]) is None


def test_an_empty_text_has_no_score() -> None:
    # lm-eval scores the delimiter alone then, and BOS given BOS: log-likelihoods of no text
    assert set(score_answer_ppl({"answer": ""}, [answer(-3.0, 1)]).values()) == {None}
    assert set(score_text_ppl({"text": ""}, [text(-3.0, 1)]).values()) == {None}
    assert set(score_answer_ppl({"answer": []}, [answer(-3.0, 1)]).values()) == {None}


def test_the_first_of_several_answers_is_the_scored_one() -> None:
    scores = score_answer_ppl({"answer": ["abc", "z"]}, [answer(-3.0, 2)])
    assert scores["char_ppl"] == [-3.0, 3.0]


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_no_perplexity_from_a_broken_model(broken: float) -> None:
    with pytest.raises(NonFiniteError):
        score_answer_ppl({"answer": "a"}, [answer(broken, 1)])
    with pytest.raises(NonFiniteError):
        score_text_ppl({"text": "a"}, [text(broken, 1)])


def test_beyond_the_range_of_a_float_is_undefined_and_the_others_stand() -> None:
    # exp(800) > 1.8e308. Left out, the doc would make the mean better than it is
    item = score_answer_ppl({"answer": "x" * 800}, [answer(-800.0, 1)])
    good = score_answer_ppl({"answer": "abcd"}, [answer(-4.0, 2)])
    assert aggregate_token_ppl([item["token_ppl"]]) is None
    assert np.isnan(find_metric("token_ppl").aggregate(np.array([-800.0, 1.0]), 1)), (
        "undefined for intervals too"
    )
    assert aggregate_item_ppl([item["item_ppl"], good["item_ppl"]]) is None
    assert aggregate_item_ppl([good["item_ppl"]]) == pytest.approx(math.exp(2))
    assert aggregate_byte_ppl([item["byte_ppl"]]) == pytest.approx(math.e)
    assert all(math.isfinite(part) for statistics in item.values() for part in statistics)


@pytest.mark.parametrize("name", NAMES)
def test_sums_give_what_the_definition_gives(name: str) -> None:
    """Permuted, doubled, split and resampled: always the definition over the items drawn."""
    generator = np.random.default_rng(3)
    log_likelihoods, tokens = -generator.exponential(20, 40), generator.integers(1, 30, 40)
    answers = ["ü" * int(n) + "a" * int(m) for n, m in generator.integers(1, 9, (40, 2))]
    items = [
        score_answer_ppl({"answer": a}, [answer(float(ll), int(t))])[name]
        for a, ll, t in zip(answers, log_likelihoods, tokens, strict=True)
    ]
    units = {
        "token_ppl": tokens,
        "byte_ppl": [len(a.encode()) for a in answers],
        "char_ppl": [len(a) for a in answers],
    }

    def direct(chosen: np.ndarray) -> float:
        if name == "item_ppl":
            return float(np.mean([math.exp(-log_likelihoods[i] / tokens[i]) for i in chosen]))
        return math.exp(
            -sum(log_likelihoods[i] for i in chosen) / sum(units[name][i] for i in chosen)
        )

    metric, rows = find_metric(name), np.array(items)
    assert metric.value([items[i] for i in generator.permutation(40)]) == pytest.approx(
        direct(np.arange(40))
    )
    assert metric.value(items * 2) == pytest.approx(direct(np.arange(40)))
    merged = rows[:13].sum(axis=0) + rows[13:].sum(axis=0)
    assert float(metric.aggregate(merged, 40)) == pytest.approx(direct(np.arange(40)))
    draws = generator.integers(0, 40, (50, 40))  # as a bootstrap calls it: [resamples, K]
    resampled = metric.aggregate(np.array([rows[draw].sum(axis=0) for draw in draws]), 40)
    assert resampled == pytest.approx([direct(draw) for draw in draws])


def test_lower_is_better_and_the_signature_says_the_formula() -> None:
    for name in NAMES:
        assert not find_metric(name).higher_is_better
        assert find_metric(name).scale != 1, "shown as it is, not in per cent"
        assert "ll" in describe(name, "zh")
    assert describe("acc", None) == ""


@pytest.mark.parametrize("value", [12345, 1.25, ["12345", "1"], [12345]])
def test_numbers_and_lists_are_scored_as_the_text_that_they_are(value: object):
    text = str(value[0] if isinstance(value, list) else value)
    assert score_text_ppl({"text": value}, [-2.0]) == score_text_ppl({"text": text}, [-2.0])
