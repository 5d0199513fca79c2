"""Numbers that add up: the difference of a row is that of its shown scores. Expected values are
subtracted by hand."""

from __future__ import annotations

import pytest

from ft_harness.comparison.amounts import amount, decimals, difference, digits_of, shown_delta
from tests.builders.study import make_row


@pytest.mark.parametrize(
    ("base", "tuned", "shown"),
    [
        (0.52, 0.51, ("52.0 %", "51.0 %", "-1.0")),  # never -2 points
        (0.5234, 0.5126, ("52.3 %", "51.3 %", "-1.0")),  # -1.08 would be -1.1
        (0.4049, 0.4951, ("40.5 %", "49.5 %", "+9.0")),  # +9.02; and +9.0 in every other table
    ],
)
def test_a_difference_is_that_of_the_shown_scores(
    base: float, tuned: float, shown: tuple[str, str, str]
):
    delta = shown_delta("acc", base, tuned)
    assert (amount("acc", base), amount("acc", tuned), difference("acc", delta)) == shown


def test_one_base_has_the_same_digits_in_every_row():
    """Of a narrow interval, a wide one and none."""
    ends = [(0.01, 0.02), (-0.4, 0.6), (None, None)]
    assert [decimals("acc", low, high) for low, high in ends] == [1, 1, 1]


def test_more_digits_only_where_a_shown_difference_leaves_its_own_interval():
    row = make_row("t", "test", "acc", (0.5234, 0.5126), low=-0.0109, high=-0.0107)
    assert digits_of(row) == 2  # 52.34 to 51.26 is -1.08, in -1.09 to -1.07; -1.0 is not
    wide = make_row("t", "test", "acc", (0.5234, 0.5126), low=-0.05, high=0.03)
    assert digits_of(wide) == 1


def test_huge_perplexities_have_an_exponent():
    assert amount("token_ppl", 8.00895800e299) == "8.009e+299"
    assert difference("token_ppl", 8.00895800e299) == "+8.009e+299"
    assert difference("token_ppl", -123456.7) == "-123456.70"
