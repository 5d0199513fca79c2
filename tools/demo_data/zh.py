"""Rows of `demo_zh`: short Chinese exercises with one short right answer.

Some kinds follow a rule that can be learnt from other words (doubling, reversing, rewriting,
finding a word in the sentence). Others need knowledge about the very word (antonyms, measure words,
categories) and stay hard for words that tuning did not show.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from demo_data import zh_words as words
from demo_data.common import Row, Split, fresh, rng_for
from demo_data.zh_templates import TEMPLATES

Exercise = tuple[dict[str, str], str]
"""Slots of the template, and the answer."""


def _antonym(rng: random.Random, split: Split) -> Exercise:
    word, answer = rng.sample(rng.choice(words.pairs(words.ANTONYMS, split)), 2)
    return {"x": word}, answer


def _measure(rng: random.Random, split: Split) -> Exercise:
    noun, answer = rng.choice(words.pairs(words.MEASURES, split))
    return {"x": noun}, answer


def _category(rng: random.Random, split: Split) -> Exercise:
    noun, answer = rng.choice(words.pairs(words.CATEGORIES, split))
    return {"x": noun}, answer


def _doubled(rng: random.Random, split: Split) -> Exercise:
    word = rng.choice(words.DOUBLED[split])
    return {"x": word}, "".join(char * 2 for char in word)


def _scene(rng: random.Random, split: Split) -> dict[str, str]:
    banks = {"name": words.NAMES, "place": words.PLACES, "act": words.ACTS}
    return {slot: rng.choice(bank[split]) for slot, bank in banks.items()}


def _question(rng: random.Random, split: Split) -> Exercise:
    sentence = "{name}在{place}{act}".format_map(_scene(rng, split))
    return {"x": sentence}, f"{sentence}吗？"


def _negation(rng: random.Random, split: Split) -> Exercise:
    scene = _scene(rng, split)
    verb = rng.choice(words.MODALS)
    return {"x": f"{scene['name']}{verb}{scene['act']}"}, f"{scene['name']}不{verb}{scene['act']}。"


def _who(rng: random.Random, split: Split) -> Exercise:
    scene = _scene(rng, split)
    return scene, scene["name"]


def _where(rng: random.Random, split: Split) -> Exercise:
    scene = _scene(rng, split)
    return scene, scene["place"]


def _count(rng: random.Random, split: Split) -> Exercise:
    size = rng.choice(range(3, len(words.NUMERALS)))
    return {"x": "、".join(rng.sample(words.items(split), size))}, words.NUMERALS[size]


def _reverse(rng: random.Random, split: Split) -> Exercise:
    chosen = rng.sample(words.items(split), rng.choice((2, 3)))
    return {"x": "、".join(chosen)}, "、".join(reversed(chosen))


def _passive(rng: random.Random, split: Split) -> Exercise:
    name = rng.choice(words.NAMES[split])
    verb, thing = rng.choice(words.pairs(words.DEEDS, split))
    return {"x": f"{name}{verb}{thing}"}, f"{thing}被{name}{verb}。"


KINDS: dict[str, Callable[[random.Random, Split], Exercise]] = {
    "antonym": _antonym,
    "measure": _measure,
    "category": _category,
    "doubled": _doubled,
    "question": _question,
    "negation": _negation,
    "who": _who,
    "where": _where,
    "count": _count,
    "reverse": _reverse,
    "passive": _passive,
}


def _row(rng: random.Random, split: Split, kind: str) -> list[Row]:
    slots, answer = KINDS[kind](rng, split)
    return [{"instruction": rng.choice(TEMPLATES[kind][split]).format_map(slots), "output": answer}]


def rows(split: Split, size: int) -> list[Row]:
    """`size` rows in shuffled order, every kind of exercise as often as the others to within one
    row."""
    rng = rng_for("demo_zh", split)
    seen: set[tuple[str, ...]] = set()
    made: list[Row] = []
    kinds = list(KINDS)
    for index in range(size):
        made += fresh(partial(_row, rng, split, kinds[index % len(kinds)]), seen)
    rng.shuffle(made)
    return made
