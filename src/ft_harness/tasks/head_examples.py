"""A classification head's training rows."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lm_eval.api.task import ConfigurableTask

from ft_harness.errors import InputError
from ft_harness.models.heads import HeadInput, HeadPlan, encode_texts, read_texts
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.tasks.examples import prompt_of
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
    def input_ids(self) -> list[int]:
        return self.row.ids

    @property
    def trained_tokens(self) -> int:
        """One label, which stands for a token."""
        return 1

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
    """One training row for each doc: the very tokens that `ft-seqcls` reads, and the number of the
    right choice.

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


def head_examples_hash(examples: Sequence[HeadExample]) -> str:
    """Hash of all token ids and labels, in order."""
    return sha256_text(canonical_json([[e.row.ids, e.row.types, e.label] for e in examples]))[:16]


def describe_head_examples(examples: Sequence[HeadExample], labels: Sequence[str]) -> str:
    """What a head is trained on, in one line.

    Raises:
        InputError: there are no rows.
    """
    if not examples:
        raise InputError(
            "the training split is empty", "at least one training row", "check data.source"
        )
    lengths = [len(example.row.ids) for example in examples]
    counts = ", ".join(
        f"{name} {sum(e.label == i for e in examples)}" for i, name in enumerate(labels)
    )
    cut = sum(example.row.truncated for example in examples)
    return (
        f"{len(examples)} training rows of {min(lengths)} / {statistics.median(lengths):g} / "
        f"{max(lengths)} tokens "
        f"(min / median / max), {cut} cut; labels: {counts}"
    )
