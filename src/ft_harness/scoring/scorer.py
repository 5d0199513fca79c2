"""Log-likelihoods of many queries by a causal model: quick where the model is known to allow it, plain where not."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

from ft_harness.errors import NonFiniteError
from ft_harness.scoring.forward import build_inputs, logits_of, read_prefix, score_batch
from ft_harness.scoring.memory import Budget, measure
from ft_harness.scoring.planning import (
    MIN_GROUP,
    Batch,
    Limits,
    Query,
    Tokens,
    make_batches,
    make_rows,
    shared_prefixes,
)
from ft_harness.scoring.traits import Traits, read_traits

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # nats, of the check in float32
TOLERANCE_HALF = 0.25  # the same in 16 bits, where the order of sums alone moves a log-likelihood by some hundredths
CHECKED = 6  # queries of the check that are compared; the others only make it take the quick way
Score = tuple[float, bool]


class Scorer:
    """Scores queries in batches.

    Attributes:
        traits: what is made use of; the check before the first batch may take some of it back.
        fallback: why some or all of it is not made use of, in one line; None: all is.
    """

    def __init__(self, model: Any, name: str, pad: int, most: int | None) -> None:
        """`most`: rows of a batch at most, None: as many as memory holds. `pad`: the token that fills rows up."""
        self.model = model
        self.name = name
        self.pad = pad
        self.most = most
        self.budget: Budget = measure(model)
        self.traits: Traits = read_traits(model)
        self.fallback: str | None = None
        self._checked = False
        if self.traits.reason:
            self._fall_back(self.traits.reason)

    def _fall_back(self, reason: str) -> None:
        """Say once, in the log and in `fallback`, that prompts are computed for each answer."""
        if self.fallback is None:
            self.fallback = reason
            logger.warning("scored the plain way, one row for each prompt and answer: %s", reason)

    def score(self, queries: Sequence[Query]) -> list[Score]:
        """(log-likelihood in nats, whether greedy decoding gives the answer) of each query, in their order.

        Raises:
            NonFiniteError: a log-likelihood is NaN or infinite.
        """
        if not self._checked and queries:
            self._check(queries)
            self._checked = True
        scores = self._run(queries, self.traits)
        if not all(math.isfinite(value) for value, _ in scores):
            raise self.not_finite("log-likelihood")
        return scores

    def not_finite(self, what: str) -> NonFiniteError:
        """The error of a NaN or infinite log-likelihood or logit."""
        return NonFiniteError(
            f"{self.name}: a {what} is NaN or infinite",
            f"finite {what}s",
            "check the weights, or score in float32: --set model.dtype=float32",
        )

    def _run(self, queries: Sequence[Query], traits: Traits) -> list[Score]:
        answers = [query.answer for query in queries]
        scores: list[Score] = [(math.nan, False)] * len(queries)
        prefix: Tokens = ()
        cached = None
        for batch in self.plan(queries, traits):
            if batch.prefix != prefix:
                cached = None  # freed before the next one is made
                prefix, cached = batch.prefix, read_prefix(self.model, batch.prefix)
            inputs = build_inputs(batch, self.model.dtype, self.pad)
            logits = logits_of(self.model, inputs, cached, traits.keeps)
            for number, value, greedy in score_batch(logits, batch, answers):
                scores[number] = value, greedy
        return scores

    def plan(self, queries: Sequence[Query], traits: Traits) -> Iterator[Batch]:
        """The batches in which queries are scored; those of one prefix follow each other."""
        fits = self.budget.fits if traits.keeps else self.budget.fits_whole
        near, far = self._by_reach(queries, traits)
        prefixes = shared_prefixes([query.stem for _, query in near]) if traits.shares else {}
        groups: defaultdict[Tokens, list[tuple[int, Query]]] = defaultdict(list)
        for number, query in near:
            groups[prefixes.get(query.stem, ())].append((number, query))
        for prefix, members in groups.items():
            room = None if traits.window is None else traits.window - len(prefix)
            rows = make_rows(members, len(prefix), Limits(traits.shares, room, self.most))
            yield from make_batches(prefix, rows, fits, self.most)
        rows = make_rows(far, 0, Limits(branches=False))
        yield from make_batches((), rows, fits, self.most)

    def _by_reach(self, queries: Sequence[Query], traits: Traits) -> tuple[list[tuple[int, Query]], ...]:
        """Numbered queries within the model's window, and those beyond it, which are scored the plain way."""
        near: list[tuple[int, Query]] = []
        far: list[tuple[int, Query]] = []
        for number, query in enumerate(queries):
            within = traits.window is None or len(query.inputs) <= traits.window
            (near if within else far).append((number, query))
        if far and traits.shares:
            self._fall_back(f"rows of more than {traits.window} tokens (sliding window or scaled positions)")
        return near, far

    # --- the check ---------------------------------------------------------------------------------------------------

    def _check(self, queries: Sequence[Query]) -> None:
        """Score a few made-up queries each way; take back what differs from plain rows with all logits kept.

        Signatures and configurations can't tell everything: a model may ignore a mask or cut hidden states its own
        way. Errors count as differences here, and come up again from the plain way where they are real.
        """
        made_up = probe(queries)
        plain = replace(self.traits, keeps=False, shares=False)
        whole = self._run(made_up[:CHECKED], plain)
        for traits in (self.traits, replace(self.traits, shares=False)):
            if difference := self._difference(made_up, traits, whole):
                self._fall_back(difference)
            else:
                self.traits = traits
                return
        self.traits = plain

    def _difference(self, queries: Sequence[Query], traits: Traits, whole: Sequence[Score]) -> str | None:
        """What the scores of a way differ in from the right ones, None if they agree."""
        try:
            scores = self._run(queries, traits)
        except Exception as error:  # whatever a model raises when it is given our masks
            return f"the check raised {type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
        tolerance = TOLERANCE if self.model.dtype.itemsize >= 4 else TOLERANCE_HALF
        pairs = [(ours, right) for (ours, _), (right, _) in zip(scores, whole, strict=False) if math.isfinite(right)]
        if all(abs(ours - right) <= tolerance for ours, right in pairs):
            return None
        return f"the check's log-likelihoods differ by {max(abs(ours - right) for ours, right in pairs):.2g} nats"


def probe(queries: Sequence[Query]) -> list[Query]:
    """Queries that go through all that is quick: a cached prefix, padding, branches that part late, one token.

    Built of the first different tokens of real ones, repeated where there are too few: as many stems as a cached
    prefix needs, of 10 and 11 tokens of which 9 are common, and one other. The first `CHECKED` hold all kinds.
    """
    seen = dict.fromkeys(token for query in queries for token in (*query.stem, *query.answer))
    tokens = tuple(islice(cycle(seen), 32))
    prefix, rest = tokens[:9], tokens[9:]
    stems = [(*prefix, rest[i], *rest[i + 1 : i + 1 + i % 2]) for i in range(MIN_GROUP)]
    answers = (rest[5:6], rest[6:8], rest[8:11], (*rest[8:10], *rest[12:15]))
    branches = [Query(stems[0], answer) for answer in answers]
    return [*branches, Query(rest[:10], answers[2]), *(Query(stem, answers[0]) for stem in stems[1:])]
