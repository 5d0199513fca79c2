"""Texts by transformers' `generate`: batches of prompts of similar length, greedy, with beams, or
sampled by seed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteriaList

from ft_harness.evaluation.backends.decoding import refusing
from ft_harness.evaluation.backends.endings import Continuation, Endings, reach_of
from ft_harness.evaluation.backends.greedy import (
    GUESSED,
    Slots,
    Writer,
    columns_of,
    read_all,
)
from ft_harness.evaluation.backends.planning import (
    ROOM,
    STRETCH,
    Limits,
    Query,
    Size,
    Tokens,
    prompt_rows,
)
from ft_harness.evaluation.backends.recovery import Allowance, complete
from ft_harness.evaluation.backends.scorer import Scorer
from ft_harness.evaluation.backends.store import Ledger
from ft_harness.evaluation.backends.traits import cache_argument
from ft_harness.models.base_model import generation_settings
from ft_harness.storage import canonical_json

# Settings that neither choose a token nor end a text but change what `generate` returns, or make
# it depend on the clock.
_RETURNED = {"return_dict_in_generate": False, "num_return_sequences": 1, "max_time": None}
# Settings without effect on greedy answers, or that are given anew.
_IDLE = {"temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"}
_IDLE |= {"max_length", "max_new_tokens", "use_cache", "output_scores", "output_logits"}
_IDLE |= {"bos_token_id", "eos_token_id", "pad_token_id", "_from_model_config", *_RETURNED}
# Settings that mean the same for a row that is padded. All others, such as penalties on repetition,
# count the padding as text, or may.
_PADDED = {"do_sample", "num_beams", "length_penalty", "early_stopping", "suppress_tokens"} | _IDLE
_TURNS = 4  # greedy prompts of a batch for each that is written at once: answers end at their own


@dataclass(frozen=True)
class Prompt:
    """A prompt that a generator continues, and how.

    Attributes:
        ids: the prompt's tokens, at least one.
        stop: strings that end an answer and are no part of it.
        most: tokens that may be generated at most.
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

    @property
    def sampled(self) -> bool:
        return bool(self.settings.get("do_sample"))


