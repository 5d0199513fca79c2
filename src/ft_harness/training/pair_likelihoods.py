"""Log-likelihoods of the two answers of a pair; their prompt is computed once, where the model
allows it.

One row holds the prompt, the chosen and the rejected answer. The rejected one has the positions of
the chosen one and doesn't see it, so that both come out as in rows of their own. A mask asks the
model for that; where it can't follow one (sliding windows, kernels without masks), or one pair
comes out otherwise, each answer has a row of its own.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor

from ft_harness.training.likelihoods import Inputs, TokenLikelihoods
from ft_harness.training.numerics import undisturbed
from ft_harness.training.packing import follows_masks

_TELLING = 2  # tokens of either answer
_ALIKE = {4: 1e-4, 2: 1e-2}  # relative difference of log p, by bytes of a weight
logger = logging.getLogger(__name__)


class PairLikelihoods:
    """Log-likelihoods of pairs: (model, inputs, labels) -> log p [B, 2] in nats of the chosen and
    the rejected answer of each pair, summed over their tokens; inputs and labels are [B, 2, T].

    Args:
        model: the transformers model, which may be wrapped by the time that it is called.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tokens = TokenLikelihoods(model)
        self._shares: bool | None = None if follows_masks(model) else False

    def __call__(self, model: Any, inputs: Inputs, labels: torch.Tensor) -> torch.Tensor:
        if isinstance(labels, FakeTensor):  # which knows no lengths: the wider way is foreseen
            return self._apart(model, inputs, labels)
        if self._shares is None:
            self._decide(model, inputs, labels)
        measure = self._together if self._shares else self._apart
        return measure(model, inputs, labels)

    def _decide(self, model: Any, inputs: Inputs, labels: torch.Tensor) -> None:
        """Find out whether a pair comes out alike both ways; of answers of one token, which have
        nothing to hide from each other, none can tell."""
        # The pair whose shorter answer is longest tells most.
        shorter = (labels != -100).sum(-1).min(-1).values
        place = int(shorter.argmax())
        if shorter[place] < _TELLING:
            return
        pair = {name: values[place : place + 1] for name, values in inputs.items()}
        own = labels[place : place + 1]
        with undisturbed(model), torch.no_grad():
            one, other = (measure(model, pair, own) for measure in (self._together, self._apart))
        tolerance = _ALIKE[min(self._model.dtype.itemsize, 4)]
        self._shares = torch.allclose(one, other, rtol=tolerance, atol=tolerance)
        if not self._shares:
            logger.info("prompts of pairs are computed for each answer: %s, %s", one, other)

    def _apart(self, model: Any, inputs: Inputs, labels: torch.Tensor) -> torch.Tensor:
        """Each answer behind a prompt of its own."""
        flat = {name: values.flatten(0, 1) for name, values in inputs.items()}
        return self._tokens(model, flat, labels.flatten(0, 1)).sum(-1).view(-1, 2)

    def _together(self, model: Any, inputs: Inputs, labels: torch.Tensor) -> torch.Tensor:
        """Both answers behind one prompt."""
        flat = {name: values.flatten(0, 1) for name, values in inputs.items()}
        in_chunks = self._tokens.in_chunks(model, flat, labels.flatten(0, 1))
        rows = join(inputs["input_ids"], inputs["attention_mask"], labels)
        trained = labels != -100
        dtype = self._model.dtype  # of packed weights: what they are computed in
        mask = torch.zeros(rows.sees.shape, dtype=dtype, device=labels.device)
        mask = mask.masked_fill_(~rows.sees, torch.finfo(dtype).min)[:, None]
        given = {"input_ids": rows.ids, "attention_mask": mask, "position_ids": rows.depths}
        found = self._tokens.of_places(
            model, given, rows.kept, labels[trained], rows.places[trained], in_chunks=in_chunks
        )
        nothing = torch.zeros(labels.shape, dtype=torch.float32, device=labels.device)
        return nothing.masked_scatter(trained, found).sum(-1)


class JoinedRows(NamedTuple):
    """Pairs of answers as single rows of S tokens, their prompt once.

    Attributes:
        ids: [B, S], prompt, chosen and rejected answer, without the last token of either.
        depths: [B, S], the position that each has behind its prompt.
        sees: [B, S, S], which token sees which.
        kept: [B, S], the positions that predict a token of an answer.
        places: [B, 2, T], where each label is predicted, counted over all positions that are kept.
    """

    ids: torch.Tensor
    depths: torch.Tensor
    sees: torch.Tensor
    kept: torch.Tensor
    places: torch.Tensor


def join(ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> JoinedRows:
    """Pairs of answers [B, 2, T] as single rows, each with its prompt once."""
    last = (labels[:, 0] != -100).int().argmax(-1)[:, None]  # of the prompt, [B, 1]
    chosen, rejected = mask[:, 0].sum(-1)[:, None], mask[:, 1].sum(-1)[:, None]  # [B, 1] each
    length = chosen + rejected - last - 1
    width = int(length.max())
    place = torch.arange(width, device=ids.device)[None]  # [1, S]
    is_rejected = place >= chosen
    depths = torch.where(is_rejected, place - chosen + last + 1, place)
    # Padding reads some token; no label is predicted there, and no other token sees it.
    read = depths.clamp(max=ids.shape[-1] - 1)  # of what is padded
    joined = torch.where(is_rejected, ids[:, 1].gather(1, read), ids[:, 0].gather(1, read))
    of_chosen = (place > last) & ~is_rejected
    # Causal, but for the rejected answer, which does not see the chosen one.
    sees = (place[..., None] >= place[:, None]) & ~(is_rejected[..., None] & of_chosen[:, None])
    kept = (place >= last) & (place < length)
    offsets = kept.sum(-1).cumsum(0)[:, None] - kept.sum(-1)[:, None] - last
    at = torch.arange(labels.shape[-1], device=ids.device)[None]  # [1, T]
    moved = torch.where(at > last, at - last - 1 + chosen, at)
    places = torch.stack([at.expand_as(moved), moved], 1) + offsets[:, None]
    return JoinedRows(joined, read, sees, kept, places)
