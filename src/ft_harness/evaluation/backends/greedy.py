"""Greedy answers to many prompts: those with a common beginning are read together, and when an
answer ends the next prompt takes its slot.

    rows of prompts (trees) -> read into a cache -> each prompt's keys and values into a slot
    -> a token for every slot at a time -> slots of answers that ended are filled again

Where texts repeat what came before in them, the next tokens are guessed from there, and one pass
through the model checks several: only the likeliest token is ever written, guessed or not.
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
    Row,
    Size,
    Tokens,
    prompt_rows,
)
from ft_harness.evaluation.backends.scorer import Scorer
from ft_harness.evaluation.backends.traits import cache_argument

GUESSED = 3  # tokens: each more makes a pass longer, and is the less often right
_TRUSTED = 2  # guesses of a text that were right one after the other before the next is computed
_REFILL = 4  # slots are filled when one in so many is free: fewer prompts at once are read slowly
Ended = Callable[[list[list[int]]], list[bool]]
Fits = Callable[[Size], bool]

# --- reading --------------------------------------------------------------------------------------


class Read(NamedTuple):
    """A prompt that was read before its greedy answer is written.

    Attributes:
        logits: [V], behind its last token.
        layers: keys and values of its tokens in each layer, [heads, T, D] each.
    """

    number: int
    logits: Any
    layers: list[tuple[Any, Any]]


def read(scorer: Scorer, rows: list[Row]) -> Iterator[Read]:
    """Read the prompts of some rows at once, before their greedy answers are written."""
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
    """The next rows whose prompts are read at once, with at most this many prompts in all."""
    rows: list[Row] = []
    width = count = 0
    while waiting and (count := count + len(waiting[0].reads)) <= prompts:
        width = max(width, len(waiting[0]))
        if rows and not fits(Size(len(rows) + 1, width, 0, count)):
            break
        rows.append(waiting.popleft())
    return rows


def read_all(scorer: Scorer, prompts: Sequence[Tokens], fits: Fits) -> Any:
    """Read all prompts into one cache of [B, heads, T, D] in each layer, padded from the left."""
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


class Text:
    """A prompt with its greedy answer so far.

    Attributes:
        number: of the prompt.
        tokens: of both.
    """

    def __init__(self, number: int, prompt: Tokens) -> None:
        self.number = number
        self.tokens: list[int] = []
        self._places: dict[tuple[int, ...], int] = {}  # what came behind two tokens when last seen
        self._right = 0
        for token in prompt:
            self.append(token)
        self._start, self._right = len(prompt), 0  # a prompt that repeats itself says little

    @property
    def answer(self) -> list[int]:
        return self.tokens[self._start :]

    def append(self, token: int) -> None:
        # Each token is guessed, computed or not: it costs nothing, and says which text to trust.
        self._right = self._right + 1 if self._follow(1) == [token] else 0
        self._places[tuple(self.tokens[-2:])] = len(self.tokens)
        self.tokens.append(token)

    def guess(self) -> list[int]:
        """The next tokens, if the last ones were guessed right; else none."""
        return self._follow(GUESSED) if self._right >= _TRUSTED else []

    def _follow(self, count: int) -> list[int]:
        """The tokens that followed an earlier occurrence of the last two; none if there is no
        such."""
        start = self._places.get(tuple(self.tokens[-2:]))
        if start is None:
            return []
        # What is copied may reach into the copy: a text that goes round in a circle.
        period = len(self.tokens) - start
        return [self.tokens[start + place % period] for place in range(count)]


class SlotLayer(DynamicLayer):  # type: ignore[misc]
    """The cache of greedy answers in one layer: appends to each row after its own last column.

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
        """Of the rows [R, heads, T, D] that are in use: all that they see."""
        columns, rows = self._slots.columns, len(key_states)
        places = torch.arange(rows, device=columns.device)[:, None]
        self.keys[places, :, columns] = key_states.transpose(1, 2)
        self.values[places, :, columns] = value_states.transpose(1, 2)
        end = self._slots.end
        return self.keys[:rows, :, :end], self.values[:rows, :, :end]

    def get_seq_length(self) -> int:
        return self._slots.end - int(self._slots.columns.shape[1])


