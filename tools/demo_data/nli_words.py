"""Word banks for `demo_nli`. Every noun, cue and activity belongs to one split; colours and numbers
are shared."""

from __future__ import annotations

from dataclasses import dataclass

from demo_data.common import Split, bank

COLOURS = bank("", "", "", shared="red|blue|green|yellow|black|white|grey|brown|orange|purple|pink")
NUMBERS = bank("", "", "", shared="two|three|four|five|six|seven|eight|nine")
VAGUE_NUMBERS = bank("", "", "", shared="some|several|many|a few|a number of")

# Singular and plural, parted by a slash.
PERSONS = bank(
    train="woman/women|man/men|boy/boys|farmer/farmers|nurse/nurses|painter/painters|student/students|waiter/waiters"
    "|teacher/teachers|police officer/police officers|skater/skaters|tourist/tourists|clown/clowns|dancer/dancers"
    "|mechanic/mechanics|baker/bakers|grandmother/grandmothers|soldier/soldiers|postman/postmen|cyclist/cyclists"
    "|drummer/drummers|monk/monks|hiker/hikers|toddler/toddlers|lawyer/lawyers",
    validation="lifeguard/lifeguards|librarian/librarians|plumber/plumbers|janitor/janitors|pianist/pianists"
    "|bride/brides|jogger/joggers|chef/chefs",
    test="girl/girls|gentleman/gentlemen|sailor/sailors|carpenter/carpenters|gardener/gardeners|surfer/surfers"
    "|singer/singers|tailor/tailors|teenager/teenagers|lady/ladies|firefighter/firefighters|butcher/butchers"
    "|photographer/photographers|pilot/pilots",
)
ANIMALS = bank(
    train="dog/dogs|cat/cats|horse/horses|goat/goats|monkey/monkeys|duck/ducks|rabbit/rabbits",
    validation="pig/pigs|parrot/parrots|lamb/lambs",
    test="donkey/donkeys|puppy/puppies|cow/cows|squirrel/squirrels|goose/geese",
)
GARMENTS = bank(
    train="coat|scarf|jacket|hat|shirt|sweater|apron|tie",
    validation="cape|hoodie|beret",
    test="vest|raincoat|cap|jumper|uniform|cardigan",
)
FABRICS = bank(
    train="woollen|thick|heavy|long|torn|brand-new",
    validation="crumpled|loose|spotless",
    test="leather|thin|patched|warm|tight",
)
THINGS = bank(
    train="car|van|fence|tent|door|wall|bench|bus|kite|barrel",
    validation="gate|truck|kiosk|mailbox",
    test="boat|caravan|tractor|bicycle|balcony|scooter",
)
COUNTED = bank(
    train="chairs|cars|trees|boxes|tents|barrels|lamps|benches",
    validation="trucks|gates|mailboxes",
    test="boats|tractors|bicycles|stones|haystacks",
)
# Things to do anywhere, which rule out no place and no mood.
PASTIMES = bank(
    train="reading a letter|making a phone call|eating a sandwich|playing cards|folding a map|drinking tea"
    "|eating peanuts|counting coins|peeling an apple|cleaning a pair of glasses|writing a note|looking at an old album",
    validation="knitting a sock|solving a puzzle|eating a pear|threading a needle|polishing a spoon",
    test="sketching a portrait|playing the flute|blowing bubbles|sipping lemonade|sharpening a pencil|opening a parcel"
    "|unfolding a tablecloth|winding a clock",
)
ANIMAL_PASTIMES = bank(
    train="sniffing around|taking a rest|making noise|chewing on something|waiting for food|moving about",
    validation="rolling over|hiding|scratching",
    test="dozing|playing about|basking|crouching down",
)
# Things to do that rule each other out: nobody does two of them at once.
EXCLUSIVE = bank(
    train="riding a bike|swimming laps|climbing a ladder|painting a wall|cooking a meal|sweeping the floor"
    "|digging a hole|ironing clothes|driving a bus|mowing the grass|dancing a waltz|rowing a canoe"
    "|sleeping on a couch|washing dishes|juggling oranges|playing the violin",
    validation="sawing wood|chopping carrots|flying a drone|doing push-ups|fixing a pipe",
    test="pushing a cart|feeding pigeons|carving a statue|surfing a wave|baking bread|picking grapes"
    "|shovelling gravel|vacuuming a carpet|milking a cow",
)
STATES = bank(
    train="a little nervous|thinking about home|in a good mood|wearing sunglasses|hoping for better luck|very tall",
    validation="full of energy|wearing earrings|late for an appointment",
    test="wearing a necklace|dreaming of a holiday|lost in thought|a bit hungry|new in town",
)
INDOORS = bank(
    train="in the kitchen|in the library|in the classroom|in the hospital|in the gym|in the museum|in the basement"
    "|in the elevator|in the living room|in the supermarket",
    validation="in the attic|in the bakery|in the office|in the canteen",
    test="in the hallway|in the laundry|in the bedroom|in the theatre|in the workshop|in the chapel",
)
OUTDOORS = bank(
    train="on the beach|in the garden|in the park|on the hillside|in the street|by the river|in the forest"
    "|at the bus stop|on the football field|on the playground",
    validation="in the meadow|on the lawn|at the campsite|on the riverbank",
    test="in the vineyard|on the pier|by the lake|in the orchard|in the desert|in the town square",
)
MANNERS = bank(
    train="with great care|without a word|in complete silence|for the second time today|before dinner|with some effort",
    validation="in a hurry|as usual|rather slowly",
    test="with a lot of patience|once again|for quite a while|after a long delay|as planned",
)
CARRIED = bank(
    train="umbrella|backpack|suitcase|camera|guitar|basket|newspaper|walking stick|bucket|flashlight|balloon",
    validation="helmet|lantern|trumpet|handbag",
    test="towel|rope|briefcase|hammer|bouquet|skateboard|pillow|candle",
)
UNCLEAR = bank(
    train="something small|something heavy|a wrapped box",
    validation="something shiny|a strange object",
    test="something light|an unmarked packet|a mysterious item",
)
CATEGORIES: dict[Split, dict[str, tuple[str, ...]]] = {
    "train": {
        "fruit": ("banana", "peach", "mango", "lemon", "melon"),
        "tool": ("wrench", "saw", "screwdriver", "drill", "shovel"),
        "musical instrument": ("guitar", "violin", "clarinet", "harp"),
        "toy": ("doll", "yo-yo", "teddy bear", "spinning top"),
        "gemstone": ("ruby", "emerald", "pearl", "diamond"),
        "vegetable": ("cabbage", "onion", "potato", "cucumber"),
    },
    "validation": {
        "flower": ("tulip", "daisy", "rose", "lily"),
        "drink": ("glass of milk", "mug of cocoa", "cup of coffee"),
    },
    "test": {
        "bird": ("canary", "pigeon", "owl", "swan"),
        "reptile": ("snake", "lizard", "turtle", "gecko"),
        "insect": ("beetle", "butterfly", "grasshopper", "moth"),
        "dessert": ("cupcake", "pudding", "slice of cheesecake", "waffle"),
    },
}


