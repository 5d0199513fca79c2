"""Beginnings of sentences with a right and a wrong way to go on: eight rules of English, 25 each.

Both ways have the same number of words, so that neither is likelier for its length.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Pair = tuple[str, str, str]  # prompt, right, wrong
_EACH = 25
_MAX_TRIES = 1000

_WHEN = (
    "Last night", "Yesterday", "On Monday", "In the morning", "After the storm", "Long ago",
    "Before lunch", "In the summer of that year", "A week later", "On the way home",
    "As soon as it was light", "When the guests had gone", "Just before the holidays",
)  # fmt: skip
_WHO = (
    "my brother", "the old captain", "our neighbour", "the new teacher", "her cousin", "a tall man",
    "the youngest child", "his boss", "the shopkeeper", "somebody from the village", "the driver",
    "their uncle", "an old friend of mine", "the girl next door", "the man with the hat",
)  # fmt: skip
_THINGS = (
    ("key", "keys"), ("letter", "letters"), ("lamp", "lamps"), ("ticket", "tickets"),
    ("window", "windows"), ("basket", "baskets"), ("picture", "pictures"), ("bottle", "bottles"),
    ("chair", "chairs"), ("coin", "coins"), ("plate", "plates"), ("book", "books"),
    ("flower", "flowers"), ("bridge", "bridges"), ("table", "tables"), ("bell", "bells"),
)  # fmt: skip
_BETWEEN = (
    ("in the", ("garden", "gardens")), ("behind the", ("house", "houses")),
    ("next to the", ("wall", "walls")), ("from the", ("shop", "shops")),
    ("that belonged to the", ("farmer", "farmers")), ("near the", ("river", "rivers")),
)  # fmt: skip
_QUALITIES = ("old", "very beautiful", "too heavy to carry", "dusty", "almost new", "for sale",
              "covered with snow", "not cheap", "well known", "in a bad state")  # fmt: skip
_WOMEN = ("girl", "queen", "waitress", "grandmother", "old woman", "bride", "aunt", "princess")
_MEN = ("boy", "king", "waiter", "grandfather", "old man", "bridegroom", "uncle", "prince")
_TURNED = ("hurt", "blamed", "looked at", "dressed", "warned", "was proud of", "laughed at",
           "made a cup of tea for", "wrote a note to", "could not forgive")  # fmt: skip
_PAST = (
    ("went", "goed", "home"), ("ate", "eated", "the soup"), ("took", "taked", "the bus"),
    ("broke", "breaked", "a cup"), ("wrote", "writed", "a letter"), ("sang", "singed", "a song"),
    ("found", "finded", "the key"), ("gave", "gived", "him money"), ("kept", "keeped", "quiet"),
    ("caught", "catched", "the ball"), ("drew", "drawed", "a horse"), ("slept", "sleeped", "well"),
    ("taught", "teached", "the class"),
)  # fmt: skip
_DONE = (
    ("eaten", "ate", "the cake"), ("written", "wrote", "a book"), ("broken", "broke", "the plate"),
    ("taken", "took", "the train"), ("seen", "saw", "the film"), ("driven", "drove", "the car"),
    ("forgotten", "forgot", "the key"), ("spoken", "spoke", "to her"), ("stolen", "stole", "it"),
    ("begun", "began", "the work"), ("chosen", "chose", "a name"), ("hidden", "hid", "the money"),
    ("given", "gave", "an answer"),
)  # fmt: skip
_SOUNDS = (
    (("an", "a"), ("apple", "egg", "orange", "oven", "idea", "island", "engine", "elbow",
                   "old man", "empty box", "angry dog", "open door", "umbrella")),
    (("a", "an"), ("pear", "dog", "lemon", "teacher", "stove", "plan", "river", "motor",
                   "young man", "full box", "happy dog", "closed door", "house")),
)  # fmt: skip
_FOUND = ("was thinking of", "had a picture of", "told us about", "was afraid of", "talked about",
          "pointed at", "dreamed of", "paid for")  # fmt: skip
_CASES = (("he", "him"), ("she", "her"), ("they", "them"), ("we", "us"))
_MET = ("saw", "helped", "called", "visited", "thanked", "followed", "forgot", "invited")


def _agreement(rng: random.Random) -> Pair:
    """The verb follows the head of the subject, not the noun next to it."""
    number = rng.randrange(2)
    between, places = rng.choice(_BETWEEN)
    prompt = f"The {rng.choice(_THINGS)[number]} {between} {places[1 - number]}"
    verbs, rest = (("was", "were"), ("were", "was"))[number], rng.choice(_QUALITIES)
    return prompt, f"{verbs[0]} {rest}.", f"{verbs[1]} {rest}."


def _demonstratives(rng: random.Random) -> Pair:
    number = rng.randrange(2)
    words, this = rng.choice(_THINGS), ("this", "these")[number]
    prompt = f"{rng.choice(_WHEN)} {rng.choice(_WHO)} {rng.choice(('bought', 'found', 'sold'))}"
    return f"{prompt} {this}", f"{words[number]}.", f"{words[1 - number]}."


def _reflexives(rng: random.Random) -> Pair:
    people, right, wrong = rng.choice(
        ((_WOMEN, "herself.", "himself."), (_MEN, "himself.", "herself."))
    )
    return f"{rng.choice(_WHEN)} the {rng.choice(people)} {rng.choice(_TURNED)}", right, wrong


def _past(rng: random.Random) -> Pair:
    right, wrong, rest = rng.choice(_PAST)
    return f"{rng.choice(_WHEN)} {rng.choice(_WHO)}", f"{right} {rest}.", f"{wrong} {rest}."


def _participles(rng: random.Random) -> Pair:
    right, wrong, rest = rng.choice(_DONE)
    prompt = f"We heard that {rng.choice(_WHO)} {rng.choice(('has', 'had', 'had already'))}"
    return prompt, f"{right} {rest}.", f"{wrong} {rest}."


def _articles(rng: random.Random) -> Pair:
    (right, wrong), words = rng.choice(_SOUNDS)
    word = rng.choice(words)
    prompt = f"{rng.choice(_WHEN)} {rng.choice(_WHO)} {rng.choice(_FOUND)}"
    return prompt, f"{right} {word}.", f"{wrong} {word}."


def _order(rng: random.Random) -> Pair:
    """A verb stands before its object, and an adjective before its noun."""
    one, who, when = rng.choice(_THINGS)[0], rng.choice(_WHO), rng.choice(_WHEN)
    return rng.choice(
        (
            (f"{when} {who} bought", f"a broken {one}.", f"a {one} broken."),
            (f"{when} {who}", f"wanted the {one}.", f"the {one} wanted."),
            (f"{when} {who} could not say where", f"the {one} was.", f"was the {one}."),
        )
    )


def _pronouns(rng: random.Random) -> Pair:
    """The form of a pronoun says whether it acts or is acted on."""
    (acts, suffers), met = rng.choice(_CASES), rng.choice(_MET)
    when, who = rng.choice(_WHEN), rng.choice(_WHO)
    if rng.randrange(2):
        return f"{when} {who} {met}", f"{suffers} again.", f"{acts} again."
    return f"{when}, while {who} slept,", f"{acts} {met} me.", f"{suffers} {met} me."


_RULES: dict[str, Callable[[random.Random], Pair]] = {
    "agreement": _agreement,
    "demonstratives": _demonstratives,
    "reflexives": _reflexives,
    "past": _past,
    "participles": _participles,
    "articles": _articles,
    "order": _order,
    "pronouns": _pronouns,
}


def rows(rng: random.Random) -> list[dict[str, object]]:
    """`_EACH` rows of each rule, shuffled; no prompt twice, the right way first as often as not."""
    made: dict[str, dict[str, object]] = {}
    for rule, draw in _RULES.items():
        goal = len(made) + _EACH
        for _ in range(_MAX_TRIES):
            prompt, right, wrong = draw(rng)
            answer = len(made) % 2
            choices = [wrong, right] if answer else [right, wrong]
            row = {"prompt": prompt, "choices": choices, "answer": answer, "rule": rule}
            made.setdefault(prompt, row)
            if len(made) == goal:
                break
        else:
            raise RuntimeError(f"{rule}: too few words for {_EACH} different prompts")
    found = list(made.values())
    rng.shuffle(found)
    return found
