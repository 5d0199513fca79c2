"""Greedy answers of many prompts: those that begin alike are read together, each answer ends at its
own end, and the next prompt takes its place.

    rows of prompts (trees) -> read into a cache -> each prompt's keys and values into a slot
    -> a token for every slot at a time -> slots of answers that ended are filled again

All slots end at the same column of their cache, so that one position is written for all; what a
shorter prompt lacks stands before it and is hidden.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, DynamicLayer

from ft_harness.evaluation.backends.forward import build_inputs, logits_of
from ft_harness.evaluation.backends.planning import (
    Batch,
    Limits,
    Query,
    Row,
    Size,
    Tokens,
    make_rows,
)
from ft_harness.evaluation.backends.scorer import Scorer
from ft_harness.evaluation.backends.traits import cache_argument

SPARE = 32  # columns, so that what is no longer read is seldom moved away
_REFILL = 4  # slots are filled when one in so many is free: fewer prompts at once are read slowly
Ended = Callable[[list[list[int]]], list[bool]]
Fits = Callable[[Size], bool]

# --- reading --------------------------------------------------------------------------------------


def prompt_rows(prompts: Sequence[Tokens], limits: Limits) -> list[Row]:
    """Rows that hold numbered prompts, those with the longest prompt first."""
    # An answer of one token, whichever it is: its query reads the whole prompt and keeps the
    # logits behind it.
    queries = [(number, Query(ids, ids[-1:])) for number, ids in enumerate(prompts)]
    rows = make_rows(queries, 0, limits)
    return sorted(rows, key=lambda row: max(map(len, row.stems)), reverse=True)


class Read(NamedTuple):
    """A prompt that was read.

    Attributes:
        logits: [V], behind its last token.
        layers: keys and values of its tokens in each layer, [heads, T, D] each.
    """

    number: int
    logits: Any
    layers: list[tuple[Any, Any]]


def read(scorer: Scorer, rows: list[Row]) -> Iterator[Read]:
    """The prompts of some rows, read at once."""
    if not rows:
        return
    rows = sorted(rows, key=len, reverse=True)
    cache = Cache(layer_class_to_replicate=DynamicLayer)
    batch = Batch((), rows)
    inputs = build_inputs(batch, scorer.model.dtype, scorer.pad)
    logits = iter(logits_of(scorer.model, inputs, cache, scorer.traits))
    for place, row in enumerate(rows):
        behind = {node: next(logits) for node in row.kept}
        for number, (node,) in row.reads:
            path = torch.tensor(row.path(node), device=scorer.model.device)
            layers = [
                (layer.keys[place].index_select(1, path), layer.values[place].index_select(1, path))
                for layer in cache.layers
            ]
            yield Read(number, behind[node], layers)


def next_rows(waiting: deque[Row], prompts: int, fits: Fits) -> list[Row]:
    """Take the next rows, of so many prompts in all at most, that are read at once."""
    rows: list[Row] = []
    width = count = 0
    while waiting and (count := count + len(waiting[0].reads)) <= prompts:
        width = max(width, len(waiting[0]))
        if rows and not fits(Size(len(rows) + 1, width, 0, count)):
            break
        rows.append(waiting.popleft())
    return rows


def read_all(scorer: Scorer, prompts: Sequence[Tokens], fits: Fits) -> Any:
    """A cache of [B, heads, T, D] in each layer, which holds all prompts, padded from the left."""
    limits = Limits(branches=True, window=scorer.traits.window)
    waiting, width = deque(prompt_rows(prompts, limits)), max(map(len, prompts))
    layers: list[DynamicLayer] = []
    while waiting:
        for prompt in read(scorer, next_rows(waiting, len(prompts), fits)):
            for number, pair in enumerate(prompt.layers):
                if len(layers) == number:
                    layers.append(DynamicLayer())
                    layers[number].keys, layers[number].values = (
                        # Zeros, as hidden places enter the sums with weight 0.
                        each.new_zeros(len(prompts), each.shape[0], width, each.shape[2])
                        for each in pair
                    )
                    layers[number].is_initialized = True
                layer, start = layers[number], width - pair[0].shape[1]
                layer.keys[prompt.number, :, start:], layer.values[prompt.number, :, start:] = pair
    return Cache(layers=layers)


# --- writing --------------------------------------------------------------------------------------


class SlotLayer(DynamicLayer):  # type: ignore[misc]
    """A cache layer of which each row's newest token goes into the same column.

    Attributes:
        keys, values: [slots, heads, columns, D].
    """

    def __init__(self, slots: Slots, read: tuple[Any, Any]) -> None:
        super().__init__()
        self._slots = slots
        self.keys, self.values = (
            # Zeros, as hidden columns enter the sums with weight 0, and 0 times a NaN is NaN.
            each.new_zeros(slots.most, each.shape[0], slots.width, each.shape[2])
            for each in read
        )
        self.is_initialized = True

    def update(
        self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Of the rows [R, heads, 1, D] that are in use: all that they see."""
        rows, start, end = len(key_states), self._slots.start, self._slots.end
        self.keys[:rows, :, end] = key_states[:, :, 0]
        self.values[:rows, :, end] = value_states[:, :, 0]
        return self.keys[:rows, :, start : end + 1], self.values[:rows, :, start : end + 1]

    def get_seq_length(self) -> int:
        return self._slots.end - self._slots.start


