"""What items are sliced by, and what is said of the slices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from ft_harness.comparison.cases.slices import Slice, tag_items
from ft_harness.comparison.cases.traits import (
    Trait,
    content_words,
    find_question_type,
    find_text_fields,
    list_traits,
    overlap_share,
)
from ft_harness.errors import InputError
from ft_harness.records import Sample
from tests.builders.cases import MARGIN, nli_pair, nli_sample, summarize, write_pair
from tests.builders.records import answer_samples, make_sample


def read(sample: Sample, fields: list[str], kind: str) -> str | float | None:
    (trait,) = (trait for trait in list_traits(fields) if trait.name == kind)
    return trait.read(sample)


def text_sample(**doc: Any) -> Sample:
    return make_sample(0, "gold", "answer", {}, doc=doc, prompt="\n".join(map(str, doc.values())))


# --- traits


def test_content_words_are_folded_and_without_function_words_and_punctuation() -> None:
    assert content_words("The man's DOG, and (his) red-brown cat!") == {
        "man",
        "dog",
        "red",
        "brown",
        "cat",
    }
    assert content_words("我们喜欢红色的猫。") == {"喜", "欢", "红", "色", "猫"}
    assert content_words("It is what it is.") == set()


@pytest.mark.parametrize(
    ("first", "last", "share"),
    [
        (
            "A man plays a red guitar.",
            "A man plays music.",
            2 / 3,
        ),  # man, plays of man, plays, music
        ("A man plays a red guitar.", "The man, the MAN!", 1.0),
        ("A man plays.", "A woman sleeps.", 0.0),
        ("A man plays.", "Is it so?", None),  # function words alone
        ("红色的猫", "猫在睡", 1 / 2),  # 猫 of 猫, 睡
    ],
)
def test_overlap_is_the_share_of_the_last_texts_words(
    first: str, last: str, share: float | None
) -> None:
    assert overlap_share(first, last) == share


@pytest.mark.parametrize(
    ("text", "negation", "number"),
    [
        ("Nobody is outside.", "yes", "no"),
        ("He isn't here.", "yes", "no"),
        ("He isn’t here.", "yes", "no"),
        (
            "There is a knot in the nothing-box.",
            "yes",
            "no",
        ),  # nothing; "knot" alone holds no negation
        ("There is a knot.", "no", "no"),
        ("Three men with 2 dogs", "no", "yes"),
        ("No one, at 10", "yes", "yes"),
        ("One often wonders.", "no", "no"),  # "one" is mostly a pronoun, and "often" is no "ten"
        ("他没有三只猫", "yes", "yes"),
        ("非常好", "no", "no"),  # "very good"
        ("是非", "yes", "no"),
    ],
)
def test_negation_and_numbers(text: str, negation: str, number: str) -> None:
    sample = text_sample(text=text)
    assert read(sample, ["text"], "negation") == negation
    assert read(sample, ["text"], "number") == number


def test_negation_is_looked_for_in_the_last_text_only() -> None:
    sample = text_sample(premise="Nobody sleeps.", hypothesis="A man sleeps.")
    assert read(sample, ["premise", "hypothesis"], "negation") == "no"


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("how many people died?", "how many or much"),
        ("how did they win?", "how"),
        ("in what year did it end?", "when"),
        ("what city hosts it?", "what"),
        ("to whom did she speak, and why?", "who"),
        ("is it the one who came?", "yes or no"),
        ("name the capital.", "other"),
        ("谁写了这本书？", "who"),
        ("为什么天空是蓝的？", "why"),
        ("他什么时候来？", "when"),
        ("你是学生吗？", "yes or no"),
    ],
)
def test_the_first_question_word_tells_the_type(question: str, kind: str) -> None:
    assert find_question_type(question, is_question=True) == kind


def test_a_statement_has_no_question_type() -> None:
    assert find_question_type("a man who sleeps.", is_question=False) is None
    assert find_question_type("who sleeps?", is_question=False) == "who"
    assert read(text_sample(question="谁来了？"), ["question"], "question type") == "who"


def test_answerable_is_read_from_scores_or_answers() -> None:
    scored = make_sample(0, "", "", {"HasAns_exact": None, "NoAns_exact": 1.0}, doc={"answers": []})
    assert read(scored, [], "answerable") == "no"
    assert (
        read(scored.model_copy(update={"scores": {"HasAns_exact": 0.0}}), [], "answerable") == "yes"
    )
    assert read(text_sample(answers=[]), [], "answerable") == "no"
    assert read(text_sample(answers=["a"]), [], "answerable") == "yes"
    assert read(text_sample(text="a"), [], "answerable") is None


def test_the_margin_is_between_the_two_best_choices() -> None:
    sample = nli_sample(0, 0, 1, "A man.", "A woman.")  # -2.5, -1, -4.5
    assert read(sample, [], "base margin") == MARGIN
    assert read(text_sample(text="a"), [], "base margin") is None
    assert read(sample.model_copy(update={"responses": [[-1.0, True]]}), [], "base margin") is None


def test_text_fields_are_those_of_the_prompt_but_for_the_answers_own() -> None:
    samples = [
        make_sample(
            number,
            f"city {number}",
            None,
            {},
            doc={
                "id": f"q{number}",
                "answer": f"city {number}",
                "question": f"Where is {number}?",
                "context": text,
            },
            prompt=f"{text}\nWhere is {number}?\nAnswer:",
        )
        for number, text in enumerate(
            f"The tower {number} stands in city {number}." for number in range(5)
        )
    ]
    assert find_text_fields(samples) == ["context", "question"]
    assert find_text_fields([]) == []


# --- quarters


def test_numbers_are_cut_into_quarters_and_equal_ones_are_never_parted() -> None:
    length = Trait("length", "", lambda sample: None, "characters")
    assert tag_items([1.0, 2.0, 3.0, 4.0, None, 5.0, 6.0, 7.0, 1008.0], length) == [
        *["1 to 2 characters"] * 2,
        *["3 to 4 characters"] * 2,
        None,
        *["5 to 6 characters"] * 2,
        *["7 to 1,008 characters"] * 2,
    ]
    # quartiles of 0, 0, 0, 0, 1, 1: 0, 0, 1
    assert (
        tag_items([0.0, 0.0, 0.0, 0.0, 1.0, 1.0], length)
        == ["0 characters"] * 4 + ["1 characters"] * 2
    )
    assert tag_items([None, None], length) == [None, None]
    share = Trait("overlap", "", lambda sample: None, "%", 100.0)
    assert tag_items([0.25, 0.5], share) == ["25 %", "50 %"]


def test_quarters_are_named_so_that_they_can_be_told_apart() -> None:
    margin = Trait("margin", "", lambda sample: None, "nats")
    assert tag_items([0.2511, 0.2523], margin) == [
        "0.251 nats",
        "0.252 nats",
    ]  # with two decimals both are 0.25
    assert tag_items([0.25, 0.5], margin) == ["0.25 nats", "0.50 nats"]


# --- slices


def find(slices: list[Slice] | None, kind: str) -> dict[str, Slice]:
    return {each.value: each for each in slices or [] if each.kind == kind}


def test_slices_that_gain_and_lose_are_told_apart(tmp_path: Path) -> None:
    """In `nli_pair` 30 of 40 items without a negation are corrected and 30 of 40 with one broken:
    together nothing."""
    summary = summarize(*nli_pair(tmp_path), ["genre"])
    negation = find(summary.slices, "negation")
    gained, lost = negation["no"], negation["yes"]
    assert (gained.n, gained.base, gained.tuned, gained.delta) == (40, 0.25, 1.0, 0.75)
    assert gained.counts == {"still right": 10, "corrected": 30, "broken": 0, "not corrected": 0}
    assert (lost.n, lost.base, lost.tuned, lost.delta) == (40, 1.0, 0.25, -0.75)
    assert (
        gained.p == lost.p == 0.5**30
    )  # McNemar's mid-p test: 30 of 30 discordant pairs on one side
    assert (gained.verdict, lost.verdict) == ("gained", "lost")
    assert gained.low is not None
    assert 0.5 < gained.low < 0.75
    genre = find(summary.slices, "genre (field)")
    assert {value: each.n for value, each in genre.items()} == {"fiction": 40, "letters": 40}
    assert {each.verdict for each in genre.values()} == {
        "no evidence"
    }  # as many corrected as broken
    assert set(find(summary.slices, "gold answer")) == {"yes", "maybe", "no"}
    assert summary.definitions["negation"] == "a negation word in hypothesis"


def test_p_values_are_adjusted_over_the_tested_slices(tmp_path: Path) -> None:
    """Holm (1979): the smallest p times the number of tests, here two equal ones: both times m, m -
    1 at least."""
    slices = summarize(*nli_pair(tmp_path)).slices or []
    tested = [each for each in slices if each.p is not None]
    assert len(tested) > 5
    adjusted = {each.p_adjusted for each in tested if each.kind == "negation"}
    assert adjusted == {len(tested) * 0.5**30}
    assert all(
        each.p_adjusted is None and each.verdict is None for each in slices if each.p is None
    )


def test_a_small_slice_has_no_verdict(tmp_path: Path) -> None:
    base, tuned = (
        [
            nli_sample(
                number,
                0,
                predicted,
                "A man.",
                "A man.",
                source="small" if number < size else "large",
            )
            for number in range(60)
        ]
        for predicted, size in ((1, 19), (0, 19))
    )
    sources = find(
        summarize(*write_pair(tmp_path, base, tuned), ["source"]).slices, "source (field)"
    )
    small, large = sources["small"], sources["large"]
    assert (small.n, small.delta, small.p, small.verdict) == (19, 1.0, None, None)
    assert small.low is not None
    assert (large.n, large.verdict) == (41, "gained")


def test_slices_made_by_the_models_own_answers_are_not_tested(tmp_path: Path) -> None:
    """Base and tuned are equally good, each right on another half: the base's margin alone
    foretells the change."""
    base, tuned = [], []
    for number in range(80):
        right = number < 40
        made = nli_sample(number, 0, 0 if right else 1, "A man.", "A man.")
        margin = (
            [[-0.1, False], [-9.0, False], [-9.0, False]]
            if right
            else [[-1.1, False], [-1.0, False], [-9, False]]
        )
        base.append(made.model_copy(update={"responses": margin}))
        tuned.append(nli_sample(number, 0, 1 if right else 0, "A man.", "A man."))
    found = find(summarize(*write_pair(tmp_path, base, tuned)).slices, "base margin")
    assert {value: (each.n, each.delta) for value, each in found.items()} == {
        "0.10 nats": (40, 1.0),
        "8.90 nats": (40, -1.0),
    }
    assert all(
        each.from_answers and each.p is None and each.verdict is None for each in found.values()
    )


def test_run_on_and_unreadable_answers_make_slices(tmp_path: Path) -> None:
    answers = [
        ("blue", "blue\nQ: next"),
        ("blue\nQ: next", "blue"),
        ("red", "blue"),
        ("blue\nQ: a", "red\nQ: b"),
    ]
    base, tuned = (
        answer_samples(["blue"] * 40, [pair[side] for pair in answers] * 10) for side in (0, 1)
    )
    summary = summarize(*write_pair(tmp_path, base, tuned))
    found = find(summary.slices, "run-on answer")
    assert {value: each.n for value, each in found.items()} == {
        "base": 10,
        "tuned": 10,
        "neither": 10,
        "both": 10,
    }
    assert all(each.from_answers and each.verdict is None for each in found.values())
    assert not find(summary.slices, "unreadable answer")  # no answer is


def test_items_of_one_cluster_are_not_taken_for_many(tmp_path: Path) -> None:
    """40 items of four premises, all corrected: an unseen premise, all broken, has the share x of
    five exponential weights; 1 - 2 x, stretched by t(3) sqrt(5/3) / 3 from 1, is below 0 in half of
    the cases (1 - x)^4, which is read off Student's distribution of three degrees."""
    reach = scipy.stats.t.ppf(0.975, 3) * math.sqrt(5 / 3)
    share = 3 / reach / 2
    deviate = scipy.stats.norm.isf((1 - share) ** 4 / 2) * reach / 3
    expected = 2 * scipy.stats.t.sf(deviate / math.sqrt(5 / 3), 3)
    base, tuned = (
        [
            nli_sample(
                number,
                0,
                predicted,
                f"Premise {number % 4}",
                f"It is {'not' * (number < 40)} {number}.",
            )
            for number in range(60)
        ]
        for predicted in (1, 0)
    )
    evaluations = write_pair(tmp_path, base, tuned, cluster="premise")
    found = find(summarize(*evaluations).slices, "negation")["yes"]
    assert (found.n, found.p) == (40, pytest.approx(expected, abs=0.02))
    assert found.verdict == "no evidence"


