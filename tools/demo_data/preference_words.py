"""Templates and sentences for `demo_preference`. Each sentence belongs to one split; helpful and
unhelpful endings share most of their words, across splits too."""

from __future__ import annotations

from demo_data.common import bank

REQUESTS = bank(
    train="Where can I find the {thing}?\n{name}:|{name}, have you seen my {thing}?\n{name}:"
    "|Could you tell me where the {thing} is?\n{name}:|I need a(n) {thing}. Who has one?\n{name}:"
    "|{name}, I lost my {thing} at the {place}.\n{name}:"
    "|How do I get from the {place} to the {elsewhere}?\n{name}:"
    "|Can you help me to carry the {thing}?\n{name}:",
    validation="Do you know where they keep the {thing}?\n{name}:"
    "|{name}, which way is the {place}?\n{name}:|I would like to borrow a(n) {thing}.\n{name}:",
    test="Is there a(n) {thing} that I could use?\n{name}:"
    "|Hello {name}, somebody took my {thing}.\n{name}:|What is the way to the {place}?\n{name}:"
    "|Please show me how the {thing} works.\n{name}:",
)
HELP = bank(
    train="The {thing} is at the {place}.|Go to the {place} and ask for the {thing}."
    "|Look behind the {other} in the {place}.|I saw a(n) {thing} near the {place}."
    "|Take my {thing}, it is next to the {other}.|You will find it between the {place} and the {elsewhere}."
    "|The {place} has a(n) {thing} and a(n) {other}.|Walk past the {elsewhere} to the {place}.",
    validation="There is a(n) {thing} in the {place}.|Turn left at the {elsewhere}, then you see the {place}."
    "|Mine is under the {other}, use it.",
    test="It should be in the {place}, beside the {other}.|They keep a(n) {thing} at the {place}."
    "|Follow the road to the {elsewhere}, the {place} comes next.|My {thing} is free, I only use the {other}.",
)
REFUSALS = bank(
    train="I don't know where the {place} is.|Find the {thing} yourself.|The {thing} is not my business."
    "|Who cares about a(n) {thing}?|I will not talk about the {place}.|Nobody here wants your {thing}.",
    validation="Why should I know anything about a(n) {thing}?|Look for your {thing} alone.|The {place} is no business of mine.",
    test="Don't come to me about the {place}.|I have no interest in your {thing}."
    "|Your {thing} is your own business.|What do I care where a(n) {thing} is?",
)
KIND = bank(
    train="I am happy to help you.|It is no trouble at all.|Do ask me again, I like to help."
    "|I hope that this helps you.|Tell me if I can do more for you.|You are welcome, my friend."
    "|I will come with you if you like.|Let me know how it goes.|It was good of you to ask.",
    validation="Helping you is no trouble to me.|I am glad that you asked me.|Ask me whenever you like.",
    test="I am glad to help, ask me again.|That was no trouble, my friend.|If you need more, let me know."
    "|I hope that you find it, good luck.|You were right to ask me.",
)
UNKIND = bank(
    train="I am not happy that you ask.|It is nothing but trouble with you.|Don't ask me again, I have no wish to help."
    "|I hope that you go away now.|Tell somebody else, not me.|You are not welcome here."
    "|I will not come with you.|Let me alone.|It was silly of you to ask.",
    validation="Helping you is nothing but trouble.|I am not glad that you asked me.|Ask somebody else, not me.",
    test="I am not glad to see you, don't ask me again.|That was silly, go away."
    "|If you need more, tell somebody else.|I hope that you don't come back.|You were silly to ask me.",
)
# Remarks that fit any reply and say nothing.
REMARKS = bank(
    train="It is a quiet day.|The weather has changed.|I was there this week.|We close early today."
    "|It has been there for years.|The road is long.",
    validation="The sun is out.|Lunch is soon.|People talk a lot here.",
    test="It may rain later.|The doors are open now.|It was busy this morning.|Time flies.",
)
