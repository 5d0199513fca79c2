"""The cards at the top of the page: one a task, with what the tables say in the same digits."""

from __future__ import annotations

import pytest

from ft_harness.comparison.aggregator import Comparison, Study
from ft_harness.report import find_verdicts
from ft_harness.report.verdict_card import Drawn
from tests.builders.study import (
    make_comparison,
    make_row,
    make_study,
    make_varied_study,
    make_wide_study,
)


def study_of(*comparisons: Comparison) -> Study:
    return Study(name="x", comparisons=list(comparisons), adapters=[], notes=[], command="x")


def compared(task: str, **changes) -> Comparison:
    row = make_row(task, "test", "acc", (0.5, 0.7), primary=True, verdict="improved", **changes)
    return make_comparison(task, "test", {"acc": (0.5, 0.7)}, [row])


def test_a_card_a_task_with_what_decides():
    verdicts = find_verdicts(make_study())
    assert [(card.title, card.place) for card in verdicts.cards] == [
        ("snli_custom", "test, accuracy, majority class 33.7 %"),
        ("squad_custom", "test, exact match"),
    ]
    (line,) = verdicts.cards[0].lines  # 0.3912 and 0.7312; the interval is -0.0613, +0.0587
    assert (line.name, line.base, line.tuned, line.change) == (
        "",
        "39.1 %",
        "73.1 %",
        "+34.0 points",
    )
    assert line.certainty == (
        "95 % interval +27.9 to +39.9, Holm-adjusted p < 0.001, n = 300, one training seed"
    )
    assert (line.verdict, line.tone) == ("improved", "better")
    assert verdicts.tallies == [("", [("improved", "better", 2)])]


def test_a_difference_is_drawn_where_it_is_between_zero_and_the_farthest_end():
    # The axis runs from 0 to 0.25 with 4 % of that at both ends: 0.01 and 0.27 in all.
    row_like = {"low": 0.15, "high": 0.25}
    (card,) = find_verdicts(study_of(compared("a", **row_like))).cards
    assert card.lines[0].drawn == Drawn(zero=3.7, value=77.78, low=59.26, high=96.3)
    (card,) = find_verdicts(study_of(compared("a", low=None, high=None, p=None))).cards
    assert card.lines[0].drawn is None
    assert card.lines[0].certainty == "n = 300"


def test_perplexities_over_a_decade_are_drawn_on_the_logarithm_of_their_ratio():
    """From 10 to 20, to 40 and to 640: the second is twice as far from the base as the first, and
    the third six times."""
    ends = [20.0, 40.0, 640.0]
    found = [
        make_comparison(
            "text", "test", {"token_ppl": (10.0, end)},
            [make_row("text", "test", "token_ppl", (10.0, end), primary=True, tuned_subject=f"a{end:g}",
                      low=end - 10 - 1, high=end - 10 + 1)],
            adapter=f"a{end:g}",
        )
        for end in ends
    ]  # fmt: skip
    (card,) = find_verdicts(study_of(*found)).cards
    drawn = [line.drawn for line in card.lines]
    first, second, third = (each.value - each.zero for each in drawn if each)
    assert (second / first, third / first) == pytest.approx((2, 6), abs=0.01)
    (card,) = find_verdicts(study_of(*found[:2])).cards  # within a decade: plain differences
    first, second = (line.drawn.value - line.drawn.zero for line in card.lines if line.drawn)
    assert second / first == pytest.approx(3, abs=0.01)


def test_several_comparisons_of_a_task_share_a_card_and_an_axis():
    first, second = find_verdicts(make_varied_study()).cards
    assert (first.title, first.place) == ("snli_custom", "test, accuracy, n = 300")
    assert [line.name for line in first.lines] == [
        "small, 0-shot, seed 7",
        "small, 3-shot, seed 7",
        "large, 0-shot, seed 8",
        "large, 3-shot, seed 8",
    ]
    zeros = {line.drawn.zero for line in first.lines if line.drawn}
    assert len(zeros) == 1
    assert (second.title, second.place) == ("other", "test, accuracy, control task")
    trained, control = find_verdicts(make_varied_study()).tallies
    assert trained == ("Trained tasks", [("no evidence", "none", 4)])
    assert control == ("Control tasks", [("worse", "worse", 1)])


def test_a_caution_is_said_once_with_the_lines_it_belongs_to():
    card, _ = find_verdicts(make_wide_study()).cards
    assert card.cautions == [("adapter-a, 3-shot", "Recall fell: 'neutral' from 80.0 % to 12.0 %.")]
    assert [bool(line.cautions) for line in card.lines].index(True) == 2


def test_cards_of_one_line_become_one_where_a_screen_can_t_hold_them():
    tasks = [f"task_{number:02d}" for number in range(30)]
    few, many = (
        find_verdicts(study_of(*(compared(task) for task in tasks[:count]))).cards
        for count in (9, 30)
    )
    assert len(few) == 9
    (card,) = many
    assert (card.title, card.place) == ("30 comparisons", "one task each")
    assert card.lines[29].name == "task_29 (test, accuracy)"


def test_items_without_overlap_are_what_is_shown_where_they_decide():
    found = compared("a")
    clean = make_row("a", "test without overlap", "acc", (0.5, 0.52), n=280)
    found = found.model_copy(update={"without": clean})
    (card,) = find_verdicts(study_of(found)).cards
    (line,) = card.lines
    assert (card.place, line.tuned, line.n, line.verdict) == (
        "test without overlap, accuracy",
        "52.0 %",
        "280",
        "no evidence",
    )


@pytest.mark.parametrize(
    ("changes", "verdict"), [({"is_stated": True}, "not tested"), ({"delta": None}, "undefined")]
)
def test_what_has_no_verdict_says_why(changes, verdict):
    row = make_row("a", "test", "acc", (0.5, 0.7), primary=True, **changes)
    row = row.model_copy(update={"verdict": None, **changes})
    found = make_comparison("a", "test", {"acc": (0.5, 0.7)}, [row])
    (card,) = find_verdicts(study_of(found)).cards
    assert (card.lines[0].verdict, card.lines[0].tone) == (verdict, "none")


def test_nothing_changed_is_said_first():
    found = compared("a").model_copy(
        update={"changed": False, "finding": "Nothing changed.", "cautions": ["Also."]}
    )
    (card,) = find_verdicts(study_of(found)).cards
    assert [caution for _, caution in card.cautions] == ["Nothing changed.", "Also."]
