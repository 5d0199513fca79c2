"""What is kept of each doc of a split (a digest, and sketches of its texts), by which `duplicates`
finds it in another split: equal but for case, white space and the order of options, or nearly
equal.

Exact duplicates are found by hash. Near duplicates are pairs whose sets of shingles (runs of
characters) have a Jaccard index of at least 0.8, found by MinHash: of each text the 256 smallest
hashes are kept, so that memory grows by about one kilobyte per text however long it is. Texts of
up to 256 distinct shingles are compared exactly; beyond, the index is an estimate with a standard
error of at most 0.025 at the threshold. A short text with a word or two before it is below that
index: such texts are found by hash too, without their outer words.

Source: Broder (1997), On the resemblance and containment of documents. docs/overlap.md has the
    definitions.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

SKETCH = 256  # hashes kept of a text
SHINGLE, SHINGLE_SPACELESS = 8, 3  # characters
_SAMPLE = 300  # texts of a split from which the template is read
_MIN_SAMPLE = 20  # fewer texts don't show what is template and what is content
_SHOWN = 0.9  # of the docs must show a text field in their prompts for it to be compared by itself
_ADDED = 3  # words before and after a text, together, that leave it the same text
_LEAST_WORDS = 5  # that two such texts have in common: fewer are a phrase that many texts have
_MOST_WORDS = 40  # of a text that is looked for without outer words; a longer one is near anyway
_MIN_FIELD = 2  # a field of one character is an answer's letter, not content
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no character is lost
_PUNCTUATION = re.compile(r"[^\w\s]+")
_WORD = re.compile(r"\w+")
# Scripts without blanks between words: Thai, Lao, Burmese, Khmer, Chinese and Japanese (Korean
# writes blanks).
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff]"
)

Hashes = NDArray[np.uint32]


@dataclass(frozen=True)
class Item:
    """One doc as its print is taken: its prompt, texts and answer.

    Attributes:
        key: hash of the doc's content, as evaluations have it.
        prompt: what the model reads.
        answer: the right answer's text.
        doc: its fields; lists of texts that the prompt shows are options, whose order doesn't
            count.
        choices: number of choices or labels; None for an answer in free text.
    """

    key: str
    prompt: str
    answer: str
    doc: Mapping[str, Any]
    choices: int | None = None


class Items(Protocol):
    """The docs of a split of which prints are taken, read one by one and as often as needed,
    without holding all in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Item: ...

    def __iter__(self) -> Iterator[Item]: ...


class Sketches:
    """The sketches of many texts, their smallest hashes, in one array; `ends` holds a 0, then the
    end of each text."""

    def __init__(self, sketches: Iterable[Hashes]) -> None:
        parts = [np.empty(0, np.uint32), *sketches]
        self.hashes: Hashes = np.concatenate(parts)
        self.ends = np.cumsum([len(part) for part in parts]).tolist()

    def __getitem__(self, number: int) -> Hashes:
        """Those of one text, ascending."""
        return self.hashes[self.ends[number] : self.ends[number + 1]]


@dataclass(frozen=True)
class Prints:
    """What is kept of a split's docs.

    Attributes:
        keys: of the items.
        prompts: of each doc, the digests under which its prompt may be found elsewhere.
        pairs: the same of prompt and answer together.
        texts: sketches of the prompts.
        fields: sketches of each text field that is compared by itself.
        wholes: of each doc whose only text is short, the digest of its words and of what else its
            prompt says; [] of others.
        cores: the same without up to three of the outer words.
    """

    keys: list[str]
    prompts: list[list[bytes]]
    pairs: list[list[bytes]]
    texts: Sketches
    fields: list[Sketches]
    wholes: list[list[bytes]]
    cores: list[list[bytes]]

    @property
    def n_repeated(self) -> int:
        """Docs whose prompt an earlier doc of the same split has."""
        return len(self.prompts) - len({prompts[0] for prompts in self.prompts})


