"""A task's docs -> the training rows of a classification head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lm_eval.api.task import ConfigurableTask

from ft_harness.models.heads import HeadInput, HeadPlan, encode_texts, read_texts
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.tasks.examples import describe_lengths, prompt_of
from ft_harness.tasks.rendering import answer_index


class HeadExample(NamedTuple):
    """One training row of a head.

    Attributes:
        row: what the head reads.
        label: the number of the right choice.
    """

    row: HeadInput
    label: int

    @property
    def tokens(self) -> list[int]:
        return self.row.ids

    @property
    def input_ids(self) -> list[int]:
        return self.row.ids

    @property
    def trained_tokens(self) -> int:
        """One label, which stands for a token."""
        return 1

    @property
    def truncated(self) -> bool:
        return self.row.truncated

    @property
    def identity(self) -> list[Any]:
        return [self.row.ids, self.row.types, self.label]


def build_head_examples(
    task: ConfigurableTask,
    docs: Iterable[dict[str, Any]],
    tokenizer: Any,
    max_length: int,
    plan: HeadPlan,
    form: PromptForm = PLAIN,
) -> list[HeadExample]:
    """One training row of a head for each doc: the very tokens that `ft-seqcls` reads, and the
    number of the right choice.

    Raises:
        InputError: a field of `text_fields` is missing, or the gold label is outside the choices.
    """
    chosen = list(docs)
    if not chosen:
        return []
    with compiled_templates():
        prompts = ["" if plan.text_fields else prompt_of(task, doc, form) for doc in chosen]
    texts = [
        read_texts(doc, plan.text_fields, prompt)
        for doc, prompt in zip(chosen, prompts, strict=True)
    ]
    rows = encode_texts(tokenizer, texts, max_length, from_left=plan.text_fields is None)
    labels = [answer_index(task, doc) for doc in chosen]
    return [HeadExample(row, label) for row, label in zip(rows, labels, strict=True)]


def describe_head_examples(examples: Sequence[HeadExample], labels: Sequence[str]) -> str:
    """What is said of a head's training rows, in one line.

    Raises:
        InputError: there are no rows.
    """
    lengths = describe_lengths(examples)
    counts = ", ".join(
        f"{name} {sum(e.label == i for e in examples)}" for i, name in enumerate(labels)
    )
    return f"{lengths}, {sum(each.truncated for each in examples)} cut; labels: {counts}"
