"""A classification head's training rows, and its loss in transformers' Trainer."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ft_harness.errors import InputError
from ft_harness.examples import answer_text, prompt_of
from ft_harness.heads import Head, HeadInput, HeadPlan, encode_texts, make_batch, read_texts
from ft_harness.prompts import PLAIN, PromptForm, compiled_templates
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.training.trainer import trainer_class

if TYPE_CHECKING:
    import torch
    from lm_eval.api.task import ConfigurableTask
    from transformers import Trainer


class HeadExample(NamedTuple):
    """One training row of a head.

    Attributes:
        row: what the head reads.
        label: the number of the right choice.
    """

    row: HeadInput
    label: int

    @property
    def input_ids(self) -> list[int]:
        return self.row.ids

    @property
    def truncated(self) -> bool:
        return self.row.truncated


def build_head_examples(
    task: ConfigurableTask,
    docs: Iterable[dict[str, Any]],
    tokenizer: Any,
    max_length: int,
    plan: HeadPlan,
    form: PromptForm = PLAIN,
) -> list[HeadExample]:
    """One training row for each doc: the very tokens that `ft-seqcls` reads, and the number of the right choice.

    Raises:
        InputError: a field of `text_fields` is missing, or the gold label is outside the choices.
    """
    chosen = list(docs)
    if not chosen:
        return []
    with compiled_templates():
        prompts = ["" if plan.text_fields else prompt_of(task, doc, form) for doc in chosen]
    texts = [read_texts(doc, plan.text_fields, prompt) for doc, prompt in zip(chosen, prompts, strict=True)]
    rows = encode_texts(tokenizer, texts, max_length, from_left=plan.text_fields is None)
    labels = [task.doc_to_choice(doc).index(answer_text(task, doc)) for doc in chosen]
    return [HeadExample(row, label) for row, label in zip(rows, labels, strict=True)]


def head_examples_hash(examples: Sequence[HeadExample]) -> str:
    """Hash of all token ids and labels, in order."""
    return sha256_text(canonical_json([[e.row.ids, e.row.types, e.label] for e in examples]))[:16]


def describe_head_examples(examples: Sequence[HeadExample], labels: Sequence[str]) -> str:
    """What a head is trained on, in one line.

    Raises:
        InputError: there are no rows.
    """
    if not examples:
        raise InputError("the training split is empty", "at least one training row", "check data.source")
    lengths = [len(example.row.ids) for example in examples]
    counts = ", ".join(f"{name} {sum(e.label == i for e in examples)}" for i, name in enumerate(labels))
    cut = sum(example.row.truncated for example in examples)
    return (
        f"{len(examples)} training rows of {min(lengths)} / {statistics.median(lengths):g} / {max(lengths)} tokens "
        f"(min / median / max), {cut} cut; labels: {counts}"
    )


def make_head_collate(pad_token_id: int, head: Head) -> Any:
    """Batches of [B, T] with labels [B]."""
    import torch

    def collate(batch: Sequence[HeadExample]) -> dict[str, torch.Tensor]:
        inputs = make_batch([example.row for example in batch], pad_token_id, types=head.reads_types)
        return {**inputs, "labels": torch.tensor([example.label for example in batch])}

    return collate


def head_trainer_class() -> type[Trainer]:
    """Cross-entropy of the head's logits, the mean over all rows of a step, however it is cut into batches."""
    import torch

    class HeadTrainer(trainer_class()):  # type: ignore[misc]
        """The causal model's Trainer with a head's loss."""

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            labels = inputs.pop("labels")  # [B]
            logits = model(**inputs).logits.float()  # [B, labels]
            loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
            loss = loss / (num_items_in_batch if num_items_in_batch is not None else len(labels))
            return (loss, {"logits": logits}) if return_outputs else loss

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
            """Rows of the step."""
            return sum(len(batch["labels"]) for batch in batch_samples)

    return HeadTrainer
