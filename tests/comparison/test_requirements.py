"""What a study must show: `--require`. Intervals are written down, so that each verdict is a
comparison of two numbers."""

from __future__ import annotations

import pytest

from ft_harness.comparison.requirements import check_required, judge, read_requirements
from ft_harness.comparison.study import Comparison, Study
from ft_harness.errors import ConfigError
from tests.builders.study import make_comparison, make_row


def compared(
    metric: str, values: tuple[float, float], low: float | None, high: float | None, **way: object
) -> Comparison:
    """One row that decides: of a trained task, or of a control task."""
    role = way.pop("role", "trained task")
    row = make_row(
        "other" if role == "control task" else "mine",
        "test",
        metric,
        values,
        low=low,
        high=high,
        family=role,
        primary=role == "trained task",
        **way,
    )
    found = make_comparison(row.task, "test", {metric: values}, [row])
    return found.model_copy(update={"role": role, "leading": metric})


def study_of(*comparisons: Comparison) -> Study:
    return Study(name="s", comparisons=list(comparisons), adapters=[], notes=[], command="c")


def met(study: Study, text: str) -> bool:
    required = read_requirements([text])
    check_required(study, required)
    return all(is_met for is_met, _ in judge(study, required))


GAINED = compared("acc", (0.5, 0.6), 0.02, 0.18)  # +2.0 to +18.0 points
LESS_PPL = compared("token_ppl", (50.0, 40.0), -15.0, -5.0)  # -30 to -10 per cent


@pytest.mark.parametrize(
    ("comparison", "text", "expected"),
    [
        (GAINED, "acc>=+2", True),
        (GAINED, "acc>=2", True),
        (GAINED, " acc >= 1.9 ", True),
        (GAINED, "acc>=+2.1", False),  # the difference is 10, the end of the interval decides
        (GAINED, "acc>=-1", True),
        (LESS_PPL, "token_ppl<=-10%", True),
        (LESS_PPL, "token_ppl<=-11%", False),
        (LESS_PPL, "token_ppl<=0%", True),
        (compared("bleu", (20.0, 30.0), 4.0, 16.0), "bleu>=4", True),  # 0-100 as it is
        (compared("bleu", (20.0, 30.0), 4.0, 16.0), "bleu>=5", False),
        (compared("ece", (0.2, 0.1), -0.15, -0.03), "ece<=-3", True),
        (compared("acc", (0.5, 0.6), None, None), "acc>=-50", False),  # nothing was tested
    ],
)
def test_the_end_of_the_interval_decides(comparison: Comparison, text: str, expected: bool):
    assert met(study_of(comparison), text) is expected


def test_controls_are_held_by_points_and_perplexities_by_per_cent():
    """-1.0 point; +2 % of 50 is +1.0."""
    words = compared("acc", (0.6, 0.62), -0.01, 0.05, role="control task")
    text = compared("token_ppl", (50.0, 50.2), -0.6, 1.0, role="control task")
    study = study_of(GAINED, words, text)
    assert met(study, "controls>=-2")
    assert not met(study, "controls>=-1.9")  # the text
    assert met(study_of(GAINED, words), "controls>=-1")
    assert not met(study_of(GAINED, words), "controls>=-0.9")
    assert met(study, "acc>=+2")  # of the trained task alone


def test_the_recall_of_each_class_counts_and_averages_do_not():
    changes = {"recall_good": 0.02, "recall_bad": -0.08, "recall_macro": -0.5, "recall_micro": -0.5}
    rows = [
        make_row("mine", "test", name, (0.6, 0.6 + low), low=low, high=low + 0.1)
        for name, low in changes.items()
    ]
    comparison = GAINED.model_copy(update={"rows": [*GAINED.rows, *rows]})
    assert met(study_of(comparison), "classes>=-8")
    assert not met(study_of(comparison), "classes>=-7")


