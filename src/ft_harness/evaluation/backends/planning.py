"""Plan which tokens are computed, in which rows and batches: pure arithmetic on token ids, no
model.

A *query* asks for the log-likelihood of answer tokens after a stem (the prompt's tokens). A *row*
is a tree of tokens: queries that begin alike share their first tokens, so that a prompt is there
once for all its answers. The last token of an answer is never an input. A *batch* is rows of
similar length behind a prefix that all of them share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

MIN_SHARED = 8  # tokens; sharing fewer saves less than the attention mask of it costs
# prompts; fewer share a row rather than a cached prefix, which would make small batches of them
MIN_GROUP = 8
# tokens of a row, or times its longest prompt: beyond that a prompt is computed again, as attention
# grows with the square of the length
ROOM, STRETCH = 256, 3

Tokens = tuple[int, ...]


class Query(NamedTuple):
    """What is planned: answer tokens (at least one) to score after a stem (at least one)."""

    stem: Tokens
    answer: Tokens

    @property
    def inputs(self) -> Tokens:
        """What the model reads to score it."""
        return self.stem + self.answer[:-1]


def rows_at_most(batch_size: int | str | None) -> int | None:
    """lm-eval's `batch_size` as a bound on rows; None: as memory allows, which is what "auto" and
    "auto:4" ask for."""
    return None if batch_size is None or str(batch_size).startswith("auto") else int(batch_size)


def cut_left(context: Sequence[int], answer: Sequence[int], max_length: int) -> Query:
    """Plan a context and an answer as a query of at most `max_length` tokens, cut from the left as
    lm-eval's `hf` does: the model reads `max_length` tokens, and one more is scored."""
    # lm-eval's own cut, to the token: a score must be that of stock lm-eval.
    kept = (*context, *answer)[-(max_length + 1) :]
    return Query(kept[: len(kept) - len(answer)], tuple(answer))


