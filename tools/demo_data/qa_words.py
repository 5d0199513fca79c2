"""Word banks for `demo_qa`. Names, things, places and times belong to one split; colours and
numbers are shared."""

from __future__ import annotations

from demo_data.common import bank

COLOURS = bank("", "", "", shared="red|blue|green|yellow|black|white|grey|brown|orange|purple|pink")
NUMBERS = bank(
    "",
    "",
    "",
    shared="three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty",
)
NAMES = bank(
    train="Anna|Ben|Clara|David|Emma|Frank|Grace|Henry|Irene|Jack|Kate|Leo|Maria|Nick|Olivia|Peter|Rosa|Sam|Tina|Victor"
    "|Wendy|Adam|Bella|Carl|Daisy|Edgar|Fiona|George|Hannah|Ivan|Julia|Karl|Linda|Max|Nora|Oscar|Paula|Ralph|Susan"
    "|Tom|Ursula|Walter|Yara|Alice|Boris|Cora|Dennis|Elsa",
    validation="Amy|Bruno|Celia|Derek|Edith|Felix|Gina|Hugo|Iris|Jonas|Kim|Lars",
    test="Abel|Beth|Cyril|Dora|Ethan|Flora|Gavin|Helen|Igor|Joan|Kurt|Lucy|Martin|Nina|Otto|Penny|Robert|Sarah|Theo|Vera",
)
THINGS = bank(
    train="kite|drum|lamp|basket|blanket|guitar|clock|vase|scarf|suitcase|ladder|mirror|teapot|wagon|statue|bicycle"
    "|mask|puzzle|carpet|candle|saddle|telescope|chair|necklace|globe|barrel|cushion|doll|hammer|raincoat",
    validation="violin|curtain|wallet|sledge|jar|pillow|lantern|flute",
    test="canoe|trumpet|helmet|quilt|backpack|mug|bracelet|umbrella|rug|whistle|bookshelf|camera|sweater|birdcage",
)
PLACES = bank(
    train="harbour|bakery|museum|farm|library|station|market|school|garden|castle|hospital|hotel|park|church"
    "|workshop|post office|old mill|cinema|city gate|swimming pool",
    validation="zoo|airport|chapel|stadium|toy shop|town hall",
    test="theatre|lighthouse|bank|monastery|ferry|observatory|vineyard|pharmacy|ice rink|warehouse",
)
TOWNS = bank(
    train="Paris|Oslo|Madrid|Boston|Cairo|Dublin|Lima|Milan|Tokyo|Vienna|Delhi|Sydney|Moscow|Havana",
    validation="Athens|Quebec|Seoul|Geneva",
    test="Lisbon|Prague|Denver|Nairobi|Glasgow|Bergen|Toronto",
)
TIMES = bank(
    train="Monday|Tuesday|Wednesday|Thursday",
    validation="Friday|New Year|Labour Day",
    test="Saturday|Sunday|Christmas Day",
)
MONTHS = bank(
    train="January|February|March|April|May|June",
    validation="July|August|September",
    test="October|November|December",
)
ANIMALS = bank(
    train="dog|cat|horse|goat|rabbit|parrot|duck|monkey",
    validation="pig|hamster|lamb|raven",
    test="donkey|turtle|goose|pony|owl",
)
FOODS = bank(
    train="soup|bread|rice|cheese|honey|pasta|apples|fish|salad|pancakes",
    validation="noodles|plums|sausages|beans",
    test="lentils|cherries|yoghurt|dumplings|olives|bacon",
)
JOBS = bank(
    train="baker|nurse|painter|teacher|farmer|driver|singer|tailor|judge|cook|dancer|lawyer",
    validation="plumber|dentist|jeweller|waiter",
    test="sailor|carpenter|pilot|butcher|gardener|florist|surgeon",
)
# Closing sentences that fit any scene and hold no name, place, time, colour or number.
FILLERS = bank(
    train="That is all we know.|So the notes say.|The rest is not important.|Everybody remembers that."
    "|It says so in the diary.",
    validation="Nothing else was written down.|Such is life.|At any rate, we heard as much.",
    test="At least, those were the rumours.|Nothing more was mentioned.|The article ends here.",
)
