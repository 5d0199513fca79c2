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

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask


_VALIDATION_ROWS = 500


@dataclass(frozen=True)
class TrainingSet:
    """What one adapter is trained on.

    Attributes:
        examples: rows of the train split.
        validation: rows for the loss per epoch, none of them trained on.
        form: how the prompts are rendered.
    """

    examples: list[Example]
    validation: list[Example]
    task_hash: str
    form: PromptForm = PLAIN

    @cached_property
    def data_hash(self) -> str:
        """Hash of the very token ids that are trained on."""
        return examples_hash(self.examples)


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

    def build(split: Split, limit: int | None) -> list[Example]:
        docs = list(tasks[split].eval_docs)[:limit] if split in tasks else []
        return build_examples(tasks["train"], docs, base.tokenizer, base.max_length, eos=eos, form=form)

    rows, validation = build("train", None), build("validation", _VALIDATION_ROWS)
    return TrainingSet(rows, validation, task_hash, form)


def make_plan(recipe: Recipe, base: BaseModel, data: TrainingSet) -> dict[str, Any]:
    """Everything that makes the adapter; equal plans give equal adapters."""
    return {
        "recipe": recipe.adapter_sections(),
        "base": base.info.identity,
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


def finished_card(folder: Path, recipe: Recipe, base: BaseModel, data: TrainingSet) -> Card | None:
    """The card of the adapter if it is finished and made of the same things; None if it is still to be trained.

    Raises:
        InputError: a finished adapter that is made of other things; it is never overwritten.
    """
    card = read_card(folder)
    if card is None or card.fingerprint == fingerprint(recipe, base, data):
        return card
    old = {
        "recipe": {name: section for name, section in card.recipe.items() if name != "eval"},
        "base": card.model.identity,
        "task_hash": card.task_hash,
        "data_hash": card.data_hash,
        "chat_template_hash": card.chat_template_hash,
    }
    differences = "; ".join(_differences(old, make_plan(recipe, base, data)))
    raise InputError(
        f"{folder}: holds a finished adapter that differs ({differences})",
        "the same recipe, base and data as the finished adapter's",
        f"use --name NEW for a new folder, undo the change, or delete {CARD_FILE} to train this one again",
    )
