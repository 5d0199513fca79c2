"""Log-likelihoods of single tokens with their gradient, from the logits of targets alone, a few at
once: what no target needs is not computed.

A frozen output head passes on a gradient and keeps none: what it passes on is known as soon as its
logits are, so that these are made for a few positions at a time and thrown away. Heads that are
trained, or whose logits the model changes afterwards, have all logits made at once.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor

from ft_harness.models.last_layer import drops_out, last_layer_at
from ft_harness.training.numerics import undisturbed
from ft_harness.training.packing import Packing, passes_packing_on

Inputs = dict[str, Any]
_CHUNK_BYTES = 64 << 20  # of logits in float32 that are there at once
_ALIKE = 1e-3  # nats of a token
_CLOSE = {4: 1e-4, 2: 3e-2}  # relative difference of logits, by bytes of a weight
logger = logging.getLogger(__name__)


class Shortcuts(NamedTuple):
    """For likelihoods of single tokens: what of a batch is not computed, as no target needs it.

    Attributes:
        packs: padding.
        trims: what the last layer makes at positions without a target.
    """

    packs: bool
    trims: bool


_PLAIN = Shortcuts(packs=False, trims=False)


class TargetLogits:
    """Logits for likelihoods of single tokens: (model, inputs, which positions [B, T] have a
    target) -> their logits [targets, V].

    Only these positions go through the output head; nothing is computed for padding, nor by the
    last layer for other positions, where the model comes out alike on two made-up rows. Models
    whose `forward` lacks transformers' `logits_to_keep` compute all logits, and these are selected
    from them.

    Args:
        model: the transformers model, which may be wrapped by the time that it is called.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._parameters = inspect.signature(model.forward).parameters
        self._layers = model.config.get_text_config(decoder=True).num_hidden_layers
        packs = [True, False] if passes_packing_on(model) else [False]
        self._known = [Shortcuts(packs=each, trims=True) for each in packs]
        self._taken: Shortcuts | None = None  # None: not known yet

    def __call__(self, model: Any, inputs: Inputs, trained: torch.Tensor) -> torch.Tensor:
        if "logits_to_keep" not in self._parameters:
            logits: torch.Tensor = model(**inputs, use_cache=False).logits
            return logits[trained]
        if isinstance(trained, FakeTensor):  # shapes alone can't tell
            return self._compute(model, inputs, trained, self._known[0])
        if self._taken is None:
            self._taken = self._decide(model, trained.device)
        return self._compute(model, inputs, trained, self._taken)

    def _decide(self, model: Any, device: torch.device) -> Shortcuts:
        """The most that gives a longer and a shorter row the logits that they have without any."""
        # Padding is what they treat differently, so one of the two rows has some.
        mask = torch.tensor([[1] * 6, [1] * 3 + [0] * 3], device=device)
        inputs = {"input_ids": torch.arange(12, device=device).view(2, 6), "attention_mask": mask}
        trained = mask.bool() & (torch.arange(6, device=device) % 2 == 0)
        tolerance = _CLOSE[min(self._model.dtype.itemsize, 4)]
        with undisturbed(model), torch.no_grad():
            plain = self._compute(model, inputs, trained, _PLAIN).float()
            for shortcuts in self._known:
                try:
                    found = self._compute(model, inputs, trained, shortcuts).float()
                except Exception as error:  # whatever a model raises at what it does not know
                    logger.info("%s: %s", shortcuts, error)
                    continue
                if (found - plain).norm() <= tolerance * plain.norm():
                    return shortcuts
        return _PLAIN

    def _compute(
        self, model: Any, inputs: Inputs, trained: torch.Tensor, shortcuts: Shortcuts
    ) -> torch.Tensor:
        mask = inputs.get("attention_mask")
        packing = None
        if shortcuts.packs and mask is not None and mask.ndim == 2 and not mask.all():
            packing = Packing(mask)
            inputs = {
                "input_ids": packing.pack(inputs["input_ids"]),
                "attention_mask": mask.new_ones(1, 1, 1, 1),  # hides nothing: attention has rows
                "position_ids": packing.positions(),
                "packing": packing,
            }
            trained = packing.pack(trained)
        # Checkpointed layers are computed again out of reach; their numbers are to be the same, and
        # so are those that dropout draws.
        trims = shortcuts.trims and not model.is_activation_checkpointing and not drops_out(model)
        with last_layer_at(model, trained) if trims else nullcontext():
            kept: torch.Tensor = model(**inputs, use_cache=False, logits_to_keep=trained).logits
        # A layer with attention of its own would let the rows of a pack read each other.
        if packing is not None and packing.attended < self._layers:
            raise NotImplementedError("attention without rows")
        return kept


