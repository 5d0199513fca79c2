"""Rows of `demo_qa`: short passages with several people, places and things, and a question about
one of them.

The answer is copied from the passage, word for word. Half of the rows are cards, whose question
repeats the words around the answer. The other half are stories, where the same words stand around
every candidate and only the person or thing named in the question tells which is meant.
"""

from __future__ import annotations

import random
from functools import partial

from demo_data import qa_words as words
from demo_data.common import Bank, Row, Split, finish, fresh, rng_for
from demo_data.qa_cards import CARDS
from demo_data.qa_stories import JOINS, STORIES

BANKS: dict[str, Bank] = {
    "p": words.NAMES,
    "t": words.THINGS,
    "l": words.PLACES,
    "w": words.TOWNS,
    "d": words.TIMES,
    "m": words.MONTHS,
    "c": words.COLOURS,
    "n": words.NUMBERS,
    "a": words.ANIMALS,
    "f": words.FOODS,
    "j": words.JOBS,
}
FILLER_SHARE = 0.4
# How often a card's question is sure to ask for the first of two candidates: a cue that even a tiny
# model can learn.
FIRST_SHARE = 0.5


def _draw_slots(rng: random.Random, split: Split, count: int) -> list[dict[str, str]]:
    """`count` sets of fillers without a filler in common, so that a question has one answer."""
    drawn = {key: rng.sample(bank[split], count) for key, bank in BANKS.items()}
    return [{key: values[index] for key, values in drawn.items()} for index in range(count)]


def _answer(slots: dict[str, str], keys: str) -> str:
    return " ".join(slots[key] for key in keys.split())


def _card(rng: random.Random, split: Split) -> list[Row]:
    passage, questions = rng.choice(CARDS[split])
    sets = _draw_slots(rng, split, 2)
    slots = {
        f"{key}{index + 1}": value
        for index, chosen in enumerate(sets)
        for key, value in chosen.items()
    }
    first = [pair for pair in questions if pair[1].endswith("1")]
    question, keys = rng.choice(first if rng.random() < FIRST_SHARE else questions)
    return [
        {
            "passage": finish(passage, slots),
            "question": finish(question, slots),
            "answer": _answer(slots, keys),
        }
    ]


def _story(rng: random.Random, split: Split) -> list[Row]:
    """Two or three like clauses, with a closing sentence now and then and wherever they make one
    sentence only."""
    sentence, questions = rng.choice(STORIES[split])
    join = rng.choice(JOINS[split])
    sets = _draw_slots(rng, split, join.count("{"))
    passage = join.format(*(finish(sentence, slots) for slots in sets))
    if rng.random() < FILLER_SHARE or passage.count(".") < 2:
        passage += " " + rng.choice(words.FILLERS[split])
    question, keys = rng.choice(questions)
    slots = rng.choice(sets)
    return [
        {"passage": passage, "question": finish(question, slots), "answer": _answer(slots, keys)}
    ]


def rows(split: Split, size: int) -> list[Row]:
    """`size` rows, half cards and half stories, in shuffled order."""
    rng = rng_for("demo_qa", split)
    seen: set[tuple[str, ...]] = set()
    made: list[Row] = []
    for index in range(size):
        made += fresh(partial((_card, _story)[index % 2], rng, split), seen)
    rng.shuffle(made)
    return made
