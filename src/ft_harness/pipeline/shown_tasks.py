"""Tasks as they are shown: their first docs as training text, trained tokens marked. Loads no torch
for the bundled model's tokens."""

from __future__ import annotations

from typing import Any

from ft_harness.models.bundled_tokenizer import BundledTokenizer
from ft_harness.paths import BUNDLED
from ft_harness.recipe import ModelSection
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.examples import Example, build_examples, trains_eos
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks

__all__ = ["find_task", "mark_trained", "show_task"]


def show_task(definition: TaskDefinition, pretrained: str, count: int) -> list[str]:
    """The first docs of a task's train split as training text, trained tokens in square
    brackets."""
    tokenizer = BundledTokenizer() if pretrained == BUNDLED else _load_tokenizer(pretrained)
    task = load_tasks(definition, ["train"])["train"]
    docs = list(task.eval_docs)[:count]
    examples = build_examples(
        task, docs, tokenizer, tokenizer.model_max_length, eos=trains_eos(task, None)
    )
    return [mark_trained(example, tokenizer) for example in examples]


def mark_trained(example: Example, tokenizer: Any) -> str:
    """A training example as it is shown: text, every token that carries loss in square brackets."""
    ids = example.tokens
    read = len(ids) - example.trained_tokens
    trained = "".join(f"[{tokenizer.decode([token])}]" for token in ids[read:])
    return f"{tokenizer.decode(ids[:read])}{trained}"


def _load_tokenizer(pretrained: str) -> Any:
    from ft_harness.models.base_model import load_tokenizer

    return load_tokenizer(ModelSection(pretrained=pretrained))
