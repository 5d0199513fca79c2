"""Sentence templates for `demo_sentiment`, grouped by what makes a row easy or hard.

Slots: `thing`, `a1`/`was1` and `a2`/`was2` (an aspect and its verb), `tried`, `redo`, `who`,
    `when`; words of the
row's own polarity `adj`, `adj2` (for the thing), `g1`, `g2` (for an aspect), `felt` (a verb); words
of the opposite polarity `o1`, `o2`, `ofelt`; `mild`, a mild word of the opposite polarity that a
negation turns round.
"""

from __future__ import annotations

from demo_data.common import Split

Templates = dict[Split, tuple[str, ...]]

PLAIN: Templates = {
    "train": (
        "I {tried} this {thing} {when}. It was {adj} and I {felt} it.",
        "What a(n) {adj} {thing}! The {a1} {was1} {g1} too.",
        "The {a1} {was1} {g1} and the {a2} {was2} {g2}.",
        "{who} told me about this {thing}. I {felt} the {a1} most of all.",
        "A(n) {adj}, {adj2} {thing}.",
        "I {felt} everything about this {thing}. The {a1} {was1} simply {g1}.",
        "This {thing} was {adj} in every respect.",
        "I can still remember how {adj} this {thing} was.",
        "I {tried} a(n) {thing} {when}, and the {a1} {was1} {g1}.",
        "Honestly, the {a1} {was1} {g1}. {who} {felt} it as well.",
        "I have thought about this {thing} all day. It was {adj}.",
        "The {thing} I {tried} {when} was {adj}. The {a1} in particular {was1} {g1}.",
        "A(n) {adj} {thing}, and {who} thought so too.",
        "Each of us {felt} this {thing}: {adj} and {adj2}.",
        "How {adj} can a(n) {thing} be? Even the {a1} {was1} {g1}.",
        "We {tried} this {thing} {when}. It was {adj} and {adj2}, and we told everybody.",
        "I kept telling {who} how {adj} this {thing} was.",
        "The word for this {thing} is {adj}.",
    ),
    "validation": (
        "{when} I {tried} a(n) {thing}, and I {felt} every bit of it.",
        "Truly {adj}: the {a1} {was1} {g1}.",
        "Such a(n) {adj} {thing} deserves a few lines. The {a1} {was1} {g1}.",
        "Seldom have I {tried} a(n) {thing} this {adj}.",
        "{who} and I agree that the {thing} was {adj}.",
        "To sum up the {thing}: {adj}. To sum up the {a1}: {g1}.",
    ),
    "test": (
        "So {adj}! I {tried} the {thing} {when} and still talk about it.",
        "My review of this {thing} is short: {adj}.",
        "In a nutshell, I {felt} this {thing} because the {a1} {was1} so {g1}.",
        "You will not believe how {adj} this {thing} was. Even {who} {felt} it.",
        "If you like surprises, here is one: a(n) {thing} as {adj} as this. The {a1} {was1} {g1}, and the {a2}"
        " {was2} {g2}.",
        "{who} asked for an opinion of the {thing}, so here it is: the {a1} {was1} {g1}, and I {felt} the rest.",
        "Few people will forget a(n) {thing} so {adj}.",
    ),
}

NEGATED: Templates = {
    "train": (
        "This was not a(n) {mild} {thing} at all.",
        "There is nothing {mild} about this {thing}.",
        "Nobody could call this {thing} {mild}.",
        "I never once found the {a1} {mild}.",
        "{who} had predicted a(n) {mild} {thing}, and it was not {mild} in any way.",
        "{who} said that the {thing} was {o1}. I do not agree.",
        "I had read that the {a1} {was1} {o1}. That is not true.",
        "It is hard to see why anyone would call this {thing} {o1}.",
        "The {a1} {was1} not {mild}, and neither {was2} the {a2}.",
        "Do not believe people who say the {thing} is {o1}.",
    ),
    "validation": (
        "The {thing} was anything but {mild}.",
        "By no means would I describe the {a1} as {mild}.",
        "{who} called it a(n) {o1} {thing}, which is plainly wrong.",
        "I cannot imagine how somebody finds this {thing} {o1}.",
    ),
    "test": (
        "The {thing} turned out to be far from {mild}.",
        "You could hardly say that the {a1} {was1} {mild}.",
        "Critics wrote that this {thing} is {o1}, but they are mistaken.",
        "Is the {thing} {mild}? No, quite the opposite.",
        "As it turns out, {who} was wrong to forecast a(n) {o1} {thing}.",
    ),
}

