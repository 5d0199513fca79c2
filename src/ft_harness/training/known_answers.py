"""What base and adapter give for a few training rows, for the card, so that a server with both can
be checked without the weights."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch

from ft_harness import processes
from ft_harness.records import KnownAnswer
from ft_harness.tasks.examples import Example
from ft_harness.tasks.pair_examples import PairExample
from ft_harness.training.plan import TrainingPlan

_ROWS = 8
_LONGEST = 32  # tokens of an answer


def find_known_answers(plan: TrainingPlan, model: Any) -> list[KnownAnswer]:
    """The known answers of a training, for its card: log-likelihoods of the first rows' answers, of
    pairs the chosen ones, by the base and with the adapter.

    Empty for what no server loads: a head, or all weights; and where processes hold parts of the
    model.

    Args:
        model: with the adapter as it is saved; its mode is left as it was.
    """
    firsts = islice(plan.data.examples, _ROWS)
    answers = [row.chosen if isinstance(row, PairExample) else row for row in firsts]
    rows = [answer for answer in answers if isinstance(answer, Example)]
    if plan.recipe.adapter.all_weights or processes.in_parts() or len(rows) < _ROWS:
        return []
    was_training = model.training
    model.eval()
    try:
        tuned = [_score(model, row) for row in rows]
        with model.disable_adapter():
            base = [_score(model, row) for row in rows]
        return [
            KnownAnswer(
                stem=row.context_ids, answer=row.answer_ids[:_LONGEST], base=before, tuned=after
            )
            for row, before, after in zip(rows, base, tuned, strict=True)
        ]
    finally:
        model.train(was_training)


def _score(model: Any, row: Example) -> tuple[float, bool]:
    """(log-likelihood in nats, whether greedy decoding gives the answer)."""
    answer = torch.tensor(row.answer_ids[:_LONGEST], device=model.device)
    ids = torch.tensor([[*row.context_ids, *row.answer_ids[:_LONGEST]][:-1]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(row.context_ids) - 1 :].float()
    values = logits.log_softmax(-1).gather(-1, answer[:, None])
    return float(values.sum()), bool((logits.argmax(-1) == answer).all())
