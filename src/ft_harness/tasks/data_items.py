"""A task's docs as items of the data report, and what the report says of a task's splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.task import ConfigurableTask

from ft_harness.data import row_losses
from ft_harness.data.data_report import DataReport, LostRows, describe_baseline, make_data_report
from ft_harness.data.docs import LABEL_NAMES
from ft_harness.data.files import Split
from ft_harness.data.fingerprints import Item
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.records import item_hash
from ft_harness.tasks.examples import prompt_of
from ft_harness.tasks.rendering import answer_text


@dataclass(frozen=True)
class _DocItems:
    """A split's docs as they are compared, made one by one."""

    task: ConfigurableTask
    form: PromptForm

    def __len__(self) -> int:
        return len(self.task.eval_docs)

    def __getitem__(self, number: int, /) -> Item:
        return self._item(self.task.eval_docs[number])

    def __iter__(self) -> Iterator[Item]:
        return map(self._item, self.task.eval_docs)

    def _item(self, doc: dict[str, Any]) -> Item:
        task = self.task
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            return Item(item_hash(doc), str(task.doc_to_target(doc)), "", doc)
        labels = (
            task.doc_to_choice(doc)
            if task.OUTPUT_TYPE == "multiple_choice"
            else doc.get(LABEL_NAMES)
        )
        choices = len(labels) if labels else None
        return Item(
            item_hash(doc), prompt_of(task, doc, self.form), answer_text(task, doc), doc, choices
        )


def report_data(loaded: Mapping[Split, ConfigurableTask], form: PromptForm = PLAIN) -> DataReport:
    """Make the data report of a task's splits: what their docs are, and which occur in several of
    them."""
    first = next(iter(loaded.values()))
    lost = [
        LostRows(where=Path(loss.where).name, rows=loss.rows, dropped=loss.dropped, bad=loss.bad)
        for loss in row_losses(first.dataset)
    ]
    with compiled_templates():
        items = {split: _DocItems(task, form) for split, task in loaded.items()}
        return make_data_report(first.config.task.partition("@")[0], items, lost)


def check_baseline(loaded: Mapping[Split, ConfigurableTask], form: PromptForm = PLAIN) -> str:
    """In a line, from the items of a task's splits: what the prompt's last text field alone gives
    away on the last one (test, if it is there)."""
    split = list(loaded)[-1]
    if "train" not in loaded or split == "train":
        return "no baseline of the last text field: it needs the training split and another one"
    with compiled_templates():
        train, scored = (_DocItems(loaded[name], form) for name in ("train", split))
        return f"{split}: {describe_baseline(train, scored)}"
