"""Where a generated text ends: end tokens, stop strings, and those that broken bytes hide."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

_BROKEN = "\ufffd"  # what bytes that are no UTF-8 decode to


class Continuation(NamedTuple):
    """A generated text, cut where it ends: before its first stop string.

    Attributes:
        tokens: generated, without EOS and what comes after.
        truncated: it reached the token limit without EOS or a stop string.
    """

    text: str
    tokens: int
    truncated: bool


class Endings:
    """The end tokens of a model, and the stop strings of a prompt.

    Attributes:
        ids: tokens that end a text.
    """

    def __init__(self, tokenizer: Any, generation_config: Any, ends: Sequence[int] = ()) -> None:
        """`ends`: tokens that end a text, besides the model's and the tokenizer's; they are no part
        of it."""
        own = generation_config.eos_token_id
        known = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
        self.tokenizer = tokenizer
        self._hidden_ends = frozenset(ends)
        self.ids = {end for end in known if end is not None} | self._hidden_ends

    def stopped(self, ids: Sequence[int], text: str, stop: Sequence[str]) -> bool:
        """Whether `text`, decoded from `ids`, holds a stop string."""
        return any(word in text for word in stop) or self._hidden(ids, text, stop) is not None

    def _hidden(self, ids: Sequence[int], text: str, stop: Sequence[str]) -> int | None:
        """The first token of a stop string that `text`, decoded from `ids`, hides; else None.

        Byte tokens that are no UTF-8 together, as where a text begins inside a character, all
        decode to U+FFFD, also those among them that spell a stop string such as a line break.
        """
        reach = reach_of(stop)
        # Only where bytes are broken, since each try decodes again.
        for first in range(1, len(ids)) if _BROKEN in text else ():
            later = self.tokenizer.decode(ids[first : first + reach])
            if any(word in later for word in stop):
                return first
        return None

    def read(self, ids: Sequence[int], stop: Sequence[str]) -> Continuation:
        """The text of generated tokens up to the first end token, without special tokens, cut
        before a stop string.

        An end token that is an ordinary word for the tokenizer stays in the text, as in lm-eval.
        """
        own = list(takewhile(lambda token: token not in self.ids, ids))
        # `generate` fills rows that ended early up with padding, which comes after the end token.
        ended = len(own) < len(ids)
        last = [end for end in ids[len(own) : len(own) + 1] if end not in self._hidden_ends]
        text = str(self.tokenizer.decode([*own, *last], skip_special_tokens=True))
        # a stop string may be a special token
        spelt = self.tokenizer.decode(own, skip_special_tokens=False)
        cut = min((at for word in stop if (at := text.find(word)) >= 0), default=None)
        if cut is None and (first := self._hidden(own, text, stop)) is not None:
            before = self.tokenizer.decode(own[:first], skip_special_tokens=True)
            return Continuation(str(before), len(own), False)
        stopped = cut is not None or any(word in spelt for word in stop)
        return Continuation(text[:cut], len(own), not ended and not stopped)


def reach_of(stop: Sequence[str]) -> int:
    """How many of the last tokens can hold a stop string that ends now.

    A token has at least one byte, so these are as many as it has bytes; a few more let words and
    characters of several tokens decode whole.
    """
    return max((len(word.encode()) for word in stop), default=0) + 4
