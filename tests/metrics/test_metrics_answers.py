"""Generated answers: where they end, exact match, token F1, SQuAD. Expected values are worked out
by hand in the comments beside them, or come from a plain rewriting of the official SQuAD script."""

from __future__ import annotations

import collections
import random
import re
import string
import unicodedata
from typing import Any

import numpy as np
import pytest

from ft_harness.errors import InputError
from ft_harness.metrics import (
    cut_run_on,
    find_metric,
    match_answer,
    normalize_answer,
    score_answer,
    score_squad,
)


class Cut(str):
    """A generated text as our back-end hands it over."""

    truncated = True


# --- where an answer ends
# -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris\nUSER: and Spain?", "Paris"),
        ("Paris\n\nQuestion: and Spain?\nAnswer: Madrid", "Paris"),
        ("Paris\nQ: Spain?", "Paris"),
        ("Paris\n  human : hello", "Paris"),
        ("Paris\nAssistant: Madrid", "Paris"),
        ("Paris\n### Instruction:\nNext", "Paris"),
        ("巴黎\n用户：西班牙？", "巴黎"),
        ("巴黎\n指令:翻译", "巴黎"),
        ("巴黎\r\n问题：西班牙？", "巴黎"),
        ("一\nUSER: 二\nASSISTANT: 三", "一"),  # the first one wins
        ("巴黎USER: 西班牙ASSISTANT:", "巴黎"),  # prompts written in one line
        ("USER: hello", ""),
    ],
)
def test_another_turn_is_cut_and_counted(text: str, answer: str):
    assert cut_run_on(text) == (answer, True)


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        "",
        "  Paris \n",
        "The user: a person",
        "the question: who?",
        "SUPERUSER: root",
        "a ### b",
        "###b",
        "questions:\n1",
        "FAQ: read it",
    ],
)
def test_what_is_no_other_turn_stays_as_it_is(text: str):
    assert cut_run_on(text) == (text, False)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("Paris", {"empty": 0.0, "truncated": None, "run_on": 0.0}),
        (" \n\t", {"empty": 1.0, "truncated": None, "run_on": 0.0}),
        ("\u200b\x00", {"empty": 1.0, "truncated": None, "run_on": 0.0}),
        (".", {"empty": 0.0, "truncated": None, "run_on": 0.0}),
        ("\nUSER: hello", {"empty": 1.0, "truncated": None, "run_on": 1.0}),
        (Cut("Paris and"), {"empty": 0.0, "truncated": 1.0, "run_on": 0.0}),
        (Cut("Paris\nQ: x"), {"empty": 0.0, "truncated": 1.0, "run_on": 1.0}),
    ],
)
def test_shares_of_empty_truncated_and_run_on_answers(text: str, shares: dict[str, float | None]):
    for scores in (
        score_answer({"answer": "Rome"}, [text]),
        score_squad({"answers": ["Rome"]}, [text]),
    ):
        assert {name: scores[name] for name in shares} == shares


def test_an_empty_answer_stays_in_the_mean():
    items = [
        score_answer({"answer": "Paris"}, [text])["token_f1"] for text in ("Paris", "", "Paris")
    ]
    assert find_metric("token_f1").value(items) == pytest.approx(
        2 / 3
    )  # not 1 over the two that say something


def test_the_answer_before_another_turn_is_what_is_scored():
    scores = score_answer({"answer": "Paris"}, ["Paris\nUSER: and Spain?"])
    assert (scores["exact_match"], scores["token_f1"], scores["run_on"]) == (1.0, 1.0, 1.0)


# --- exact match and token F1
# -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("an Eiffel tower.", "eiffel tower", 1.0),
        ("Eiffel-Tower", "eiffel tower", 0.0),
        ("A", "The", 0.0),  # letters of a multiple choice must stay different
        ("A", "a.", 1.0),
        ("+", "-", 0.0),
        ("!", "", 0.0),
        ("", "", 1.0),
        ("", "Paris", 0.0),
        ("a\0", "a", 0.0),  # numpy takes these two for equal
        ("STRASSE", "straße", 1.0),
        ("ΣΊΣΥΦΟΣ", "Σίσυφος", 1.0),
        ("yes。", "yes", 1.0),
        ("“yes”", "yes", 1.0),
        ("¿yes?", "yes", 1.0),
        ("«да»", "ДА", 1.0),
        ("北京。", "北京", 1.0),
        ("北京", "南京", 0.0),
        ("cafe\u0301", "caf\u00e9", 1.0),
        ("😀", "😀!", 1.0),
        ("😀", "😢", 0.0),
        ("x²", "x2", 0.0),
        ("42", 42, 1.0),
        ("42.", [7, 42], 1.0),
        ("3.5", 3.5, 1.0),
    ],
)
def test_exact_match(prediction: str, reference: Any, expected: float):
    assert score_answer({"answer": reference}, [prediction])["exact_match"] == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        (
            "the cat sat on the mat",
            "a cat sat on mat",
            1.0,
        ),  # without articles the same words; raw it were 8/11
        ("no no no", "no", 0.5),  # 2 * 1 / (3 + 1)
        ("no no x", "no no y", 2 / 3),  # 2 * 2 / (3 + 3): bags, not sets
        ("k x y z", "k b c d", 0.25),  # 2 * 1 / (4 + 4)
        ("", "", 1.0),
        ("", "Paris", 0.0),
        ("Paris", "", 0.0),
        ("我爱北京", "我在北京。", 0.75),  # characters: 2 * 3 / (4 + 4)
        ("GPT 模型", "gpt模型", 1.0),  # words and characters: gpt, 模, 型
        ("서울 시", "서울 구", 0.5),  # Korean has blanks
    ],
)
def test_token_f1(prediction: str, reference: str, expected: float):
    assert match_answer(prediction, [reference])[1] == pytest.approx(expected)


