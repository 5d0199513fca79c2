"""Read and check once per process what several recipes have in common: tasks, and the rows of their
data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ft_harness.data.data_report import DataReport
from ft_harness.data.files import Split
from ft_harness.errors import Findings
from ft_harness.models.prompts import PromptForm
from ft_harness.storage import canonical_json
from ft_harness.tasks.data_items import report_data
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.listing import TaskReader
from ft_harness.tasks.rendering import RenderedTask
from ft_harness.tasks.row_checks import check_rows

_Tasks = dict[Split, RenderedTask]
_Loaded = tuple[TaskDefinition, _Tasks]


class Reading:
    """The tasks that were read, what was found in their rows, and their data reports.

    Task objects are kept, so that they are the same ones for equal data, and by them all that was
    made of their rows.
    """

    def __init__(self, yamls: TaskReader | None = None) -> None:
        self.yamls = yamls or TaskReader()
        self._tasks: dict[str, _Loaded] = {}
        self._made: dict[tuple[Any, ...], Any] = {}

    def tasks(self, asked: tuple[Any, ...], load: Callable[[], _Loaded]) -> _Loaded:
        """The tasks that were asked for: name, folder, data and splits."""
        key = canonical_json(asked)
        if key not in self._tasks:
            self._tasks[key] = load()
        return self._tasks[key]

    def rows(self, tasks: _Tasks, form: PromptForm, *, privacy: bool) -> Findings:
        """What is found in the rows."""
        found: Findings = self.once(
            ("rows", *_form(form), privacy), tasks, lambda: check_rows(tasks, form, privacy=privacy)
        )
        # A copy: callers add to their findings.
        return Findings(list(found.faults), list(found.notices), list(found.facts))

    def report(self, tasks: _Tasks, form: PromptForm) -> DataReport:
        """The data report."""
        made: DataReport = self.once(
            ("report", *_form(form)), tasks, lambda: report_data(tasks, form)
        )
        return made

    def once(
        self, kind: tuple[Any, ...], tasks: Mapping[Split, RenderedTask], make: Callable[[], Any]
    ) -> Any:
        """What is made of the rows of these task objects."""
        key = (*map(str, kind), *sorted((split, id(task)) for split, task in tasks.items()))
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _form(form: PromptForm) -> tuple[Any, ...]:
    """What of it makes prompts."""
    return form.chat_template_hash, form.system_instruction, form.fewshot_as_multiturn