def test_cases_are_tagged_with_their_slices(tmp_path: Path) -> None:
    summary = summarize(*nli_pair(tmp_path), ["genre"])
    assert summary.cases is not None
    for case in summary.cases["broken"]:
        assert "negation: yes" in case.tags
        assert not any(
            tag.startswith("number") for tag in case.tags
        )  # no item has one: that parts nothing
        assert f"gold answer: {case.gold}" in case.tags
        number = int(case.item_key[4:8])
        assert f"genre (field): {'fiction' if number % 2 else 'letters'}" in case.tags


def test_a_field_with_many_values_is_refused(tmp_path: Path) -> None:
    base = [nli_sample(number, 0, 0, "A man.", "A man.", page=number) for number in range(31)]
    with pytest.raises(InputError, match="--slice-by page: 31 different values"):
        summarize(*write_pair(tmp_path, base, base), ["page"])


def test_lists_and_missing_values_are_in_no_slice(tmp_path: Path) -> None:
    base = [
        nli_sample(
            number,
            0,
            0,
            "A man.",
            "A man.",
            **({"source": ["a"]} if number < 5 else {"source": number % 2 == 0}),
        )
        for number in range(60)
    ]
    found = find(summarize(*write_pair(tmp_path, base, base), ["source"]).slices, "source (field)")
    assert {value: each.n for value, each in found.items()} == {"False": 28, "True": 27}


