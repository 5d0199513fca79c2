"""The synonyms that METEOR asks WordNet 3.0 for, from a compact index in the package: no nltk data,
no network.

An index answers `synsets(word)` as nltk's `WordNetCorpusReader` does, as far as nltk's METEOR
looks: every synset of the word or of a base form of it, with the names of its lemmas. Definitions,
    relations and senses are not in it.
`tools/make_synonym_index.py` builds it from WordNet's database files.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

INDEX_FILE = Path(__file__).resolve().parents[1] / "bundled" / "wordnet" / "synonyms.txt.xz"
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
WORDS_IN_MEMORY = 65_536

_SUFFIXES: dict[str, tuple[tuple[str, str], ...]] = {
    "noun": (
        ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"),
        ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"),
    ),
    "verb": (
        ("s", ""), ("ies", "y"), ("es", "e"), ("es", ""),
        ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}  # fmt: skip
_LOADING = Lock()


@dataclass(frozen=True, slots=True)
class Lemma:
    """A word of a synset as WordNet writes it: "Paris", "ice_cream"."""

    text: str

    def name(self) -> str:
        """The word, with "_" for a blank."""
        return self.text


@dataclass(frozen=True, slots=True)
class Synset:
    """WordNet's words that share a meaning."""

    words: tuple[Lemma, ...]

    def lemmas(self) -> tuple[Lemma, ...]:
        """Its words, in WordNet's order."""
        return self.words


@dataclass(frozen=True)
class PartOfSpeech:
    """What WordNet knows of the words of one part of speech.

    Attributes:
        synsets: lower-case word -> its synsets, each written as its words with a blank between.
        exceptions: irregular form -> its base forms.
        suffixes: (ending, replacement) of regular forms.
    """

    synsets: dict[str, list[str]]
    exceptions: dict[str, list[str]]
    suffixes: tuple[tuple[str, str], ...]

    def base_forms(self, word: str) -> Iterator[str]:
        """The word itself, then its base forms: those of the exception list if it has them, else by
        the suffix rules.

        Source: WordNet's morphy(7) as nltk's `WordNetCorpusReader._morphy` has it: suffix rules are
            applied once.
        """
        yield word
        if word in self.exceptions:
            yield from self.exceptions[word]
            return
        for ending, replacement in self.suffixes:
            if word.endswith(ending):
                yield word[: -len(ending)] + replacement


class SynonymIndex:
    """WordNet as nltk's METEOR uses it.

    Attributes:
        synsets: word -> its synsets in all parts of speech (none for an unknown word); case is
            ignored. The latest words are kept in memory.
        checksum: SHA-256 of the index's text.
    """

    synsets: Callable[[str], tuple[Synset, ...]]

    def __init__(self, text: str) -> None:
        self.checksum = hashlib.sha256(text.encode()).hexdigest()
        sections = [section.split("\n") for section in text.removesuffix("\n").split("\n\n")]
        self._parts = [
            PartOfSpeech(
                _by_word(synsets),
                {form: bases for form, *bases in (line.split(" ") for line in exceptions)},
                _SUFFIXES[part],
            )
            for part, synsets, exceptions in zip(
                PARTS_OF_SPEECH, sections[::2], sections[1::2], strict=True
            )
        ]
        self.synsets = lru_cache(WORDS_IN_MEMORY)(self._find)

    def _find(self, word: str) -> tuple[Synset, ...]:
        lower = word.lower()
        lines = {
            line: None  # a synset once, in order
            for part in self._parts
            for form in part.base_forms(lower)
            for line in part.synsets.get(form, ())
        }
        return tuple(Synset(tuple(map(Lemma, line.split(" ")))) for line in lines)


def _by_word(lines: list[str]) -> dict[str, list[str]]:
    """Lower-case word -> lines that hold it."""
    found: dict[str, list[str]] = {}
    for line in lines:
        for word in line.lower().split(" "):
            found.setdefault(word, []).append(line)
    return found


@cache
def _load() -> SynonymIndex:
    return SynonymIndex(lzma.decompress(INDEX_FILE.read_bytes()).decode())


def synonym_index() -> SynonymIndex:
    """The bundled index of WordNet 3.0, read once in a process however many threads ask for it."""
    with _LOADING:
        return _load()
