"""lm-eval model back-ends: the loaded base model, with or without adapter, behind lm-eval's own `hf` code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ft_harness.base_model import BaseModel
from ft_harness.errors import NonFiniteError

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM

BACK_END = "hf (softmax float32)"


def _not_finite(base: BaseModel, what: str) -> NonFiniteError:
    return NonFiniteError(
        f"{base.info.pretrained}: a {what} is NaN or infinite",
        f"finite {what}s",
        "check the weights, or score in float32: --set model.dtype=float32",
    )


def make_lm(base: BaseModel, batch_size: int) -> HFLM:
    """lm-eval's `hf` model over an already loaded base, which counts what it cuts and refuses NaN.

    The object has, beside lm-eval's interface, `truncated_prompts` (set of prompts that were cut from the left) and
    `scored_tokens`.
    """
    from lm_eval.models.huggingface import HFLM

    def refuse_nan(ids: Any, scores: Any) -> Any:
        """A logits processor for `generate`: scores [B, V] pass unchanged."""
        if scores.isnan().any():
            raise _not_finite(base, "logit")
        return scores

    class LoadedLM(HFLM):  # type: ignore[misc]
        """`hf` with softmax in float32."""

        def __init__(self) -> None:
            super().__init__(
                pretrained=base.model,
                tokenizer=base.tokenizer,
                max_length=base.max_length,
                batch_size=batch_size,
                softmax_dtype="float32",
                device=base.device,
            )
            self.truncated_prompts: set[str] = set()
            self.scored_tokens = 0

        def _loglikelihood_tokens(self, requests: list[Any], **options: Any) -> list[tuple[float, bool]]:
            for (context, _), context_ids, continuation_ids in requests:
                length = len(context_ids) + len(continuation_ids)
                self.scored_tokens += min(length, self.max_length + 1)
                if length > self.max_length + 1:
                    self.truncated_prompts.add(context)
            results: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, **options)
            if not all(math.isfinite(value) for value, _ in results):
                raise _not_finite(base, "log-likelihood")
            return results

        def generate_until(self, requests: list[Any], **options: Any) -> list[str]:
            for request in requests:
                prompt, arguments = request.args
                room = self.max_length - arguments.get("max_gen_toks", self.max_gen_toks)
                length = len(self.tok_encode(prompt))
                self.scored_tokens += min(length, room)
                if length > room:
                    self.truncated_prompts.add(prompt)
            answers: list[str] = super().generate_until(requests, **options)
            self.scored_tokens += sum(len(self.tok_encode(answer, add_special_tokens=False)) for answer in answers)
            return answers

        def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
            return super()._model_generate(context, max_length, stop, logits_processor=[refuse_nan], **options)

    return LoadedLM()
