"""Sentence templates for `demo_qa` where several people do the same kind of thing: find the right
one.

One template gives two or three sentences with different fillers. Slots as in `qa_cards`, without
numbers; the questions ask about one of the sentences.
"""

from __future__ import annotations

from demo_data.common import Split

Story = tuple[str, tuple[tuple[str, str], ...]]

STORIES: dict[Split, tuple[Story, ...]] = {
    "train": (
        (
            "{p} carried a(n) {c} {t} to the {l}",
            (
                ("Who carried the {t}?", "p"),
                ("What did {p} carry?", "c t"),
                ("What colour was the {t} that {p} carried?", "c"),
                ("Where did {p} carry the {t}?", "l"),
            ),
        ),
        ("{p} lives in {w}", (("Where does {p} live?", "w"), ("Who lives in {w}?", "p"))),
        (
            "{p} bought {n} bags of {f}",
            (
                ("Who bought the {f}?", "p"),
                ("What did {p} buy?", "f"),
                ("How many bags did {p} buy?", "n"),
            ),
        ),
        (
            "{p} works as a(n) {j}",
            (("What is the job of {p}?", "j"), ("Who works as a(n) {j}?", "p")),
        ),
        (
            "{p} has a(n) {c} {a}",
            (
                ("Which animal does {p} have?", "a"),
                ("What colour is the {a}?", "c"),
                ("Who has a(n) {a}?", "p"),
            ),
        ),
        (
            "{p} hid the {t} behind the {l}",
            (
                ("Who hid the {t}?", "p"),
                ("What did {p} hide?", "t"),
                ("Where did {p} hide the {t}?", "l"),
            ),
        ),
        ("{p} was born in {m}", (("When was {p} born?", "m"), ("Who was born in {m}?", "p"))),
        (
            "{p} visits the {l} on {d}",
            (
                ("When does {p} visit the {l}?", "d"),
                ("Where does {p} go on {d}?", "l"),
                ("Who visits the {l}?", "p"),
            ),
        ),
        (
            "{p} found {n} coins at the {l}",
            (
                ("How many coins did {p} find?", "n"),
                ("Where did {p} find coins?", "l"),
                ("Who found coins at the {l}?", "p"),
            ),
        ),
        (
            "{p} painted the {t} {c}",
            (
                ("What colour did {p} paint the {t}?", "c"),
                ("Who painted the {t}?", "p"),
                ("What did {p} paint?", "t"),
            ),
        ),
        ("{p} likes {f}", (("What does {p} like?", "f"), ("Who likes {f}?", "p"))),
        (
            "{p} sold a(n) {t} for {n} dollars",
            (
                ("What did {p} sell?", "t"),
                ("How many dollars did {p} get?", "n"),
                ("Who sold a(n) {t}?", "p"),
            ),
        ),
        (
            "{p} wears a(n) {c} cap and sits near the {l}",
            (
                ("What colour is the cap of {p}?", "c"),
                ("Where does {p} sit?", "l"),
                ("Who wears the {c} cap?", "p"),
            ),
        ),
        (
            "{p} walked {n} miles to {w}",
            (("How many miles did {p} walk?", "n"), ("Where did {p} walk to?", "w")),
        ),
        (
            "{p} wrote a letter from {w} in {m}",
            (("When did {p} write?", "m"), ("Where did {p} write from?", "w")),
        ),
        (
            "{p} repaired the {t} on {d}",
            (
                ("What did {p} repair?", "t"),
                ("When did {p} repair the {t}?", "d"),
                ("Who repaired the {t}?", "p"),
            ),
        ),
        (
            "{p} fed the {a} some {f}",
            (
                ("What did {p} feed?", "a"),
                ("What did the {a} eat?", "f"),
                ("Who fed the {a}?", "p"),
            ),
        ),
        (
            "{p} planted {n} trees near the {l}",
            (
                ("How many trees did {p} plant?", "n"),
                ("Where did {p} plant trees?", "l"),
                ("Who planted {n} trees?", "p"),
            ),
        ),
        (
            "{p} dreamed of a(n) {c} {t}",
            (("What did {p} dream of?", "c t"), ("Who dreamed of a(n) {t}?", "p")),
        ),
        (
            "{p} met a(n) {j} in {w}",
            (
                ("Whom did {p} meet?", "j"),
                ("Where did {p} meet the {j}?", "w"),
                ("Who met a(n) {j}?", "p"),
            ),
        ),
        ("{p} is {n} years old", (("How old is {p}?", "n"), ("Who is {n} years old?", "p"))),
        (
            "{p} saw a(n) {c} {a} near the {l}",
            (
                ("Where did {p} see the {a}?", "l"),
                ("What colour was the {a} that {p} saw?", "c"),
                ("Who saw the {a}?", "p"),
            ),
        ),
    ),
    "validation": (
        (
            "{p} prepared {f} in {w}",
            (
                ("What did {p} prepare?", "f"),
                ("Where did {p} prepare the {f}?", "w"),
                ("Who prepared the {f}?", "p"),
            ),
        ),
        (
            "{p} borrowed a(n) {t} from the {l}",
            (("What did {p} borrow?", "t"), ("Who borrowed the {t}?", "p")),
        ),
        (
            "{p} drives a(n) {c} van",
            (("What colour is the van of {p}?", "c"), ("Who drives the {c} van?", "p")),
        ),
        (
            "{p} collected {n} shells",
            (("How many shells did {p} collect?", "n"), ("Who collected {n} shells?", "p")),
        ),
        (
            "{p} taught a(n) {a} to fetch a(n) {t}",
            (
                ("Which animal did {p} teach?", "a"),
                ("Who taught the {a}?", "p"),
                ("What does the {a} fetch?", "t"),
            ),
        ),
        (
            "{p} moved to {w} in {m}",
            (
                ("When did {p} move?", "m"),
                ("Where did {p} move to?", "w"),
                ("Who moved to {w}?", "p"),
            ),
        ),
        (
            "{p} used to be a(n) {j}",
            (("What did {p} use to be?", "j"), ("Who used to be a(n) {j}?", "p")),
        ),
        (
            "{p} waited {n} minutes at the {l}",
            (("Where did {p} wait?", "l"), ("How many minutes did {p} wait?", "n")),
        ),
    ),
    "test": (
        (
            "{p} left a(n) {c} {t} at the {l}",
            (
                ("Who left the {t}?", "p"),
                ("What did {p} leave at the {l}?", "c t"),
                ("What colour was the {t} that {p} left?", "c"),
                ("Where did {p} leave the {t}?", "l"),
            ),
        ),
        ("{p} comes from {w}", (("Where does {p} come from?", "w"), ("Who comes from {w}?", "p"))),
        (
            "{p} wants to become a(n) {j}",
            (("What does {p} want to become?", "j"), ("Who wants to become a(n) {j}?", "p")),
        ),
        (
            "{p} caught {n} crabs near the {l}",
            (("How many crabs did {p} catch?", "n"), ("Where did {p} catch crabs?", "l")),
        ),
        (
            "{p} will travel to {w} in {m}",
            (
                ("When will {p} travel?", "m"),
                ("Where will {p} travel to?", "w"),
                ("Who will travel to {w}?", "p"),
            ),
        ),
        (
            "{p} rescued a(n) {c} {a}",
            (
                ("Which animal did {p} rescue?", "a"),
                ("What colour was the {a}?", "c"),
                ("Who rescued the {a}?", "p"),
            ),
        ),
        (
            "{p} ate {f} on {d}",
            (("What did {p} eat?", "f"), ("When did {p} eat {f}?", "d"), ("Who ate {f}?", "p")),
        ),
        (
            "{p} paid {n} euros for a(n) {t}",
            (
                ("How many euros did {p} pay?", "n"),
                ("What did {p} pay for?", "t"),
                ("Who paid for a(n) {t}?", "p"),
            ),
        ),
        (
            "{p} stopped a(n) {c} truck by the {l}",
            (("Where did {p} stop?", "l"), ("What colour is the truck of {p}?", "c")),
        ),
    ),
}
# Ways to join two sentences, then three. Each is a template over the filled sentences.
JOINS: dict[Split, tuple[str, ...]] = {
    "train": (
        "{0}. {1}.",
        "{0}, and {1}.",
        "{0}, but {1}.",
        "{0}. {1}. {2}.",
        "{0}, {1}, and {2}.",
    ),
    "validation": ("{0}; {1}.", "{0}, while {1}.", "{0}; {1}; {2}."),
    "test": ("While {0}, {1}.", "{0}. By contrast, {1}.", "{0}, whereas {1}. Also, {2}."),
}
