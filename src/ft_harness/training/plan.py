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
from ft_harness.examples import Example, build_examples, examples_hash, train_prompts, trains_eos
from ft_harness.files import Split
from ft_harness.prompts import PLAIN, PromptForm
from ft_harness.recipe import Recipe
from ft_harness.records import Ancestor, Card, item_hash
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.training.heads import HeadExample, build_head_examples, head_examples_hash
from ft_harness.training.lineage import find_lineage

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
        validation_hash: hash of all validation docs, where they decide something of the adapter; else None.
        lineage: the adapters that training goes on from, oldest first.
        form: how the prompts are rendered.
    """

    examples: Rows
    validation: Rows
    task_hash: str
    form: PromptForm = PLAIN
    validation_hash: str | None = None
    lineage: tuple[Ancestor, ...] = ()

    @cached_property
    def data_hash(self) -> str:
        """Hash of the very token ids that are trained on."""
        causal, heads = split_kinds(self.examples)
        return head_examples_hash(heads) if heads else examples_hash(causal)

    @property
    def trained_tokens(self) -> int:
        """Targets that carry loss: tokens of answers, or a head's labels."""
        causal, heads = split_kinds(self.examples)
        return sum(example.trained_tokens for example in causal) + len(heads)


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
    folder: Path | None = None,
) -> TrainingSet:
    """Examples of the train split and of (at most 500 docs of) validation.

    Args:
        folder: of the adapter that is made; what it goes on from stands in its card when it is finished.

    Raises:
        InputError: the docs can't be turned into examples, or the adapter to go on from is not there.
    """
    eos = trains_eos(tasks["train"], recipe.train.loss_on_eos)

    def build(split: Split, limit: int | None) -> Rows:
        docs = list(tasks[split].eval_docs)[:limit] if split in tasks else []
        if base.head is not None:
            return build_head_examples(tasks["train"], docs, base.tokenizer, base.max_length, base.head.plan, form)
        rows = build_examples(tasks["train"], docs, base.tokenizer, base.max_length, eos=eos, form=form)
        return train_prompts(rows) if recipe.train.loss_on == "prompt_and_answer" else rows

    rows, validation = build("train", None), build("validation", _VALIDATION_ROWS)
    steering = [item_hash(doc) for doc in tasks["validation"].eval_docs] if recipe.train.steered else None
    return TrainingSet(
        rows,
        validation,
        task_hash,
        form,
        validation_hash=None if steering is None else sha256_text(canonical_json(steering))[:16],
        lineage=tuple(find_lineage(recipe, folder)),
    )


def check_trained(data: TrainingSet) -> None:
    """Refuse rows from which nothing would be learnt; the Trainer would show a loss of 0 and end well.

    Raises:
        InputError: there are no rows, or one has no target.
    """
    if not data.examples:
        raise InputError("the training split is empty", "at least one training row", "check data.source")
    causal, _ = split_kinds(data.examples)
    empty = [number for number, example in enumerate(causal) if not example.answer_ids]
    if empty:
        raise InputError(
            f"{len(empty)} of {len(causal)} training rows have no trained token (the first is row {empty[0]})",
            "a token that carries loss in every row",
            "mend the answers of these rows",
        )


def make_plan(recipe: Recipe, base: BaseModel, data: TrainingSet) -> dict[str, Any]:
    """Everything that makes the adapter; equal plans give equal adapters."""
    return {
        "recipe": recipe.adapter_sections(),
        "base": base.info.identity,
        "head": base.info.head,
        "task_hash": data.task_hash,
        "data_hash": data.data_hash,
        "validation_hash": data.validation_hash,
        "parent": data.lineage[-1].identity if data.lineage else None,
        "chat_template_hash": data.form.chat_template_hash,
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The fields of which two plans differ, a line each."""
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{prefix}{key}.")
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
        "validation_hash": card.validation_hash,
        "parent": card.lineage[-1].identity if card.lineage else None,
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
    found = differences(_plan_of_card(card), make_plan(recipe, base, data))
    if not found:
        return card
    raise InputError(
        f"{folder}: holds a finished adapter that differs ({'; '.join(found)})",
        "the same recipe, base and data as the finished adapter's",
        f"use --name NEW for a new folder, undo the change, or delete {CARD_FILE} to train this one again",
    )
