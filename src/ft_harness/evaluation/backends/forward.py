"""One batch through the model: tensors of its rows, logits of the positions that are read,
log-likelihoods."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from ft_harness.evaluation.backends.planning import Batch, Row, Tokens
from ft_harness.evaluation.backends.traits import Traits, cache_argument
from ft_harness.models.last_layer import last_layer_at

_SOFTMAX_BYTES = 32 << 20  # of logits that are turned into log-probabilities at once


class Inputs(NamedTuple):
    """Tensors of one batch of B rows of T tokens behind P cached ones.

    Attributes:
        ids: [B, T], padded from the right.
        keep: [B, T], true where a position's logits are read.
        positions: [B, T], None where they are 0, 1, ... as usual.
        mask: [B, 1, T, P + T], added to attention scores; None: the model's own causal mask.
    """

    ids: Any
    keep: Any
    positions: Any = None
    mask: Any = None


class PrefixLayer(DynamicLayer):  # type: ignore[misc]
    """The cache of a prefix in one layer of the model: keeps the first keys it is given, [1, heads,
    P, width], and joins them to the later ones of any number of rows."""

    def update(
        self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        # The first call stores the prefix; all later ones read it and store nothing, so that any
        # number of batches can follow.
        if not self.is_initialized:
            return super().update(key_states, value_states)  # type: ignore[no-any-return]
        rows = key_states.shape[0]
        keys = torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2)
        return keys, torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2)


def read_prefix(model: Any, prefix: Tokens) -> Any:
    """The cache of a prefix, which any number of batches may read; None for an empty one."""
    if not prefix:
        return None
    cached = Cache(layer_class_to_replicate=PrefixLayer)
    ids = torch.tensor([prefix], device=model.device)
    with torch.no_grad():
        # The prefix's logits are not needed: of a large vocabulary they are most of its memory.
        model(input_ids=ids, **{cache_argument(): cached}, use_cache=True, logits_to_keep=1)
    return cached


def _tree_mask(row: Row) -> Any:
    """[K, K] booleans: which nodes of a row's tree each node sees, itself and what comes before it
    in its sequence."""
    sees = np.eye(len(row), dtype=bool)
    for node, parent in enumerate(row.parents):
        if parent >= 0:
            sees[node, :node] = sees[parent, :node]
    return sees


def _attention(batch: Batch, dtype: Any) -> Any:
    """[B, 1, T, P + T]: 0 where a token sees another, the lowest number where not. Padding is seen
    by padding only."""
    before, width = len(batch.prefix), batch.width
    sees = torch.ones(len(batch.rows), width, before + width, dtype=torch.bool).tril(before)
    for number, row in enumerate(batch.rows):
        if not row.is_chain:
            sees[number, : len(row), before : before + len(row)] = torch.from_numpy(_tree_mask(row))
    # The lowest finite number rather than -inf: a row of padding that sees nothing would become
    # NaN.
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill_(~sees, torch.finfo(dtype).min)
    return mask[:, None]


def build_inputs(batch: Batch, dtype: Any, pad: int) -> Inputs:
    """Tensors of a batch, on the CPU; `pad` is the id that fills rows up."""
    shape = len(batch.rows), batch.width
    ids, keep, positions = (
        torch.full(shape, pad),
        torch.zeros(shape, dtype=torch.bool),
        torch.zeros(shape).long(),
    )
    for number, row in enumerate(batch.rows):
        ids[number, : len(row)] = torch.tensor(row.tokens)
        keep[number, row.kept] = True
        positions[number, : len(row)] = torch.tensor(row.depths()) + len(batch.prefix)
    if batch.is_plain:
        return Inputs(ids, keep)
    return Inputs(ids, keep, positions, _attention(batch, dtype))


def logits_of(model: Any, inputs: Inputs, cached: Any, traits: Traits) -> Any:
    """[N, V] logits of the N positions to keep, row by row."""
    options: dict[str, Any] = {}
    if inputs.mask is not None:
        options = {
            "attention_mask": inputs.mask.to(model.device),
            "position_ids": inputs.positions.to(model.device),
        }
    if cached is not None:
        options |= {cache_argument(): cached, "use_cache": True}
    # A cache that nobody reads would hold the keys of every layer.
    elif traits.keeps:
        options["use_cache"] = False
    ids, keep = inputs.ids.to(model.device), inputs.keep.to(model.device)
    with torch.no_grad():
        if traits.keeps:
            with last_layer_at(model, keep) if traits.trims else nullcontext():
                logits = model(input_ids=ids, logits_to_keep=keep, **options).logits
            return logits.reshape(-1, logits.shape[-1])
        logits = model(input_ids=ids, **options).logits
        return logits[:, -ids.shape[1] :][keep]  # virtual tokens stand before the row's own


class _Reading(NamedTuple):
    """What one query reads: which of the kept positions, and the answer token at each."""

    number: int
    places: list[int]
    tokens: Tokens


def _readings(rows: Sequence[Row], answers: Sequence[Tokens]) -> Iterator[_Reading]:
    start = 0
    for row in rows:
        place = {node: start + i for i, node in enumerate(row.kept)}
        start += len(place)
        for number, nodes in row.reads:
            yield _Reading(number, [place[node] for node in nodes], answers[number])


def _token_scores(
    logits: Any, places: list[int], tokens: list[int]
) -> tuple[list[float], list[bool]]:
    """Log-probability of each token at its place among [N, V] logits, and whether it is the
    likeliest one."""
    where = torch.tensor(places, device=logits.device)
    what = torch.tensor(tokens, device=logits.device)
    # In chunks: a float32 copy of all logits would double the largest tensor there is.
    step = max(1, _SOFTMAX_BYTES // (4 * logits.shape[-1]))
    chunks = logits.split(step)
    totals = torch.cat([chunk.float().logsumexp(dim=-1) for chunk in chunks])
    likeliest = torch.cat([chunk.argmax(dim=-1) for chunk in chunks])
    # log-softmax of the wanted tokens alone, in float32: in 16 bits a log-likelihood of -20 is
    # known to an eighth.
    values = logits[where, what].float() - totals[where]
    return values.tolist(), (likeliest[where] == what).tolist()


def score_batch(
    logits: Any, batch: Batch, answers: Sequence[Tokens]
) -> list[tuple[int, float, bool]]:
    """Scores of one batch: (number, log-likelihood in nats, whether greedy decoding gives it) of
    each query that it answers.

    Args:
        logits: [N, V] of the batch's kept positions, row by row.
        answers: tokens of every query, by number.
    """
    readings = list(_readings(batch.rows, answers))
    places = [place for reading in readings for place in reading.places]
    tokens = [token for reading in readings for token in reading.tokens]
    values, hits = _token_scores(logits, places, tokens)
    results: list[tuple[int, float, bool]] = []
    start = 0
    for reading in readings:
        end = start + len(reading.places)
        results.append((reading.number, math.fsum(values[start:end]), all(hits[start:end])))
        start = end
    return results