def plain(text: str) -> str:
    """The text of a print without what doesn't count for equality: NFKC, case folded, white space
    collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_digest(*parts: str) -> bytes:
    """A 16-byte hash of some texts, stored instead of them to recognise equal ones."""
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=16).digest()


def _cores(words: Sequence[str]) -> list[Sequence[str]]:
    """The words without one to three of the outer ones, as far as enough are left."""
    shorter = (
        words[before : len(words) - after]
        for before in range(_ADDED + 1)
        for after in range(_ADDED + 1 - before)
        if before + after
    )
    return [each for each in shorter if len(each) >= _LEAST_WORDS]


def _option_parts(item: Item, prompt: str) -> list[str]:
    """What a prompt with options holds, whatever their order; [] for a prompt without options.

    The options as a set, the other fields as they are, and the prompt's words as a bag: the
    fields distinguish "is a larger than b?" from "is b larger than a?", the words what no field
    shows.
    """
    values = [
        part
        for value in item.doc.values()
        for part in (value.values() if isinstance(value, dict) else [value])
    ]
    lists = [
        value
        for value in values
        if isinstance(value, list)
        and len(value) > 1
        and all(isinstance(text, str) for text in value)
    ]
    options = sorted(
        plain(text)
        for texts in lists
        if all(plain(text) in prompt for text in texts)
        for text in texts
    )
    texts = [plain(value) for value in item.doc.values() if isinstance(value, str)]
    fields = [
        text for text in texts if len(text) >= _MIN_FIELD and text in prompt and text not in options
    ]
    return [*options, "", *fields, "", *sorted(_WORD.findall(prompt))] if options and fields else []


def text_fields(item: Item) -> list[str]:
    """Names of a doc's text fields that appear in the prompt, in the prompt's order."""
    prompt = plain(item.prompt)
    found = {
        name: prompt.find(plain(value))
        for name, value in item.doc.items()
        if isinstance(value, str)
    }
    shown = [
        name
        for name, place in found.items()
        if place >= 0 and len(plain(item.doc[name])) >= _MIN_FIELD
    ]
    return sorted(shown, key=lambda name: found[name])


@dataclass(frozen=True)
class Shingler:
    """Turns texts into sketches.

    Attributes:
        size: characters of a shingle.
        template: hashes of shingles in more than half of the texts: the prompt's own words, not the
            docs'.
        fields: text fields that are compared by themselves; none where prompts show only one.
        text: the one text field of prompts that show only one; None where they show several, whose
            words can't be added to without making another item, and for scripts without blanks.
    """

    size: int
    template: Hashes
    fields: tuple[str, ...] = ()
    text: str | None = None

    def sketch(self, text: str) -> Hashes:
        """The smallest hashes of a text's shingles, ascending; the template's are left out."""
        hashes = self.shingles(text)
        if len(self.template):
            places = np.searchsorted(self.template, hashes)
            hashes = hashes[self.template[np.minimum(places, len(self.template) - 1)] != hashes]
        return hashes[:SKETCH]

    def shingles(self, text: str) -> Hashes:
        """Distinct hashes of a text's shingles, ascending; a shorter text is one shingle."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(
            np.uint64
        )
        if not len(codes):
            return np.empty(0, np.uint32)
        size = min(self.size, len(codes))
        count = len(codes) - size + 1
        # By the size too: a whole short text is no shingle of a longer one.
        hashes = np.full(count, size, np.uint64)
        for place in range(size):
            hashes = hashes * _BASE + codes[place : place + count]
        for factor in (
            np.uint64(0xFF51AFD7ED558CCD),
            np.uint64(0xC4CEB9FE1A85EC53),
        ):  # MurmurHash3's finalizer
            hashes = (hashes ^ (hashes >> np.uint64(33))) * factor
        shortened = (hashes >> np.uint64(32)).astype(np.uint32)
        shortened.sort()
        is_first: NDArray[np.bool_] = np.append(True, shortened[1:] != shortened[:-1])
        return shortened[is_first]

    def read(self, items: Iterable[Item]) -> Prints:
        """The prints of a split's docs, in their order."""
        keys: list[str] = []
        digests: list[list[bytes]] = []
        pairs: list[list[bytes]] = []
        sketches: list[list[Hashes]] = []
        wholes: list[list[bytes]] = []
        cores: list[list[bytes]] = []
        for item in items:
            prompt, answer = plain(item.prompt), plain(item.answer)
            forms = [[prompt], *([options] if (options := _option_parts(item, prompt)) else [])]
            keys.append(item.key)
            digests.append([text_digest(*form) for form in forms])
            pairs.append([text_digest(*form, "", answer) for form in forms])
            compared = [prompt, *(plain(str(item.doc.get(name) or "")) for name in self.fields)]
            sketches.append([self.sketch(_unpunctuated(text)) for text in compared])
            rest, words = self._short_text(item, prompt)
            wholes.append([text_digest(rest, *words)] if words else [])
            cores.append([text_digest(rest, *core) for core in _cores(words)])
        texts, *fields = (
            Sketches(parts[place] for parts in sketches) for place in range(1 + len(self.fields))
        )
        return Prints(keys, digests, pairs, texts, fields, wholes, cores)

    def _short_text(self, item: Item, prompt: str) -> tuple[str, list[str]]:
        """(the prompt without the doc's only text, the words of that); no words where it is long or
        not in the prompt."""
        text = plain(str(item.doc.get(self.text) or "")) if self.text else ""
        words = _unpunctuated(text).split() if text in prompt else []
        return prompt.replace(text, "", 1), words if len(words) <= _MOST_WORDS else []


def _unpunctuated(text: str) -> str:
    return " ".join(_PUNCTUATION.sub("", text).split())


def find_shingler(splits: Iterable[Items]) -> Shingler:
    """The shingler for the sketches of these splits: shorter shingles for scripts without blanks,
    the template, and which text fields count.

    It looks at up to 300 docs of each split, evenly spread.
    """
    sample = [
        items[number]
        for items in splits
        for number in range(0, len(items), max(1, math.ceil(len(items) / _SAMPLE)))
    ]
    texts = [_unpunctuated(plain(item.prompt)) for item in sample]
    shown = find_fields(sample)
    fields = tuple(shown) if len(shown) > 1 else ()
    spaceless = sum(len(_SPACELESS.findall(text)) for text in texts)
    size = SHINGLE_SPACELESS if spaceless > sum(map(len, texts)) / 2 else SHINGLE
    text = shown[0] if len(shown) == 1 and size == SHINGLE else None
    shingler = Shingler(size, np.empty(0, np.uint32), fields, text)
    distinct = list(dict.fromkeys(texts))
    if len(distinct) < _MIN_SAMPLE:
        return shingler
    hashes, counts = np.unique(
        np.concatenate([shingler.shingles(text) for text in distinct]), return_counts=True
    )
    return replace(shingler, template=hashes[counts > len(distinct) / 2])


def find_fields(items: Iterable[Item]) -> list[str]:
    """Text fields that nearly all of these docs show in their prompts, in the order of the first
    prompt."""
    shown = [text_fields(item) for item in items]
    counts = Counter(name for names in shown for name in names)
    return [name for name in (shown[0] if shown else []) if counts[name] >= _SHOWN * len(shown)]
