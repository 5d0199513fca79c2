"""How lm-eval's own command scores the model's answers: a doc that can't be scored is left out and
counted, and answers are kept where nothing can be scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from lm_eval.api.task import Task

from ft_harness.errors import IncompleteError
from ft_harness.evaluation.item_scores import LeftOut, left_out
from ft_harness.evaluation.lm_eval_files import output_folder
from ft_harness.storage import keep_aside, redact_values, write_text


class Scoring:
    """One run of the command.

    Attributes:
        found: the docs that have no score.
        kept: file with the model's answers, of a run that stopped after they had come.
    """

    def __init__(self, output_path: str | None) -> None:
        self.found = LeftOut()
        self.kept: str | None = None
        self._output_path = output_path

    def evaluate(
        self, evaluate: Callable[..., Any], *, lm: Any, task_dict: Any, **options: Any
    ) -> Any:
        """What lm-eval's own `evaluate` gives, of the docs that can be scored."""
        tasks: dict[str, Task] = task_dict["tasks"]
        given = options.get("samples") or {}
        with ExitStack() as stack:
            for name, task in tasks.items():
                doc_ids = _doc_ids(task, given.get(name))
                stack.enter_context(left_out(name, task, doc_ids, self.found))
            try:
                outcome = evaluate(lm=lm, task_dict=task_dict, **options)
            except Exception:
                self.kept = self._keep(tasks)
                raise
        if lm.world_size > 1:
            shares = lm.gather_object(self.found.reasons) or []
            for share in shares[1:]:  # the first is this process
                for name, reasons in share.items():
                    self.found.reasons.setdefault(name, {}).update(reasons)
        if outcome is not None:
            self._mark(tasks, outcome)
        return outcome

    def _mark(self, tasks: Mapping[str, Task], outcome: Mapping[str, Any]) -> None:
        """Say in the samples which docs have no score, and in the results which metric is no
        number for any."""
        for name, reasons in self.found.reasons.items():
            for sample in (outcome.get("samples") or {}).get(name, ()):
                if not sample["metrics"]:
                    sample["failed"] = reasons[sample["doc_id"]]
        for (name, metric), value in self.found.undefined.items():
            scores = outcome["results"][name]
            if not any(key.partition(",")[0] == metric for key in scores):
                filters = getattr(tasks[name], "_filters", ())
                scores |= {f"{metric},{each.name}": value for each in filters}

    def _keep(self, tasks: Mapping[str, Task]) -> str | None:
        """Write the answers that have come; the file, None without any."""
        lines = [
            json.dumps(redact_values(_answer(name, instance)), ensure_ascii=False, default=str)
            for name, task in tasks.items()
            for instance in getattr(task, "_instances", None) or ()  # none before they are made
            if instance.resps
        ]
        if not lines:
            return None
        text, file = "".join(f"{line}\n" for line in lines), "answers.jsonl"
        if self._output_path is None:
            return keep_aside(file, text.encode(errors="replace"))
        now = datetime.now().isoformat().replace(":", "-")  # as lm-eval names its files
        path = output_folder(self._output_path) / f"answers_{now}.jsonl"
        write_text(path, text)
        return str(path)

    def check_complete(self, is_logged: bool) -> None:
        """Refuse to call a run done while docs have no score.

        Raises:
            IncompleteError: with their number and the first of them.
        """
        if not self.found.reasons:
            return
        count = sum(map(len, self.found.reasons.values()))
        name, reasons = next(iter(self.found.reasons.items()))
        doc_id, reason = min(reasons.items())
        shown = 'as "failed" in the samples' if is_logged else "with --log_samples"
        raise IncompleteError(
            f"{count} docs have no score, first doc {doc_id} of {name}: {reason}",
            f"a number for every doc; the others are scored, and the results are of them ({shown} "
            "all are listed)",
            "fix the task's metric, then run it again; ft-harness eval would keep the answers",
        )


def _doc_ids(task: Task, given: Sequence[int] | None) -> Iterator[int]:
    """The docs of a task in the order in which lm-eval scores them, again for each filter."""
    while True:  # not before its requests are made
        for number in dict.fromkeys(instance.doc_id for instance in task.instances):
            yield given[number] if given else number


def _answer(name: str, instance: Any) -> dict[str, Any]:
    return {
        "task": name,
        "doc_id": instance.doc_id,
        "doc": instance.doc,
        "arguments": list(instance.args),
        "responses": list(instance.resps),
    }
