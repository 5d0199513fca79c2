"""Premise frames and hypothesis templates for `demo_nli`, per kind of fact.

A frame has one slot `x` for the fact that decides the label, and often a distractor. The same frame
serves all three labels, so a frame tells nothing about the label. Slots: `p`, `p2` (people or
animals), `ps` (plural), `act`, `thing`, `things`, `garment`, `animal`, `dcol`, `dn`, `dplace`, `d`
(distractors), and `h` (what the hypothesis claims).
"""

from __future__ import annotations

from dataclasses import dataclass

from demo_data.common import Split

Lines = dict[Split, tuple[str, ...]]


@dataclass(frozen=True)
class Wording:
    """All texts for one kind of fact: premise frames, hypotheses that claim it and hypotheses that
    deny it."""

    frames: Lines
    claims: Lines
    denials: Lines


def lines(train: tuple[str, ...], validation: tuple[str, ...], test: tuple[str, ...]) -> Lines:
    return {"train": train, "validation": validation, "test": test}


COLOUR = Wording(
    frames=lines(
        (
            "A(n) {p} in a(n) {x} {garment} is {act} next to a(n) {dcol} {thing}.",
            "Next to a(n) {dcol} {thing}, a(n) {p} wearing a(n) {x} {garment} is {act}.",
            "A(n) {p} with a(n) {x} {garment} walks past a(n) {dcol} {thing}.",
            "A(n) {dcol} {thing} stands behind a(n) {p} who has a(n) {x} {garment} on.",
            "The {garment} that the {p} put on today is {x}, and the {thing} is {dcol}.",
        ),
        (
            "A(n) {p}, dressed in a(n) {x} {garment}, leans against a(n) {dcol} {thing}.",
            "There is a(n) {dcol} {thing} near the {p} with the {x} {garment}.",
        ),
        (
            "Across from a(n) {dcol} {thing}, a(n) {p} strolls by in a(n) {x} {garment}.",
            "The {p} whose {garment} is {x} gazes at a(n) {dcol} {thing}.",
        ),
    ),
    claims=lines(
        ("The {p}'s {garment} is {h}.", "The {p} has a(n) {h} {garment}."),
        ("The {p} wears a(n) {h} {garment}.",),
        ("On the {p} you see a(n) {h} {garment}.",),
    ),
    denials=lines(
        ("The {p}'s {garment} is not {h}.", "The colour of the {garment} is not {h}."),
        ("The {p} does not wear a(n) {h} {garment}.",),
        ("On the {p} you do not see a(n) {h} {garment}.",),
    ),
)
COUNT = Wording(
    frames=lines(
        (
            "{x} {ps} are {act} behind {dn} {things}.",
            "Behind {dn} {things}, {x} {ps} are {act}.",
            "We can see {x} {ps} and {dn} {things}.",
            "{x} {ps} walk past {dn} {things}.",
            "There are {dn} {things} and {x} {ps} in this picture.",
        ),
        (
            "In front of {dn} {things} stand {x} {ps}.",
            "{x} {ps} have gathered around {dn} {things}.",
        ),
        (
            "The photo shows {x} {ps} beside {dn} {things}.",
            "{x} {ps} wander between {dn} {things}.",
        ),
    ),
    claims=lines(
        ("There are exactly {h} {ps}.", "The number of {ps} is {h}."),
        ("Exactly {h} {ps} are present.",),
        ("In all, there are {h} {ps}.",),
    ),
    denials=lines(
        ("There are not exactly {h} {ps}.", "The number of {ps} is not {h}."),
        ("It is not true that exactly {h} {ps} are present.",),
        ("In all, there are not {h} {ps}.",),
    ),
)
PLACE = Wording(
    frames=lines(
        (
            "A(n) {p} is {act} {x} while a(n) {p2} is resting {dplace}.",
            "While a(n) {p2} waits {dplace}, a(n) {p} is {act} {x}.",
            "{x}, a(n) {p} is {act}.",
            "A(n) {p} is {act} {x}. A(n) {p2} is {dplace}.",
        ),
        (
            "A(n) {p} has been {act} {x} since a(n) {p2} turned up {dplace}.",
            "Somebody films a(n) {p} who is {act} {x}.",
        ),
        (
            "You see a(n) {p} {act} {x} and a(n) {p2} standing {dplace}.",
            "Right now the {p} is {act} {x}; the {p2} is {dplace}.",
        ),
    ),
    claims=lines(
        ("The {p} is {h}.", "There is a(n) {p} {h}."),
        ("You can find the {p} {h}.",),
        ("The {p} happens to be {h}.",),
    ),
    denials=lines(
        ("The {p} is not {h}.", "There is no {p} {h}."),
        ("You cannot find the {p} {h}.",),
        ("The {p} is not to be found {h}.",),
    ),
)
ACTIVITY = Wording(
    frames=lines(
        (
            "A(n) {p} is {x} while a(n) {p2} is {d}.",
            "While a(n) {p2} is {d}, a(n) {p} is {x}.",
            "This morning the {p} is {x}.",
            "Two people are here: a(n) {p2} who is {d} and a(n) {p} who is {x}.",
        ),
        ("A(n) {p2} is {d}, whereas a(n) {p} is {x}.", "At the moment the {p} is {x}."),
        (
            "The {p} is {x}, and the {p2} is {d}.",
            "Not far from a(n) {p2} who is {d}, there is a(n) {p} who is {x}.",
        ),
    ),
    claims=lines(
        ("The {p} is {h}.", "A(n) {p} is {h}."),
        ("It is the {p} who is {h}.",),
        ("The {p} is busy {h}.",),
    ),
    denials=lines(
        ("The {p} is not {h}.", "No {p} is {h}."),
        ("It is not the {p} who is {h}.",),
        ("The {p} is not busy {h}.",),
    ),
)
SETTING = Wording(
    frames=lines(
        (
            "A(n) {p} is {act} {x}.",
            "{x}, a(n) {p} is {act} and a(n) {p2} is watching.",
            "A(n) {p} and a(n) {p2} talk {x}.",
            "A(n) {p} can be seen {act} {x}.",
        ),
        ("Look, a(n) {p} is {act} {x}.", "A(n) {p} keeps on {act} {x}."),
        ("A(n) {p} spends time {act} {x}.", "Here is a(n) {p}, {act} {x}."),
    ),
    claims=lines(
        ("The {p} is {h}.", "Somebody is {h}."),
        ("The {p} stays {h}.",),
        ("You will meet the {p} {h}.",),
    ),
    denials=lines(
        ("The {p} is not {h}.", "Nobody is {h}."),
        ("The {p} does not stay {h}.",),
        ("You will not meet the {p} {h}.",),
    ),
)
CATEGORY = Wording(
    frames=lines(
        (
            "A(n) {p} is holding {x} and nothing else.",
            "The only thing in the {p}'s hands is {x}.",
            "A(n) {p} points at a(n) {thing} and holds nothing but {x}.",
            "With just {x} in both hands, a(n) {p} goes up the stairs.",
        ),
        ("A(n) {p} clutches {x} and no other thing.", "Apart from {x}, the {p} carries nothing."),
        ("All fingers of the {p} are folded around {x}.", "{x} is all that the {p} has picked up."),
    ),
    claims=lines(
        ("The {p} is holding a(n) {h}.", "The {p} has a(n) {h}."),
        ("The {p} carries a(n) {h}.",),
        ("What the {p} grips is a(n) {h}.",),
    ),
    denials=lines(
        ("The {p} is not holding a(n) {h}.", "The {p} is holding no {h}."),
        ("The {p} does not carry a(n) {h}.",),
        ("What the {p} grips is not a(n) {h}.",),
    ),
)
MOOD = Wording(
    frames=lines(
        (
            "A(n) {p} is {x} next to a(n) {thing}.",
            "Next to a(n) {p2}, a(n) {p} is {x}.",
            "Everyone can see that the {p} is {x}.",
            "The {p} is {x}, and a(n) {p2} is {act}.",
        ),
        ("A(n) {p} is {x} close to a(n) {thing}.", "One can tell that the {p} is {x}."),
        ("For minutes now, the {p} has been {x}.", "A(n) {p} in a(n) {garment} is {x}."),
    ),
    claims=lines(
        ("The {p} is {h}.", "The {p} seems to be {h}."),
        ("The {p} feels {h}.",),
        ("This {p} must be {h}.",),
    ),
    denials=lines(
        ("The {p} is not {h}.", "The {p} does not seem to be {h}."),
        ("The {p} does not feel {h}.",),
        ("This {p} cannot be {h}.",),
    ),
)
COMPANION = Wording(
    frames=lines(
        (
            "A(n) {p} sits there {x}, {act}.",
            "{x}, a(n) {p} is {act} near a(n) {thing}.",
            "A(n) {p} takes a break {x}.",
            "A(n) {p} goes for a walk {x}.",
        ),
        ("A(n) {p} travels {x}.", "A(n) {p} has lunch {x}."),
        ("A(n) {p} enjoys the fireworks {x}.", "A(n) {p} tours the castle {x}."),
    ),
    claims=lines(
        ("The {p} is {h}.", "The {p} seems to be {h} here."),
        ("The {p} remains {h}.",),
        ("By the look of it, the {p} is {h}.",),
    ),
    denials=lines(
        ("The {p} is not {h}.", "The {p} does not seem to be {h} here."),
        ("The {p} does not remain {h}.",),
        ("By the look of it, the {p} is not {h}.",),
    ),
)
CARRY = Wording(
    frames=lines(
        (
            "A(n) {p} {x} is {act}.",
            "Near a(n) {thing}, a(n) {p} {x} is {act}.",
            "A(n) {p} {x} crosses the road.",
            "Look at the {p} {x} over there.",
        ),
        ("A(n) {p} {x} gets on a tram.", "There goes a(n) {p} {x}."),
        ("On the ferry there is a(n) {p} {x}.", "Someone greets a(n) {p} {x}."),
    ),
    claims=lines(
        ("The {p} has got a(n) {h}.", "The {p} has a(n) {h} along."),
        ("The {p} brought a(n) {h}.",),
        ("The {p} is equipped with a(n) {h}.",),
    ),
    denials=lines(
        ("The {p} has got no {h}.", "The {p} does not have a(n) {h} along."),
        ("The {p} did not bring a(n) {h}.",),
        ("The {p} is not equipped with a(n) {h}.",),
    ),
)
# The hypotheses of this kind stand in `nli_words.WORLDS`: they name no person.
WORLD = Wording(
    frames=lines(
        (
            "A(n) {p} hurries along {x}.",
            "{x}, a(n) {p} and a(n) {p2} wait for a bus.",
            "A(n) {p} walks home {x}.",
            "A(n) {p} feeds a(n) {animal} {x}.",
        ),
        ("A(n) {p} pedals along {x}.", "A(n) {p} unloads a wagon {x}."),
        ("A(n) {p} strides along {x}.", "A(n) {p} chats with a(n) {p2} {x}."),
    ),
    claims=lines(("{h}",), ("{h}",), ("{h}",)),
    denials=lines(("{not_h}",), ("{not_h}",), ("{not_h}",)),
)


