"""Rows of `demo_nli`. In most of them a hypothesis is written once and gets three premises, one per
label.

So the hypothesis alone tells nothing about the label, and neither does a negation in it: denying a
fact only swaps the premises for entailment and contradiction. Every third triple is made the other
way round, one premise with three hypotheses, and carries the clues of hand-written pairs: that much
a very small model can learn.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from demo_data import nli_templates as texts
from demo_data import nli_words as words
from demo_data.common import Row, Split, finish, fresh, rng_for
from demo_data.nli_templates import Wording

LABELS = ("entailment", "neutral", "contradiction")
NEGATED_SHARE = 0.3
TOLD_EVERY = 3
# How often a premise that does not confirm the fact names it all the same, of somebody or something
# else.
DECOY_SHARE = 0.3
Slots = dict[str, str]


@dataclass(frozen=True)
class Facts:
    """What a claim needs: `shared` for hypothesis and premises, then the premise slots by relation
    to the claim."""

    shared: Slots
    match: Slots
    clash: Slots
    silent: Slots


FactMaker = Callable[[random.Random, Split], Facts]


def _decoy(rng: random.Random, claimed: str, others: list[str]) -> str:
    return claimed if rng.random() < DECOY_SHARE else rng.choice(others)


def _who(rng: random.Random, split: Split, animals: bool = False) -> Slots:
    """People or, where the kind allows it, animals with something to do."""
    use_animals = animals and rng.random() < 0.35
    first, second = rng.sample((words.ANIMALS if use_animals else words.PERSONS)[split], 2)
    pastimes = words.ANIMAL_PASTIMES if use_animals else words.PASTIMES
    p, ps = first.split("/")
    return {"p": p, "ps": ps, "p2": second.split("/")[0], "act": rng.choice(pastimes[split])}


def _colour(rng: random.Random, split: Split) -> Facts:
    h, clash, *others = rng.sample(words.COLOURS[split], 6)
    shared = _who(rng, split) | {"h": h, "garment": rng.choice(words.GARMENTS[split])}
    return Facts(
        shared | {"thing": rng.choice(words.THINGS[split])},
        {"x": h, "dcol": rng.choice(others)},
        {"x": clash, "dcol": _decoy(rng, h, others)},
        {"x": rng.choice(words.FABRICS[split]), "dcol": _decoy(rng, h, others)},
    )


def _count(rng: random.Random, split: Split) -> Facts:
    h, clash, *others = rng.sample(words.NUMBERS[split], 6)
    return Facts(
        _who(rng, split, animals=True) | {"h": h, "things": rng.choice(words.COUNTED[split])},
        {"x": h, "dn": rng.choice(others)},
        {"x": clash, "dn": _decoy(rng, h, others)},
        {"x": rng.choice(words.VAGUE_NUMBERS[split]), "dn": _decoy(rng, h, others)},
    )


def _sides(rng: random.Random, split: Split) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Indoor and outdoor places in random order: only a place from the other side surely rules a
    place out."""
    sides = (words.INDOORS[split], words.OUTDOORS[split])
    return sides if rng.random() < 0.5 else sides[::-1]


def _place(rng: random.Random, split: Split) -> Facts:
    near, far = _sides(rng, split)
    h, *others = rng.sample(near, 3)
    clash = rng.choice(far)
    return Facts(
        _who(rng, split, animals=True) | {"h": h},
        {"x": h, "dplace": rng.choice(far)},
        {"x": clash, "dplace": _decoy(rng, h, others)},
        {"x": rng.choice(words.MANNERS[split]), "dplace": _decoy(rng, h, others)},
    )


def _activity(rng: random.Random, split: Split) -> Facts:
    h, clash, *others = rng.sample(words.EXCLUSIVE[split], 4)
    return Facts(
        _who(rng, split) | {"h": h},
        {"x": h, "d": rng.choice(others)},
        {"x": clash, "d": _decoy(rng, h, others)},
        {"x": rng.choice(words.STATES[split]), "d": _decoy(rng, h, others)},
    )


def _setting(rng: random.Random, split: Split) -> Facts:
    near, far = _sides(rng, split)
    names = {
        "train": ("indoors", "outdoors"),
        "validation": ("under a roof", "in the open air"),
        "test": ("inside a building", "outside"),
    }[split]
    return Facts(
        _who(rng, split) | {"h": names[near is words.OUTDOORS[split]]},
        {"x": rng.choice(near)},
        {"x": rng.choice(far)},
        {"x": rng.choice(words.MANNERS[split])},
    )


def _category(rng: random.Random, split: Split) -> Facts:
    h, other = rng.sample(list(words.CATEGORIES[split]), 2)
    return Facts(
        _who(rng, split) | {"h": h, "thing": rng.choice(words.THINGS[split])},
        {"x": f"a(n) {rng.choice(words.CATEGORIES[split][h])}"},
        {"x": f"a(n) {rng.choice(words.CATEGORIES[split][other])}"},
        {"x": rng.choice(words.UNCLEAR[split])},
    )


