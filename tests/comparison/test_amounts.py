"""Numbers as they are shown: a half is rounded up, a difference is the exact one. Expected values
by hand."""

from __future__ import annotations

import pytest

from ft_harness.comparison.amounts import amount, decimals, difference, digits_of, fixed
from tests.builders.study import make_row


@pytest.mark.parametrize(
    ("base", "tuned", "shown"),
    [
        (0.52, 0.51, ("52.0 %", "51.0 %", "-1.0")),  # never -2 points
        (0.5025, 0.6875, ("50.3 %", "68.8 %", "+18.5")),  # 201 and 275 of 400
        (0.3325, 0.6375, ("33.3 %", "63.8 %", "+30.5")),  # 133 and 255 of 400
        # 52.3 to 51.3 would be -1.0, but -1.08 rounds to -1.1
        (0.5234, 0.5126, ("52.34 %", "51.26 %", "-1.08")),
        # 40.5 to 49.5 is +9.0, and so is +9.02
        (0.4049, 0.4951, ("40.5 %", "49.5 %", "+9.0")),
        # 33.3 to 66.7 is no +33.3, nor is 33.33 to 66.67 +33.33: thirds keep one decimal
        (1 / 3, 2 / 3, ("33.3 %", "66.7 %", "+33.3")),
    ],
)
def test_a_difference_is_the_exact_one_with_decimals_that_add_up(
    base: float, tuned: float, shown: tuple[str, str, str]
):
    row = make_row("t", "test", "acc", (base, tuned), low=-0.5, high=0.5)
    digits = digits_of(row)
    texts = amount("acc", base, digits), amount("acc", tuned, digits)
    assert (*texts, difference("acc", row.delta, digits)) == shown


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        (100 * 0.6375, 1, "63.8"),  # 63.74999999999999 in binary
        (100 * 0.3325, 1, "33.3"),
        (-100 * 0.3325, 1, "-33.3"),  # away from 0
        (0.125, 2, "0.13"),
        (2.5, 0, "3"),
        (-0.04, 1, "0.0"),
        (63.7499, 1, "63.7"),
    ],
)
def test_a_half_is_rounded_up_whatever_it_is_in_binary(value: float, places: int, shown: str):
    assert fixed(value, places) == shown


def test_one_base_has_the_same_digits_in_every_row():
    """Of a narrow interval, a wide one and none."""
    ends = [(0.01, 0.02), (-0.4, 0.6), (None, None)]
    assert [decimals("acc", low, high) for low, high in ends] == [1, 1, 1]


def test_huge_perplexities_have_an_exponent():
    assert amount("token_ppl", 8.00895800e299) == "8.009e+299"
    assert difference("token_ppl", 8.00895800e299) == "+8.009e+299"
    assert difference("token_ppl", -123456.7) == "-123456.70"