class Generator:
    """Continues prompts by transformers' `generate`.

    A greedy or beam answer is the same in any batch up to float rounding: in float32 it differs
    where two tokens are equally likely to six digits, in 16 bits more often. A sampled one is drawn
    alone, with a seed of its own, and so is the same for any batch size.
    """

    def __init__(self, scorer: Scorer, tokenizer: Any, seed: int, ends: Sequence[int] = ()) -> None:
        """`scorer`: its model, and what it knows of the architecture and of memory. `ends`: as
        `Endings` has them."""
        self.scorer = scorer
        self.tokenizer = tokenizer
        self.endings = Endings(tokenizer, scorer.model.generation_config, ends)
        self.seed = seed
        self.allowance = Allowance(scorer.effort)

    def generate(self, prompts: Sequence[Prompt]) -> list[Continuation | None]:
        """The continuation of each prompt, in their order; None where memory was not enough for it
        alone.

        What the scorer's store holds is not generated again.

        Raises:
            NonFiniteError: a logit is NaN.
        """
        # `generate` takes one set of settings for a whole batch.
        kinds: defaultdict[str, list[int]] = defaultdict(list)
        for number, prompt in enumerate(prompts):
            kinds[prompt.kind].append(number)
        shared = self._shared()
        ledger = Ledger(self.scorer.store, (self._request(prompt, shared) for prompt in prompts))
        if prompts and not ledger.holds_all():
            # Only where any is answered anew: it takes a few passes through the model.
            self.scorer.check([Query(prompt.ids, prompt.ids[-1:]) for prompt in prompts])
        work = _PromptWork(self, prompts)
        batches = (batch for numbers in kinds.values() for batch in work.anew(numbers))
        responses = complete(batches, work, ledger, self.allowance)
        found = (responses[number] for number in range(len(prompts)))
        return [None if response is None else Continuation(*response) for response in found]

    def _shared(self) -> str:
        """What all answers depend on besides the model state: the model's generation settings, end
        tokens."""
        settings = generation_settings(self.scorer.model)
        return canonical_json(
            [settings, sorted(self.endings.ids), sorted(self.tokenizer.all_special_ids)]
        )

    def _request(self, prompt: Prompt, shared: str) -> str:
        """A text that identifies a request; it is also the source of a sampled answer's seed."""
        # Its seed is made of the text, as two texts may have the same tokens.
        drawn = f"|{self.seed}|{prompt.text}" if prompt.sampled else ""
        return f"generate|{shared}|{prompt.kind}|{prompt.ids}{drawn}"

    def batches(self, prompts: Sequence[Prompt], numbers: Sequence[int]) -> list[list[int]]:
        """Numbers of the prompts of each batch, all of one kind. Those that share their beginning
        are together, where that is made use of; else the longest come first, and are of one length
        where the model can't be padded or padding would count as text; sampled ones are alone."""
        if not numbers:  # all are stored
            return []
        if not self._shares([prompts[number] for number in numbers]):
            return self._batches_by_length(prompts, numbers)
        limits = Limits(True, self.scorer.traits.window, self.scorer.most)
        rows = prompt_rows([prompts[number].ids for number in numbers], limits)
        turns = _TURNS if self._is_greedy(prompts[numbers[0]]) else 1
        batches: list[list[int]] = [[]]
        for number in (numbers[place] for row in rows for place, _ in row.reads):
            count = self._at_once([prompts[each] for each in (*batches[-1], number)])
            if len(batches[-1]) < (count * turns if count > 1 else 1):
                batches[-1].append(number)
            else:
                batches.append([number])
        return batches

    def _batches_by_length(
        self, prompts: Sequence[Prompt], numbers: Sequence[int]
    ) -> list[list[int]]:
        most = self.scorer.most
        pads = self.scorer.traits.pads and self._names(prompts[numbers[0]]) <= _PADDED
        batches: list[list[int]] = []
        width = 0
        # The longest prompts first: what does not fit is known at once.
        for number in sorted(numbers, key=lambda number: len(prompts[number].ids), reverse=True):
            prompt = prompts[number]
            count = len(batches[-1]) + 1 if batches else 1
            alike = bool(batches) and (pads or len(prompt.ids) == width) and not prompt.sampled
            if alike and (most is None or count <= most) and self._fits(count, width, prompt):
                batches[-1].append(number)
            else:
                batches.append([number])
                width = len(prompt.ids)
        return batches

    def _shares(self, prompts: Sequence[Prompt]) -> bool:
        """Whether these prompts, of one kind, are read together where they begin alike: greedy
        ones, and beams, which transformers reads once for each beam."""
        traits, first = self.scorer.traits, prompts[0]
        longest = max(len(prompt.ids) for prompt in prompts) + first.most
        # Past its window a model forgets its beginning, and with it what is shared.
        within = traits.window is None or longest <= traits.window
        known = self._is_greedy(first) or self._is_beams(first)
        return traits.shares and within and known

    def _names(self, prompt: Prompt) -> set[str]:
        """Names of the settings in force: the prompt's, and the model's own that it leaves."""
        own = generation_settings(self.scorer.model)
        return prompt.settings.keys() | {name for name, value in own.items() if value}

    def _is_greedy(self, prompt: Prompt) -> bool:
        """Whether the likeliest token is all that is asked for."""
        asked = {name: each for name, each in prompt.settings.items() if name not in _IDLE}
        plain = asked in ({"do_sample": False}, {"do_sample": False, "num_beams": 1})
        return plain and self._names(prompt) <= asked.keys() | _IDLE

    def _is_beams(self, prompt: Prompt) -> bool:
        """Whether several beams are kept, from prompts that may be padded."""
        several = (prompt.settings.get("num_beams") or 1) > 1
        return several and not prompt.sampled and self._names(prompt) <= _PADDED

    def _at_once(self, prompts: Sequence[Prompt]) -> int:
        """How many of these prompts, of one kind, memory has room for."""
        length, one = self._needs(1, prompts)
        each = self._needs(2, prompts)[1] - one
        limit, free = self.allowance.limit(length), self.scorer.budget.free
        more = ((free if limit is None else min(limit, free)) - one) // each
        return max(1, min(len(prompts), self.scorer.most or len(prompts), 1 + more))

    def cost(self, prompts: Sequence[Prompt]) -> tuple[int, int]:
        """(tokens of the longest, bytes) of a batch."""
        count = self._at_once(prompts) if self._shares(prompts) else len(prompts)
        return self._needs(count, prompts)

    def _needs(self, count: int, prompts: Sequence[Prompt]) -> tuple[int, int]:
        """(tokens of the longest, bytes) of this many of these prompts."""
        first, width = prompts[0], max(len(prompt.ids) for prompt in prompts)
        if not (self._shares(prompts) and self._is_greedy(first)):
            return self._cost(count, width, first)
        # Next to the slots the largest row is read, all of whose prompts may be theirs.
        row = min(sum(len(prompt.ids) for prompt in prompts), max(ROOM, STRETCH * width))
        reading = self.scorer.budget.needs_reading(Size(1, row, 0, count))
        return width + first.most, self._needs_slots(count, width, first) + reading

    def _needs_slots(self, count: int, width: int, prompt: Prompt) -> int:
        columns = columns_of(width, prompt.most)
        return self.scorer.budget.needs_slots(count, columns, 1 + GUESSED)

    def _cost(self, count: int, width: int, prompt: Prompt) -> tuple[int, int]:
        rows = count * (prompt.settings.get("num_beams") or 1)
        length = width + prompt.most
        return length, self.scorer.budget.needs_generation(Size(rows, length, 0, rows))

    def _fits(self, count: int, width: int, prompt: Prompt) -> bool:
        length, needed = self._cost(count, width, prompt)
        return needed <= self.scorer.budget.free and self.allowance.allows(length, needed)

    def _fits_beside(self, taken: int) -> Callable[[Size], bool]:
        """Whether rows can be read at once beside this many bytes of what is being written."""

        def fits(size: Size) -> bool:
            needed = taken + self.scorer.budget.needs_reading(size)
            return needed <= self.scorer.budget.free and self.allowance.allows(size.width, needed)

        return fits

    def write(self, prompts: Sequence[Prompt]) -> list[Continuation]:
        """Continuations of one batch, whose prompts are of one kind."""
        first = prompts[0]
        if not (self._shares(prompts) and self._is_greedy(first)):
            return self.extend(prompts)
        ends = self.endings.ids

        def ended(written: list[list[int]]) -> list[bool]:
            stopped = self._stopped([ids[-reach_of(first.stop) :] for ids in written], first.stop)
            return [
                stop or ids[-1] in ends or len(ids) == first.most
                for ids, stop in zip(written, stopped, strict=True)
            ]

        longest, count = max(len(prompt.ids) for prompt in prompts), self._at_once(prompts)
        fits = self._fits_beside(self._needs_slots(count, longest, first))
        slots, writer = Slots(count, longest, first.most), Writer(self.scorer, ended, fits)
        found = writer.write([prompt.ids for prompt in prompts], slots)
        return [self.endings.read(ids, first.stop) for ids in found]

    def extend(self, prompts: Sequence[Prompt]) -> list[Continuation]:
        """Continuations of one batch by transformers' `generate`."""
        first, width = prompts[0], max(len(prompt.ids) for prompt in prompts)
        pad, ends = self.scorer.pad, sorted(self.endings.ids)
        # From the left: generation goes on at the right end of every row.
        rows = [[pad] * (width - len(prompt.ids)) + list(prompt.ids) for prompt in prompts]
        seen = [[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts]
        with torch.no_grad(), refusing(self.scorer.name):
            output = self.scorer.model.generate(
                input_ids=torch.tensor(rows, device=self.scorer.model.device),
                attention_mask=torch.tensor(seen, device=self.scorer.model.device),
                max_new_tokens=first.most,
                stopping_criteria=self._criteria(first.stop, width),
                logits_processor=[self._refuse_nan],
                pad_token_id=pad,
                eos_token_id=ends or None,
                # All prompts of a batch have the same settings: batches are made by kind.
                **_decoding(first.settings) | _RETURNED,
                **self._known(prompts),
            )
        return [self.endings.read(ids, first.stop) for ids in output[:, width:].tolist()]

    def _known(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """The argument of `generate` that spares it reading prompts, all but their last token."""
        if not self._shares(prompts) or max(len(prompt.ids) for prompt in prompts) == 1:
            return {}
        fits = self._fits_beside(self.scorer.budget.free // 2)
        cache = read_all(self.scorer, [prompt.ids for prompt in prompts], fits)
        # `generate` reads at least one token, from whose logits it goes on.
        cache.crop(-1)
        cache.batch_repeat_interleave(prompts[0].settings["num_beams"])
        return {cache_argument(): cache}

    def _refuse_nan(self, ids: Any, scores: Any) -> Any:
        """A logits processor: scores [B, V] pass unchanged."""
        # argmax and sampling make some token of a NaN, too.
        if scores.isnan().any():
            raise self.scorer.not_finite("logit")
        return scores

    def _criteria(self, stop: Sequence[str], start: int) -> Any:
        """Stopping criteria that end each row whose newest text holds a stop string."""
        reach = reach_of(stop)

        def stopped(ids: Any, scores: Any, **options: Any) -> Any:
            # The newest tokens alone: decoding a whole text at each token takes its length squared.
            windows = ids[:, start:][:, -reach:].tolist()
            return torch.tensor(self._stopped(windows, stop), device=ids.device)

        return StoppingCriteriaList([stopped] if stop else [])

    def _stopped(self, windows: list[list[int]], stop: Sequence[str]) -> list[bool]:
        """Which of these newest tokens hold a stop string."""
        texts = self.tokenizer.batch_decode(windows) if stop else [""] * len(windows)
        return [
            self.endings.stopped(window, text, stop)
            for window, text in zip(windows, texts, strict=True)
        ]


class _PromptWork:
    """Numbered prompts on their way through `generate`, as `complete` computes them."""

    def __init__(self, generator: Generator, prompts: Sequence[Prompt]) -> None:
        self._generator = generator
        self._prompts = prompts
        self._occurrences: list[int] = []  # of the same text and settings, up to each prompt
        asked: Counter[tuple[str, str]] = Counter()
        for prompt in prompts:
            asked[prompt.text, prompt.kind] += 1
            self._occurrences.append(asked[prompt.text, prompt.kind])

    def numbers(self, batch: list[int]) -> list[int]:
        return batch

    def cost(self, batch: list[int]) -> tuple[int, int]:
        return self._generator.cost([self._prompts[number] for number in batch])

    def compute(self, batch: list[int]) -> dict[int, Continuation]:
        """Greedy or with beams; sampled with a seed of the prompt, its settings and how often they
        came before."""
        prompts = [self._prompts[number] for number in batch]
        if not prompts[0].sampled:
            return dict(zip(batch, self._generator.write(prompts), strict=True))
        (prompt,), (number,) = prompts, batch
        with _seeded(
            f"{self._generator.seed}|{self._occurrences[number]}|{prompt.kind}|{prompt.text}"
        ):
            return {number: self._generator.write(prompts)[0]}

    def split(self, batch: list[int]) -> list[list[int]]:
        return self._generator.batches(self._prompts, batch) if len(batch) > 1 else []

    def anew(self, numbers: Sequence[int]) -> list[list[int]]:
        return self._generator.batches(self._prompts, numbers)


def _decoding(settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `generate`; without sampling no temperature, of which transformers would
    warn."""
    sampled = bool(settings.get("do_sample"))
    return {key: value for key, value in settings.items() if sampled or key != "temperature"}


@contextmanager
def _seeded(item: str) -> Iterator[None]:
    """Random numbers that depend on `item` alone; torch's own go on after it as if nothing had been
    drawn."""
    # A seed of each prompt's own: a sampled answer does not depend on what was asked before it.
    with torch.random.fork_rng():
        torch.manual_seed(
            int.from_bytes(hashlib.sha256(item.encode()).digest()[:8], "big", signed=True)
        )
        yield
