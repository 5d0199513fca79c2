"""What is learnt: how rows become a batch, and the loss over a batch's targets; answers or a head's
labels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from ft_harness.models.base_model import BaseModel
from ft_harness.models.heads import Head, HeadInput, make_batch
from ft_harness.tasks.examples import Example
from ft_harness.tasks.head_examples import HeadExample

Batch = dict[str, Any]


class Objective(NamedTuple):
    """One kind of training.

    Attributes:
        collate: rows -> a batch of tensors [B, T], with `labels`; no rows -> one padding token
            without a target.
        summed_loss: (model, batch without labels, labels) -> the loss, summed over the batch's
            targets.
        count: targets of a batch: tokens that carry loss, or rows with a label.
    """

    collate: Callable[[Sequence[Any]], Batch]
    summed_loss: Callable[[Any, Batch, Any], torch.Tensor]
    count: Callable[[Batch], int]

    def mean_loss(self, model: Any, batch: Batch, targets: Any = None) -> torch.Tensor:
        """The loss of a batch, labels taken out of it, by target: its own, or those of the whole
        step."""
        by = self.count(batch) if targets is None else targets
        labels = batch.pop("labels")
        return self.summed_loss(model, batch, labels) / by


def make_objective(base: BaseModel) -> Objective:
    """Answers of a causal model, or labels of a classification head."""
    pad = base.tokenizer.pad_token_id
    if base.head is not None:
        return Objective(make_head_collate(pad, base.head), head_loss, count_targets)
    return Objective(make_collate(pad), make_answer_loss(base.model), count_targets)


def count_targets(batch: Batch) -> int:
    return int((batch["labels"] != -100).sum())


def make_collate(pad_token_id: int) -> Callable[[Sequence[Example]], Batch]:
    """Batches of [B, T]: right padding; `labels` are aligned with the logits (label t is the token
    at t + 1)."""

    def pad(rows: Sequence[list[int]], value: int) -> torch.Tensor:
        width = max(map(len, rows))
        return torch.tensor([row + [value] * (width - len(row)) for row in rows])

    def collate(batch: Sequence[Example]) -> Batch:
        inputs = [example.input_ids for example in batch] or [[pad_token_id]]
        return {
            "input_ids": pad(inputs, pad_token_id),
            "attention_mask": pad([[1] * len(row) for row in inputs], 0),
            "labels": pad([example.labels for example in batch] or [[-100]], -100),
        }

    return collate


def make_head_collate(pad_token_id: int, head: Head) -> Callable[[Sequence[HeadExample]], Batch]:
    """Batches of [B, T] with labels [B]."""

    def collate(batch: Sequence[HeadExample]) -> Batch:
        rows = [example.row for example in batch] or [
            HeadInput([pad_token_id], None, truncated=False)
        ]
        inputs = make_batch(rows, pad_token_id, types=head.reads_types)
        return {**inputs, "labels": torch.tensor([example.label for example in batch] or [-100])}

    return collate


def make_answer_loss(model: Any) -> Callable[[Any, Batch, Any], torch.Tensor]:
    """Cross-entropy summed over the tokens that carry loss; labels [B, T].

    Only the positions with a target go through the output head. Models whose `forward` lacks
    transformers' `logits_to_keep` compute all logits, of which these are taken.

    Args:
        model: the transformers model, which may be wrapped by the time that the loss is called.
    """
    keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def answer_loss(model: Any, inputs: Batch, labels: torch.Tensor) -> torch.Tensor:
        trained = labels != -100
        if keeps:
            logits = model(**inputs, use_cache=False, logits_to_keep=trained).logits  # [targets, V]
        else:
            logits = model(**inputs, use_cache=False).logits[trained]
        return torch.nn.functional.cross_entropy(logits.float(), labels[trained], reduction="sum")

    return answer_loss


def head_loss(model: Any, inputs: Batch, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the head's logits summed over the rows; labels [B], -100 for a row without
    one."""
    logits = model(**inputs).logits.float()  # [B, labels]
    return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