class TokenLikelihoods:
    """Log-likelihoods of single tokens: (model, inputs, labels [B, T]) -> log p of each label [B,
    T] in nats; 0 where there is none.

    Args:
        model: the transformers model, which may be wrapped by the time that it is called.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._target_logits = TargetLogits(model)
        self._in_chunks: bool | None = None  # None: not known yet

    def __call__(self, model: Any, inputs: Inputs, labels: torch.Tensor) -> torch.Tensor:
        in_chunks = self.in_chunks(model, inputs, labels)
        return self._measure(model, inputs, labels, in_chunks=in_chunks)

    def in_chunks(self, model: Any, inputs: Inputs, labels: torch.Tensor) -> bool:
        """Whether the logits are made bit by bit: found out once, on the first row."""
        if self._in_chunks is not None:
            return self._in_chunks
        found = self._decide(model, inputs, labels)
        # A forecast on shapes decides nothing for the training that may follow in this process.
        self._in_chunks = None if isinstance(labels, FakeTensor) else found
        return found

    def _decide(self, model: Any, inputs: Inputs, labels: torch.Tensor) -> bool:
        """Whether the head is one whose logits can be made bit by bit: tried on one row."""
        if not is_plain(self._model.get_output_embeddings()):
            return False
        if isinstance(labels, FakeTensor):  # shapes alone: memory is foreseen
            return True
        row = {name: values[:1] for name, values in inputs.items()}
        # Without dropout, and leaving the generators as they are: a look must not change the
        # training.
        with undisturbed(model), torch.no_grad():
            one, other = (
                self._measure(model, row, labels[:1], in_chunks=way) for way in (True, False)
            )
        # A model may scale or cap its logits after the head, which chunks would miss.
        same = torch.allclose(one, other, rtol=0, atol=_ALIKE)
        if not same:
            logger.info("the model changes its logits: those of a batch are computed at once")
        return same

    def _measure(
        self, model: Any, inputs: Inputs, labels: torch.Tensor, *, in_chunks: bool
    ) -> torch.Tensor:
        trained = labels != -100
        found = self.of_places(model, inputs, trained, labels[trained], in_chunks=in_chunks)
        nothing = torch.zeros(labels.shape, dtype=torch.float32, device=labels.device)
        return nothing.masked_scatter(trained, found)

    def of_places(
        self,
        model: Any,
        inputs: Inputs,
        kept: torch.Tensor,
        targets: torch.Tensor,
        places: torch.Tensor | None = None,
        *,
        in_chunks: bool,
    ) -> torch.Tensor:
        """Log p [N] of targets [N], each read at a place among the positions that are kept.

        Args:
            kept: [B, T], which positions are read.
            places: [N], counted row by row; None: each in its turn.
        """
        with without_head(self._model, really=in_chunks) as head:
            read = self._target_logits(model, inputs, kept)  # [kept, H], or [kept, V]
        read = read if places is None else read[places]
        if not in_chunks:
            return -torch.nn.functional.cross_entropy(read.float(), targets, reduction="none")
        learns = torch.is_grad_enabled() and read.requires_grad
        chunked: torch.Tensor = _HeadInChunks.apply(  # type: ignore[no-untyped-call]
            read, head.weight, head.bias, targets, learns
        )
        return chunked


def is_plain(head: Any) -> bool:
    """Whether logits of a few targets can be computed alone: the output head is a frozen matrix in
    floating point, whole in this process."""
    return (
        type(head) is torch.nn.Linear
        and not head.weight.requires_grad
        and head.weight.is_floating_point()
        and (head.bias is None or not head.bias.requires_grad)
    )


@contextmanager
def without_head(model: Any, *, really: bool = True) -> Iterator[torch.nn.Linear]:
    """Context in which the model's "logits" are the inputs of its output head, which this yields.

    Args:
        really: else the head stays where it is.
    """
    head = model.get_output_embeddings()
    places = [
        (module, name)
        for module in (model.modules() if really else ())
        for name, child in module.named_children()
        if child is head
    ]
    try:
        for module, name in places:
            setattr(module, name, torch.nn.Identity())
        yield head
    finally:
        for module, name in places:
            setattr(module, name, head)


class _HeadInChunks(torch.autograd.Function):
    """Hidden states [N, H] -> log p of their labels [N], float32; the gradient of the hidden states
    is made with the logits."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, labels: Any, learns: bool) -> Any:
        found = torch.zeros(len(hidden), dtype=torch.float32, device=hidden.device)
        gradient = torch.zeros_like(hidden) if learns else None
        size = max(1, _CHUNK_BYTES // (4 * weight.shape[0]))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            logits = torch.nn.functional.linear(hidden[part], weight, bias).float()
            logits = logits.log_softmax(-1)
            place = labels[part, None]
            found[part] = logits.gather(1, place)[:, 0]
            if gradient is not None:  # of log p: 1 at the label, minus p everywhere
                # In place: the chunk's logits are not needed again.
                slope = logits.exp_().neg_()
                slope.scatter_add_(1, place, torch.ones_like(place, dtype=slope.dtype))
                gradient[part] = slope.to(weight.dtype) @ weight
        ctx.gradient = gradient
        return found

    @staticmethod
    def backward(ctx: Any, *passed: Any) -> Any:
        scaled = passed[0][:, None] * ctx.gradient
        return scaled.to(ctx.gradient.dtype), None, None, None, None