class Slots:
    """Greedy answers that are being written side by side.

    Attributes:
        most: slots in all.
        width: columns of the cache.
        texts: of each slot that is in use, whose tokens but the newest one are in the cache.
        columns: [R, T], where the tokens of a step go.
        end: columns that a step reads.
    """

    def __init__(self, most: int, longest: int, tokens: int) -> None:
        """`longest`: tokens of the longest prompt. `tokens`: of an answer at most."""
        self.most, self.width = most, columns_of(longest, tokens)
        self.texts: list[Text] = []
        self.columns: Any = None
        self.end = 0
        self._last = longest + tokens - 1
        self._cache: Any = None

    def add(self, text: Text, layers: list[tuple[Any, Any]]) -> None:
        """Put a prompt that was read into a free slot."""
        if self._cache is None:
            self._cache = Cache(layers=[SlotLayer(self, layer) for layer in layers])
        place, length = len(self.texts), len(text.tokens)
        for layer, (keys, values) in zip(self._cache.layers, layers, strict=True):
            layer.keys[place, :, :length], layer.values[place, :, :length] = keys, values
        self.texts.append(text)

    def drop(self, place: int) -> None:
        """Free a slot; the last one in use moves there."""
        # Slots in use stay together at the front, so that a step computes no empty one.
        last = self.texts.pop()
        if place == len(self.texts):
            return
        for layer in self._cache.layers:
            for each in (layer.keys, layer.values):
                each[place, :, : len(last.tokens)] = each[len(self.texts), :, : len(last.tokens)]
        self.texts[place] = last

    def guess(self) -> list[list[int]]:
        """Guesses of what comes next in each text; nothing if fewer than half have one."""
        guesses = [text.guess() for text in self.texts]
        # All rows of a step have the same length, guessed or not.
        enough = 2 * sum(map(bool, guesses)) >= len(guesses)
        return guesses if enough else [[] for _ in guesses]

    def step(self, model: Any, guesses: list[list[int]]) -> Any:
        """Logits [R, T, V] behind the newest token of each slot in use, and behind each token that
        is guessed to follow."""
        span = 1 + max(map(len, guesses))
        # A row without a guess is filled up; what it computes there is written over later.
        rows = [
            [text.tokens[-1], *(guess or text.tokens[-1:] * (span - 1))]
            for text, guess in zip(self.texts, guesses, strict=True)
        ]
        newest = torch.tensor([[len(text.tokens) - 1] for text in self.texts], device=model.device)
        self.columns = newest + torch.arange(span, device=model.device)
        self.end = max(len(text.tokens) for text in self.texts) + span - 1
        sees = torch.arange(self.end, device=model.device) <= self.columns[..., None]
        mask = torch.zeros(sees.shape, dtype=model.dtype, device=model.device)
        mask = mask.masked_fill_(~sees, torch.finfo(model.dtype).min)
        return model(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=mask[:, None],
            # No answer gets beyond the last position, which a guess may.
            position_ids=self.columns.clamp(max=self._last),
            logits_to_keep=span,
            use_cache=True,
            **{cache_argument(): self._cache},
        ).logits


def columns_of(longest: int, tokens: int) -> int:
    """Columns of a cache of greedy answers; see `Slots`."""
    return longest + tokens + GUESSED


class Writer:
    """Writes greedy answers to many prompts.

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
        texts = [Text(number, prompt) for number, prompt in enumerate(different)]
        limits = Limits(True, self._scorer.traits.window, slots.most)
        waiting = deque(prompt_rows(different, limits))
        with torch.no_grad():
            while waiting or slots.texts:
                free = slots.most - len(slots.texts)
                if free * _REFILL >= slots.most:
                    for prompt in read(self._scorer, next_rows(waiting, free, self._fits)):
                        slots.add(texts[prompt.number], prompt.layers)
                        self._go_on(slots, prompt.logits[None, None], [[]])
                if slots.texts:
                    guesses = slots.guess()
                    self._go_on(slots, slots.step(self._scorer.model, guesses), guesses)
        of = {prompt: text.answer for prompt, text in zip(different, texts, strict=True)}
        return [of[prompt] for prompt in prompts]

    def _go_on(self, slots: Slots, logits: Any, guesses: list[list[int]]) -> None:
        """The next tokens of the last slots, by logits [R, T, V]: one, and one more for each guess
        that was right; answers at their end leave."""
        largest, tokens = logits.max(-1)
        # A NaN is taken for the largest: it would be an answer like any other.
        if largest.isnan().any():
            raise self._scorer.not_finite("logit")
        first = len(slots.texts) - len(guesses)
        rows = list(zip(slots.texts[first:], tokens.tolist(), guesses, strict=True))
        over: set[int] = set()
        for place in range(logits.shape[1]):
            for text, likeliest, _ in rows:
                text.append(likeliest[place])
            ended = self._ended([text.answer for text, _, _ in rows])
            over |= {text.number for (text, _, _), end in zip(rows, ended, strict=True) if end}
            rows = [
                (text, likeliest, guess)
                for text, likeliest, guess in rows
                if text.number not in over and guess[place : place + 1] == [likeliest[place]]
            ]
            if not rows:
                break
        for at in reversed(range(first, len(slots.texts))):  # the last one moves: it was looked at
            if slots.texts[at].number in over:
                slots.drop(at)