@dataclass
class Row:
    """A planned row: a tree of tokens, behind a prefix that isn't part of it.

    Attributes:
        tokens, parents: of the nodes; a parent is an earlier node, or -1 for the first token.
        reads: (number of the query, nodes that predict its answer tokens, one for each).
        stems: of its queries.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    reads: list[tuple[int, list[int]]] = field(default_factory=list)
    stems: set[Tokens] = field(default_factory=set)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_chain(self) -> bool:
        """Whether the tree has one branch, so that plain causal attention is right."""
        return self.parents == list(range(-1, len(self.parents) - 1))

    @property
    def kept(self) -> list[int]:
        """Nodes that predict something, ascending: those that go through the output head."""
        return sorted({node for _, nodes in self.reads for node in nodes})

    def grow(self, tokens: Sequence[int]) -> list[int]:
        """The nodes of a sequence from the tree's start, made where they are missing."""
        path, node = [], -1
        for token in tokens:
            # The children by (parent, token) instead of a list per node: most nodes have one.
            if (node, token) not in self._children:
                self._children[node, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
            node = self._children[node, token]
            path.append(node)
        return path

    def path(self, node: int) -> list[int]:
        """The nodes from the tree's start to this one."""
        path: list[int] = []
        while node >= 0:
            path.append(node)
            node = self.parents[node]
        return path[::-1]

    def depths(self) -> list[int]:
        """How many tokens come before each node in its sequence."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        return depths


def _alike(first: Tokens, second: Tokens) -> int:
    """How many tokens both begin with."""
    parts = (i for i, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(parts, min(len(first), len(second)))


@dataclass(frozen=True)
class Limits:
    """Limits on planned rows and batches.

    Attributes:
        branches: whether a row may hold sequences that part; else each is a plain sequence.
        window: tokens that a row with branches may have; None: no limit.
        most: prompts of a row and of a batch; None: as many as memory holds.
    """

    branches: bool
    window: int | None = None
    most: int | None = None

    def allow(self, row: Row, new: int, longest: int, stem: Tokens) -> bool:
        """Whether a query with `new` tokens may join a row, whose longest sequence then has
        `longest`."""
        room = (
            max(ROOM, STRETCH * longest)
            if self.window is None
            else min(self.window, max(ROOM, STRETCH * longest))
        )
        enough = self.most is None or len(row.stems | {stem}) <= self.most
        return enough and (new == 0 or (self.branches and len(row) + new <= room))


def make_rows(queries: Sequence[tuple[int, Query]], skip: int, limits: Limits) -> list[Row]:
    """Plan rows that answer numbered queries, without the first `skip` tokens, in which all agree.

    In descending order a sequence that begins another comes right after it, and those that share
    most are neighbours, so that only the last row can hold a query.
    """
    rows: list[Row] = []
    before = Query((), ())
    longest = 0
    for number, query in sorted(
        queries, key=lambda item: (item[1].inputs, item[1].stem), reverse=True
    ):
        alike = _alike(before.inputs, query.inputs)
        new, longest = len(query.inputs) - alike, max(longest, len(query.inputs))
        # A few shared tokens cost more in the mask of the row than they save in the model.
        worth = query.stem == before.stem or alike - skip >= MIN_SHARED or new == 0
        if not rows or not (worth and limits.allow(rows[-1], new, longest, query.stem)):
            rows.append(Row())
            longest = len(query.inputs)
        path = rows[-1].grow(query.inputs[skip:])
        rows[-1].reads.append((number, path[len(query.stem) - skip - 1 :]))
        rows[-1].stems.add(query.stem)
        before = query
    return rows


def prompt_rows(prompts: Sequence[Tokens], limits: Limits) -> list[Row]:
    """Plan rows that hold numbered prompts, those with the longest prompt first."""
    # An answer of one token, whichever it is: its query reads the whole prompt and keeps the
    # logits behind it.
    queries = [(number, Query(ids, ids[-1:])) for number, ids in enumerate(prompts)]
    rows = make_rows(queries, 0, limits)
    return sorted(rows, key=lambda row: max(map(len, row.stems)), reverse=True)


def _split(shared: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Spans (start, end) of sorted stems whose neighbours share `shared` tokens: split where that
    saves more tokens."""

    def saved(start: int, end: int) -> int:
        return min(shared[start : end - 1], default=0) * (end - start - 1)

    edges = [0, *(i + 1 for i, length in enumerate(shared) if length < MIN_SHARED), len(shared) + 1]
    spans = list(pairwise(edges))
    # A stack rather than recursion: ten thousand prompts may split ten thousand times.
    while spans:
        start, end = spans.pop()
        weakest = min(range(start, end - 1), key=lambda i: shared[i], default=start) + 1
        if end - start > MIN_GROUP and saved(start, weakest) + saved(weakest, end) > saved(
            start, end
        ):
            spans += [(start, weakest), (weakest, end)]
        else:
            yield start, end


def shared_prefixes(stems: Sequence[Tokens]) -> dict[Tokens, Tokens]:
    """Plan caches: for each different stem, the prefix that is worth one as many others begin with
    it; else empty.

    A stem keeps at least one token of its own, which predicts the answer's first.
    """
    ordered = sorted(set(stems))
    # In sorted order neighbours share most, so that one pass finds what all pairs would.
    shared = [min(_alike(first, second), len(first) - 1) for first, second in pairwise(ordered)]
    prefixes: dict[Tokens, Tokens] = {}
    for start, end in _split(shared) if ordered else ():
        length = min(shared[start : end - 1]) if end - start >= MIN_GROUP else 0
        prefixes |= {stem: stem[:length] for stem in ordered[start:end]}
    return prefixes


class Batch(NamedTuple):
    """A planned batch: rows computed together, longest first, after a prefix that is computed
    before them."""

    prefix: Tokens
    rows: list[Row]

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return len(self.rows[0])

    @property
    def is_plain(self) -> bool:
        """Whether the model's own causal attention over right-padded rows is right."""
        return not self.prefix and all(row.is_chain for row in self.rows)


class Size(NamedTuple):
    """The shape of a planned batch: padded rows x width tokens, behind `prefix` cached ones, `kept`
    of them through the head."""

    rows: int
    width: int
    prefix: int
    kept: int


def make_batches(
    prefix: Tokens, rows: Sequence[Row], fits: Callable[[Size], bool], most: int | None = None
) -> list[Batch]:
    """Plan batches of rows, longest first; a row that fits nowhere is a batch of its own.

    Args:
        fits: whether memory is enough for a batch.
        most: prompts of a batch; None: as many as fit.
    """
    batches: list[Batch] = []
    kept = prompts = 0
    # The longest row sets a batch's width, and comes first.
    for row in sorted(rows, key=len, reverse=True):
        kept, prompts = kept + len(row.kept), prompts + len(row.stems)
        last = batches[-1] if batches else Batch(prefix, [row])
        size = Size(len(last.rows) + 1, last.width, len(prefix), kept)
        if batches and (most is None or prompts <= most) and fits(size):
            last.rows.append(row)
        else:
            batches.append(Batch(prefix, [row]))
            kept, prompts = len(row.kept), len(row.stems)
    return batches
