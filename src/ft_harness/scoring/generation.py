"""Texts by transformers' `generate`: batches of prompts of similar length, greedy, with beams, or sampled by seed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

from ft_harness.scoring.planning import Size, Tokens
from ft_harness.scoring.scorer import Scorer
from ft_harness.storage import canonical_json


@dataclass(frozen=True)
class Prompt:
    """What is continued, and how.

    Attributes:
        ids: the prompt's tokens, at least one.
        stop: strings that end an answer and are no part of it.
        most: tokens that may be generated.
        settings: other arguments of `generate`.
    """

    text: str
    ids: Tokens
    stop: tuple[str, ...]
    most: int
    settings: dict[str, Any]

    @property
    def kind(self) -> str:
        """Prompts of one kind may share a batch."""
        return canonical_json([self.stop, self.most, self.settings])


class Continuation(NamedTuple):
    """A generated text, cut before its first stop string.

    Attributes:
        tokens: generated, without EOS and what comes after.
        truncated: it came to the most tokens without EOS or a stop string.
    """

    text: str
    tokens: int
    truncated: bool


class Generator:
    """Continues prompts.

    A greedy or beam answer is the same in any batch up to float rounding: in float32 it differs where two tokens are
    equally likely to six digits, in 16 bits more often. A sampled one is drawn alone, with a seed of its own, and so
    is the same for any batch size.
    """

    def __init__(self, scorer: Scorer, tokenizer: Any, seed: int) -> None:
        """`scorer`: its model, and what it knows of the architecture and of memory."""
        self.scorer = scorer
        self.tokenizer = tokenizer
        self.seed = seed

    def generate(self, prompts: Sequence[Prompt]) -> list[Continuation]:
        """The continuation of each prompt, in their order.

        Raises:
            NonFiniteError: a logit is NaN.
        """
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for number, prompt in enumerate(prompts):
            kinds[prompt.kind].append(number)
        found: dict[int, Continuation] = {}
        for numbers in kinds.values():
            draw = self._draw if prompts[numbers[0]].settings.get("do_sample") else self._search
            found |= draw(prompts, numbers)
        return [found[number] for number in range(len(prompts))]

    def _draw(self, prompts: Sequence[Prompt], numbers: Sequence[int]) -> dict[int, Continuation]:
        """Sampled, one by one: the seed comes from the prompt, its settings and how often they came before."""
        asked: Counter[str] = Counter()
        found: dict[int, Continuation] = {}
        for number in numbers:
            item = prompts[number].text
            asked[item] += 1
            with _seeded(f"{self.seed}|{asked[item]}|{prompts[number].kind}|{item}"):
                found[number] = self._continue([prompts[number]])[0]
        return found

    def _search(self, prompts: Sequence[Prompt], numbers: Sequence[int]) -> dict[int, Continuation]:
        """Greedy or with beams, in batches."""
        found: dict[int, Continuation] = {}
        for batch in self._batches(prompts, numbers):
            found |= zip(batch, self._continue([prompts[number] for number in batch]), strict=True)
        return found

    def _batches(self, prompts: Sequence[Prompt], numbers: Sequence[int]) -> list[list[int]]:
        """Numbers of the prompts of each batch, longest first; of one length where the model can't be padded."""
        most, pads, fits = self.scorer.most, self.scorer.traits.pads, self.scorer.budget.fits_generation
        beams = prompts[numbers[0]].settings.get("num_beams") or 1
        batches: list[list[int]] = []
        width = 0
        for number in sorted(numbers, key=lambda number: len(prompts[number].ids), reverse=True):
            length = len(prompts[number].ids)
            count = len(batches[-1]) + 1 if batches else 1
            size = Size(count * beams, width + prompts[number].most, 0, count * beams)
            alike = bool(batches) and (pads or length == width)
            if alike and (most is None or count <= most) and fits(size):
                batches[-1].append(number)
            else:
                batches.append([number])
                width = length
        return batches

    def _continue(self, prompts: Sequence[Prompt]) -> list[Continuation]:
        """Continuations of one batch, whose prompts are of one kind."""
        import torch

        first, width = prompts[0], max(len(prompt.ids) for prompt in prompts)
        pad, ends = self.scorer.pad, sorted(self._ends())
        rows = [[pad] * (width - len(prompt.ids)) + list(prompt.ids) for prompt in prompts]
        seen = [[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts]
        with torch.no_grad():
            output = self.scorer.model.generate(
                input_ids=torch.tensor(rows, device=self.scorer.model.device),
                attention_mask=torch.tensor(seen, device=self.scorer.model.device),
                max_new_tokens=first.most,
                stopping_criteria=self._criteria(first.stop, width),
                logits_processor=[self._refuse_nan],
                pad_token_id=pad,
                eos_token_id=ends or None,
                **_decoding(first.settings),
            )
        return [self._read(ids, first.stop) for ids in output[:, width:].tolist()]

    def _refuse_nan(self, ids: Any, scores: Any) -> Any:
        """A logits processor: scores [B, V] pass unchanged."""
        if scores.isnan().any():
            raise self.scorer.not_finite("logit")
        return scores

    def _ends(self) -> set[int]:
        """Tokens that end a text: the model's and the tokenizer's EOS."""
        own = self.scorer.model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
        return {end for end in ends if end is not None}

    def _criteria(self, stop: Sequence[str], start: int) -> Any:
        """Stopping criteria that end each row whose newest text holds a stop string.

        A token has at least one byte, so a stop string that ends now lies within as many tokens as it has bytes; a
        few more let words and characters of several tokens decode whole.
        """
        import torch
        from transformers import StoppingCriteriaList

        reach = max((len(word.encode()) for word in stop), default=0) + 4

        def stopped(ids: Any, scores: Any, **options: Any) -> Any:
            texts = self.tokenizer.batch_decode(ids[:, start:][:, -reach:])
            return torch.tensor([any(word in text for word in stop) for text in texts], device=ids.device)

        return StoppingCriteriaList([stopped] if stop else [])

    def _read(self, ids: Sequence[int], stop: Sequence[str]) -> Continuation:
        """The text of generated tokens up to the first end token, without special tokens, cut before a stop string.

        An end token that is an ordinary word for the tokenizer stays in the text, as in lm-eval.
        """
        ends = self._ends()
        own = list(takewhile(lambda token: token not in ends, ids))
        ended = len(own) < len(ids)
        shown = [*own, *ids[len(own) : len(own) + 1]]
        text = str(self.tokenizer.decode(shown, skip_special_tokens=True))
        spelt = self.tokenizer.decode(own, skip_special_tokens=False)  # a stop string may be a special token
        cut = min((at for word in stop if (at := text.find(word)) >= 0), default=None)
        stopped = cut is not None or any(word in spelt for word in stop)
        return Continuation(text[:cut], len(own), not ended and not stopped)


def _decoding(settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `generate`; without sampling no temperature, of which transformers would warn."""
    sampled = bool(settings.get("do_sample"))
    return {key: value for key, value in settings.items() if sampled or key != "temperature"}


@contextmanager
def _seeded(item: str) -> Iterator[None]:
    """Random numbers that depend on `item` alone; torch's own go on after it as if nothing had been drawn."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(hashlib.sha256(item.encode()).digest()[:8], "big", signed=True))
        yield
