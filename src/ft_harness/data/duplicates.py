"""Look docs up among those of another split: equal prompts by digest, near ones by how similar
their sketches and the words of short texts are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from ft_harness.data.fingerprints import SKETCH, Hashes, Prints

NEAR = 0.8  # Jaccard index from which two texts are near duplicates
NEAR_FIELD = 0.5  # of every text field: the same passage with another question is not near
_MOST_CANDIDATES = 100  # texts that one text is compared with, the likeliest first
_CHUNK = 1000  # texts looked up together
_ROUNDING = 1e-9


class SplitOverlap(BaseModel):
    """What was found when the docs of one split were looked up in another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str
    against: str
    n: int = Field(description="docs of the split")
    n_exact: int = Field(
        description="docs whose prompt is there, but for case, blanks and the order of options"
    )
    n_same_answer: int = Field(
        description="of these, docs whose prompt has the same answer there too"
    )
    n_near: int = Field(
        description="further docs that are nearly there: Jaccard index of at least 0.8, or the "
        "same text with up to three words before or after it"
    )
    items: list[str] = Field(description="hashes of the exact and near docs' content, sorted")

    @property
    def n_affected(self) -> int:
        """Docs that are there, exactly or nearly."""
        return self.n_exact + self.n_near


class Index:
    """The prints of a split, in which the docs of another one are looked up."""

    def __init__(self, prints: Prints) -> None:
        self._prints = prints
        self._prompts = {digest for digests in prints.prompts for digest in digests}
        self._pairs = {digest for digests in prints.pairs for digest in digests}
        self._wholes = {digest for digests in prints.wholes for digest in digests}
        self._cores = {digest for digests in prints.cores for digest in digests}
        numbers = np.repeat(
            np.arange(len(prints.keys), dtype=np.uint64), np.diff(prints.texts.ends)
        )
        # Sorted numbers in place of a dictionary of lists: a corpus has millions of hashes.
        postings = (
            prints.texts.hashes.astype(np.uint64) << np.uint64(32)
        ) | numbers  # hash, then number of the text
        postings.sort()
        self._numbers = (postings & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        self._hashes, starts = np.unique(
            (postings >> np.uint64(32)).astype(np.uint32), return_index=True
        )
        self._starts = np.append(starts, len(postings))  # of each hash's texts among the numbers

    def has_prompt(self, digests: Iterable[bytes]) -> bool:
        return not self._prompts.isdisjoint(digests)

    def has_pair(self, digests: Iterable[bytes]) -> bool:
        return not self._pairs.isdisjoint(digests)

    def find_near(self, prints: Prints) -> Iterator[bool]:
        """For each doc, whether one is here whose prompt has at least 0.8 of the shingles of both
        in common, and each text field 0.5; or whose short text is the doc's with up to three words
        before or after it, or the other way round."""
        for first in range(0, len(prints.keys), _CHUNK):
            ends = prints.texts.ends[first : first + _CHUNK + 1]
            hashes = prints.texts.hashes[ends[0] : ends[-1]]
            order = np.argsort(hashes)  # looked up in ascending order: many times faster
            places = np.empty(len(hashes), np.int64)
            places[order] = np.searchsorted(self._hashes, hashes[order])
            known = (
                self._hashes.take(places, mode="clip") == hashes
                if len(self._hashes)
                else np.zeros(len(hashes), bool)
            )
            for number, (start, end) in enumerate(
                pairwise(end - ends[0] for end in ends), start=first
            ):
                candidates = self._candidates(
                    hashes[start:end], places[start:end][known[start:end]]
                )
                yield self._is_extended(prints, number) or any(
                    self._is_near(prints, number, int(other)) for other in candidates
                )

    def _is_extended(self, prints: Prints, number: int) -> bool:
        return not (
            self._cores.isdisjoint(prints.wholes[number])
            and self._wholes.isdisjoint(prints.cores[number])
        )

    def _is_near(self, prints: Prints, number: int, other: int) -> bool:
        if jaccard(prints.texts[number], self._prints.texts[other]) < NEAR - _ROUNDING:
            return False
        fields = [
            (theirs[number], ours[other])
            for theirs, ours in zip(prints.fields, self._prints.fields, strict=True)
        ]
        return all(
            jaccard(*pair) >= NEAR_FIELD - _ROUNDING for pair in fields if any(map(len, pair))
        )

    def _candidates(self, sketch: Hashes, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Texts that may be near, the likeliest first; `places` are those of the sketch's hashes
        that are here at all.

        A near text has all but `spare` of the sketch's hashes, and so most of any half of them. The
        half that is rarest here names few candidates.
        """
        spare = len(sketch) - math.ceil(NEAR * len(sketch) - _ROUNDING)
        missing = len(sketch) - len(places)
        if not len(places) or missing > spare:
            return np.empty(0, np.int64)
        starts, ends = self._starts[places], self._starts[places + 1]
        rarest = np.argsort(ends - starts, kind="stable")[: max(spare + 1, len(sketch) // 2)]
        found = np.concatenate([self._numbers[starts[place] : ends[place]] for place in rarest])
        shared = np.bincount(found)
        candidates = np.flatnonzero(shared >= len(rarest) + missing - spare)
        return candidates[np.argsort(-shared[candidates], kind="stable")][:_MOST_CANDIDATES]


def jaccard(left: Hashes, right: Hashes) -> float:
    """How similar two texts are: the Jaccard index of their sketches; exact where neither is full,
    0 where both are empty.

    Of the smallest hashes of both texts together, the share that both have (Broder 1997, theorem
    1).
    """
    union = np.union1d(left, right)[:SKETCH]
    if not len(union):
        return 0.0
    common = np.intersect1d(left, right, assume_unique=True)
    return float((common <= union[-1]).sum()) / len(union)


def compare(split: str, prints: Prints, against: str, index: Index) -> SplitOverlap:
    """Look all docs of a split up in the index of another one."""
    exact, same, near = 0, 0, 0
    affected: set[str] = set()
    found = tqdm(
        index.find_near(prints), desc=f"Looking for {split} in {against}", total=len(prints.keys)
    )
    for key, prompts, pairs, is_near in zip(
        prints.keys, prints.prompts, prints.pairs, found, strict=True
    ):
        is_exact = index.has_prompt(prompts)
        if is_exact or is_near:
            exact, near = exact + is_exact, near + (not is_exact)
            same += is_exact and index.has_pair(pairs)
            affected.add(key)
    return SplitOverlap(
        split=split,
        against=against,
        n=len(prints.keys),
        n_exact=exact,
        n_same_answer=same,
        n_near=near,
        items=sorted(affected),
    )
