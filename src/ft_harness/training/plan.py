"""What an adapter is trained on, and the plan that tells whether a folder holds this adapter or another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness.adapters import CARD_FILE, read_card
from ft_harness.base_model import BaseModel
from ft_harness.errors import InputError
from ft_harness.examples import Example, build_examples, examples_hash, trains_eos
from ft_harness.files import Split
from ft_harness.prompts import PLAIN, PromptForm
from ft_harness.recipe import Recipe
from ft_harness.records import Card
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.training.heads import HeadExample, build_head_examples, head_examples_hash

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask


_VALIDATION_ROWS = 500
Rows = list[Example] | list[HeadExample]


@dataclass(frozen=True)
class TrainingSet:
    """What one adapter is trained on.

    Attributes:
        examples: rows of the train split, for a causal model or for a head.
        validation: rows for the loss per epoch, none of them trained on.
        form: how the prompts are rendered.
    """

    examples: Rows
    validation: Rows
    task_hash: str
    form: PromptForm = PLAIN

    @cached_property
    def data_hash(self) -> str:
        """Hash of the very token ids that are trained on."""
        causal, heads = split_kinds(self.examples)
        return head_examples_hash(heads) if heads else examples_hash(causal)

    @property
    def trained_tokens(self) -> int:
        """Targets that carry loss: tokens of answers, or a head's labels."""
        causal, heads = split_kinds(self.examples)
        return sum(len(example.answer_ids) for example in causal) + len(heads)


def split_kinds(rows: Rows) -> tuple[list[Example], list[HeadExample]]:
    """(rows of a causal model, rows of a head); a training has one kind."""
    causal = [row for row in rows if isinstance(row, Example)]
    return causal, [row for row in rows if isinstance(row, HeadExample)]


def build_training_set(
    tasks: Mapping[Split, ConfigurableTask],
    base: BaseModel,
    recipe: Recipe,
    task_hash: str,
    form: PromptForm = PLAIN,
) -> TrainingSet:
    """Examples of the train split and of (at most 500 docs of) validation.

    Raises:
        InputError: the docs can't be turned into examples.
    """
    eos = trains_eos(tasks["train"], recipe.train.loss_on_eos)

    def build(split: Split, limit: int | None) -> Rows:
        docs = list(tasks[split].eval_docs)[:limit] if split in tasks else []
        if base.head is not None:
            return build_head_examples(tasks["train"], docs, base.tokenizer, base.max_length, base.head.plan, form)
        return build_examples(tasks["train"], docs, base.tokenizer, base.max_length, eos=eos, form=form)

    rows, validation = build("train", None), build("validation", _VALIDATION_ROWS)
    return TrainingSet(rows, validation, task_hash, form)


def make_plan(recipe: Recipe, base: BaseModel, data: TrainingSet) -> dict[str, Any]:
    """Everything that makes the adapter; equal plans give equal adapters."""
    return {
        "recipe": recipe.adapter_sections(),
        "base": base.info.identity,
        "head": base.info.head,
        "task_hash": data.task_hash,
        "data_hash": data.data_hash,
        "chat_template_hash": data.form.chat_template_hash,
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return lines


def fingerprint(recipe: Recipe, base: BaseModel, data: TrainingSet) -> str:
    """Hash of everything that makes the adapter: recipe, base, task and the very token ids."""
    return sha256_text(canonical_json(make_plan(recipe, base, data)))


def _plan_of_card(card: Card) -> dict[str, Any]:
    """The plan of a finished adapter; recipe fields that its version did not know have their default."""
    return {
        "recipe": Recipe.model_validate(card.recipe).adapter_sections(),
        "base": card.model.identity,
        "head": card.model.head,
        "task_hash": card.task_hash,
        "data_hash": card.data_hash,
        "chat_template_hash": card.chat_template_hash,
    }


def finished_card(folder: Path, recipe: Recipe, base: BaseModel, data: TrainingSet) -> Card | None:
    """The card of the adapter if it is finished and made of the same things; None if it is still to be trained.

    Raises:
        InputError: a finished adapter that is made of other things; it is never overwritten.
    """
    card = read_card(folder)
    if card is None:
        return None
    differences = _differences(_plan_of_card(card), make_plan(recipe, base, data))
    if not differences:
        return card
    raise InputError(
        f"{folder}: holds a finished adapter that differs ({'; '.join(differences)})",
        "the same recipe, base and data as the finished adapter's",
        f"use --name NEW for a new folder, undo the change, or delete {CARD_FILE} to train this one again",
    )
