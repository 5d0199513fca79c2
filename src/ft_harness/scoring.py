"""lm-eval model back-ends: the loaded base model, with or without adapter, behind lm-eval's own `hf` code.

Beside the numbers that lm-eval asks for, an answer tells the metrics what only the back-end knows: how many tokens were
scored, and whether a generated text was cut. These are attributes of the returned tuple, float and str, so that
lm-eval handles them as its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ft_harness.base_model import BaseModel
from ft_harness.errors import InputError, NonFiniteError

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM

    _Above: TypeAlias = HFLM
else:
    _Above = object  # lm-eval is imported when a model is made

BACK_END = "hf (softmax float32)"


class ScoredAnswer(tuple[float, bool]):
    """(log-likelihood in nats, whether greedy decoding gives it) of an answer of `tokens` tokens."""

    tokens: int


class ScoredText(float):
    """Log-likelihood in nats of a running text of `tokens` tokens."""

    tokens: int


class GeneratedText(str):
    """A generated answer; `truncated` if neither EOS nor a stop string ended it within max_gen_toks tokens."""

    truncated: bool


def make_lm(base: BaseModel, batch_size: int) -> HFLM:
    """lm-eval's `hf` model over an already loaded base, which counts what it cuts and refuses NaN.

    The object has, beside lm-eval's interface, `truncated_prompts` (set of prompts that were cut from the left) and
    `scored_tokens`. It returns `ScoredAnswer`, `ScoredText` and `GeneratedText`.
    """
    from lm_eval.models.huggingface import HFLM

    class LoadedLM(_Watched, HFLM):  # type: ignore[misc]
        """`hf` with softmax in float32, watched."""

    return LoadedLM(base, batch_size)


class _Watched(_Above):  # type: ignore[misc]
    """Methods laid over those of lm-eval's `hf` model."""

    logits_cache: bool

    def __init__(self, base: BaseModel, batch_size: int) -> None:
        super().__init__(
            pretrained=base.model,
            tokenizer=base.tokenizer,
            max_length=base.max_length,
            batch_size=batch_size,
            softmax_dtype="float32",
            device=base.device,
        )
        self._name = base.info.pretrained
        self._batch: Sequence[str] = ()  # the prompts that are being continued
        self._cut: defaultdict[str, list[bool]] = defaultdict(list)  # prompt -> of each text generated from it
        self.truncated_prompts: set[str] = set()
        self.scored_tokens = 0

    def _not_finite(self, what: str) -> NonFiniteError:
        return NonFiniteError(
            f"{self._name}: a {what} is NaN or infinite",
            f"finite {what}s",
            "check the weights, or score in float32: --set model.dtype=float32",
        )

    # --- log-likelihoods -------------------------------------------------------------------------------------------

    def _count_scored(self, texts: tuple[str, str] | None, context: int, answer: int) -> None:
        """Count one request of this many tokens; `texts` None for a window of a running text."""
        if answer > self.max_length:
            raise InputError(
                f"an answer has {answer} tokens, the context {self.max_length}: {(texts or ('', ''))[1][:80]!r}",
                "answers that fit the context",
                "raise model.max_length or shorten the answers",
            )
        self.scored_tokens += min(context + answer, self.max_length + 1)
        if texts is not None and context + answer > self.max_length + 1:
            self.truncated_prompts.add(texts[0])

    def _loglikelihood_tokens(self, requests: list[Any], **options: Any) -> list[ScoredAnswer]:
        for texts, context_ids, answer_ids in requests:
            self._count_scored(texts, len(context_ids), len(answer_ids))
        results: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, **options)
        if not all(math.isfinite(value) for value, _ in results):
            raise self._not_finite("log-likelihood")
        answers = [ScoredAnswer(result) for result in results]
        for answer, (_, _, answer_ids) in zip(answers, requests, strict=True):
            answer.tokens = len(answer_ids)
        return answers

    def _text_ids(self, text: str) -> list[int]:
        """The tokens of a running text, without special ones; those that scoring opens with are not scored."""
        ids: list[int] = self.tok_encode(text, add_special_tokens=False)
        return ids[1:] if ids[:1] == [self.prefix_token_id] else ids

    def _windows(self, text: str) -> list[tuple[None, list[int], list[int]]]:
        """(None, context ids, ids to score) of each window: lm-eval's own cut, every token of the text scored once."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        pairs = get_rolling_token_windows(self._text_ids(text), self.prefix_token_id, self.max_length, context_len=1)
        return [(None, *make_disjoint_window(pair)) for pair in pairs]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[ScoredText]:
        """Log-likelihoods of whole texts, in windows of `max_length` tokens, of which the first opens with BOS (EOS
        where there is none).

        lm-eval's own method encodes the text with special tokens, and so scores BOS given BOS. An empty text has 0
        tokens.
        """
        windows = [self._windows(request.args[0]) for request in requests]
        flat = [window for text in windows for window in text]
        # lm-eval shares logits between windows that read the same tokens, and takes them from the wrong end where
        # these windows score different numbers of them, as in a text that repeats itself.
        shared, self.logits_cache = self.logits_cache, False
        try:
            scored = iter(self._loglikelihood_tokens(flat, disable_tqdm=disable_tqdm))
        finally:
            self.logits_cache = shared
        results: list[ScoredText] = []
        for text in windows:
            parts = [next(scored) for _ in text]
            result = ScoredText(sum(log_likelihood for log_likelihood, _ in parts))
            result.tokens = sum(part.tokens for part in parts)
            results.append(result)
        return results

    # --- generation ------------------------------------------------------------------------------------------------

    def generate_until(self, requests: list[Any], **options: Any) -> list[GeneratedText]:
        for request in requests:
            prompt, arguments = request.args
            room = self.max_length - arguments.get("max_gen_toks", self.max_gen_toks)
            length = len(self.tok_encode(prompt))
            self.scored_tokens += min(length, room)
            if length > room:
                self.truncated_prompts.add(prompt)
        self._cut.clear()
        answers = [GeneratedText(answer) for answer in super().generate_until(requests, **options)]
        for answer, request in zip(answers, requests, strict=True):
            # lm-eval sorts by prompt and keeps the order of equal ones
            answer.truncated = self._cut[request.args[0]].pop(0)
            self.scored_tokens += len(self.tok_encode(answer, add_special_tokens=False))
        return answers

    def tok_batch_encode(
        self, strings: Sequence[str], padding_side: str = "left", left_truncate_len: int | None = None, **_: Any
    ) -> tuple[Any, Any]:
        """(ids, attention mask), each [B, T]; each prompt decides for itself whether BOS is added.

        lm-eval's own method goes by the first prompt of the batch.
        """
        self._batch = strings
        rows = [self.tok_encode(text)[-(left_truncate_len or 0) :] for text in strings]
        padded = self.tokenizer.pad({"input_ids": rows}, padding_side=padding_side, return_tensors="pt")
        return padded["input_ids"], padded["attention_mask"]

    def _refuse_nan(self, ids: Any, scores: Any) -> Any:
        """A logits processor for `generate`: scores [B, V] pass unchanged."""
        if scores.isnan().any():
            raise self._not_finite("logit")
        return scores

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        rows = super()._model_generate(context, max_length, stop, logits_processor=[self._refuse_nan], **options)
        for prompt, row in zip(self._batch, rows[:, context.shape[1] :].tolist(), strict=True):
            self._cut[prompt].append(not self._has_ended(row, stop))
        return rows

    def _has_ended(self, ids: Sequence[int], stop: Sequence[str]) -> bool:
        """Whether generated tokens hold an EOS or their text a stop string."""
        own = self.model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
        text = self.tok_decode(ids, skip_special_tokens=False)
        return not ends.isdisjoint(ids) or any(word in text for word in stop if word)
