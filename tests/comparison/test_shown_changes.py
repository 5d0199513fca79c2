"""Scores and their difference add up as a sweep's report shows them."""

from ft_harness.comparison.sweep_study import Change


def change(before: float, after: float, delta: float, seeds: int) -> Change:
    return Change(
        before=before, after=after, delta=delta, low=0.22, high=0.29, p=0.0, seeds=seeds, n=1821
    )


def test_one_seeds_difference_is_that_of_the_shown_scores():
    # 53.98 and 79.65 are shown as 54.0 and 79.7: 25.7, though 25.67 would be that too
    assert change(0.5398, 0.7965, 0.2567, seeds=1).shown("acc") == (0.257, 1)
    # 54.04 and 79.66 as 54.0 and 79.7: 25.7, though 25.62 rounds to 25.6
    assert change(0.5404, 0.7966, 0.2562, seeds=1).shown("acc") == (0.257, 1)


def test_several_seeds_are_shown_so_that_their_mean_is_the_rounded_one_too():
    # to one decimal the shown scores say 25.7 and the mean of the seeds' differences 25.6
    assert change(0.5404, 0.7966, 0.2562, seeds=3).shown("acc") == (0.2562, 2)
    assert change(0.5398, 0.7965, 0.2567, seeds=3).shown("acc") == (0.257, 1)


def test_no_difference_is_none():
    made = change(0.5, 0.6, 0.1, seeds=3).model_copy(update={"before": None, "delta": None})
    assert made.shown("acc") == (None, 1)


def test_scores_that_never_add_up_have_the_usual_decimals():
    """26.666... % and 28.333... %: the difference of what is shown is 1.66...6 with however many
    decimals, the exact one 1.66...7."""
    made = change(4 / 15, 17 / 60, 1 / 60, seeds=3).model_copy(update={"low": None, "high": None})
    assert made.shown("exact_match") == (0.016, 1)