# Scenes told the way people tell them: one premise, three hypotheses. Their wording gives the label
# away to some degree, as it does in hand-written pairs (a reason is often neutral, "nobody" often
# contradicts).
TOLD_PREMISES = lines(
    (
        "{x}, the {p} is {act}.",
        "Here the {p} is {act} while the {p2} looks on.",
        "The {p} and the {p2} have met {x}, and the {p} is {act}.",
        "A(n) {p} is {act}, as can be seen in the picture.",
        "We meet a(n) {p} {x}: still {act}.",
    ),
    ("The {p} keeps {act} {x}.", "A(n) {p}, observed by a(n) {p2}, is {act}."),
    (
        "Not for the first time, a(n) {p} is {act} {x}.",
        "You notice a(n) {p} {act} as the {p2} passes.",
    ),
)
TOLD_HYPOTHESES: dict[str, Lines] = {
    "entailment": lines(
        (
            "Someone is {act}.",
            "A person is {act}.",
            "There is a(n) {p}.",
            "There is at least one person.",
        ),
        ("There is someone {act}.", "At least one person is {act}."),
        ("There is a person {act}.", "There is someone, a(n) {p}."),
    ),
    "neutral": lines(
        (
            "The {p} is {act} because it is a birthday.",
            "The {p} is {act} for a friend.",
            "The {p} is {act} in order to win a bet.",
            "The {p} hopes to be paid for this.",
        ),
        ("The {p} is {act} because of a dare.", "The {p} hopes to learn something."),
        (
            "The {p} is {act} because of a promise.",
            "The {p} is {act} for a grandson.",
            "The {p} hopes to be famous.",
        ),
    ),
    "contradiction": lines(
        (
            "Nobody is {act}.",
            "There is nobody.",
            "The {p} is fast asleep.",
            "There is no {p} here.",
        ),
        ("There is nobody {act}.", "The {p} is asleep in bed."),
        (
            "Nobody is {act} at all.",
            "There is nobody, not even a(n) {p}.",
            "The {p} has been asleep for hours.",
        ),
    ),
}
