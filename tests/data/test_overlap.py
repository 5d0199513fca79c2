"""Duplicates between splits. Shingle counts and Jaccard indices are worked out by hand beside each
case."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from ft_harness.data.duplicates import Index, SplitOverlap, compare, jaccard
from ft_harness.data.fingerprints import (
    SKETCH,
    Item,
    Shingler,
    find_shingler,
    plain,
    text_fields,
)

WORDS = [
    "river", "stone", "cloud", "paper", "candle", "window", "garden", "silver", "market", "winter", "orange", "bridge",
    "letter", "mirror",
]  # fmt: skip


def item(prompt: str, answer: str = "yes", **doc: Any) -> Item:
    return Item(key=f"hash of {prompt!r}", prompt=prompt, answer=answer, doc=doc)


def overlap_of(train: Sequence[Item], test: Sequence[Item]) -> SplitOverlap:
    shingler = find_shingler([train, test])
    return compare("test", shingler.read(test), "train", Index(shingler.read(train)))


def counts(overlap: SplitOverlap) -> tuple[int, int, int]:
    return overlap.n_exact, overlap.n_same_answer, overlap.n_near


def sentences(count: int, seed: int) -> list[str]:
    """Texts of 12 words in an order of their own, far from each other."""
    rng = random.Random(seed)
    return [f"{' '.join(rng.sample(WORDS, 12))} number {seed} {number}" for number in range(count)]


# --- exact
# --------------------------------------------------------------------------------------------------------


def test_ten_of_a_hundred_rows_copied_into_train_with_other_case_and_blanks():
    test = [item(text) for text in sentences(100, seed=1)]
    copies = [item(f"  {each.prompt.upper().replace(' ', '  ')}\n") for each in test[:10]]
    overlap = overlap_of([*map(item, sentences(300, seed=2)), *copies], test)
    assert (overlap.split, overlap.against, overlap.n) == ("test", "train", 100)
    assert counts(overlap) == (10, 10, 0)
    assert overlap.n_affected == 10
    assert overlap.items == sorted(each.key for each in test[:10])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("ﬁne café", "FINE CAFE\u0301"),  # ligature and composed accent: NFKC
        ("Straße", "STRASSE"),  # casefold, not lower
        ("a\u00a0b\u3000c", "a b c"),  # no-break and ideographic space
        ("１２", "12"),
    ],
)
def test_what_does_not_count_for_equality(left: str, right: str):
    assert plain(left) == plain(right)
    assert counts(overlap_of([item(left)], [item(right)])) == (1, 1, 0)


def test_another_answer_to_the_same_prompt_is_told_apart():
    train = [item("the film was slow", "bad"), item("a b c d e", "good")]
    test = [item("The film was slow", "good"), item("A B C D E", "GOOD"), item("unlike the others")]
    assert counts(overlap_of(train, test)) == (2, 1, 0)


def test_an_equal_premise_alone_is_no_duplicate():
    premise = "Two women are embracing while holding to go packages."
    pairs = {
        "train": [(premise, "The sisters are hugging goodbye after just eating lunch.")],
        "test": [
            (premise, "Two men are fighting outside a deli."),
            (premise.upper(), "the sisters are hugging goodbye after just eating lunch."),
        ],
    }
    made = {
        split: [item(f"{p}\nQuestion: {h}", premise=p, hypothesis=h) for p, h in rows]
        for split, rows in pairs.items()
    }
    assert counts(overlap_of(made["train"], made["test"])) == (1, 1, 0)


def test_docs_repeated_within_a_split_are_counted():
    shingler = find_shingler([[item("a")]])
    prints = shingler.read([item("one text"), item("One  text"), item("two"), item("ONE TEXT")])
    assert prints.n_repeated == 2


def test_every_copy_counts_and_its_hash_stands_once():
    overlap = overlap_of([item("one text")], [item("one text"), item("one text")])
    assert (counts(overlap), overlap.items) == ((2, 2, 0), ["hash of 'one text'"])


# --- options
# ------------------------------------------------------------------------------------------------------


def choice(question: str, options: Sequence[str], answer: str, *, nested: bool = False) -> Item:
    lines = "\n".join(
        f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False)
    )
    field = (
        {"text": list(options), "label": list("ABCD"[: len(options)])} if nested else list(options)
    )
    hidden = {"id": f"row of {question}", "gold": answer, "letter": "ABCD"[options.index(answer)]}
    return item(f"{question}\n{lines}\nAnswer:", answer, question=question, options=field, **hidden)


@pytest.mark.parametrize("nested", [False, True])
def test_options_in_another_order_are_the_same_question(nested: bool):
    train = [
        choice("Which is a metal?", ["iron", "wood", "glass", "iron ore"], "iron", nested=nested)
    ]
    test = [
        choice(
            "which is a METAL?", ["wood", "iron ore", "iron", "Glass"], "iron ore", nested=nested
        ),
        choice("Which is a metal?", ["iron", "wood", "glass", "paper"], "iron", nested=nested),
        choice("Which is no metal?", ["wood", "iron ore", "iron", "glass"], "wood", nested=nested),
    ]
    overlap = overlap_of(train, test)
    assert overlap.n_exact == 1
    assert overlap.n_same_answer == 0
    assert test[0].key in overlap.items
    again = choice(
        "which is a METAL?", ["wood", "iron ore", "iron", "Glass"], "iron", nested=nested
    )
    assert counts(overlap_of(train, [again]))[:2] == (1, 1)


def test_options_that_change_places_in_the_question_are_another_question():
    train = [choice("Is Ann older than Bob, who is tall?", ["Ann", "Bob"], "Ann")]
    test = [choice("Is Bob older than Ann, who is tall?", ["Bob", "Ann"], "Bob")]
    assert counts(overlap_of(train, test))[0] == 0


def test_options_that_change_places_where_no_field_is_shown_are_another_question():
    train = [item("is ann older than bob? ann or bob", options=["Ann", "Bob"])]
    test = [item("is bob older than ann? ann or bob", options=["Ann", "Bob"])]
    assert counts(overlap_of(train, test))[0] == 0


def test_the_same_words_cut_into_other_options_are_another_question():
    train = [choice("Which is a metal?", ["iron ore", "wood"], "wood")]
    assert (
        counts(overlap_of(train, [choice("Which is a metal?", ["iron", "ore wood"], "iron")]))[0]
        == 0
    )


def test_words_in_another_order_are_another_prompt_where_no_options_are_shown():
    def rewritten(question: str) -> Item:
        return item(
            f"it rained all day; {question}",
            passage="it rained all day",
            names=["negative", "positive"],
        )

    assert (
        counts(
            overlap_of(
                [rewritten("did the dog bite the man?")], [rewritten("did the man bite the dog?")]
            )
        )[0]
        == 0
    )


def test_a_list_that_the_prompt_does_not_show_is_no_option():
    """The question is rewritten by the template, so the passage is the only field to be seen."""

    def boolean(prompt: str) -> Item:
        return item(
            prompt, passage="it rained all day long in the old town", names=["negative", "positive"]
        )

    train = [
        boolean("it rained all day long in the old town; so was it wet outside, would you say?")
    ]
    test = [boolean("it rained all day long in the old town; then what colour is a ripe tomato?")]
    assert counts(overlap_of(train, test)) == (0, 0, 0)


def test_words_that_no_field_shows_count_too():
    def rewritten(question: str) -> Item:
        prompt = f"it rained all day\n{question}\nyes or no?"
        return item(prompt, passage="it rained all day", options=["yes", "no"])

    train, test = (
        [rewritten("was it wet outside, would you say?")],
        [rewritten("what colour is a ripe tomato?")],
    )
    assert counts(overlap_of(train, test)) == (0, 0, 0)


def test_text_fields_stand_in_the_order_of_the_prompt():
    doc = {
        "hypothesis": "A man sleeps.",
        "premise": "A man  is asleep.",
        "id": "7",
        "label": 0,
        "note": "not shown",
    }
    assert text_fields(item("a man is asleep. 7: A man sleeps.", **doc)) == [
        "premise",
        "hypothesis",
    ]


# --- near
# ---------------------------------------------------------------------------------------------------------


def test_jaccard_by_hand():
    """Shingles of 3 characters: abcdef has abc bcd cde def, abcdxf has abc bcd cdx dxf: 2 of 6 in
    common."""
    shingler = Shingler(3, find_shingler([]).template)
    assert jaccard(shingler.sketch("abcdef"), shingler.sketch("abcdxf")) == pytest.approx(2 / 6)
    assert (
        jaccard(shingler.sketch("aaaaaa"), shingler.sketch("aaa")) == 1
    )  # sets: repetition doesn't count
    assert jaccard(shingler.sketch(""), shingler.sketch("")) == 0
    assert (
        jaccard(shingler.sketch("ab"), shingler.sketch("ab")) == 1
    )  # shorter than a shingle: compared whole
    assert jaccard(shingler.sketch("ab"), shingler.sketch("ac")) == 0


def number_text(count: int, start: int = 0) -> str:
    """`count` characters, all different: as many shingles as characters, less 7."""
    return "".join(chr(0x4000 + start + place) for place in range(count))


@pytest.mark.parametrize(
    ("tail", "near"), [(20, True), (21, True), (22, True), (23, False), (24, False)]
)
def test_the_threshold_is_four_fifths(tail: int, near: bool):
    """97 characters have 90 shingles of 8. The other text has them too, and one more for each
    character of its tail: 90 / (90 + tail), which is 0.8036 for 22 and 0.7965 for 23."""
    text, longer = number_text(97), number_text(97) + number_text(tail, start=1000)
    shingler = Shingler(8, find_shingler([]).template)
    for here, asked in ((text, longer), (longer, text)):
        index = Index(shingler.read([item(number_text(50, start=500)), item(here)]))
        assert list(index.find_near(shingler.read([item(asked)]))) == [near]


def premise_pair(premise: str, hypothesis: str) -> Item:
    return item(f"{premise} {hypothesis}", premise=premise, hypothesis=hypothesis)


@pytest.mark.parametrize(("changed", "near"), [(20, False), (5, False), (4, True), (1, True)])
def test_a_long_premise_with_another_short_hypothesis_is_not_near(changed: int, near: bool):
    """200 characters of premise, a blank, 20 of hypothesis: 214 shingles. All of the hypothesis
    changed leaves 194 of 234 (0.83), so the prompts alone are near. The hypothesis has 13 shingles;
    with its last 4 characters changed 9 of 17 are left (0.53), with its last 5 changed 8 of 18
    (0.44)."""
    premise, hypothesis = number_text(200), number_text(20, start=500)
    other = hypothesis[: 20 - changed] + number_text(changed, start=900)
    shingler = Shingler(8, find_shingler([]).template, ("premise", "hypothesis"))
    index = Index(shingler.read([premise_pair(premise, hypothesis)]))
    assert list(index.find_near(shingler.read([premise_pair(premise, other)]))) == [near]
    whole = Shingler(8, find_shingler([]).template)
    index = Index(whole.read([premise_pair(premise, hypothesis)]))
    assert list(index.find_near(whole.read([premise_pair(premise, other)]))) == [True]


def test_fields_without_words_do_not_part_two_prompts():
    premise = number_text(200)
    shingler = Shingler(8, find_shingler([]).template, ("premise", "hypothesis"))
    index = Index(shingler.read([premise_pair(premise, "??")]))
    assert list(index.find_near(shingler.read([premise_pair(premise, "!")]))) == [True]


def test_fields_are_compared_where_the_prompts_show_several():
    train = [premise_pair("a man sleeps on a bench", "a man is awake")]
    assert find_shingler([train]).fields == ("premise", "hypothesis")
    assert find_shingler([[item("a text", text="a text", id="not shown")]]).fields == ()


def test_near_is_symmetric_and_a_short_text_in_a_long_one_is_not_near():
    long, short = number_text(200), number_text(97)
    shingler = Shingler(8, find_shingler([]).template)
    for here, asked in ((long, short), (short, long)):
        assert list(Index(shingler.read([item(here)])).find_near(shingler.read([item(asked)]))) == [
            False
        ]


def test_a_typing_error_and_punctuation_are_near_another_word_is_not():
    """`text` has 110 characters, 103 shingles. A changed character takes 8 of them: 95 / 111 =
    0.86. Five changed characters in a row take 12: 91 / 115 = 0.79. Punctuation takes none."""
    text = "a man in a blue shirt is standing on a ladder cleaning the tall window of a grey house near the old market squ"
    assert len(text) == 110
    typing_error = text.replace("ladder", "lad1er")
    punctuated = text.replace(" ", ", ") + "!"
    other_word = text.replace("cleaning", "painting")  # clean -> paint
    overlap = overlap_of([item(text)], [item(typing_error), item(punctuated), item(other_word)])
    assert counts(overlap) == (0, 0, 2)
    assert overlap.items == sorted([item(typing_error).key, item(punctuated).key])


REVIEW = "the film was slow and far too long"  # 8 words


def review(text: str) -> Item:
    return item(f"Review: {text}\nSentiment:", text=text)


@pytest.mark.parametrize(
    ("other", "near"),
    [
        (f"Well, {REVIEW}", True),
        (f"{REVIEW}, they all said.", True),
        (f"So {REVIEW.upper()} for me!", True),
        (f"{REVIEW}, as they all said", False),  # four words
        ("the film was not slow and far too long", False),  # inside: another statement
        ("the film was slow and far too short", False),
        ("was slow and far too", True),  # five words are left, six characters or more each side
        ("slow and far too", False),  # four words are a phrase that many texts have
    ],
)
def test_a_short_text_with_words_before_or_after_it_is_near(other: str, near: bool):
    """The template's words don't count. Alone, the text has 27 shingles of 8 characters; 14 more
    characters behind it leave 27 / 41 = 0.66, too little for the index."""
    others = [review(text) for text in sentences(30, seed=7)]
    for here, asked in ((REVIEW, other), (other, REVIEW)):
        assert counts(overlap_of([*others, review(here)], [review(asked)])) == (0, 0, int(near))


def test_a_longer_question_with_other_options_is_another_item():
    def asked(question: str, *options: str) -> Item:
        return item(f"{question} {', '.join(options)}?", question=question, options=[*options])

    short, longer = "which of these is a metal", "now which of these is a metal in fact"
    train = [asked(short, "iron", "wood", "glass")]
    assert counts(overlap_of(train, [asked(longer, "neon", "tin", "air")])) == (0, 0, 0)
    assert counts(overlap_of(train, [asked(longer, "iron", "wood", "glass")])) == (0, 0, 1)


def test_words_after_a_hypothesis_make_another_pair():
    """As in SNLI, where they change the label of most pairs."""
    train = [
        premise_pair(f"two men stand on a ladder {n}", "two men are at work") for n in range(3)
    ]
    longer = premise_pair("two men stand on a ladder 0", "two men are at work on a roof")
    assert counts(overlap_of(train, [longer])) == (0, 0, 0)


def test_scripts_without_blanks_have_no_words_to_add():
    shingler = find_shingler([[review("正月望日余与客泛舟于江上清风徐来水波不兴举酒属客")]])
    assert (shingler.size, shingler.text) == (3, None)


def test_scripts_without_blanks_have_shorter_shingles():
    """24 characters, 22 shingles of 3; one changed at the end takes 1: 21 / 23 = 0.91, in the
    middle 3: 19 / 25 = 0.76; with shingles of 8 the end would give 16 / 18."""
    text = "正月望日余与客泛舟于江上清风徐来水波不兴举酒属客"
    assert len(text) == 24
    assert find_shingler([[item(text)]]).size == 3
    assert find_shingler([[item("a text of words")]]).size == 8
    assert find_shingler([[item("한국어 문장에는 띄어쓰기가 있다")]]).size == 8
    train, middle = [item(text)], text[:12] + "火" + text[13:]
    assert counts(overlap_of(train, [item(text[:-1] + "友"), item(middle)])) == (0, 0, 1)


def test_the_prompts_own_words_do_not_make_docs_near():
    """30 docs of about 90 characters in a template of 350: with it, all pairs would have an index
    of 0.65 and more."""
    template = (
        "Read the sentence below and say in one word whether its author is pleased or not. " * 4
    )
    train = [item(f"{template}\n{text}\nAnswer:") for text in sentences(30, seed=3)]
    test = [item(f"{template}\n{text}\nAnswer:") for text in sentences(30, seed=4)]
    copy = item(test[0].prompt.replace("number", "numbers"))
    assert counts(overlap_of([*train, copy], test)) == (0, 0, 1)
    shingler = find_shingler([train])
    assert (
        jaccard(shingler.sketch(plain(train[0].prompt)), shingler.sketch(plain(train[1].prompt)))
        < 0.3
    )


def test_long_texts_are_estimated():
    """600 different shingles, 540 in common: 540 / 660 = 0.818; of 300 in common 300 / 900 = 0.333.
    The estimate from 256 hashes has a standard error of 0.024 and 0.029."""
    shingler = Shingler(8, find_shingler([]).template)
    text, near, far = (shingler.sketch(number_text(607, start)) for start in (0, 60, 300))
    assert len(text) == SKETCH
    assert jaccard(text, near) == pytest.approx(540 / 660, abs=0.08)
    assert jaccard(text, far) == pytest.approx(300 / 900, abs=0.1)
    part, whole = (
        shingler.sketch(number_text(1007)),
        shingler.sketch(number_text(3007)),
    )  # 1000 of 3000, s.e. 0.029
    assert jaccard(part, whole) == pytest.approx(1000 / 3000, abs=0.08)


def test_lookup_finds_what_comparing_every_pair_finds():
    """500 texts of common words against 200, some edited: the index must name no more and no
    fewer."""
    rng = random.Random(5)

    def edited(text: str) -> str:
        words = text.split()
        for _ in range(rng.randrange(4)):
            words[rng.randrange(len(words))] = rng.choice(WORDS)
        return " ".join(words)

    pool = [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(3, 60))) for _ in range(500)]
    asked = [edited(rng.choice(pool)) for _ in range(200)]
    shingler = Shingler(8, find_shingler([]).template)
    prints, others = shingler.read(map(item, pool)), shingler.read(map(item, asked))
    expected = [
        any(jaccard(others.texts[number], prints.texts[other]) >= 0.8 for other in range(len(pool)))
        for number in range(len(asked))
    ]
    assert 40 < sum(expected) < 180
    assert list(Index(prints).find_near(others)) == expected


def test_thousands_of_texts_are_looked_up_in_parts():
    texts = sentences(2300, seed=6)
    shingler = Shingler(8, find_shingler([]).template)
    index = Index(shingler.read(map(item, texts[1100:])))
    assert list(index.find_near(shingler.read(map(item, texts)))) == [False] * 1100 + [True] * 1200


def test_nothing_to_compare():
    assert counts(overlap_of([], [item("a text of some words")])) == (0, 0, 0)
    assert counts(overlap_of([item("a text of some words")], [])) == (0, 0, 0)
    assert counts(overlap_of([item("?!")], [item("!?")])) == (
        0,
        0,
        0,
    )  # punctuation alone is nothing to be near to
    assert counts(overlap_of([item("")], [item("")])) == (1, 1, 0)
    assert counts(overlap_of([item("half \ud800")], [item("half \ud800")])) == (1, 1, 0)
