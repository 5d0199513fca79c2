"""Rows of `demo_preference`: a request with a helpful and an unhelpful reply.

In three of five pairs the replies begin with the same help and part at their ending; in the others
the rejected one refuses outright. Endings take up each other's words ("no trouble", "no wish to
help"), so that single words tell little. In each half of the pairs the longer reply is the chosen
or the rejected one: length tells nothing.
"""

from __future__ import annotations

import random
from functools import partial

from demo_data import preference_words as words
from demo_data.common import Bank, Row, Split, finish, fresh, rng_for
from demo_data.qa_words import NAMES, PLACES, THINGS

REFUSALS = 2 / 5  # share of pairs whose rejected reply gives no help at all
FILLED = 0.3  # share of replies with a remark that says nothing, before lengths are set


def _slots(rng: random.Random, split: Split) -> dict[str, str]:
    thing, other = rng.sample(THINGS[split], 2)
    place, elsewhere = rng.sample(PLACES[split], 2)
    name = rng.choice(NAMES[split])
    return {"name": name, "thing": thing, "other": other, "place": place, "elsewhere": elsewhere}


def _lengthen(rng: random.Random, split: Split, replies: list[list[str]], longer: int) -> None:
    """Put remarks into the one reply until it is the longer one."""
    while len(" ".join(replies[longer])) <= len(" ".join(replies[1 - longer])):
        _remark(rng, split, replies[longer])


def _remark(rng: random.Random, split: Split, reply: list[str]) -> None:
    """Put a remark between help and ending, another one than those that are there."""
    left = [remark for remark in words.REMARKS[split] if remark not in reply]
    reply.insert(1, rng.choice(left or words.REMARKS[split]))


def _ending(rng: random.Random, split: Split, templates: Bank) -> str:
    feelings = {"good": words.GOOD, "bad": words.BAD, "act": words.ACTS}
    drawn = {name: rng.choice(bank[split]) for name, bank in feelings.items()}
    return finish(rng.choice(templates[split]), drawn)


def _pair(rng: random.Random, split: Split, longer: int) -> list[Row]:
    slots = _slots(rng, split)
    request, help_ = rng.choice(words.REQUESTS[split]), rng.choice(words.HELP[split])
    refused = rng.choice(words.REFUSALS[split]) if rng.random() < REFUSALS else help_
    replies = [
        [finish(help_, slots), _ending(rng, split, words.KIND)],
        [finish(refused, slots), _ending(rng, split, words.UNKIND)],
    ]
    for reply in replies:
        if rng.random() < FILLED:
            _remark(rng, split, reply)
    _lengthen(rng, split, replies, longer)
    chosen, rejected = (" ".join(reply) for reply in replies)
    return [{"prompt": finish(request, slots), "chosen": chosen, "rejected": rejected}]


def rows(split: Split, size: int) -> list[Row]:
    """`size` pairs in shuffled order; the chosen reply is the longer one in half of them."""
    rng = rng_for("demo_preference", split)
    seen: set[tuple[str, ...]] = set()
    made: list[Row] = []
    for index in range(size):
        made += fresh(partial(_pair, rng, split, index % 2), seen)
    rng.shuffle(made)
    return made
