"""What every demo task needs: splits, sizes, word banks per split and small grammar repairs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Literal

Split = Literal["train", "validation", "test"]
Row = dict[str, str]
Bank = Mapping[Split, tuple[str, ...]]

SEED = 20260417
SIZES: dict[Split, int] = {"train": 2000, "validation": 200, "test": 400}
MAX_TRIES = 200

_ARTICLE = re.compile(r"\b([Aa])\(n\) (\w+)")
_SAYS_AN = ("hour", "honest")
_SAYS_A = ("unif", "uniq", "use")


def bank(train: str, validation: str, test: str, shared: str = "") -> Bank:
    """Word lists parted by `|`. Every split also gets `shared`; all else belongs to one split alone."""

    def cut(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split("|") if part.strip())

    common = cut(shared)
    return {
        "train": common + cut(train),
        "validation": common + cut(validation),
        "test": common + cut(test),
    }


def rng_for(task: str, split: Split) -> random.Random:
    """One stream per task and split, so that a change in one task leaves the other files as they
    are."""
    return random.Random(f"{SEED}:{task}:{split}")


def fix_articles(text: str) -> str:
    """Turn every `a(n)` into `a` or `an`, by the sound of the next word."""

    def choose(match: re.Match[str]) -> str:
        article, word = match.group(1), match.group(2)
        lower = word.lower()
        vowel = lower.startswith(_SAYS_AN) or (
            lower[0] in "aeiou" and not lower.startswith(_SAYS_A)
        )
        return f"{article}{'n' if vowel else ''} {word}"

    return _ARTICLE.sub(choose, text)


def sentence_case(text: str) -> str:
    """Upper-case the first letter of the text and of every sentence in it."""
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)


def finish(template: str, slots: Mapping[str, str]) -> str:
    """Fill a template and repair articles and capitals."""
    return sentence_case(fix_articles(template.format_map(slots)))


def fresh(draw: Callable[[], list[Row]], seen: set[tuple[str, ...]]) -> list[Row]:
    """Draw a group of rows until none of its inputs is in `seen`, and note them there.

    The last field of a row is its answer, so two rows with one input would repeat or contradict
    each other. A bank that is too small would loop for ever, so this gives up loudly after
    `MAX_TRIES`.
    """
    for _ in range(MAX_TRIES):
        group = draw()
        inputs = {tuple(row.values())[:-1] for row in group}
        if len(inputs) == len(group) and not inputs & seen:
            seen |= inputs
            return group
    raise RuntimeError("the word banks are too small for this many distinct rows")