def test_the_best_of_several_references_counts():
    scores = score_answer({"answer": ["zzz", "k b c d"]}, ["k x y z"])
    assert (scores["exact_match"], scores["token_f1"]) == (
        0.0,
        0.25,
    )  # not 1 because one of them is above 0
    assert score_answer({"answer": ["zzz", "K. B."]}, ["k b"])["exact_match"] == 1.0


def test_normalized_answer():
    assert normalize_answer(" The  Cat,\tsat! ") == "cat sat"
    assert normalize_answer("The") == "the"
    assert normalize_answer("?!") == "?!"


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("5.0", "5"),
        ("5.", "5"),
        ("+5", "5"),
        ("-5", "-5"),
        ("\N{MINUS SIGN}5.50", "-5.5"),
        ("-0.0", "0"),
        ("50", "50"),
        ("0.5", "0.5"),
        ("1,000.50", "1000.5"),
        ("about 5.0 (or -3)", "about 5 or -3"),
        ("$5.00", "5"),
        ("5.0元", "5元"),
        # no numbers by themselves
        ("007", "007"),
        ("1.2.3", "123"),
        ("3-5", "35"),
        ("12,34", "1234"),
        ("gpt-4", "gpt4"),
        ("4th", "4th"),
    ],
)
def test_numbers_count_by_their_value(text: str, normalized: str):
    assert normalize_answer(text) == normalized


@pytest.mark.parametrize(("said", "expected"), [("5", 1.0), ("5.0", 1.0), ("50", 0.0), ("-5", 0.0)])
def test_a_whole_float_as_answer_equals_its_int(said: str, expected: float):
    assert score_answer({"answer": 5.0}, [said])["exact_match"] == expected


@pytest.mark.parametrize("answer", [None, [], [None], {"text": ["a"]}, [["a"]]])
def test_answers_that_are_no_text_are_refused(answer: Any):
    with pytest.raises(InputError, match="a doc's answer is"):
        score_answer({"answer": answer}, ["a"])


# --- against the official script, rewritten
# -----------------------------------------------------------------


def plain_words(text: str, any_script: bool) -> list[str]:
    """What evaluate-v2.0.py does, written apart from ours; `any_script` with folded case and
    Unicode's punctuation."""
    lowered = text.casefold() if any_script else text.lower()
    kept = [
        char
        for char in lowered
        if char not in string.punctuation
        and not (any_script and unicodedata.category(char).startswith("P"))
    ]
    return re.sub(r"\b(a|an|the)\b", " ", "".join(kept), flags=re.UNICODE).split()


def official_scores(prediction: str, golds: list[str], any_script: bool) -> tuple[float, float]:
    """(exact, F1) with the formulas of evaluate-v2.0.py: `compute_exact`, `compute_f1`, the largest
    over the golds."""
    exact, f1 = 0, 0.0
    for gold in golds:
        gold_words, words = plain_words(gold, any_script), plain_words(prediction, any_script)
        exact = max(exact, int(gold_words == words))
        same = sum((collections.Counter(gold_words) & collections.Counter(words)).values())
        if not gold_words or not words:
            f1 = max(f1, float(gold_words == words))
        elif same:
            precision, recall = 1.0 * same / len(words), 1.0 * same / len(gold_words)
            f1 = max(f1, (2 * precision * recall) / (precision + recall))
    return float(exact), f1


def random_text(generator: random.Random, words: list[str]) -> str:
    said = [generator.choice(words) for _ in range(generator.randint(1, 6))]
    return "".join(
        word + generator.choice([" ", "  ", ", ", ". ", "-", "\n", "“", "。", "\u00a0"])
        for word in said
    )


WORDS = [
    "Paris",
    "the",
    "a",
    "An",
    "cat",
    "CATS",
    "Straße",
    "co-op",
    "U.S.",
    "1,000",
    "été",
    "naïve",
    "x",
    "theatre",
]