def _mood(rng: random.Random, split: Split) -> Facts:
    mood = rng.choice(words.MOODS[split])
    ways = [
        (mood.first, mood.first_cues, mood.second_cues),
        (mood.second, mood.second_cues, mood.first_cues),
    ]
    h, cues, counter_cues = rng.choice(ways)
    extra = {"thing": rng.choice(words.THINGS[split]), "garment": rng.choice(words.GARMENTS[split])}
    return Facts(
        _who(rng, split) | extra | {"h": h},
        {"x": rng.choice(cues)},
        {"x": rng.choice(counter_cues)},
        {"x": rng.choice(words.PASTIMES[split])},
    )


def _companion(rng: random.Random, split: Split) -> Facts:
    pair = words.COMPANY[split]
    ways = [
        (pair.first, pair.first_cues, pair.second_cues),
        (pair.second, pair.second_cues, pair.first_cues),
    ]
    h, cues, counter_cues = rng.choice(ways)
    return Facts(
        _who(rng, split) | {"h": h, "thing": rng.choice(words.THINGS[split])},
        {"x": rng.choice(cues)},
        {"x": rng.choice(counter_cues)},
        {"x": rng.choice(words.MANNERS[split])},
    )


def _carry(rng: random.Random, split: Split) -> Facts:
    who = _who(rng, split)
    h, other = rng.sample(words.CARRIED[split], 2)
    silent = (
        f"with a(n) {other}",
        f"next to a(n) {who['p2']} with a(n) {h}",
        f"behind a(n) {who['p2']} without a(n) {h}",
    )
    return Facts(
        who | {"h": h, "thing": rng.choice(words.THINGS[split])},
        {"x": rng.choice((f"with a(n) {h}", f"who has a(n) {h}"))},
        {"x": rng.choice((f"without a(n) {h}", f"who has no {h}"))},
        {"x": rng.choice(silent)},
    )


def _world(rng: random.Random, split: Split) -> Facts:
    world = rng.choice(words.WORLDS[split])
    animal = rng.choice(words.ANIMALS[split]).split("/")[0]
    return Facts(
        _who(rng, split) | {"h": world.says, "not_h": world.denies, "animal": animal},
        {"x": rng.choice(world.shows)},
        {"x": rng.choice(world.rules_out)},
        {"x": rng.choice(world.silent)},
    )


KINDS: tuple[tuple[Wording, FactMaker], ...] = (
    (texts.COLOUR, _colour),
    (texts.COUNT, _count),
    (texts.PLACE, _place),
    (texts.ACTIVITY, _activity),
    (texts.SETTING, _setting),
    (texts.CATEGORY, _category),
    (texts.MOOD, _mood),
    (texts.COMPANION, _companion),
    (texts.CARRY, _carry),
    (texts.WORLD, _world),
)


def _triple(rng: random.Random, split: Split, kind: int) -> list[Row]:
    """One hypothesis with an entailing, a neutral and a contradicting premise, in this order."""
    wording, make_facts = KINDS[kind]
    facts = make_facts(rng, split)
    negated = rng.random() < NEGATED_SHARE
    hypothesis = finish(
        rng.choice((wording.denials if negated else wording.claims)[split]), facts.shared
    )
    entails, contradicts = (facts.clash, facts.match) if negated else (facts.match, facts.clash)
    return [
        {
            "premise": finish(rng.choice(wording.frames[split]), facts.shared | decisive),
            "hypothesis": hypothesis,
            "label": label,
        }
        for label, decisive in zip(LABELS, (entails, facts.silent, contradicts), strict=True)
    ]


def _told(rng: random.Random, split: Split) -> list[Row]:
    """One premise with an entailed, a neutral and a contradicting hypothesis."""
    slots = _who(rng, split) | {"x": rng.choice(rng.choice(_sides(rng, split)))}
    premise = finish(rng.choice(texts.TOLD_PREMISES[split]), slots)
    return [
        {
            "premise": premise,
            "hypothesis": finish(rng.choice(texts.TOLD_HYPOTHESES[label][split]), slots),
            "label": label,
        }
        for label in LABELS
    ]


def rows(split: Split, size: int) -> list[Row]:
    """`size` rows in shuffled order: whole triples, so that the labels are balanced to within one
    row."""
    rng = rng_for("demo_nli", split)
    seen: set[tuple[str, ...]] = set()
    made: list[Row] = []
    for index in range(-(-size // len(LABELS))):
        told = index % TOLD_EVERY == TOLD_EVERY - 1
        kind = (index - index // TOLD_EVERY) % len(KINDS)
        make = partial(_told, rng, split) if told else partial(_triple, rng, split, kind)
        made += fresh(make, seen)
    made = made[:size]
    rng.shuffle(made)
    return made