class Slots:
    """Answers that are being written.

    Attributes:
        most: slots in all.
        width: columns of the cache.
        numbers: the prompt of each slot that is in use.
        start, end: columns that are read; the next token is written at the end.
    """

    def __init__(self, most: int, longest: int, tokens: int) -> None:
        """`longest`: tokens of the longest prompt. `tokens`: of an answer at most."""
        self.most, self.width, self.end = most, longest + tokens + SPARE, longest
        self.numbers: list[int] = []
        self._longest = longest
        self._lengths: list[int] = []
        self._cache: Any = None

    @property
    def start(self) -> int:
        return self.end - max(self._lengths)

    def add(self, prompt: Read) -> None:
        """Put a prompt into a free slot."""
        if self._cache is None:
            self._cache = Cache(layers=[SlotLayer(self, layer) for layer in prompt.layers])
        place, length = len(self.numbers), prompt.layers[0][0].shape[1]
        columns = slice(self.end - length, self.end)
        for layer, (keys, values) in zip(self._cache.layers, prompt.layers, strict=True):
            layer.keys[place, :, columns], layer.values[place, :, columns] = keys, values
        self.numbers.append(prompt.number)
        self._lengths.append(length)

    def drop(self, place: int) -> None:
        """Free a slot; the last one in use moves there."""
        # Slots in use stay together at the front, so that a step computes no empty one.
        columns = slice(self.start, self.end)
        for layer in self._cache.layers:
            for each in (layer.keys, layer.values):
                each[place, :, columns] = each[len(self.numbers) - 1, :, columns]
        for values in (self.numbers, self._lengths):
            values[place] = values[-1]
            values.pop()

    def step(self, model: Any, tokens: list[int]) -> Any:
        """Logits [R, V] behind the newest token of each slot in use."""
        if self.end == self.width:
            self._move()
        lengths = torch.tensor(self._lengths, device=model.device)[:, None]
        sees = torch.arange(self.start, self.end + 1, device=model.device) >= self.end - lengths
        mask = torch.zeros(sees.shape, dtype=model.dtype, device=model.device)
        mask = mask.masked_fill_(~sees, torch.finfo(model.dtype).min)
        logits = model(
            input_ids=torch.tensor(tokens, device=model.device)[:, None],
            attention_mask=mask[:, None, None],
            position_ids=lengths,
            logits_to_keep=1,
            use_cache=True,
            **{cache_argument(): self._cache},
        ).logits
        self.end += 1
        self._lengths = [length + 1 for length in self._lengths]
        return logits[:, -1]

    def _move(self) -> None:
        """Move the columns that are still read to the beginning, with room for any prompt."""
        kept = max(*self._lengths, self._longest)
        for layer in self._cache.layers:
            for each in (layer.keys, layer.values):
                # A copy first: the two stretches may overlap.
                each[:, :, :kept] = each[:, :, self.end - kept : self.end].clone()
        self.end = kept


class Writer:
    """Writes greedy answers.

    Args:
        ended: answers so far, at least one token each -> which of them are at their end.
        fits: whether rows are read at once within memory.
    """

    def __init__(self, scorer: Scorer, ended: Ended, fits: Fits) -> None:
        self._scorer, self._ended, self._fits = scorer, ended, fits

    def write(self, prompts: Sequence[Tokens], slots: Slots) -> list[list[int]]:
        """The tokens of each prompt's answer, an end token included."""
        # Greedy answers to equal prompts are equal: each is written once.
        different = list(dict.fromkeys(prompts))
        written: list[list[int]] = [[] for _ in different]
        limits = Limits(True, self._scorer.traits.window, slots.most)
        waiting = deque(prompt_rows(different, limits))
        with torch.no_grad():
            while waiting or slots.numbers:
                free = slots.most - len(slots.numbers)
                if free * _REFILL >= slots.most:
                    for prompt in read(self._scorer, next_rows(waiting, free, self._fits)):
                        slots.add(prompt)
                        self._go_on(slots, written, prompt.logits[None], len(slots.numbers) - 1)
                if slots.numbers:
                    newest = [written[number][-1] for number in slots.numbers]
                    self._go_on(slots, written, slots.step(self._scorer.model, newest))
        of = dict(zip(different, written, strict=True))
        return [of[prompt] for prompt in prompts]

    def _go_on(self, slots: Slots, written: list[list[int]], logits: Any, first: int = 0) -> None:
        """One more token of the answer in each slot from the first on, by logits [R, V]; those at
        their end leave."""
        # argmax takes a NaN for the largest: it would be an answer like any other.
        if logits.isnan().any():
            raise self._scorer.not_finite("logit")
        answers = [written[number] for number in slots.numbers[first:]]
        for answer, token in zip(answers, logits.argmax(-1).tolist(), strict=True):
            answer.append(token)
        ended = self._ended(answers)
        for place in reversed(range(len(answers))):  # the last slot moves: it was looked at before
            if ended[place]:
                slots.drop(first + place)
