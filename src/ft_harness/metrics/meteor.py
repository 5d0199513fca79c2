"""METEOR by nltk, with the bundled synonym index in WordNet's place and tokenizers that need no
downloaded data."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from ft_harness.metrics.core import Metric, mean
from ft_harness.metrics.wordnet import WORDS_IN_MEMORY, synonym_index

# In place of the abbreviations that nltk's downloaded Punkt model has learnt: after these a full
# stop ends no sentence.
ABBREVIATIONS = frozenset(
    {
        "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "gen", "col", "sgt", "capt", "rev",
        "hon", "inc", "ltd", "co", "corp", "no", "vs", "etc", "e.g", "i.e", "u.s", "a.m", "p.m",
        "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
    }
)  # fmt: skip
_log = logging.getLogger(__name__)


def meteor_score(prediction: str, references: Sequence[str]) -> float | None:
    """METEOR of one item, 0-1, the best reference; None if no reference can be scored (see
    `why_no_meteor`).

    Two identical texts score just below 1 (two words 0.9375): the penalty for one chunk of n words
    is 0.5 / n^3.

    Source: nltk.translate.meteor_score (Lavie and Agarwal 2007; exact, stem and synonym matches,
        greedy from the end).
    """
    if reason := why_no_meteor(references):
        _warn(reason)
        return None
    from nltk.translate import meteor_score as nltk_meteor

    return float(
        nltk_meteor.meteor_score(
            [meteor_words(text) for text in references],
            meteor_words(prediction),
            stemmer=_stemmer(),
            wordnet=synonym_index(),
        )
    )


def why_no_meteor(references: Sequence[str]) -> str | None:
    """Why METEOR gives these references no number; None if it does."""
    letters = (character for text in references for character in text if character.isalpha())
    if any(unicodedata.name(letter, "").startswith("LATIN ") for letter in letters):
        return None
    return (
        "METEOR: null where the reference has no word in Latin letters; "
        "its stems and synonyms are English"
    )


def meteor_words(text: str) -> list[str]:
    """Words and punctuation as nltk's `word_tokenize` parts them, but for sentence ends after rare
    abbreviations."""
    sentences, tokenizer = _tokenizers()
    return [word for sentence in sentences.tokenize(text) for word in tokenizer.tokenize(sentence)]


@cache
def _warn(reason: str) -> None:
    """Once in a process."""
    _log.warning(reason)


@cache
def _tokenizers() -> tuple[Any, Any]:
    """nltk's sentence and word tokenizers."""
    from nltk.tokenize import NLTKWordTokenizer, punkt

    parameters = punkt.PunktParameters()
    parameters.abbrev_types = set(ABBREVIATIONS)
    return punkt.PunktSentenceTokenizer(parameters), NLTKWordTokenizer()


@cache
def _stemmer() -> Any:
    """nltk's Porter stemmer, which remembers the latest words: stemming takes most of METEOR's
    time."""
    from nltk.stem.porter import PorterStemmer

    return SimpleNamespace(stem=lru_cache(WORDS_IN_MEMORY)(PorterStemmer().stem))


def _define(_: str | None) -> str:
    """What nltk's METEOR is given; the same for every language."""
    synonyms = synonym_index().checksum[:8]
    return (
        f"tok:nltk-word|stem:porter|wordnet:3.0|synonyms:{synonyms}|refs:max|nltk:{version('nltk')}"
    )


METRICS = [Metric("meteor", mean, definition=_define)]
