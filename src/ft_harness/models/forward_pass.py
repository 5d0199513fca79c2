"""The condition on a forward pass under which likelihoods mean anything."""

from __future__ import annotations

from typing import Any

import torch

from ft_harness.errors import InputError

_TEXT = "One two three four five six seven eight nine ten."
_TOKENS = 8
# Of the logits' own size. Causal models stay below 1e-6, those that read ahead are above 1e-3, with
# weights that were never trained too.
_TOLERANCE = 1e-4


def check_causal(model: Any, tokenizer: Any, name: str) -> None:
    """Refuse a model whose logits at a position depend on later tokens: it sees the answer that it
    is to score. BERT and similar models are like that when loaded as language models, and so is
    XLNet.

    Quantised models are not looked at: eight-bit products split off columns by all tokens at once.

    Raises:
        InputError: such a model.
    """
    ids = tokenizer.encode(_TEXT)[:_TOKENS]
    if len(set(ids)) < 2 or getattr(model, "is_quantized", False):
        return
    other = [*ids[:-1], next(each for each in ids if each != ids[-1])]
    with torch.inference_mode():
        logits, changed = (
            model(input_ids=torch.tensor([row], device=model.device), use_cache=False)
            .logits[0, :-1]
            .float()
            for row in (ids, other)
        )
    if (changed - logits).norm() > _TOLERANCE * logits.norm():
        raise InputError(
            f"{name}: its output at a token depends on the tokens after it",
            "a causal language model, whose likelihoods rest on what comes before",
            "score it with a classification head (adapter.task_type=SEQ_CLS), or use another model",
        )