@dataclass(frozen=True)
class Opposites:
    """Two states of one thing that cannot both hold, with phrases that show either."""

    first: str
    second: str
    first_cues: tuple[str, ...]
    second_cues: tuple[str, ...]


MOODS: dict[Split, tuple[Opposites, ...]] = {
    "train": (
        Opposites(
            "happy",
            "sad",
            (
                "grinning from ear to ear",
                "laughing out loud",
                "beaming with joy",
                "smiling broadly",
            ),
            ("sobbing quietly", "wiping away tears", "crying over bad news", "close to tears"),
        ),
        Opposites(
            "sleepy",
            "wide awake",
            ("yawning again and again", "struggling to stay awake", "about to nod off"),
            ("alert and ready", "as fresh as ever", "not the least bit drowsy"),
        ),
    ),
    "validation": (
        Opposites(
            "frightened",
            "relaxed",
            ("trembling with fear", "screaming in panic", "shaking all over"),
            ("breathing calmly", "perfectly at ease", "leaning back without a worry"),
        ),
    ),
    "test": (
        Opposites(
            "cheerful",
            "miserable",
            ("giggling with delight", "cheering and clapping", "chuckling merrily"),
            ("weeping bitterly", "moping with a long face", "wailing and lamenting"),
        ),
        Opposites(
            "bored",
            "excited",
            ("sighing at the slow clock", "staring blankly at nothing", "fed up with the dullness"),
            (
                "hopping up and down with eagerness",
                "buzzing with anticipation",
                "squealing with enthusiasm",
            ),
        ),
    ),
}
COMPANY: dict[Split, Opposites] = {
    "train": Opposites(
        "alone",
        "in company",
        ("without any company", "with nobody else around", "with no other person nearby"),
        ("together with two friends", "side by side with a brother", "in the middle of a crowd"),
    ),
    "validation": Opposites(
        "solitary",
        "accompanied",
        ("in total solitude", "with no companion"),
        ("with a large family", "with three companions"),
    ),
    "test": Opposites(
        "unaccompanied",
        "among others",
        (
            "with not another soul in sight",
            "far from all human beings",
            "completely isolated from everybody",
        ),
        ("alongside several pals", "amid a group of strangers", "arm in arm with a partner"),
    ),
}


@dataclass(frozen=True)
class World:
    """A fact about weather or hour: how to state it, how to deny it, what shows it and what rules
    it out."""

    says: str
    denies: str
    shows: tuple[str, ...]
    rules_out: tuple[str, ...]
    silent: tuple[str, ...]


WORLDS: dict[Split, tuple[World, ...]] = {
    "train": (
        World(
            "It is raining.",
            "It is not raining.",
            ("in the pouring rain", "as raindrops hit the ground", "during a heavy shower"),
            ("under a cloudless sky", "in bright, dry sunshine", "in the middle of a long drought"),
            ("on a Friday", "after work", "near the station"),
        ),
        World(
            "It is night.",
            "It is not night.",
            ("by moonlight", "long after midnight", "under the stars"),
            ("in the midday sun", "at ten in the morning", "in broad daylight"),
            ("in the rain", "on a Monday", "near the station"),
        ),
    ),
    "validation": (
        World(
            "It is windy.",
            "It is not windy.",
            ("in a fierce gale", "as a storm bends the branches"),
            ("in perfectly calm weather", "without the slightest breeze"),
            ("on a Tuesday", "near the border"),
        ),
    ),
    "test": (
        World(
            "It is snowing.",
            "It is not snowing.",
            ("while fat snowflakes come down", "in a blizzard", "amid swirling snow"),
            ("in the heat of July", "on a hot, cloud-free afternoon", "on a sweltering day"),
            ("on a Saturday", "near the harbour", "during the weekend"),
        ),
        World(
            "It is evening.",
            "It is not evening.",
            ("at sunset", "at nightfall", "when dusk falls"),
            ("at dawn", "shortly after breakfast", "at noon"),
            ("on a Saturday", "near the harbour", "during the weekend"),
        ),
    ),
}