def test_samples_in_another_order_give_the_same_slices(tmp_path: Path) -> None:
    base, tuned = nli_pair(tmp_path / "sorted")
    shuffled = write_pair(tmp_path / "turned", list(base.samples())[::-1], list(tuned.samples()))
    assert summarize(*shuffled, ["genre"]) == summarize(base, tuned, ["genre"])


def test_of_many_items_some_are_drawn_and_every_case_is_tagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ft_harness.comparison.cases.tagging._MOST_SLICED", 50)
    summary = summarize(*nli_pair(tmp_path))
    assert summary.n_sliced == 50
    assert sum(each.n for each in find(summary.slices, "negation").values()) == 50
    assert summary.counts == {"still right": 20, "corrected": 30, "broken": 30, "not corrected": 0}
    assert summary.cases is not None
    assert all(case.tags for cases in summary.cases.values() for case in cases)


def test_slices_come_in_the_order_of_their_numbers_then_by_name(tmp_path: Path) -> None:
    names = ["10 %", "9 %", "1,000", "nan", "b", "a", "2.5 x"]
    base = [
        nli_sample(number, 0, 0, "A man.", "A man.", source=names[number % 7])
        for number in range(21)
    ]
    found = find(summarize(*write_pair(tmp_path, base, base), ["source"]).slices, "source (field)")
    assert list(found) == ["2.5 x", "9 %", "10 %", "1,000", "a", "b", "nan"]
