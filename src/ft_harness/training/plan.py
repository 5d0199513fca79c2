"""What an adapter is trained on, and the identity that tells whether a folder holds this adapter or
another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from lm_eval.api.task import ConfigurableTask

from ft_harness.data.files import Split
from ft_harness.errors import InputError
from ft_harness.metrics import metric_versions
from ft_harness.models.adapters import CARD_FILE, read_card
from ft_harness.models.base_model import BaseModel
from ft_harness.models.encoding import refuse_beyond
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.recipe import Recipe, differences
from ft_harness.records import Ancestor, Card, ModelInfo, item_hash
from ft_harness.storage import canonical_json, redact_values, sha256_text
from ft_harness.tasks.examples import (
    Example,
    build_examples,
    examples_hash,
    train_prompts,
    trains_eos,
)
from ft_harness.tasks.head_examples import HeadExample, build_head_examples
from ft_harness.tasks.pair_examples import PairExample, build_pairs
from ft_harness.training.lineage import find_lineage

TRAINING_VERSION = 3  # raise it when the same recipe, base and rows give another adapter
_VALIDATION_ROWS = 500
Row = TypeVar("Row", Example, HeadExample, PairExample)
Rows = list[Example] | list[HeadExample] | list[PairExample]


@dataclass(frozen=True)
class TrainingSet:
    """What one adapter is trained on.

    Attributes:
        examples: rows of the train split: of a causal model, of a head, or pairs.
        validation: rows for the loss per epoch, none of them trained on.
        validation_hash: hash of all validation docs, where they decide something of the adapter;
            else None.
        lineage: the adapters that training continues, oldest first.
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
        return examples_hash(self.examples)

    @property
    def chat_template_hash(self) -> str | None:
        return self.form.chat_template_hash

    @property
    def trained_tokens(self) -> int:
        """Targets that carry loss: tokens of answers, or a head's labels."""
        return sum(row.trained_tokens for row in self.examples)


def of_kind(rows: Rows, kind: type[Row]) -> list[Row]:
    """Rows of one kind that an adapter is trained on: all or none, as a training has one kind."""
    return [row for row in rows if isinstance(row, kind)]


def build_training_set(
    tasks: Mapping[Split, ConfigurableTask],
    base: BaseModel,
    recipe: Recipe,
    task_hash: str,
    form: PromptForm = PLAIN,
    folder: Path | None = None,
) -> TrainingSet:
    """What an adapter is trained on: examples of the train split and of (at most 500 docs of)
    validation.

    Args:
        folder: of the adapter that is made; what it goes on from is in its card when it is
            finished.

    Raises:
        InputError: the docs can't be turned into examples, or the adapter to go on from is not
            there.
    """
    # By the training task: what is trained must be what scoring will stop at.
    eos = trains_eos(tasks["train"], recipe.train.loss_on_eos)

    def build(split: Split, limit: int | None) -> Rows:
        if split not in tasks:
            return []
        # The first docs, in the order of the split: whose loss is compared must be the same in
        # every epoch and every run.
        task, docs = tasks[split], list(tasks[split].eval_docs)[:limit]
        if base.head is not None:
            return build_head_examples(
                task, docs, base.tokenizer, base.max_length, base.head.plan, form
            )
        if recipe.train.objective == "preference":
            return build_pairs(task, docs, base.tokenizer, base.max_length, eos=eos, form=form)
        rows = build_examples(task, docs, base.tokenizer, base.max_length, eos=eos, form=form)
        return train_prompts(rows) if recipe.train.loss_on == "prompt_and_answer" else rows

    rows, validation = build("train", None), build("validation", _VALIDATION_ROWS)
    # Validation docs that decide nothing are no part of an adapter: looking at others makes the
    # same weights.
    steering = _steering(tasks["validation"], recipe) if recipe.train.steered else None
    return TrainingSet(
        rows,
        validation,
        task_hash,
        form,
        validation_hash=None if steering is None else sha256_text(canonical_json(steering))[:16],
        lineage=tuple(find_lineage(recipe, folder)),
    )


def _steering(task: ConfigurableTask, recipe: Recipe) -> list[Any]:
    """What decides which weights are kept: the validation docs, and the metric they are judged
    by."""
    return [*map(item_hash, task.eval_docs), metric_versions([recipe.train.metric_for_best_model])]


def check_training_rows(data: TrainingSet, base: BaseModel) -> None:
    """Refuse what an adapter can't be trained on: rows from which nothing would be learnt (the loss
    would be 0 and the run end well), and tokens that the base has no row for.

    Raises:
        InputError: there are no rows, one has no target, or one has such a token.
    """
    if not data.examples:
        raise InputError(
            "the training split is empty", "at least one training row", "check data.source"
        )
    causal = of_kind(data.examples, Example)
    empty = [number for number, example in enumerate(causal) if not example.answer_ids]
    if empty:
        raise InputError(
            f"{len(empty)} of {len(causal)} training rows have no trained token "
            f"(the first is row {empty[0]})",
            "a token that carries loss in every row",
            "fix the answers of these rows",
        )
    known = base.model.get_input_embeddings().weight.shape[0]
    for rows in (data.examples, data.validation):
        for example in rows:
            refuse_beyond(base.tokenizer, example.tokens, known)


@dataclass(frozen=True)
class TrainingPlan:
    """One training to be done: the recipe, the base that it starts from, the rows that it
    learns."""

    recipe: Recipe
    base: BaseModel
    data: TrainingSet

    def identity(self) -> dict[str, Any]:
        """Everything that determines the adapter; equal identities give equal adapters."""
        made_of = _made_of(self.recipe, self.base.info, self.data)
        return {"training_version": TRAINING_VERSION, **made_of}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that makes the adapter: recipe, base, task and the very token ids."""
        return sha256_text(canonical_json(self.identity()))


def _made_of(recipe: Recipe, model: ModelInfo, learnt: TrainingSet | Card) -> dict[str, Any]:
    return {
        "recipe": recipe.adapter_sections(),
        "base": model.identity,
        "head": model.head,
        "task_hash": learnt.task_hash,
        "data_hash": learnt.data_hash,
        "validation_hash": learnt.validation_hash,
        "parent": learnt.lineage[-1].identity if learnt.lineage else None,
        "chat_template_hash": learnt.chat_template_hash,
    }


def finished_card(plan: TrainingPlan, folder: Path) -> Card | None:
    """The card in a folder that holds this very adapter, finished and made of the same things; None
    if it is still to be trained.

    Raises:
        InputError: a finished adapter that is made of other things; it is never overwritten.
    """
    card = read_card(folder)
    if card is None:
        return None
    # By parts rather than by the fingerprint, so that the message can name the fields that differ.
    recorded = Recipe.model_validate(card.recipe)  # fields it did not know have their default
    made_of = {"training_version": card.training_version, **_made_of(recorded, card.model, card)}
    found = differences(redact_values(made_of), redact_values(plan.identity()))
    if not found:
        return card
    raise InputError(
        f"{folder}: holds a finished adapter that differs ({'; '.join(found)})",
        "the same recipe, base and data as the finished adapter's",
        "use --name NEW for a new folder, undo the change, "
        f"or delete {CARD_FILE} to train this one again",
    )
