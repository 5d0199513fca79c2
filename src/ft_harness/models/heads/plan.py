"""Plan the head that a task needs: one output for each choice, named by the task's or the data's
class names; and whether a checkpoint's own head is that one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.task import ConfigurableTask

from ft_harness.errors import FtHarnessError, InputError
from ft_harness.models.heads.inputs import read_texts
from ft_harness.models.heads.types import HeadPlan
from ft_harness.recipe import Recipe
from ft_harness.records import SEQ_CLS

_UNNAMED = re.compile(r"LABEL_(\d+)")


def plan_head(
    recipe: Recipe, tasks: Iterable[ConfigurableTask], init: Path | None = None
) -> HeadPlan | None:
    """The head that a recipe asks for, its classes named by the task; None where a causal model
    answers in words.

    Args:
        tasks: those of the splits, of which one has docs.
        init: a file of drawn weights to use instead of drawing.

    Raises:
        InputError: the task is not multiple choice, or has no docs.
    """
    if not recipe.adapter.has_head:
        return None
    name = recipe.task.name
    task = next((task for task in tasks if len(task.eval_docs)), None)
    if task is None:
        raise InputError(
            f"{name}: the task has no docs",
            "docs whose choices name the classes",
            "check data.source",
        )
    if task.OUTPUT_TYPE != "multiple_choice":
        raise InputError(
            f"{name}: a classification head can't answer a task of the type {task.OUTPUT_TYPE}",
            f"a multiple_choice task where adapter.task_type is {SEQ_CLS}",
            "use the task's likelihood form, or --set adapter.task_type=CAUSAL_LM",
        )
    doc = task.eval_docs[0]
    choices, labels = class_names(doc, task.doc_to_choice(doc))
    return HeadPlan(labels, choices, recipe.task.text_fields, recipe.train.seed, init)


def class_names(
    doc: Mapping[str, Any], choices: Iterable[Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """For a planned head: (answers, labels) of its classes, from a doc's choices; the labels are
    the data's own names for them, or the answers where it has none."""
    answers = tuple(str(choice).strip() for choice in choices)
    labels = doc.get("label_names")
    named = isinstance(labels, list) and len(labels) == len(answers)
    return answers, tuple(map(str, labels)) if named and labels is not None else answers


def problems(
    recipe: Recipe, tasks: Iterable[ConfigurableTask], config: Any
) -> list[FtHarnessError]:
    """Faults of a recipe with a head that show while it is planned: the first one.

    Args:
        config: the base model's configuration; None: unknown.
    """
    splits = [task for task in tasks if len(task.eval_docs)]
    try:
        plan = plan_head(recipe, splits)
        if plan is not None:
            check_head_labels(config, plan)
            for task in splits:
                _check_docs(task, plan)
    except FtHarnessError as error:
        return [error]
    return []


def _check_docs(task: ConfigurableTask, plan: HeadPlan) -> None:
    """Every doc has the same choices, and the fields that are read."""
    for number, doc in enumerate(task.eval_docs):
        if plan.text_fields:
            read_texts(doc, plan.text_fields, "")
        choices = class_names(doc, task.doc_to_choice(doc))[0]
        if choices != plan.choices:
            raise InputError(
                f"{task.config.task}: doc {number} has the choices {', '.join(choices)}, "
                f"the first one {', '.join(plan.choices)}",
                "the same choices in every doc: a head has one output for each",
                "use adapter.task_type: CAUSAL_LM where choices differ from doc to doc",
            )


# --- labels of a head that is trained already ---


def claims_head(config: Any) -> bool:
    """Whether, by its configuration, a base model's checkpoint holds a trained classification head,
    so that the planned one need not be drawn."""
    return any(
        name.endswith("ForSequenceClassification")
        for name in getattr(config, "architectures", None) or ()
    )


def check_head_labels(config: Any, plan: HeadPlan) -> None:
    """The labels of a head that the checkpoint holds are those of the task, in its order.

    Raises:
        InputError: they are not.
    """
    if config is not None and claims_head(config):
        check_labels(label_names(config), plan, "the model's head")


def label_names(config: Any) -> tuple[str, ...]:
    """The labels of a model's configuration, in the order of its head's outputs."""
    return tuple(config.id2label[i] for i in sorted(config.id2label))


def check_labels(found: Sequence[str], plan: HeadPlan, what: str) -> bool:
    """Whether a head's label names are the task's, in its order; False: LABEL_0, LABEL_1, ... name
    nothing.

    Upper and lower case are alike; both the task's labels and its answers are known names.

    Raises:
        InputError: other labels, another number of them, or another order.
    """
    shown, wanted = ", ".join(found), ", ".join(plan.labels)
    if len(found) != len(plan.labels):
        raise InputError(
            f"{what} has {len(found)} labels ({shown}), "
            f"the task {len(plan.labels)} choices ({wanted})",
            "one label for each choice",
            "use a head for this task, or a checkpoint without a head",
        )
    if all(
        (match := _UNNAMED.fullmatch(name)) and int(match[1]) == i for i, name in enumerate(found)
    ):
        return False
    names = [name.strip().casefold() for name in found]
    known = [[name.casefold() for name in each] for each in (plan.labels, plan.choices)]
    if names in known:
        return True
    permuted = sorted(names) in map(sorted, known)
    raise InputError(
        f"{what} has the labels {shown}{', in another order' if permuted else ''}; "
        f"the task has {wanted}",
        "the task's labels in the task's order: output i answers choice i",
        "save the model with its head's rows and id2label in the task's order"
        if permuted
        else "use a head for this task, or give the labels equal names in data.labels",
    )
