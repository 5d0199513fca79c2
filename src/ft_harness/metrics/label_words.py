"""Which label a generated answer names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from ft_harness.metrics.characters import UNSPACED, combining_marks, punctuation
from ft_harness.metrics.generation import cut_run_on


def _fold(text: str) -> str:
    """One form for what reads alike: case, full-width forms, composed and decomposed letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _word_pattern(word: str) -> str:
    """A regular expression for a folded label word that neither begins nor ends within a longer
    word or number."""
    marks = re.escape(combining_marks())
    pattern = r"\s+".join(re.escape(part) for part in word.split())
    if word[0].isdigit():
        pattern = rf"(?<![-−.,]){pattern}"  # 5 is not in -5 nor in .5
    if word[-1].isdigit():
        pattern += r"(?![.,]\d)"  # 4 is not in 4.5
    if re.match(rf"[\w{marks}]", word[-1]) and not re.match(f"[{UNSPACED}]", word[-1]):
        pattern += rf"(?![^\W{UNSPACED}]|[{marks}]|['’]\w)"
    return pattern


@lru_cache(maxsize=256)
def _matcher(words: tuple[str, ...]) -> tuple[re.Pattern[str], list[int]]:
    """(what an answer that names one of the words begins with, the index of the word of each of its
    groups).

    Longer words come first. Empty words and words that two labels share are left out.
    """
    folded = [" ".join(_fold(word).split()) for word in words]
    counts = Counter(folded)
    usable = [index for index, word in enumerate(folded) if word and counts[word] == 1]
    usable.sort(key=lambda index: -len(folded[index]))
    junk = rf"[\s\x00-\x1f\u200b-\u200f\ufeff{re.escape(punctuation())}]"
    groups = "|".join(f"({_word_pattern(folded[index])})" for index in usable)
    return re.compile(rf"{junk}*?(?:{groups or '(?!)'})"), usable


def parse_label(text: str, words: Sequence[str]) -> int | None:
    """Index of the label word that an answer is or begins with; None if it names none.

    The answer ends where another turn begins (`cut_run_on`). Case, surrounding white space, quotes
    and punctuation of any script count for nothing: "Yes, because ..." is "yes". A word must end
    where the label word ends ("yesterday" is not "yes", 4.5 is not 4), but not in scripts written
    without blanks; of two words that fit the longer one wins ("not entailment" over "not"). A word
    that two labels share names neither.
    """
    pattern, indices = _matcher(tuple(words))
    found = pattern.match(_fold(cut_run_on(text)[0]))
    return None if found is None or found.lastindex is None else indices[found.lastindex - 1]
