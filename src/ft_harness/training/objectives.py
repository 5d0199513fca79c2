"""What is learnt: how rows become a batch, and the loss over a batch's targets; answers, a head's
labels, or pairs of answers, the chosen one to become likelier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn.functional import logsigmoid

from ft_harness.models.base_model import BaseModel
from ft_harness.models.heads import Head, HeadInput, make_batch
from ft_harness.recipe import PreferenceSection
from ft_harness.tasks.examples import Example
from ft_harness.tasks.head_examples import HeadExample
from ft_harness.tasks.pair_examples import PairExample
from ft_harness.training.likelihoods import TargetLogits
from ft_harness.training.pair_likelihoods import PairLikelihoods

Batch = dict[str, Any]
Likelihoods = Callable[[Any, Batch, torch.Tensor], torch.Tensor]
_REWARDS = ("implicit_reward_acc", "reward_margin")  # of pairs


class Objective(NamedTuple):
    """One kind of training.

    Attributes:
        collate: rows -> a batch of tensors [B, ...], with `labels`; no rows -> one padding token
            without a target.
        sums: (model, batch without labels, labels) -> [K + M]: K parts of the loss, each summed
            over its own kind of target, and the scores, summed over the first kind.
        counts: targets of a batch, of each of the K kinds: tokens that carry loss, rows with a
            label, pairs.
        scores: names of the M scores, which only evaluations look at.
    """

    collate: Callable[[Sequence[Any]], Batch]
    sums: Callable[[Any, Batch, Any], torch.Tensor]
    counts: Callable[[Batch], list[int]]
    scores: tuple[str, ...] = ()

    def mean_loss(
        self, model: Any, batch: Batch, targets: Sequence[int] | None = None
    ) -> torch.Tensor:
        """The loss of a batch, labels taken out of it, by target: its own, or those of the whole
        step."""
        # By the whole step's targets, so that losses of parts add up to the mean over all of them.
        by = self.counts(batch) if targets is None else targets
        labels = batch.pop("labels")
        sums = self.sums(model, batch, labels)
        parts = [sums[kind] / number for kind, number in enumerate(by)]
        return sum(parts[1:], parts[0])


def make_objective(base: BaseModel, preference: PreferenceSection | None = None) -> Objective:
    """Answers of a causal model, labels of a classification head, or pairs of answers.

    Args:
        preference: the recipe's `train.preference`; None: no pairs are learnt.
    """
    padding = base.tokenizer.pad_token_id
    if preference is not None:
        loss = PreferenceLoss(preference, PairLikelihoods(base.model))
        return Objective(make_pair_collate(padding), loss, loss.counts, _REWARDS)
    if base.head is not None:
        return Objective(make_head_collate(padding, base.head), head_loss, count_targets)
    return Objective(make_collate(padding), make_answer_loss(base.model), count_targets)


def count_targets(batch: Batch) -> list[int]:
    """How many targets a batch of answers has."""
    return [int((batch["labels"] != -100).sum())]


def pad(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    """The rows of a batch as a tensor [B, T], filled up from the right."""
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def make_collate(pad_token_id: int) -> Callable[[Sequence[Example]], Batch]:
    """For answers: rows become batches of [B, T]: right padding; `labels` are aligned with the
    logits (label t is the token at t + 1)."""

    def collate(batch: Sequence[Example]) -> Batch:
        # A batch without rows, at the end of an epoch in several processes, still takes part in the
        # step.
        inputs = [example.input_ids for example in batch] or [[pad_token_id]]
        return {
            "input_ids": pad(inputs, pad_token_id),
            "attention_mask": pad([[1] * len(row) for row in inputs], 0),
            "labels": pad([example.labels for example in batch] or [[-100]], -100),
        }

    return collate


def make_head_collate(pad_token_id: int, head: Head) -> Callable[[Sequence[HeadExample]], Batch]:
    """For head labels: rows become batches of [B, T] with labels [B]."""

    def collate(batch: Sequence[HeadExample]) -> Batch:
        rows = [example.row for example in batch] or [
            HeadInput([pad_token_id], None, truncated=False)
        ]
        inputs = make_batch(rows, pad_token_id, types=head.reads_types)
        return {**inputs, "labels": torch.tensor([example.label for example in batch] or [-100])}

    return collate


def make_answer_loss(model: Any) -> Callable[[Any, Batch, Any], torch.Tensor]:
    """Cross-entropy summed over the tokens that carry loss; labels [B, T]."""
    target_logits = TargetLogits(model)

    def answer_loss(model: Any, inputs: Batch, labels: torch.Tensor) -> torch.Tensor:
        trained = labels != -100
        logits = target_logits(model, inputs, trained)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[trained], reduction="sum")
        return loss[None]

    return answer_loss


def head_loss(model: Any, inputs: Batch, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the head's logits summed over the rows; labels [B], -100 for a row without
    one."""
    logits = model(**inputs).logits.float()  # [B, labels]
    return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")[None]


