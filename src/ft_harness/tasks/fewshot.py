"""Few-shot examples: a seeded sample or fixed rows of the training split, never a scored item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

from lm_eval.api.samplers import FirstNSampler
from lm_eval.api.task import ConfigurableTask

from ft_harness.data.files import Split
from ft_harness.data.fingerprints import plain
from ft_harness.errors import InputError
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.recipe import EvalSection, Protocol

Doc = Mapping[str, Any]


@dataclass(frozen=True)
class Shots:
    """The few-shot examples of one task object.

    Attributes:
        rows: fixed rows in their order, or the pool of the seeded sample.
        ids: indices of fixed rows in the training split; None: a sample is drawn for each item.
        left_out: rows of the training split that are no part of the pool, because they are scored.
    """

    rows: list[Doc]
    ids: list[int] | None
    left_out: int

    def install(self, task: ConfigurableTask, seed: int) -> None:
        """Let lm-eval take its examples from here; its own sampler draws, from the start of its own
        random numbers."""
        if self.ids is None:
            task.sampler.replace_df(self.rows)
        else:
            task.sampler = FirstNSampler(self.rows)
        task.set_fewshot_seed(seed=seed)


_FOUND: WeakKeyDictionary[ConfigurableTask, dict[Any, Shots]] = WeakKeyDictionary()


def find_shots(task: ConfigurableTask, protocol: Protocol) -> Shots | None:
    """Where the few-shot examples of one task object come from; None for zero-shot. Looked up once
    a task object.

    Raises:
        InputError: they would come from another split than train or from the scored one, fixed rows
            are scored too or don't exist, or the pool is smaller than the shots.
    """
    if not protocol.shots:
        return None
    found = _FOUND.setdefault(task, {})
    key = (protocol.shots, protocol.examples)
    if key not in found:
        found[key] = _find_shots(task, protocol)
    return found[key]


def _find_shots(task: ConfigurableTask, protocol: Protocol) -> Shots:
    _check_source(task, protocol.shots)
    pool, name = list(task.fewshot_docs()), task.config.task
    ids = protocol.example_rows(len(pool))
    if ids is not None and not 0 <= min(ids) <= max(ids) < len(pool):
        raise InputError(
            f"{name}: eval.fewshot_ids {protocol.examples!r} names a row that the training split "
            "doesn't have",
            f"rows of the {len(pool)} of the training split, counted from 0",
            "change eval.fewshot_ids, or raise data.train_size",
        )
    # An example with its answer right before the same question would be the answer.
    scored = _scored_rows(task, [pool[i] for i in ids] if ids is not None else pool)
    if ids is not None:
        if scored:
            raise InputError(
                f"{name}: {len(scored)} of the rows of eval.fewshot_ids are scored too, first row "
                f"{ids[min(scored)]}",
                "few-shot examples that are not among the scored items",
                "name other rows in eval.fewshot_ids",
            )
        return Shots([pool[i] for i in ids], ids, left_out=0)
    rows = [row for index, row in enumerate(pool) if index not in scored]
    if len(rows) < protocol.shots:
        raise InputError(
            f"{name}: {protocol.shots} few-shot examples are asked for, {len(rows)} of "
            f"{len(pool)} training "
            f"rows can be shown ({len(scored)} are scored too)",
            "at least as many training rows as few-shot examples",
            "lower eval.num_fewshot, or raise data.train_size",
        )
    return Shots(rows, None, left_out=len(scored))


def _check_source(task: ConfigurableTask, count: int) -> None:
    name, _, split = task.config.task.partition("@")
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        raise InputError(
            f"{name}: running text has no few-shot examples, {count} are asked for",
            "eval.num_fewshot: 0",
            "--set eval.num_fewshot=0",
        )
    source = task.fewshot_cfg.split or (
        None if task.fewshot_cfg.samples else task.config.training_split
    )
    if source is None and not task.fewshot_cfg.samples:
        raise InputError(
            f"{name}: the task has no training split to take few-shot examples from",
            "training_split in its YAML",
            "--set eval.num_fewshot=0",
        )
    if source is not None and source == task.config.test_split:
        raise InputError(
            f"{name}: the few-shot examples of the split {split} would come from that split itself",
            "scored splits that the examples don't come from",
            "--set 'eval.splits=[validation,test]', or eval.num_fewshot=0",
        )
    if source is not None and source != task.config.training_split:
        raise InputError(
            f"{name}: its few-shot examples come from the split {source}",
            f"fewshot_split: {task.config.training_split}, the training split",
            "change fewshot_split in the task's YAML, or --set eval.num_fewshot=0",
        )


def _scored_rows(task: ConfigurableTask, rows: list[Doc]) -> set[int]:
    """Positions of the rows that ask a question of the scored split, whatever the case, the white
    space, the answer and fields such as an id: the question would still precede itself."""
    with compiled_templates():
        scored = {_question(task, doc, task.config) for doc in task.eval_docs}
        return {
            index
            for index, row in enumerate(rows)
            if _question(task, row, task.fewshot_cfg) in scored
        }


def _question(task: ConfigurableTask, doc: Doc, form: Any) -> str:
    """A doc's question as normalised text, its answer where the task has no question; `form` holds
    the templates (of
    examples: others)."""
    choices = task.doc_to_choice(doc, form.doc_to_choice) if form.doc_to_choice else None
    question, answer = (
        task.doc_to_text(doc, form.doc_to_text),
        task.doc_to_target(doc, form.doc_to_target),
    )
    texts = [
        str(choices[part] if choices and isinstance(part, int) else part)
        for part in (question, answer)
    ]
    return plain(texts[0]) or plain(texts[1])


def problems(tasks: Mapping[Split, ConfigurableTask], section: EvalSection) -> list[InputError]:
    """Faults of few-shot examples: why they can't be shown for the scored splits."""
    found: list[InputError] = []
    for split, protocol in product(section.splits, section.protocols()):
        try:
            find_shots(tasks[split], protocol)
        except InputError as error:
            if str(error) not in map(str, found):  # another decoding of the same shots
                found.append(error)
    return found


def describe(tasks: Mapping[Split, ConfigurableTask], section: EvalSection) -> list[str]:
    """A line for each scored split: where its few-shot examples come from."""
    lines: list[str] = []
    for split, protocol in product(section.splits, section.protocols()):
        shots = find_shots(tasks[split], protocol)
        if shots is None:
            continue
        if shots.ids is not None:
            lines.append(
                f"{split}: {len(shots.ids)} fixed few-shot examples, rows "
                f"{', '.join(map(str, shots.ids))}"
            )
        else:
            out = f", {shots.left_out} rows left out that are scored too" if shots.left_out else ""
            lines.append(
                f"{split}: {protocol.shots} few-shot examples for each item out of "
                f"{len(shots.rows)}{out}"
            )
    return list(dict.fromkeys(lines))
