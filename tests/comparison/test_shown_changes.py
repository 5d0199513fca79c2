"""Scores and their difference as a sweep's report shows them: the difference is the exact one,
rounded."""

import pytest

from ft_harness.comparison.amounts import difference
from ft_harness.comparison.sweep_study import Change


def change(before: float, after: float, delta: float, seeds: int) -> Change:
    return Change(
        before=before, after=after, delta=delta, low=0.22, high=0.29, p=0.0, seeds=seeds, n=1821
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_numbers_that_do_not_add_up_have_one_more_decimal(seeds: int):
    # 54.0 and 79.7 differ by 25.7, which 25.67 rounds to
    assert change(0.5398, 0.7965, 0.2567, seeds).digits("acc") == 1
    # 54.0 and 79.7 differ by 25.7, but 25.62 rounds to 25.6; 54.04, 79.66 and 25.62 add up
    assert change(0.5404, 0.7966, 0.2562, seeds).digits("acc") == 2


def test_no_difference_has_the_usual_decimals():
    made = change(0.5, 0.6, 0.1, seeds=3).model_copy(update={"before": None, "delta": None})
    assert made.digits("acc") == 1


def test_scores_that_never_add_up_have_the_usual_decimals():
    """26.666... % and 28.333... %: the difference of what is shown is 1.66...6 with however many
    decimals, the exact one 1.66...7."""
    made = change(4 / 15, 17 / 60, 1 / 60, seeds=3).model_copy(update={"low": None, "high": None})
    assert made.digits("exact_match") == 1
    assert difference("exact_match", made.delta, 1) == "+1.7"