# --- pairs of answers --------------------------------------------------------------------------


@dataclass(frozen=True)
class PreferenceLoss:
    """The loss of pairs by TRL's names, and the scores of their rewards.

    Attributes:
        likelihoods: as `PairLikelihoods` gives them.
    """

    settings: PreferenceSection
    likelihoods: Likelihoods

    def __call__(self, model: Any, inputs: Batch, labels: torch.Tensor) -> torch.Tensor:
        """Sums over the pairs: the loss; with `sft_weight` that of the chosen answers' tokens; then
        the scores.

        Source: DPO of TRL 1.16, losses sigmoid, robust, ipo, sigmoid_norm and sft.
        """
        inputs = dict(inputs)
        reference = inputs.pop("reference")
        found = self.likelihoods(model, inputs, labels)
        lengths = (labels != -100).sum(-1)  # [B, 2]
        is_pair = lengths.all(-1)  # not where a process has no pair
        ratios = found - reference
        losses = torch.where(is_pair, self.losses(ratios, lengths.clamp(min=1)), 0.0)
        parts = [losses.sum()]
        if self.settings.sft_weight:
            parts.append(-self.settings.sft_weight * found[:, 0].sum())
        gaps = (ratios[:, 0] - ratios[:, 1]).detach()
        # An adapter that changes nothing prefers neither: half, as guessing has.
        right = torch.where(gaps == 0, 0.5, (gaps > 0).to(gaps.dtype))
        parts += [torch.where(is_pair, right, 0.0).sum(), self.settings.beta * gaps.sum()]
        return torch.stack(parts)

    def counts(self, batch: Batch) -> list[int]:
        """Pairs; with `sft_weight` also the tokens of their chosen answers."""
        trained = batch["labels"] != -100
        pairs = int(trained.any(-1).all(-1).sum())
        return [pairs, int(trained[:, 0].sum())] if self.settings.sft_weight else [pairs]

    def losses(self, ratios: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The loss of each pair [B].

        Args:
            ratios: [B, 2], log p - log p of the reference, of the chosen and the rejected answer.
            lengths: [B, 2], their tokens.
        """
        beta, smoothing = self.settings.beta, self.settings.label_smoothing
        if self.settings.loss != "sigmoid":
            ratios = ratios / lengths
        gaps = ratios[:, 0] - ratios[:, 1]
        if self.settings.loss == "ipo":
            return (gaps - 1 / (2 * beta)) ** 2
        right = -logsigmoid(beta * gaps)
        if not smoothing:
            return right
        wrong = -logsigmoid(-beta * gaps)
        return ((1 - smoothing) * right - smoothing * wrong) / (1 - 2 * smoothing)


def make_pair_collate(pad_token_id: int) -> Callable[[Sequence[PairExample]], Batch]:
    """For pairs: rows become batches of [B, 2, T]: the chosen answer, then the rejected one;
    `reference` is [B, 2], NaN where it is not computed."""

    def collate(pairs: Sequence[PairExample]) -> Batch:
        rows: list[Example] = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
        inputs = [row.input_ids for row in rows] or [[pad_token_id]] * 2
        labels = [row.labels for row in rows] or [[-100]] * 2
        unknown = (float("nan"), float("nan"))
        references = [pair.reference or unknown for pair in pairs] or [(0.0, 0.0)]
        batch = {
            "input_ids": pad(inputs, pad_token_id),
            "attention_mask": pad([[1] * len(row) for row in inputs], 0),
            "labels": pad(labels, -100),
        }
        paired = {name: values.view(-1, 2, values.shape[-1]) for name, values in batch.items()}
        return paired | {"reference": torch.tensor(references)}

    return collate
