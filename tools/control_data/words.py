"""Everyday sentences without their last word, and four words that could follow: one fits.

The three wrong words of a row are right words of its own group, so that a word is no clue by
itself.
"""

from __future__ import annotations

import random

# One line per row: the sentence | the word that fits | words of the group that would fit as well.
_GROUPS = (
    """
    It was raining, so she opened her | umbrella | envelope
    He was thirsty and asked for a glass of | water
    To see what time it was, he looked at the | clock
    She cut the paper with a pair of | scissors
    He locked the door with a small | key
    She could not read without her | glasses | lamp
    The fire was going out, so he brought more | wood | money
    She wrote her name with a | pen
    He sat down at the table on a wooden | chair
    It was dark, so she switched on the | lamp | clock
    He put a stamp on the | envelope
    She washed her hands with warm water and | soap
    He climbed onto the roof with a long | ladder
    She swept the floor with a | broom
    He dug a hole in the garden with a | spade | spoon
    She ate her soup with a | spoon
    To hang the picture he needed a nail and a | hammer | ladder
    She slept well with her head on a soft | pillow
    He paid at the till with the last of his | money
    Her feet were cold, so she put on thick | socks
    """,
    """
    She borrowed three books from the | library | school church museum
    He was ill, and they drove him to the | hospital
    The train left from the | station | harbour
    The children learn to read at | school | library church
    They saw the film at the | cinema | museum school
    The plane landed at the | airport | field sea
    She bought fresh bread at the | bakery | station airport
    He cooked dinner in the | kitchen | forest
    The cows were standing in the | field | zoo forest
    They swam all day in the | sea | harbour
    She sent the parcel from the post | office
    The ships were tied up in the | harbour | sea
    The judge sat down, and it was quiet in the | court | church library
    He parked the car in the | garage | field forest harbour
    The lions and the monkeys live in the | zoo | forest field
    She kept her savings in the | bank | kitchen
    They slept in a tent in the | forest | field
    He took a shower in the | bathroom | hospital
    The old paintings hang in the | museum | church library court bank
    The monks prayed in the | church | forest field
    """,
    """
    A young dog is called a | puppy
    A young cat is called a | kitten
    The milk came from a brown | cow | horse sheep
    We get wool from | sheep
    The eggs were laid by a | hen | spider fish tortoise
    The knight rode away on a white | horse | elephant
    The cheese in the trap was for the | mouse
    Honey is made by | bees
    The web in the corner was made by a | spider
    He went out with his rod and caught a big | fish | tortoise
    The animal with the longest neck is the | giraffe
    The animal with a trunk is the | elephant
    The carrots in the garden were eaten by a | rabbit | horse cow mouse sheep hen elephant
    The slowest animal with a shell is the | tortoise
    The king of the animals is the | lion | elephant
    """,
    """
    The opposite of hot is | cold
    The opposite of big is | small
    The opposite of full is | empty | hungry
    The opposite of early is | late
    The opposite of loud is | quiet
    The opposite of rich is | poor
    The opposite of heavy is | light
    The opposite of wet is | dry
    The opposite of old is | young
    The opposite of easy is | difficult
    He had not slept all night and was very | tired | hungry late
    She had not eaten since breakfast and was | hungry | tired empty poor
    The knife cut well because it was | sharp | light young
    He could not walk because his leg was | broken | cold small
    There was too much salt in the soup, so it was | salty | cold dry
    The lemon was yellow and | sour | small cold dry sweet sharp light young
    The cake was full of sugar and very | sweet | small light
    The night was black and | dark | cold quiet late empty
    """,
    """
    The baby was hungry and began to | cry | eat drink
    When he heard the joke he had to | laugh | cry answer
    She was tired, so she lay down to | sleep | read cry
    The band played, and everybody began to | dance | sing laugh move
    The bird opened its wings and began to | fly | sing move dance
    The water was so hot that it began to | boil | move
    The kettle was empty, and there was nothing to | drink | boil eat
    The table was laid, and they sat down to | eat | drink read
    The lights turned green, and the cars began to | move | fly
    The sun came out, and the snow began to | melt | move fly
    The phone rang, but nobody wanted to | answer | move
    She picked up her brush and began to | paint
    He opened the book and began to | read | cry laugh
    The choir stood up and began to | sing | dance move laugh
    She jumped into the lake and began to | swim | move sing
    """,
    """
    His tooth hurt, so he went to the | dentist
    The bread was made by the | baker | farmer
    The man who flies a plane is called a | pilot
    The woman who looks after the sick is called a | nurse | vet
    The house was on fire, and they called the | firemen | police
    The thief was caught by the | police | firemen farmer
    The lesson began, and the class listened to the | teacher
    The pipe was leaking, so they sent for a | plumber
    The field was ploughed by the | farmer
    Her dress was sewn by a | tailor
    His hair was too long, so he went to the | barber
    The play was over, and they clapped for the | actors | author
    The meat was cut up by the | butcher | farmer
    The sick cow was looked after by the | vet | farmer nurse
    The long novel was written by a famous | author | teacher
    At the table in the restaurant they ordered from the | waiter
    """,
)


def _read(group: str) -> list[tuple[str, str, set[str]]]:
    """(sentence, the word that fits, what would fit as well) of each line."""
    lines = [
        [part.strip() for part in line.split("|")] for line in group.splitlines() if line.strip()
    ]
    return [(line[0], line[1], set(" ".join(line[2:]).split())) for line in lines]


def rows(rng: random.Random) -> list[dict[str, object]]:
    """A row a sentence, shuffled; the wrong words are drawn from the right ones of its group."""
    made: list[dict[str, object]] = []
    for group in map(_read, _GROUPS):
        for prompt, right, fitting in group:
            others = [word for _, word, _ in group if word != right and word not in fitting]
            choices = [right, *rng.sample(others, 3)]
            rng.shuffle(choices)
            made.append({"prompt": prompt, "choices": choices, "answer": choices.index(right)})
    rng.shuffle(made)
    return made
