"""Characters of any script: punctuation, characters that continue a word, and scripts written
without spaces."""

from __future__ import annotations

import re
import string
import unicodedata
from functools import cache

_LAST = 0x1FFFF  # punctuation and combining marks lie in the first two planes
# Scripts written without blanks between words: Thai to Lao, Tibetan to Burmese, Khmer, Tai,
# Balinese, Javanese, kana, Bopomofo and the Chinese characters. Not Hangul: Korean is written with
# blanks.
UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9df\u3005-\u3007"
    "\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


@cache
def _of_category(letters: str) -> str:
    """All characters whose Unicode category begins with one of these letters."""
    return "".join(
        char for char in map(chr, range(_LAST + 1)) if unicodedata.category(char)[0] in letters
    )


@cache
def punctuation() -> str:
    """Punctuation of every script, and ASCII's symbols (`string.punctuation`)."""
    return "".join(dict.fromkeys(string.punctuation + _of_category("P")))


@cache
def combining_marks() -> str:
    """Characters that are signs of the letter before them."""
    return _of_category("M")


def split_tokens(text: str) -> list[str]:
    """Words between blanks; in scripts written without blanks each character."""
    return text.split() if text.isascii() else _TOKEN.findall(text)
