"""lm-eval's task with faults that name the row: what `ft-harness lm-eval` scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jinja2 import TemplateError
from lm_eval.api.task import ConfigurableTask

from ft_harness.errors import InputError, PolicyError, first_line
from ft_harness.tasks.rendering import render_field


class NamedRowsTask(ConfigurableTask):  # type: ignore[misc]
    """The task that `ft-harness lm-eval` scores: it renders as lm-eval does; what can't be rendered
    is a fault that names the row, in three lines."""

    def doc_to_text(self, doc: Any, doc_to_text: Any = None) -> Any:
        with self._naming(doc):
            return render_field("doc_to_text", super().doc_to_text, doc, doc_to_text)

    def doc_to_target(self, doc: Any, doc_to_target: Any = None) -> Any:
        with self._naming(doc):
            return render_field("doc_to_target", super().doc_to_target, doc, doc_to_target)

    def doc_to_choice(self, doc: Any, doc_to_choice: Any = None) -> Any:
        with self._naming(doc):
            return render_field("doc_to_choice", super().doc_to_choice, doc, doc_to_choice)

    def fewshot_context(self, doc: Any, *args: Any, **options: Any) -> Any:
        try:
            return super().fewshot_context(doc, *args, **options)
        except TemplateError as error:  # the chat's, as those of the task are handled above
            raise InputError(
                f"{self._place(doc)}: the chat template refuses the messages ({first_line(error)})",
                "a template for system, user and assistant messages",
                "use another model, or leave --apply_chat_template out",
            ) from error

    @contextmanager
    def _naming(self, doc: Any) -> Iterator[None]:
        try:
            yield
        except (InputError, PolicyError) as error:
            raise type(error)(
                f"{self._place(doc)}: {error.what}", error.expected, error.action
            ) from error

    def _place(self, doc: Any) -> str:
        """The task, and the row if the doc is a scored one and no few-shot example."""
        rows = (number for number, known in enumerate(self.eval_docs) if known == doc)
        row = next(rows, None)
        place = f", row {row} (counted from 0)" if row is not None else ", a few-shot example"
        return f"{self.config.task}{place}"