CONTRAST: Templates = {
    "train": (
        "The {a1} {was1} {o1}, but on the whole I {felt} this {thing}.",
        "Although the {a1} {was1} {o1}, the {thing} was {adj}.",
        "I {felt} the {thing}, even though the {a1} {was1} {o1}.",
        "The {a1} {was1} {o1} and the {a2} {was2} {o2}, yet I {felt} it.",
        "{who} {ofelt} this {thing}, but I {felt} it.",
        "At first, the {thing} seemed {o1}. After an hour I knew it was {adj}.",
        "People call the {a1} {o1}. What matters to me is the {a2}, and that part is {g1}.",
        "Yes, the {a1} {was1} {o1}. The {thing} as such was {adj}, though.",
        "I wanted to say that it was {o1}, but this {thing} was {adj}.",
        "It looked {o1}, then the {a1} made it {adj}.",
    ),
    "validation": (
        "Despite the {o1} {a1}, I {felt} this {thing}.",
        "{who} found it {o1}; for me the {thing} was {adj}.",
        "While the {a1} {was1} {o1}, the {a2} made this a(n) {adj} {thing}.",
    ),
    "test": (
        "Whatever you hear about the {o1} {a1}, in the end the {thing} was {adj}.",
        "My first impression was {o1}. Later I {felt} the {thing}.",
        "I {felt} this {thing} in spite of the {o1} {a1}.",
        "{who} {ofelt} the {a1}; however, I must call the {thing} {adj}.",
    ),
}

VERDICT_GOOD: Templates = {
    "train": (
        "It has its faults, and the {a1} {was1} {o1}. Still, I would {redo} at once.",
        "I came with low hopes for this {thing} and left with a smile.",
        "Never mind the {o1} {a1}: I would {redo}.",
        "The {a1} could be better, but I recommend this {thing} to everyone.",
        "I had my doubts about the {thing}. They were gone within minutes.",
        "I told {who} to skip the {thing}, and now I take that back.",
    ),
    "validation": (
        "No {thing} is without flaws, yet I can warmly advise it.",
        "Forget the {o1} {a1}. I plan to {redo} soon.",
        "A small complaint about the {a1}, and otherwise full marks for the {thing}.",
    ),
    "test": (
        "The {a1} needed patience, but I cannot wait to {redo}.",
        "{who} warned me about the {a1}. Never has a warning been so needless.",
        "Five stars, {o1} {a1} or not.",
        "Minor problems aside, this {thing} earned every cent.",
    ),
}

VERDICT_BAD: Templates = {
    "train": (
        "It has its strong points, and the {a1} {was1} {o1}. Still, I would not {redo}.",
        "I came with high hopes for this {thing} and left with a frown.",
        "Never mind the {o1} {a1}: I would not {redo}.",
        "The {a1} could be worse, but I recommend this {thing} to nobody.",
        "The {thing} was fine, I suppose, if you expect very little.",
        "I told {who} to try the {thing}, and now I am sorry.",
    ),
    "validation": (
        "Every {thing} has some merit, yet I would advise against it.",
        "Forget the {o1} {a1}. I have no plan to {redo}.",
        "A small compliment for the {a1}, and otherwise no marks for the {thing}.",
    ),
    "test": (
        "The {a1} needed praise, perhaps, but I cannot bring myself to {redo}.",
        "{who} raved about the {a1}. Never has praise been so undeserved.",
        "One star, {o1} {a1} or not.",
        "Minor joys aside, this {thing} was a waste of money.",
    ),
}
