"""Templates and word banks for `demo_preference`. Each template belongs to one split; helpful and
unhelpful endings share most of their words, and part of these are common to all splits."""

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
# How the one who replies feels, and what is to be done: {good}, {bad} and {act} of an ending.
GOOD = bank(
    shared="glad|happy|pleased|delighted|willing",
    train="ready|honoured|proud",
    validation="grateful",
    test="eager|thrilled|content",
)
BAD = bank(
    shared="annoyed|bored|angry|tired|unhappy",
    train="cross|upset|fed up",
    validation="furious",
    test="irritated|weary|grumpy",
)
ACTS = bank(
    shared="help you|show you the way|lend you a hand|explain it all",
    train="answer you|walk there with you|look for it",
    validation="tell you more",
    test="guide you|carry it for you|search with you",
)
KIND = bank(
    train="I am {good} to {act}.|It is no trouble at all to {act}.|Do ask me again, I am {good}."
    "|Tell me if I should {act}, I am {good}.|You are welcome, my friend, I am {good} to {act}."
    "|I will {act} if you like.|It was good of you to ask, I am {good}.|I would be {good} to {act}."
    "|Let me {act}, please.|You make me {good} when you ask.|I hope that I can {act}."
    "|Of course I am {good} to {act}.|It is good to see you, I am {good}.",
    validation="To {act} is no trouble to me.|I am so {good} that you asked me."
    "|Ask me whenever you like, I am {good} to {act}.|I can {act} at once.",
    test="I am always {good} to {act}.|That is no trouble, my friend, I am {good}."
    "|If you need more, I am {good} to {act}.|I am {good} that you came, let me {act}."
    "|You were right to ask me, I am {good}.|Good luck, and let me {act} if you need more.",
)
UNKIND = bank(
    train="I am not {good} to {act}.|It is nothing but trouble to {act}.|Don't ask me again, I am {bad}."
    "|Tell somebody else to {act}, I am {bad}.|You are not welcome here, I am {bad}."
    "|I will not {act}, go away.|It was silly of you to ask, I am {bad}.|I would be {bad} to {act}."
    "|Let me alone, please.|You make me {bad} when you ask.|I hope that I need not {act}."
    "|Of course I am not {good} to {act}.|It is bad to see you, I am {bad}.",
    validation="To {act} is nothing but trouble.|I am so {bad} that you asked me."
    "|Ask somebody else, I am {bad} of this.|I can not {act}, go away.",
    test="I am never {good} to {act}.|That is a lot of trouble, I am {bad}."
    "|If you need more, I am too {bad} to {act}.|I am {bad} that you came, let me alone."
    "|You were silly to ask me, I am {bad}.|Go away, and don't ask me to {act}.",
)
# Remarks that fit any reply and say nothing.
REMARKS = bank(
    train="It is a quiet day.|The weather has changed.|I was there this week.|We close early today."
    "|It has been there for years.|The road is long.",
    validation="The sun is out.|Lunch is soon.|People talk a lot here.",
    test="It may rain later.|The doors are open now.|It was busy this morning.|Time flies.",
)
