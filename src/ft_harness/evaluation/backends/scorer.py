"""Log-likelihoods of many queries by a causal model: fast where the model is known to allow it,
else in the plain way."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

from ft_harness.errors import NonFiniteError, ResourceError, first_line
from ft_harness.evaluation.backends.forward import build_inputs, logits_of, read_prefix, score_batch
from ft_harness.evaluation.backends.memory import Budget, budget_of
from ft_harness.evaluation.backends.planning import (
    MIN_GROUP,
    Batch,
    Limits,
    Query,
    Size,
    Tokens,
    make_batches,
    make_rows,
    shared_prefixes,
)
from ft_harness.evaluation.backends.recovery import Allowance, Effort, complete
from ft_harness.evaluation.backends.store import Ledger, ResponseStore
from ft_harness.evaluation.backends.traits import Traits, read_traits

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # nats, of the check in float32
# the same in 16 bits, where the order of sums alone moves a log-likelihood by some hundredths
TOLERANCE_HALF = 0.25
CHECKED = 6  # queries of the check that are compared; the others only make it take the quick way
Score = tuple[float, bool]


class Scorer:
    """Scores queries in batches by a model on this machine.

    Attributes:
        traits: the fast ways that are used; the check before the first batch may disable some.
        effort: what was done so far.
        store: responses that are not computed again; new ones are added.
        fallback: why some or all fast ways are not used, in one line; None: all are.
    """

    def __init__(self, model: Any, name: str, pad: int, most: int | None) -> None:
        """`most`: rows of a batch at most, None: as many as memory holds. `pad`: the token that
        fills rows up."""
        self.model = model
        self.name = name
        self.pad = pad
        self.most = most
        self.budget: Budget = budget_of(model)
        self.traits: Traits = read_traits(model)
        self.store: ResponseStore | None = None
        self.effort = Effort()
        self.allowance = Allowance(self.effort)
        self.fallback: str | None = None
        self._checked = False
        if self.traits.reason:
            self._fall_back(self.traits.reason)

    def _fall_back(self, reason: str) -> None:
        """Say once, in the log and in `fallback`, that prompts are computed for each answer."""
        if self.fallback is None:
            self.fallback = reason
            logger.warning("scored the plain way, one row for each prompt and answer: %s", reason)

    def score(self, queries: Sequence[Query]) -> list[Score | None]:
        """(log-likelihood in nats, whether greedy decoding gives the answer) of each query, in
        their order.

        None for a query that memory was not enough for, computed alone.

        Raises:
            NonFiniteError: a log-likelihood is NaN or infinite.
            ResourceError: memory is not enough for a few tokens.
        """
        ledger = Ledger(
            self.store, (f"loglikelihood|{query.stem}|{query.answer}" for query in queries)
        )
        # The check costs a few passes of the model, which a run whose answers are all stored can do
        # without.
        if queries and not ledger.holds_all():
            self.check(queries)
        work = _QueryWork(self, queries, self.traits)
        batches = self.plan(queries, self.traits)
        responses = complete(batches, work, ledger, self.allowance)
        found = (responses[number] for number in range(len(queries)))
        return [None if response is None else (response[0], response[1]) for response in found]

    def not_finite(self, what: str) -> NonFiniteError:
        """The error of a NaN or infinite log-likelihood or logit."""
        return NonFiniteError(
            f"{self.name}: a {what} is NaN or infinite",
            f"finite {what}s",
            "check the weights, or score in float32: --set model.dtype=float32",
        )

    def needs(self, size: Size, traits: Traits) -> int:
        """Peak bytes of a batch."""
        return self.budget.needs(size) if traits.keeps else self.budget.needs_whole(size)

    def fitting(self, traits: Traits) -> Callable[[Size], bool]:
        """Whether a batch is within the budget, and within the allowance where memory ran out
        before."""

        def fits(size: Size) -> bool:
            needed = self.needs(size, traits)
            return needed <= self.budget.free and self.allowance.allows(
                size.prefix + size.width, needed
            )

        return fits

    def plan(self, queries: Sequence[Query], traits: Traits) -> Iterator[Batch]:
        """The batches in which queries are scored, one prefix after the other."""
        fits = self.fitting(traits)
        # Beyond a sliding window a token's attention depends on distances that a shared prefix
        # would shift.
        near, far = self._by_reach(queries, traits)
        prefixes = shared_prefixes([query.stem for _, query in near]) if traits.shares else {}
        groups: defaultdict[Tokens, list[tuple[int, Query]]] = defaultdict(list)
        for number, query in near:
            groups[prefixes.get(query.stem, ())].append((number, query))
        # One prefix after the other: only one cache is in memory at a time.
        for prefix, members in groups.items():
            room = None if traits.window is None else traits.window - len(prefix)
            rows = make_rows(members, len(prefix), Limits(traits.shares, room, self.most))
            yield from make_batches(prefix, rows, fits, self.most)
        rows = make_rows(far, 0, Limits(branches=False))
        yield from make_batches((), rows, fits, self.most)

    def _by_reach(
        self, queries: Sequence[Query], traits: Traits
    ) -> tuple[list[tuple[int, Query]], ...]:
        """Numbered queries within the model's window, and those beyond it, which are scored the
        plain way."""
        near: list[tuple[int, Query]] = []
        far: list[tuple[int, Query]] = []
        for number, query in enumerate(queries):
            within = traits.window is None or len(query.inputs) <= traits.window
            (near if within else far).append((number, query))
        if far and traits.shares:
            self._fall_back(
                f"rows of more than {traits.window} tokens (sliding window or scaled positions)"
            )
        return near, far

    # --- the check

    def check(self, queries: Sequence[Query]) -> None:
        """Once: score a few made-up queries each way; take back what differs from plain rows with
        all logits kept.

        Signatures and configurations don't show everything: a model may ignore a mask or cut hidden
        states its own way. Errors count as differences here, and come up again from the plain way
        where they are real.

        Args:
            queries: real ones, at least one, of whose tokens the made-up ones are.
        """
        if self._checked:
            return
        self._checked = True
        # Of tokens that occur in the real queries, so that no untrained token's NaN fails the
        # check.
        made_up = probe(queries)
        whole = replace(self.traits, trims=False)
        # The reference: one row for each query, all logits, nothing of ours.
        plain = replace(whole, keeps=False, shares=False)
        # one by one: a model may mix the rows of a batch, or see the padding behind a row
        alone = [self._try_out([query], plain)[0] for query in made_up[:CHECKED]]
        for traits in (self.traits, whole, replace(whole, shares=False), plain):
            difference = self._difference(made_up, traits, alone)
            if difference is None:
                self.traits = traits
                return
            if not traits.trims:
                self._fall_back(difference)
        self.traits, self.most = plain, 1
        logger.warning("%s: scored row by row, since its answers depend on the batch", self.name)

    def _try_out(self, queries: Sequence[Query], traits: Traits) -> list[Score]:
        """Scores of the check's queries, NaN and infinity among them; they are not counted.

        Raises:
            ResourceError: memory is not enough for a few tokens.
        """
        work = _QueryWork(self, queries, traits, finite=False)
        responses = complete(
            self.plan(queries, traits), work, Ledger(None), self.allowance, Effort()
        )
        if None in responses.values():
            raise ResourceError(
                f"{self.name}: out of memory with a dozen tokens",
                "memory for the model and the scores of a short prompt",
                "end other programs that use this memory, or set model.quantization",
            )
        return [responses[number] for number in range(len(queries))]

    def _difference(
        self, queries: Sequence[Query], traits: Traits, whole: Sequence[Score]
    ) -> str | None:
        """What the scores of a way differ in from the right ones, None if they agree."""
        try:
            scores = self._try_out(queries, traits)
        except ResourceError:
            raise
        except Exception as error:  # whatever a model raises when it is given our masks
            reason = first_line(error, 120)
            return f"the check raised {type(error).__name__}: {reason}"
        tolerance = (
            TOLERANCE
            if self.model.dtype.itemsize >= 4 and not _is_int8(self.model)
            else TOLERANCE_HALF
        )
        pairs = [
            (ours, right)
            for (ours, _), (right, _) in zip(scores, whole, strict=False)
            # Where the plain way gives NaN too, the real queries will say so.
            if math.isfinite(right)
        ]
        if all(abs(ours - right) <= tolerance for ours, right in pairs):
            return None
        largest = max(abs(ours - right) for ours, right in pairs)
        return f"the check's log-likelihoods differ by {largest:.2g} nats"


def _is_int8(model: Any) -> bool:
    """Whether bitsandbytes computes in 8 bits, which columns in 16 depends on the batch."""
    return bool(getattr(model, "is_loaded_in_8bit", False))


class _QueryWork:
    """Numbered queries on their way through the model, as `complete` computes them."""

    def __init__(
        self, scorer: Scorer, queries: Sequence[Query], traits: Traits, *, finite: bool = True
    ) -> None:
        """`finite`: refuse log-likelihoods that are not."""
        self._scorer = scorer
        self._queries = queries
        self._traits = traits
        self._finite = finite
        self._prefix: Tokens = ()
        self._cached: Any = None

    def numbers(self, batch: Batch) -> list[int]:
        return [number for row in batch.rows for number, _ in row.reads]

    def cost(self, batch: Batch) -> tuple[int, int]:
        kept = sum(len(row.kept) for row in batch.rows)
        size = Size(len(batch.rows), batch.width, len(batch.prefix), kept)
        return size.prefix + size.width, self._scorer.needs(size, self._traits)

    def compute(self, batch: Batch) -> dict[int, Score]:
        model = self._scorer.model
        if batch.prefix != self._prefix:
            self._prefix, self._cached = (), None  # freed before the next one is made
            self._cached = read_prefix(model, batch.prefix)
            self._prefix = batch.prefix
        inputs = build_inputs(batch, model.dtype, self._scorer.pad)
        logits = logits_of(model, inputs, self._cached, self._traits)
        found = {number: (value, greedy) for number, value, greedy in self._read(logits, batch)}
        if self._finite and not all(math.isfinite(value) for value, _ in found.values()):
            raise self._scorer.not_finite("log-likelihood")
        return found

    def _read(self, logits: Any, batch: Batch) -> list[tuple[int, float, bool]]:
        return score_batch(logits, batch, [query.answer for query in self._queries])

    def split(self, batch: Batch) -> list[Batch]:
        """Fewer rows; a row with branches or behind a prefix as plain rows, one for each sequence
        that is read."""
        if len(batch.rows) > 1:
            fits = self._scorer.fitting(self._traits)
            return make_batches(batch.prefix, batch.rows, fits, self._scorer.most)
        numbers = self.numbers(batch)
        # A row of one sequence without a prefix can't be made smaller.
        single = not batch.prefix and len({self._queries[number].inputs for number in numbers}) == 1
        return [] if single else self.anew(numbers)

    def anew(self, numbers: Sequence[int]) -> list[Batch]:
        alike: defaultdict[Tokens, list[tuple[int, Query]]] = defaultdict(list)
        for number in numbers:
            alike[self._queries[number].inputs].append((number, self._queries[number]))
        rows = [
            row for same in alike.values() for row in make_rows(same, 0, Limits(branches=False))
        ]
        return make_batches((), rows, self._scorer.fitting(self._traits), self._scorer.most)


def probe(queries: Sequence[Query]) -> list[Query]:
    """Queries that try whether the fast way gives the plain way's scores: a cached prefix, padding,
    branches that part late, one token.

    Built of the first different tokens of real ones, repeated where there are too few: as many
    stems as a cached prefix needs, of 10 and 11 tokens of which 9 are common, and one other. The
    first `CHECKED` hold all kinds.
    """
    seen = dict.fromkeys(token for query in queries for token in (*query.stem, *query.answer))
    tokens = tuple(islice(cycle(seen), 32))
    prefix, rest = tokens[:9], tokens[9:]
    stems = [(*prefix, rest[i], *rest[i + 1 : i + 1 + i % 2]) for i in range(MIN_GROUP)]
    answers = (rest[5:6], rest[6:8], rest[8:11], (*rest[8:10], *rest[12:15]))
    branches = [Query(stems[0], answer) for answer in answers]
    return [
        *branches,
        Query(rest[:10], answers[2]),
        *(Query(stem, answers[0]) for stem in stems[1:]),
    ]