def test_no_class_may_be_lost_unless_it_is_said_how_much_of_it():
    said = "Recall fell: 'bad' from 60.0 % to 52.0 %."
    recall = make_row("mine", "test", "recall_bad", (0.6, 0.52), low=-0.12, high=-0.04)
    lost = GAINED.model_copy(update={"rows": [*GAINED.rows, recall], "lost_classes": said})
    study = study_of(lost)
    assert not met(study, "acc>=+2")
    ((_, of_acc), (_, of_class)) = judge(study, read_requirements(["acc>=+2"]))
    assert of_acc.startswith("acc>=+2 is met")
    assert of_class == (
        f"No class may be lost, and by snli_lora on mine (test) one is: {said} "
        "--require 'classes>=-N' says how much may be."
    )
    allowed = judge(study, read_requirements(["acc>=+2", "classes>=-12"]))
    assert all(is_met for is_met, _ in allowed)
    assert judge(study, []) == []


def test_items_that_the_training_did_not_see_decide():
    clean = GAINED.rows[0].model_copy(update={"low": -0.01})
    comparison = GAINED.model_copy(update={"without": clean})
    assert met(study_of(comparison), "acc>=-1")
    assert not met(study_of(comparison), "acc>=+2")


def test_every_adapter_must_meet_it_and_each_miss_has_a_sentence():
    other = compared("acc", (0.5, 0.49), -0.06, 0.04, tuned_subject="second", verdict="no evidence")
    study = study_of(GAINED, other)
    verdicts = judge(study, read_requirements(["acc>=-5", "acc>=-6"]))
    assert [is_met for is_met, _ in verdicts] == [False, True]
    assert verdicts[0][1] == (
        "acc>=-5 is not met by second: No evidence of a difference: accuracy on mine (test, 300 "
        "items) 50.0 % -> 49.0 % (-1.0 points, 95 % interval -6.0 to +4.0, p = 0.021); the lower "
        "end of the interval is -6.0, the bound -5."
    )
    assert verdicts[1][1] == (
        "acc>=-6 is met: 2 differences, the closest acc of second on mine (test), the lower end of "
        "the interval is -6.0, the bound -6."
    )


def test_an_end_is_shown_with_the_digits_that_put_it_on_its_side():
    study = study_of(compared("acc", (0.5, 0.6), 0.01996, 0.18))
    ((is_met, said),) = judge(study, read_requirements(["acc>=2"]))
    assert not is_met
    assert "the interval is +1.996, the bound +2" in said


@pytest.mark.parametrize(
    ("text", "what", "expected"),
    [
        ("acc", "no requirement", "like acc>=+2"),
        ("acc>2", "no requirement", "like acc>=+2"),
        ("acc==2", "no requirement", "like acc>=+2"),
        (">=2", "no requirement", "like acc>=+2"),
        ("acc>=", "the number is missing", "like acc>=+2"),
        ("acc>=two", "'two' is no number", "like acc>=+2"),
        ("acc>=nan", "'nan' is no number", "like acc>=+2"),
        ("acc>=1e3", "'1e3' is no number", "like acc>=+2"),
        ("acc<=+2", "acc is better the higher it is", "acc>=+2"),
        ("controls<=1", "controls is better the higher it is", "controls>=1"),
        ("token_ppl>=2%", "token_ppl is better the lower it is", "token_ppl<=2"),
        ("token_ppl<=-5", "the wrong unit", "per cent of the base's, like token_ppl<=-5%"),
        ("acc>=2%", "the wrong unit", "points as the tables show, like acc>=+2"),
        ("controls>=-1%", "the wrong unit", "points as the tables show, like controls>=-1"),
        ("acc>=200", "no difference is that large", "-100 to +100"),
        ("token_ppl<=-101%", "no difference is that large", "-100 to +100"),
    ],
)
def test_what_is_no_requirement_is_refused(text: str, what: str, expected: str):
    with pytest.raises(ConfigError) as caught:
        read_requirements([text])
    assert what in caught.value.what
    assert expected in caught.value.expected


def test_what_is_not_scored_is_refused():
    study = study_of(GAINED)
    for text, what in {
        "accc>=1": "no metric 'accc'; did you mean acc?",
        "controls>=-1": "no control task is scored",
        "classes>=-5": "the task has no recall of classes",
    }.items():
        with pytest.raises(ConfigError, match="--require") as caught:
            check_required(study, read_requirements([text]))
        assert what in caught.value.what
