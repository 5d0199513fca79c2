"""Rows of `demo_sentiment`: short reviews, part plain, part turned round by negation, contrast or a
verdict."""

from __future__ import annotations

import random
from functools import partial

from demo_data import sentiment_templates as templates
from demo_data import sentiment_words as words
from demo_data.common import Row, Split, finish, fresh, rng_for

LABELS = ("negative", "positive")
# Shares chosen so that single words give a useful but incomplete answer: see the baseline guard in
# the tests.
KINDS = ("plain",) * 13 + ("negated",) * 3 + ("contrast",) * 2 + ("verdict",) * 2


def _aspect(word: str) -> tuple[str, str]:
    return (word[:-1], "were") if word.endswith("*") else (word, "was")


def _slots(rng: random.Random, split: Split, positive: bool) -> dict[str, str]:
    """Draw every word a template may ask for. `o...` and `mild` carry the polarity against the
    label."""
    domain = rng.choice(words.DOMAINS)
    own, other = (words.GOOD, words.BAD) if positive else (words.BAD, words.GOOD)
    special = domain.good if positive else domain.bad
    adj, adj2 = rng.choice(own[split]), rng.choice(special[split])
    if rng.random() < 0.5:
        adj, adj2 = adj2, adj
    g1, g2 = rng.sample(own[split], 2)
    o1, o2 = rng.sample(other[split], 2)
    (a1, was1), (a2, was2) = (_aspect(word) for word in rng.sample(domain.aspects[split], 2))
    felt, ofelt = (words.LIKED, words.LOATHED) if positive else (words.LOATHED, words.LIKED)
    mild = words.MILD_BAD if positive else words.MILD_GOOD
    return {
        "thing": rng.choice(domain.things[split]),
        "tried": domain.tried,
        "redo": domain.redo,
        "a1": a1,
        "was1": was1,
        "a2": a2,
        "was2": was2,
        "adj": adj,
        "adj2": adj2,
        "g1": g1,
        "g2": g2,
        "o1": o1,
        "felt": rng.choice(felt[split]),
        "o2": o2,
        "ofelt": rng.choice(ofelt[split]),
        "mild": rng.choice(mild[split]),
        "who": rng.choice(words.WHO[split]),
        "when": rng.choice(words.WHEN[split]),
    }


def _template(rng: random.Random, split: Split, kind: str, positive: bool) -> str:
    if kind == "plain":
        return rng.choice(templates.PLAIN[split])
    if kind == "negated":
        return rng.choice(templates.NEGATED[split])
    if kind == "contrast":
        return rng.choice(templates.CONTRAST[split])
    return rng.choice((templates.VERDICT_GOOD if positive else templates.VERDICT_BAD)[split])


def _row(rng: random.Random, split: Split, kind: str, label: str) -> list[Row]:
    positive = label == "positive"
    text = finish(_template(rng, split, kind, positive), _slots(rng, split, positive))
    return [{"text": text, "label": label}]


def rows(split: Split, size: int) -> list[Row]:
    """`size` rows, half of each label, in shuffled order."""
    rng = rng_for("demo_sentiment", split)
    seen: set[tuple[str, ...]] = set()
    made: list[Row] = []
    for index in range(size):
        kind = KINDS[index // len(LABELS) % len(KINDS)]
        made += fresh(partial(_row, rng, split, kind, LABELS[index % len(LABELS)]), seen)
    rng.shuffle(made)
    return made
