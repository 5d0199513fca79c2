"""Whether the right answer itself would be scored as right, all the way from the stop strings to
the metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.filters import build_filter_ensemble

from ft_harness.data.files import Split
from ft_harness.errors import Findings, FtHarnessError, InputError, Notice
from ft_harness.metrics import find_metric
from ft_harness.metrics.generation import cut_run_on
from ft_harness.models import watcher
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.storage.escaping import one_line
from ft_harness.tasks.rendering import answer_index, answer_text, rendering_row
from ft_harness.tasks.row_checks import places

# The first that a task has says whether an answer is right. BLEU and METEOR are missing: they
# rate a perfect short answer below their largest value.
_DECIDING = ("acc", "exact_match", "token_f1", "rougeL", "chrf")
_SCORED = 2000  # rows of a split; those that a stop string or marker cuts come on top
_NEARLY = 1e-6
_STOP = "a stop string of generation_kwargs.until cuts it"
_MARKER = "it holds what begins another turn, such as 'Question:' or '###' at the start of a line"
_BLANK = "the white space before it, which most models generate, counts as part of it"
_READ = "it is read as another answer"
_CURES = {
    _STOP: "choose a stop string that no answer holds",
    _MARKER: "take that line out of the answers: generated text is cut there",
    _BLANK: "add the filters remove_whitespace and take_first, or score with process_results: "
    "!function ft_harness.metrics.score_answer",
    _READ: "choose answers that differ in more than case, white space and punctuation, or another "
    "metric or filter",
}


@dataclass(frozen=True)
class _Answer:
    """The part of a right answer that is scored, and what cut it."""

    text: str
    reason: str | None = None


def check_gold(
    tasks: Mapping[Split, ConfigurableTask],
    form: PromptForm = PLAIN,
    decodings: Sequence[Mapping[str, Any]] = ({},),
) -> Findings:
    """Score the right answers of every split: some that miss are a notice, all of them a fault.

    Args:
        decodings: generation arguments over the task's own; each may have other stop strings.
    """
    findings = Findings()
    for split, task in tasks.items():
        if _deciding_metric(task) is None:
            continue
        stops = {
            tuple(_stop_strings({**(task.config.generation_kwargs or {}), **each}))
            for each in decodings
        }
        for stop in sorted(stops) if task.OUTPUT_TYPE == "generate_until" else [()]:
            try:
                with compiled_templates():
                    _report(split, task, _misses(task, form, stop), findings)
            except FtHarnessError as error:
                findings.faults.append(error)
    return findings


def _deciding_metric(task: ConfigurableTask) -> str | None:
    if task.OUTPUT_TYPE not in ("generate_until", "multiple_choice") or task.multiple_input:
        return None
    listed = task.higher_is_better()
    return next((name for name in _DECIDING if name in listed), None)


def _stop_strings(settings: Mapping[str, Any]) -> list[str]:
    until = settings.get("until") or []
    return [until] if isinstance(until, str) else list(until)


def _report(
    split: Split, task: ConfigurableTask, missed: Mapping[str, list[int]], findings: Findings
) -> None:
    rows, metric = len(task.eval_docs), _deciding_metric(task)
    for reason, at in missed.items():
        doc = task.eval_docs[at[0]]
        what = (
            f"{len(at)} of {rows} right answers of {split} don't reach the top {metric}: {reason} "
            f"({places(at)}; {repr(answer_text(task, doc))[:60]})"
        )
        if len(at) == rows and reason != _BLANK:  # some tokenizers drop the blank
            name = task.config.task.partition("@")[0]
            findings.faults.append(
                InputError(
                    f"{name}: {what}", "right answers that are scored as right", _CURES[reason]
                )
            )
        else:
            findings.notices.append(Notice(what, _CURES[reason]))


def _misses(task: ConfigurableTask, form: PromptForm, stop: Sequence[str]) -> dict[str, list[int]]:
    """Rows whose right answer misses the top score, by reason."""
    missed: defaultdict[str, list[int]] = defaultdict(list)
    rows = len(task.eval_docs)
    chosen = {row * rows // min(rows, _SCORED) for row in range(min(rows, _SCORED))}
    for row, doc in enumerate(task.eval_docs):
        with rendering_row(task, row):
            if task.OUTPUT_TYPE == "multiple_choice":
                if row in chosen and not _is_top(task, doc, _best_choice(task, doc)):
                    missed[_READ].append(row)
                continue
            answer = _cut(f"{form.delimiter(task)}{answer_text(task, doc)}", stop)
            # Answers that are cut are what is looked for: all of them are scored.
            if (row in chosen or answer.reason) and not _is_right(task, doc, answer.text):
                alone = answer.reason is None and _is_right(task, doc, answer.text.strip())
                missed[answer.reason or (_BLANK if alone else _READ)].append(row)
    return missed


def _cut(text: str, stop: Sequence[str]) -> _Answer:
    """A generated text begins with the delimiter between prompt and answer."""
    at = min((place for word in stop if word and (place := text.find(word)) >= 0), default=None)
    if at is not None:
        return _Answer(text[:at], _STOP)
    return _Answer(text, _MARKER if cut_run_on(text)[1] else None)


def _best_choice(task: ConfigurableTask, doc: dict[str, Any]) -> list[tuple[float, bool]]:
    best, count = answer_index(task, doc), len(task.doc_to_choice(doc))
    return [(-1.0 - (index != best), index == best) for index in range(count)]


def _is_right(task: ConfigurableTask, doc: dict[str, Any], text: str) -> bool:
    """Whether one of the task's filters reads the right answer out of it."""
    return any(_is_top(task, doc, [read]) for read in _filtered(task, doc, text))


def _filtered(task: ConfigurableTask, doc: dict[str, Any], text: str) -> Iterator[Any]:
    """The text as each filter of the task reads it."""
    if not task.config.filter_list:
        yield text
        return
    for pipeline in task.config.filter_list:
        steps = [
            (step["function"], {key: value for key, value in step.items() if key != "function"})
            for step in pipeline["filter"]
        ]
        request = Instance("generate_until", doc, ("", {}), 0, resps=[text])
        build_filter_ensemble(pipeline["name"], steps).apply([request])
        yield request.filtered_resps[pipeline["name"]]


def _is_top(task: ConfigurableTask, doc: dict[str, Any], results: list[Any]) -> bool:
    name = _deciding_metric(task)
    try:
        with watcher.scoring(f"a right answer to {one_line(str(task.config.task))}"):
            value = task.process_results(doc, results).get(name)
    except watcher.OverdueError:
        return True  # scoring says so of the model's own answers
    if value is None or name is None:
        return True  # not scored: another check's matter
    metric = find_metric(name)
    reached = metric.value([value if isinstance(value, list) else float(value)])
    return reached is None or reached >= metric.scale - _NEARLY
