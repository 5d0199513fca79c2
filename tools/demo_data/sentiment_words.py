"""Word banks for `demo_sentiment`. Nouns belong to one split; part of the evaluative words is
shared."""

from __future__ import annotations

from dataclasses import dataclass

from demo_data.common import Bank, bank


@dataclass(frozen=True)
class Domain:
    """A kind of thing people review. An aspect ending in `*` is plural."""

    tried: str
    redo: str
    things: Bank
    aspects: Bank
    good: Bank
    bad: Bank


GOOD = bank(
    shared="good|great|excellent|wonderful|fantastic|lovely|brilliant|superb|amazing|perfect|impressive|delightful"
    "|terrific|outstanding",
    train="marvellous|splendid|first-rate|fabulous|memorable|pleasing",
    validation="stellar|flawless|pleasant",
    test="exceptional|magnificent|admirable|top-notch|satisfying|commendable",
)
BAD = bank(
    shared="bad|terrible|awful|poor|horrible|disappointing|dreadful|mediocre|lousy|dismal|appalling|annoying|pathetic",
    train="atrocious|second-rate|hopeless|underwhelming|horrid|unimpressive",
    validation="woeful|lacklustre|miserable",
    test="abysmal|ghastly|forgettable|shoddy|laughable|frustrating",
)
# Mild words: "not terrific" says little, "not good" says enough.
MILD_GOOD = bank(
    shared="good|great|impressive|enjoyable",
    train="likeable",
    validation="pleasant",
    test="satisfying",
)
MILD_BAD = bank(
    shared="bad|poor|disappointing|terrible",
    train="second-rate",
    validation="lacklustre",
    test="forgettable",
)

LIKED = bank(
    shared="loved|enjoyed|liked|was happy with",
    train="adored|was delighted with",
    validation="was pleased with",
    test="was thrilled by|was impressed by",
)
LOATHED = bank(
    shared="hated|disliked|regretted|was unhappy with",
    train="loathed|was disgusted by",
    validation="detested",
    test="was fed up with|was let down by",
)

WHO = bank(
    train="my brother|my neighbour|a colleague|my father|my boss|an old friend|my wife",
    validation="my aunt|my classmate|a cousin",
    test="my sister|my grandmother|my flatmate|our teacher|my son",
)
WHEN = bank(
    train="last week|on Monday|in spring|two days ago|over the weekend|in March",
    validation="yesterday|in autumn|on Thursday",
    test="this morning|last month|in summer|on Sunday|before Christmas",
)

_STORY_GOOD = bank(
    shared="gripping|moving|funny|clever|touching|entertaining",
    train="witty|heartfelt|charming",
    validation="absorbing",
    test="captivating|inventive|thrilling",
)
_STORY_BAD = bank(
    shared="dull|boring|tedious|predictable|slow",
    train="lifeless|clumsy|silly",
    validation="muddled",
    test="dreary|shallow|pointless",
)

DOMAINS = (
    Domain(
        tried="watched",
        redo="watch it again",
        things=bank(
            train="film|thriller|comedy|sequel|documentary|western|romance",
            validation="cartoon|biopic|remake",
            test="movie|musical|war drama|miniseries",
        ),
        aspects=bank(
            train="acting|plot|ending|dialogue|camera work|cast|jokes*|stunts*|costumes*",
            validation="script|soundtrack|effects*",
            test="storyline|direction|lead actor|songs*|fight scenes*",
        ),
        good=_STORY_GOOD,
        bad=_STORY_BAD,
    ),
    Domain(
        tried="read",
        redo="read it again",
        things=bank(
            train="novel|memoir|biography|travel guide|crime novel|picture book",
            validation="fantasy saga|anthology|diary",
            test="paperback|textbook|ghost story|autobiography",
        ),
        aspects=bank(
            train="prose|opening chapter|characters*|drawings*|translation|final twist",
            validation="narration|cover art|footnotes*",
            test="writing style|illustrations*|preface|last few pages*",
        ),
        good=_STORY_GOOD,
        bad=_STORY_BAD,
    ),
    Domain(
        tried="ordered",
        redo="order it again",
        things=bank(
            train="soup|pizza|curry|burger|salad|pasta|roast",
            validation="sandwich|omelette|stew",
            test="steak|risotto|noodle bowl|fish pie",
        ),
        aspects=bank(
            train="sauce|portion|flavour|spices*|side dishes*|vegetables*",
            validation="taste|aroma|chips*",
            test="seasoning|garnish|texture|presentation|herbs*",
        ),
        good=bank(
            shared="delicious|tasty|fresh",
            train="mouth-watering",
            validation="yummy",
            test="flavourful|appetising",
        ),
        bad=bank(
            shared="bland|stale|greasy|soggy",
            train="overcooked|tasteless",
            validation="rubbery",
            test="inedible",
        ),
    ),
    Domain(
        tried="stayed at",
        redo="stay there again",
        things=bank(
            train="hotel|hostel|guest house|beach resort|inn|motel",
            validation="lodge|spa|chalet",
            test="cottage|cabin|holiday apartment|farmhouse",
        ),
        aspects=bank(
            train="room|bed|view|shower|bathrooms*|lobby|towels*",
            validation="sauna|mattress|pillows*",
            test="kitchenette|balcony|furniture|heating|sheets*",
        ),
        good=bank(
            shared="clean|comfortable|cosy|quiet",
            train="spotless",
            validation="homely",
            test="peaceful|inviting",
        ),
        bad=bank(
            shared="dirty|noisy|cramped|smelly",
            train="grubby",
            validation="mouldy",
            test="filthy|gloomy",
        ),
    ),
    Domain(
        tried="used",
        redo="use it again",
        things=bank(
            train="garage|hair salon|repair shop|helpline|travel agency|gym",
            validation="courier firm|laundry|pharmacy",
            test="dental clinic|bank branch|moving company|car rental desk",
        ),
        aspects=bank(
            train="staff*|prices*|advice|work|manager|technicians*",
            validation="receptionist|paperwork|drivers*",
            test="clerk|booking process|phone support|customer care|team",
        ),
        good=bank(
            shared="friendly|helpful|reliable|quick",
            train="courteous",
            validation="prompt",
            test="professional|attentive",
        ),
        bad=bank(
            shared="rude|slow|careless|unhelpful",
            train="dishonest",
            validation="sloppy",
            test="incompetent|chaotic",
        ),
    ),
    Domain(
        tried="bought",
        redo="buy it again",
        things=bank(
            train="kettle|backpack|lamp|headset|vacuum cleaner|office chair|wristwatch",
            validation="blender|umbrella|keyboard",
            test="toaster|tent|bicycle helmet|phone case",
        ),
        aspects=bank(
            train="design|finish|material|instructions*|build quality|packaging",
            validation="workmanship|size|accessories*",
            test="shape|durability|surface|weight|edges*",
        ),
        good=bank(
            shared="reliable|sturdy|handy|useful",
            train="well-made",
            validation="versatile",
            test="durable|practical",
        ),
        bad=bank(
            shared="flimsy|useless|unreliable|fragile",
            train="wobbly",
            validation="clunky",
            test="defective|overpriced",
        ),
    ),
)