def test_squad_agrees_with_the_official_script_on_random_texts():
    generator = random.Random(1)
    seen = collections.Counter()
    for _ in range(10_000):
        answers = [random_text(generator, WORDS) for _ in range(generator.randint(0, 4))]
        answers += generator.choices([["the"], ["?"], []], [1, 1, 8])[0]
        fresh = generator.random() < 0.7
        prediction = random_text(generator, WORDS) if fresh else generator.choice([*answers, ""])
        golds = [answer for answer in answers if plain_words(answer, False)] or [""]
        scores = score_squad({"answers": answers}, [prediction])
        expected = official_scores(prediction, golds, any_script=False)
        assert (scores["exact_match"], scores["token_f1"]) == expected
        seen["some"] += 0 < expected[1] < 1
        seen["all"] += expected[0] == 1
    assert min(seen.values()) > 1000


def test_short_answers_agree_with_the_official_script_on_random_texts():
    generator = random.Random(2)
    seen = collections.Counter()
    for _ in range(10_000):
        references = ["ok " + random_text(generator, WORDS) for _ in range(generator.randint(1, 4))]
        prediction = generator.choice(["Ok: " + random_text(generator, WORDS), *references])
        expected = official_scores(prediction, references, any_script=True)
        assert match_answer(prediction, references) == expected
        seen["some"] += 0 < expected[1] < 1
        seen["all"] += expected[0] == 1
    assert min(seen.values()) > 1000


# --- SQuAD
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "prediction", "expected"),
    [
        ([], "", 1.0),
        ([], "Unanswerable.", 1.0),
        ([], "There is no answer!", 1.0),
        ([], "The question cannot be answered.", 1.0),
        ([], "Paris", 0.0),
        ([], "none", 0.0),  # a real answer of some questions
        (["Paris"], "", 0.0),
        (["Paris"], "unanswerable", 0.0),
        (["no answer", "silence"], "No answer", 1.0),  # the answer itself
        (["Paris", "the city of Paris"], "City of Paris.", 1.0),
        (
            ["the"],
            "the",
            1.0,
        ),  # the official scorer drops a gold of articles only: then both are empty
        (["the"], "a", 1.0),  # no exception for letters here
        (["?", "Paris"], "", 0.0),  # dropped, so that the empty answer doesn't meet it
        (["yes。"], "yes", 0.0),  # ASCII punctuation only
        (["STRASSE"], "straße", 0.0),  # lower case, not folded
    ],
)
def test_squad_by_hand(answers: list[str], prediction: str, expected: float):
    scores = score_squad({"answers": answers}, [prediction])
    assert (scores["exact_match"], scores["token_f1"]) == (expected, expected)


def test_an_abstaining_answer_shares_no_word_with_a_gold_answer():
    assert (
        score_squad({"answers": ["answer key"]}, ["no answer"])["token_f1"] == 0.0
    )  # literally it were 2 / 4
    assert score_squad({"answers": ["answer key"]}, ["an answer"])["token_f1"] == pytest.approx(
        2 / 3
    )


def test_questions_with_and_without_answer_are_counted_apart():
    docs = [["Paris"], ["Paris"], [], []]
    items = [
        score_squad({"answers": gold}, [text])
        for gold, text in zip(docs, ["Paris", "in Paris", "", "x"], strict=True)
    ]
    values = {name: find_metric(name).value([item[name] for item in items]) for name in items[0]}
    assert values == {
        "exact_match": 0.5,
        "token_f1": pytest.approx((1 + 2 / 3 + 1 + 0) / 4),
        "HasAns_exact": 0.5,
        "HasAns_f1": pytest.approx((1 + 2 / 3) / 2),
        "NoAns_exact": 0.5,
        "NoAns_f1": 0.5,
        "empty": 0.25,
        "truncated": None,
        "run_on": 0.0,
    }
    assert [item["HasAns_f1"] is None for item in items] == [False, False, True, True]
    assert [item["NoAns_f1"] is None for item in items] == [True, True, False, False]
    assert (
        find_metric("NoAns_f1").value([item["NoAns_f1"] for item in items[:2]]) is None
    )  # v1.1 has no such question


@pytest.mark.parametrize("answers", [{"text": ["Paris"], "answer_start": [3]}, "Paris", None, [1]])
def test_squad_answers_that_are_no_list_of_texts_are_refused(answers: Any):
    with pytest.raises(InputError, match="a doc's answers are"):
        score_squad({"answers": answers}, ["Paris"])


@pytest.mark.parametrize(
    "metric", ["exact_match", "token_f1", "HasAns_f1", "NoAns_exact", "empty", "run_on"]
)
def test_order_duplication_and_splitting_change_nothing(metric: str):
    generator = random.Random(4)
    items = []
    for _ in range(80):
        answers = [random_text(generator, WORDS)] * generator.randint(0, 1)
        prediction = generator.choice([random_text(generator, WORDS), "", "x\nUSER: y", *answers])
        items.append(score_squad({"answers": answers}, [prediction])[metric])
    find = find_metric(metric)
    whole = find.value(items)
    assert 0 < whole < 1
    assert find.value(generator.sample(items, 80)) == pytest.approx(whole)
    assert find.value(items * 2) == pytest.approx(whole)
    scored = np.array([item for item in items if item is not None]).reshape(-1, 1)
    sums = scored[:17].sum(axis=0) + scored[17:].sum(axis=0)
    assert float(find.aggregate(sums, len(scored))) == pytest.approx(whole)
